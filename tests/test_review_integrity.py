"""Ways around the rules of a review or a release that a hostile reading found; each is closed."""

from __future__ import annotations

import json
import re

import pytest
import review_house
import review_run
from review_house import PASSWORD, Asker
from review_postgres import on_sqlite_alone
from test_review_triage import decide, everything, look_at, opened, state

from synthgen.flags import Flag
from synthgen.review import learning, turns
from synthgen.review import outcome as outcomes
from synthgen.review.approval import read_approval
from synthgen.review.people import named
from synthgen.review.tables import ITEMS, LOOKS


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    place = review_house.workspace(tmp_path_factory.mktemp("integrity"))
    severe = Flag("SYN-000020", "near_copy", "mild", "Near a patient.", True)
    review_run.finished(place, [*review_run.flags(8), severe], [review_run.INCONCLUSIVE])
    return place


def kinds(database) -> list[str]:
    return [entry.content["kind"] for entry in database.chain.read()]


def flags_of(app) -> list[tuple[str, str, bool]]:
    """What the reviews of the run come to for its release."""
    with app.state.house.database.read() as connection:
        found = outcomes.rejected(connection, app.state.house.workspace.run().id)
    return sorted((f.patient_id, f.reason, f.reads_real_data) for f in found)


def close(app, review: int) -> None:
    assert Asker(app, "sam").post(f"/reviews/{review}/close").status_code == 303


def mark(app, *people: str) -> None:
    """They see the run's real-data flags, in a review of its own."""
    review = opened(app, real_data="true", looks=5, most=1)
    for name in people:
        assert look_at(Asker(app, name), review) is not None
    close(app, review)


def propose(app) -> int:
    run = app.state.house.workspace.run().id
    number = Asker(app, "sam").post("/releases", run=run, purpose="a methods course").headers["location"]
    return int(number.rsplit("/", 1)[1])


def sign(app, number: int, **fields):
    olga = Asker(app, "olga")
    olga.post(f"/releases/{number}/accept", finding="subgroup/worst_auc", reason="few men")
    given = {"reason": "the claim holds", "password": PASSWORD} | fields
    return olga, olga.post(f"/releases/{number}/approve", **given)


def test_a_second_opinion_after_closing_does_not_take_a_verdict_back(app):
    review = opened(app, looks=1, most=1)
    ana = Asker(app, "ana")
    look, patient = look_at(ana, review)
    decide(ana, look, "reject", reason="values")
    close(app, review)
    assert ana.post(f"/looks/{look}/opinion").status_code == 400
    assert state(app, review)[1][0].verdict == "reject"
    assert flags_of(app) == [(patient, "rejected", False)]


def test_the_first_who_settles_a_conflict_settles_it(app):
    review = opened(app, looks=2, most=1)
    everything(Asker(app, "ana"), review)
    everything(Asker(app, "bea"), review, "reject", "course")
    cora, dora = Asker(app, "cora"), Asker(app, "dora")
    open_looks = [
        re.search(r'action="/looks/([0-9a-f]{24})"', asker.get(f"/reviews/{review}/conflicts/1").text)[1]
        for asker in (cora, dora)
    ]
    decide(cora, open_looks[0], "reject", reason="disease")
    decide(dora, open_looks[1], "accept")
    assert state(app, review)[1][0].verdict == "reject"
    assert len([k for k in state(app, review)[2] if k.adjudicates and k.answer]) == 1


def test_a_conflict_that_is_none_any_more_is_not_settled(app):
    review = opened(app, looks=2, most=1)
    everything(Asker(app, "ana"), review)
    bea, cora = Asker(app, "bea"), Asker(app, "cora")
    everything(bea, review, "reject", "course")
    look = re.search(r'action="/looks/([0-9a-f]{24})"', cora.get(f"/reviews/{review}/conflicts/1").text)[1]
    bea.post(f"/reviews/{review}/undo")
    decide(cora, look, "reject", reason="disease")
    assert state(app, review)[1][0].verdict is None


def test_conflicts_of_a_closed_review_are_settled_by_another_one(app):
    first = opened(app, looks=2, most=2)
    everything(Asker(app, "ana"), first)
    everything(Asker(app, "bea"), first, "reject", "course")
    close(app, first)
    number = propose(app)
    assert "closed with 2 conflicts unsettled: open another review" in sign(app, number)[1].text
    second = opened(app, looks=1, most=1)
    everything(Asker(app, "cora"), second, "reject", "course")
    close(app, second)
    assert "closed with 1 conflicts unsettled" in sign(app, number)[1].text
    third = opened(app, looks=1, most=2)
    everything(Asker(app, "dora"), third)
    close(app, third)
    assert sign(app, number)[1].status_code == 303
    assert flags_of(app) == [("SYN-000000", "rejected", False)]


def test_decisions_brought_in_keep_the_mark_that_their_file_gives_them(app):
    review = opened(app, looks=1)
    rows = [
        {"patient_id": "SYN-000000", "answer": "reject", "reason": "copy", "saw_real_data": True},
        {"patient_id": "SYN-000001", "answer": "reject", "reason": "copy", "saw_real_data": False},
    ]
    assert Asker(app, "ana").call("POST", f"/reviews/{review}/decisions", {"rows": rows}).json() == {"new": 2}
    assert flags_of(app) == [("SYN-000000", "rejected", True), ("SYN-000001", "rejected", True)]
    # the second too: whoever holds a decision with the mark for this run has seen what it was taken on


def test_a_file_with_a_mark_that_cannot_be_read_is_marked(app):
    review = opened(app, looks=1)
    bea = Asker(app, "bea")
    content = "patient_id,answer,reason,saw_real_data\nSYN-000000,reject,copy,perhaps\n"
    fields = {"data": {"csrf": bea.csrf}, "files": {"file": ("mine.csv", content.encode())}}
    assert bea.client.post(f"/reviews/{review}/decisions", **fields).status_code == 303
    assert flags_of(app) == [("SYN-000000", "rejected", True)]


def test_whoever_settles_a_conflict_inherits_the_mark_of_the_answers_shown(app):
    mark(app, "ana")
    review = opened(app, looks=2, most=1)
    everything(Asker(app, "ana"), review, "reject", "copy")
    everything(Asker(app, "bea"), review)
    cora = Asker(app, "cora")
    look = re.search(r'action="/looks/([0-9a-f]{24})"', cora.get(f"/reviews/{review}/conflicts/1").text)[1]
    decide(cora, look, "accept")
    assert {k.saw_real_data for k in state(app, review)[2] if k.adjudicates} == {True}
    assert flags_of(app) == []  # nobody without the mark had rejected it: it would have stayed anyway
    close(app, review)
    later = opened(app, looks=1, most=2)
    everything(cora, later)
    assert {k.saw_real_data for k in state(app, later)[2]} == {True}


def test_keeping_a_patient_on_evidence_from_real_patients_blocks_as_removing_does(app):
    mark(app, "ana", "cora")
    review = opened(app, looks=2, most=2)
    everything(Asker(app, "ana"), review)
    everything(Asker(app, "bea"), review, "reject", "course")
    cora = Asker(app, "cora")
    for position, answer in ((1, "accept"), (2, "reject")):
        page = cora.get(f"/reviews/{review}/conflicts/{position}").text
        decide(cora, re.search(r'action="/looks/([0-9a-f]{24})"', page)[1], answer, reason="values")
    assert flags_of(app) == [("SYN-000000", "kept", True), ("SYN-000001", "rejected", True)]
    close(app, review)
    _, answer = sign(app, propose(app))
    assert "severe flag that read real patients (kept)" in answer.text


def test_the_signed_summary_rests_on_looks_without_the_mark_and_says_how_many_it_leaves_out(app, tmp_path):
    mark(app, "ana")
    review = opened(app, looks=2, most=4)
    everything(Asker(app, "ana"), review)
    everything(Asker(app, "bea"), review)
    close(app, review)
    olga, answer = sign(app, number := propose(app))
    assert answer.status_code == 303, answer.text
    (tmp_path / "signed.zip").write_bytes(olga.get(f"/releases/{number}/bundle").content)
    (said,) = read_approval(tmp_path / "signed.zip")["statement"]["review"]
    assert (said["looks"], said["people"], said["marked"]) == (4, 1, 4)
    assert (said["settled"], said["agreement"]["patients"]) == (0, 0)  # each verdict rests on a marked look too
    assert said["statement"].startswith("reviewed 4 of 156")
    assert said["statement"].endswith("4 looks of people who had seen flags that read real patients are not counted")


def test_nothing_is_signed_that_has_changed_since_the_officer_looked(app):
    number = propose(app)
    olga, _ = sign(app, number, password="wrong password!")
    seen = re.search(r'name="seen" value="([0-9a-f]{64})"', olga.get(f"/releases/{number}").text)[1]
    assert olga.call("GET", f"/releases/{number}").json()["seen"] == seen
    review = opened(app, looks=1, most=1)
    everything(Asker(app, "ana"), review, "reject", "values")
    close(app, review)
    _, answer = sign(app, number, seen=seen)
    assert answer.status_code == 400
    assert "has changed since you looked" in answer.text
    now = re.search(r'name="seen" value="([0-9a-f]{64})"', olga.get(f"/releases/{number}").text)[1]
    assert sign(app, number, seen=now)[1].status_code == 303


def test_a_bundle_that_was_changed_in_its_folder_is_not_handed_out(app):
    number = propose(app)
    olga, answer = sign(app, number)
    assert answer.status_code == 303
    path = app.state.house.workspace.run().folder / "release" / "CLAIM.md"
    path.write_text(path.read_text() + "- Everything is allowed.\n")
    answer = olga.get(f"/releases/{number}/bundle")
    assert (answer.status_code, "CLAIM.md" in answer.text) == (409, True)
    assert olga.call("GET", f"/releases/{number}/bundle").status_code == 409


def test_the_command_line_releases_nothing_past_the_reviews(app, cli):
    """What specialists rejected is left out there too, and an open review is in the way."""
    place = app.state.house.workspace
    ask = ("release", "--workspace", place.root, "--by", "Dr A", "--accept=subgroup/worst_auc")
    review = opened(app, looks=1, most=1)
    code, _, err = cli(*ask)
    assert (code, f"review {review} of this run is still open" in err) == (1, True)
    everything(Asker(app, "ana"), review, "reject", "values")
    close(app, review)
    assert cli(*ask)[0] == 0
    assert "SYN-000000" not in (place.run().folder / "release" / "synthetic_patients.csv").read_text()


def test_each_view_of_real_data_flags_is_in_the_log_and_no_other_view(app, database):
    close(app, opened(app, looks=1, most=1))
    assert "real-data flags viewed" not in kinds(database)
    mark(app, "ana", "bea")
    seen = [e.content for e in database.chain.read() if e.content["kind"] == "real-data flags viewed"]
    assert [(entry["by"], entry["patient"]) for entry in seen] == [("ana", "SYN-000000"), ("bea", "SYN-000000")]


@on_sqlite_alone
def test_who_can_write_an_address_into_a_header_is_not_believed_without_a_proxy(monkeypatch, tmp_path, cli):
    """Else each wrong password would come from an address of its own, and none would wait."""
    import uvicorn

    given = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: given.append(options["proxy_headers"]))
    assert cli("serve", "--workspace", tmp_path / "a")[0] == 0
    assert cli("serve", "--workspace", tmp_path / "b", "--name", "review.hospital.example")[0] == 0
    assert given == [False, True]


def test_a_patient_is_planted_in_nobodys_sight(app):
    """Neither the page, the JSON nor the own decisions taken out tell a spoiled copy from another patient."""
    review = opened(app, most=2, random=2, planted=2, looks=1)
    ana = Asker(app, "ana")
    shapes = set()
    while (look := ana.call("POST", f"/reviews/{review}/look").json())["look"]:
        shapes.add(json.dumps(sorted(look)))
        assert "planted" not in json.dumps(look).replace("transplanted", "")
        ana.call("POST", f"/looks/{look['look']}", {"answer": "accept"})
    assert len(shapes) == 1
    rows = ana.call("GET", f"/reviews/{review}/decisions").json()["decisions"]
    assert len(rows) == 6
    assert all("planted" not in row for row in rows)


def test_two_who_ask_at_once_get_two_patients(app, database, monkeypatch):
    """The second asks while the first's queue is being ordered, before the first holds the database."""
    review = opened(app, looks=1)
    with database.read() as connection:
        ana, bea = named(connection, "ana"), named(connection, "bea")
    in_order, beas = learning.in_order, []

    def meanwhile(connection, found, board):
        if not beas:
            beas.append(None)
            beas[0] = turns.next_look(database, review, bea)[1]
        return in_order(connection, found, board)

    monkeypatch.setattr(learning, "in_order", meanwhile)
    anas = turns.next_look(database, review, ana)[1]
    assert (beas[0].patient_id, anas.patient_id) == ("SYN-000000", "SYN-000001")
    assert turns.next_look(database, review, ana)[1].id == anas.id


def test_an_undone_decision_leaves_no_verdict_behind(app, database):
    review = opened(app, looks=1, most=1)
    ana = Asker(app, "ana")
    everything(ana, review, "reject", "values")
    ana.post(f"/reviews/{review}/undo")
    assert flags_of(app) == []
    with database.read() as connection:
        me = named(connection, "ana")
    assert turns.next_look(database, review, me)[1].reason == "values"
    with database.write() as write:
        assert write.connection.execute(ITEMS.select().where(ITEMS.c.review_id == review)).one().verdict is None
        assert len(write.connection.execute(LOOKS.select()).all()) == 2
