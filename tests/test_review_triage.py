"""Triage without a browser: queues, leases, blind looks, undo, conflicts, planted copies, agreement, and the verdicts' use."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import review_house
import review_run
from review_house import Asker

from synthgen.errors import DataError
from synthgen.flags import Flag
from synthgen.review import outcome as outcomes
from synthgen.review import reviews
from synthgen.review.agreement import agreement
from synthgen.review.records import Records, spoiled
from synthgen.review.tables import LOOKS
from synthgen.review.timeline import timeline


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with one finished run, made once."""
    place = review_house.workspace(tmp_path_factory.mktemp("triage"))
    review_run.finished(
        place, [*review_run.flags(12), Flag("SYN-000020", "near_copy", "severe", "Very near a patient.", True)]
    )
    return place


def opened(app, **wish) -> int:
    """A review, opened by the scientist."""
    run = app.state.house.workspace.run().id
    answer = Asker(app, "sam").post(
        "/reviews", run=run, **({"looks": 2, "most": 100, "random": 0, "planted": 0} | wish)
    )
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rsplit("/", 1)[1])


def look_at(asker: Asker, review: int) -> tuple[str, str] | None:
    """(look, patient) on the screen; None when nothing is left."""
    text = asker.get(f"/reviews/{review}/look").text
    found = re.search(r'action="/looks/([0-9a-f]{24})"', text)
    return (found[1], re.search(r"SYN-\d{6}", text)[0]) if found else None


def decide(asker: Asker, look: str, answer: str = "accept", **fields):
    return asker.post(f"/looks/{look}", answer=answer, **fields)


def everything(asker: Asker, review: int, answer: str = "accept", reason: str = "") -> int:
    """Decides all that is left; returns how many."""
    count = 0
    while (now := look_at(asker, review)) is not None:
        assert decide(asker, now[0], answer, reason=reason).status_code == 303
        count += 1
    return count


def state(app, review: int):
    with app.state.house.database.read() as connection:
        found = reviews.find(connection, review)
        return outcomes.outcome(connection, found), reviews.items(connection, review), reviews.looks(connection, review)


def test_the_default_queue_is_built_from_flags_that_read_no_real_data(app):
    _, items, _ = state(app, opened(app))
    assert [i.patient_id for i in items] == [f"SYN-{i:06d}" for i in range(12)]


def test_a_review_with_real_data_flags_marks_every_decision(app):
    review = opened(app, real_data="true", looks=1)
    ana = Asker(app, "ana")
    now = look_at(ana, review)
    assert now[1] == "SYN-000020"
    assert "read real patients" in ana.get(f"/reviews/{review}/look").text
    everything(ana, review, "reject", "copy")
    _, _, looks = state(app, review)
    assert all(k.saw_real_data for k in looks)
    with app.state.house.database.read() as connection:
        flags = outcomes.rejected(connection, app.state.house.workspace.run().id)
    assert flags
    assert all(f.reads_real_data and f.severity == "severe" for f in flags)


def test_whoever_saw_real_data_flags_of_a_run_is_marked_in_its_later_reviews_too(app):
    first = opened(app, real_data="true", looks=1, most=1)
    everything(Asker(app, "ana"), first)
    Asker(app, "sam").post(f"/reviews/{first}/close")
    second = opened(app, looks=2, most=2)
    everything(Asker(app, "ana"), second, "reject", "values")
    everything(Asker(app, "bea"), second, "reject", "values")
    _, _, looks = state(app, second)
    assert sorted(k.saw_real_data for k in looks) == [False, False, True, True]
    run = app.state.house.workspace.run().id
    with app.state.house.database.read() as connection:
        flags = outcomes.rejected(connection, run)
    assert [f.reads_real_data for f in flags] == [True, True]
    Asker(app, "sam").post(f"/reviews/{second}/close")
    third = opened(app, looks=1, most=1)
    everything(Asker(app, "cora"), third, "reject", "values")
    with app.state.house.database.read() as connection:
        flags = outcomes.rejected(connection, run)
    assert (flags[0].patient_id, flags[0].reads_real_data) == ("SYN-000000", False)


def test_two_reviewers_work_side_by_side_and_blind(app):
    review = opened(app)
    ana, bea, cora = (Asker(app, n) for n in ("ana", "bea", "cora"))
    first, second = look_at(ana, review), look_at(bea, review)
    assert first[1] == second[1]
    assert first[0] != second[0]
    assert look_at(cora, review)[1] != first[1]  # both looks of the first patient are leased
    decide(ana, first[0], "reject", reason="values", note="albumin and ascites")
    page = bea.get(f"/reviews/{review}/look").text
    assert "albumin and ascites" not in page
    assert "rejected" not in bea.get(f"/reviews/{review}").text


def test_a_lease_that_ran_out_is_given_to_the_next(app, database):
    review = opened(app, looks=1)
    ana, bea = Asker(app, "ana"), Asker(app, "bea")
    first = look_at(ana, review)
    assert look_at(bea, review)[1] != first[1]
    with database.write() as write:
        write.connection.execute(LOOKS.update().values(leased_until=0.0))
    cora = Asker(app, "cora")
    assert look_at(cora, review)[1] == first[1]
    assert decide(ana, first[0]).status_code == 303  # her answer is not lost


def test_autosave_keeps_reason_and_note_and_the_same_patient_comes_back(app):
    review = opened(app)
    ana = Asker(app, "ana")
    look, patient = look_at(ana, review)
    assert ana.post(f"/looks/{look}/draft", reason="course", note="half a sent").status_code == 204
    again = Asker(app, "ana")
    assert look_at(again, review) == (look, patient)
    page = again.get(f"/reviews/{review}/look").text
    assert "half a sent" in page
    assert re.search(r'value="course"[^>]* checked', page)


def test_deciding_twice_changes_nothing(app):
    review = opened(app)
    ana = Asker(app, "ana")
    look, _ = look_at(ana, review)
    decide(ana, look, "accept")
    second = decide(ana, look, "reject", reason="values")
    assert second.headers["location"].endswith("?said=already")
    _, _, looks = state(app, review)
    assert [k.answer for k in looks if k.answer] == ["accept"]


def test_a_rejection_needs_a_reason_and_the_note_is_kept(app):
    review = opened(app)
    ana = Asker(app, "ana")
    look, _ = look_at(ana, review)
    answer = decide(ana, look, "reject", note="because")
    assert answer.headers["location"].endswith("?said=reason")
    page = ana.get(answer.headers["location"]).text
    assert "press 1 to 9" in page
    assert "because" in page
    assert decide(ana, look, "perhaps").status_code == 400
    assert decide(ana, look, "reject", reason="whim").status_code == 400


def test_skipped_patients_come_last_and_are_free_for_others(app):
    review = opened(app, looks=1)
    ana, bea = Asker(app, "ana"), Asker(app, "bea")
    look, patient = look_at(ana, review)
    ana.post(f"/looks/{look}/skip")
    assert look_at(ana, review)[1] != patient
    assert look_at(bea, review)[1] == patient
    bea.post(f"/looks/{look_at(bea, review)[0]}/skip")
    seen = []
    while (now := look_at(ana, review)) is not None:
        seen.append(now[1])
        decide(ana, now[0])
    assert seen[-1] == patient
    assert len(seen) == 12


def test_the_last_ten_decisions_can_be_undone_and_no_more(app):
    review = opened(app)
    ana = Asker(app, "ana")
    everything(ana, review, "reject", "values")
    taken = []
    for _ in range(10):
        assert ana.post(f"/reviews/{review}/undo").headers["location"].endswith("undone")
        taken.append(look_at(ana, review)[1])
    assert ana.post(f"/reviews/{review}/undo").headers["location"].endswith("nothing")
    assert taken == [f"SYN-{i:06d}" for i in range(11, 1, -1)]
    assert "checked" in ana.get(f"/reviews/{review}/look").text  # what was chosen before is still chosen
    assert everything(ana, review) == 10
    _, _, looks = state(app, review)
    assert [k.answer for k in looks].count("accept") == 10


def test_an_undone_look_cannot_be_answered_by_an_old_page(app):
    review = opened(app)
    ana = Asker(app, "ana")
    look, _ = look_at(ana, review)
    decide(ana, look)
    ana.post(f"/reviews/{review}/undo")
    assert decide(ana, look, "reject", reason="values").headers["location"].endswith("already")
    assert not any(k.answer for k in state(app, review)[2])


def test_conflicts_are_settled_by_a_specialist_who_did_not_look(app):
    review = opened(app, most=3)
    ana, bea, cora = (Asker(app, n) for n in ("ana", "bea", "cora"))
    everything(ana, review)
    everything(bea, review, "reject", "course")
    found, _, _ = state(app, review)
    assert (found.settled, found.conflicts) == (0, 3)
    assert ana.get(f"/reviews/{review}/conflicts/1").status_code == 400
    page = cora.get(f"/reviews/{review}/conflicts/1").text
    assert "Settle the conflict" in page
    assert "course over time" in page
    assert "ana" not in page.replace("Main", "")
    look = re.search(r'action="/looks/([0-9a-f]{24})"', page)[1]
    assert decide(cora, look, "reject", reason="disease").headers["location"] == f"/reviews/{review}"
    found, items, _ = state(app, review)
    assert (found.settled, found.rejected, found.conflicts) == (1, 1, 2)
    assert items[0].verdict == "reject"
    assert cora.get(f"/reviews/{review}/conflicts/1").status_code == 400


def test_a_second_opinion_adds_one_look_once(app):
    review = opened(app, looks=1, most=1)
    ana, bea = Asker(app, "ana"), Asker(app, "bea")
    look, _ = look_at(ana, review)
    ana.post(f"/looks/{look}/opinion")
    ana.post(f"/looks/{look}/opinion")
    decide(ana, look)
    assert state(app, review)[0].settled == 0
    everything(bea, review)
    assert state(app, review)[0].settled == 1
    assert look_at(Asker(app, "cora"), review) is None


def test_planted_copies_are_hidden_leap_between_extremes_and_count_for_nothing_else(app):
    review = opened(app, most=4, random=3, planted=3, looks=1)
    found, items, _ = state(app, review)
    assert found.planted == 3
    assert len(items) == 10
    ana = Asker(app, "ana")
    pages = []
    while (now := look_at(ana, review)) is not None:
        text = ana.get(f"/reviews/{review}/look").text
        pages.append(text)
        assert "planted" not in text.replace("transplanted", "")
        decide(ana, now[0], "reject", reason="course")
    assert len(pages) == 10
    found, _, _ = state(app, review)
    assert (found.patients, found.rejected, found.planted_caught) == (7, 7, 3)
    with app.state.house.database.read() as connection:
        flags = outcomes.rejected(connection, app.state.house.workspace.run().id)
    planted = {i.patient_id for i in items if i.planted}
    assert len(flags) == 7
    assert not planted & {f.patient_id for f in flags}


def test_a_spoiled_copy_stays_within_the_bounds_and_changes_nothing_else(app):
    records = app.state.house.records(app.state.house.workspace.run().id)
    record = next(records[p] for p in records.ids if len(records[p].rows("visits")) > 4)
    copy = spoiled(record, records.dictionary, np.random.default_rng(1))
    changed = {n for a, b in zip(record.rows("visits"), copy.rows("visits"), strict=True) for n in a if a[n] != b[n]}
    assert len(changed) == 2
    for name in changed:
        low, high = records.dictionary.measurements[name].bounds
        assert all(low <= row[name] <= high for row in copy.rows("visits") if row[name] is not None)
    assert copy.patient == record.patient


def test_real_patients_have_no_way_in(app):
    records = app.state.house.records(app.state.house.workspace.run().id)
    import finished_run

    with pytest.raises(DataError, match="only synthetic"):
        Records(finished_run.context().train, records.dictionary)


def test_closing_ends_the_looks_and_shows_the_outcome_to_specialists(app):
    review = opened(app)
    ana, sam = Asker(app, "ana"), Asker(app, "sam")
    look, _ = look_at(ana, review)
    assert "agreement" not in ana.get(f"/reviews/{review}").text
    assert sam.post(f"/reviews/{review}/close").status_code == 303
    assert decide(ana, look).status_code == 400
    assert "agreement" in ana.get(f"/reviews/{review}").text


@pytest.mark.parametrize(
    "wish", [{"looks": 0}, {"looks": 9}, {"most": -1}, {"most": 10**6}, {"planted": 51}, {"random": 501}, {"most": 0}]
)
def test_reviews_that_make_no_sense_are_refused(app, wish):
    run = app.state.house.workspace.run().id
    fields = {"looks": 2, "most": 100, "random": 0, "planted": 0} | wish
    assert Asker(app, "sam").post("/reviews", run=run, **fields).status_code == 400


def test_one_review_of_a_run_at_a_time(app):
    opened(app)
    with pytest.raises(AssertionError, match="open already"):
        opened(app)


def test_another_specialists_look_does_not_exist(app):
    review = opened(app)
    ana, bea = Asker(app, "ana"), Asker(app, "bea")
    look, _ = look_at(ana, review)
    for path in ("", "/draft", "/skip", "/opinion"):
        assert bea.post(f"/looks/{look}{path}", answer="accept").status_code == 404
    assert not any(k.answer for k in state(app, review)[2])


def test_decisions_and_the_log_say_the_same(app, database):
    review = opened(app)
    everything(Asker(app, "ana"), review)
    everything(Asker(app, "bea"), review, "reject", "other")
    said = {e.content["look"]: e.content["answer"] for e in database.chain.read() if e.content["kind"] == "decision"}
    assert said == {k.id: k.answer for k in state(app, review)[2]}
    assert len(said) == 24


def test_kappa_of_fleiss_own_table():
    """Fleiss 1971: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    answers = [[str(i) for i, n in enumerate(row) for _ in range(n)] for row in counts]
    found = agreement(answers)
    assert round(found.kappa, 3) == 0.210
    assert found.low < found.kappa < found.high


def test_kappa_is_zero_by_chance_one_in_full_agreement_and_unknown_without_variety():
    rng = np.random.default_rng(0)
    chance = agreement([list(rng.choice(["accept", "reject"], 2)) for _ in range(400)])
    assert chance.low < 0 < chance.high
    assert agreement([["accept"] * 2, ["reject"] * 2]).kappa == 1
    assert agreement([["accept"] * 2] * 5).kappa is None
    assert agreement([["accept"]] * 5).patients == 0


def test_the_drawing_stays_inside_its_frame_and_marks_what_lies_outside_the_reference(app):
    records = app.state.house.records(app.state.house.workspace.run().id)
    for patient in records.ids[:40]:
        record = records[patient]
        t = timeline(record, records.dictionary)
        for panel in t.panels:
            for point in panel.points:
                assert 0 <= point.x <= t.width
                assert panel.y - 1 <= point.y <= panel.y + 60
        bilirubin = t.panels[0]
        values = [row["bilirubin"] for row in record.rows("visits") if row["bilirubin"] is not None]
        assert [p.where for p in bilirubin.points] == [
            "above" if v > 1.2 else "below" if v < 0.1 else "in" for v in values
        ]
        assert t.height < 1000


def test_a_patient_without_visits_is_still_shown(app):
    records = app.state.house.records(app.state.house.workspace.run().id)
    record = replace(records[records.ids[0]], tables={"visits": []})
    assert timeline(record, records.dictionary) is None


def test_terms_of_the_ontology_are_shown_with_their_names(tmp_path):
    import pandas as pd
    from conftest import ROOT

    from synthgen.cohort import Cohort
    from synthgen.config import load_job
    from synthgen.dictionary import read_dictionary
    from synthgen.planning import Plan
    from synthgen.review.app import create_app
    from synthgen.storage import write_cohort

    about = read_dictionary(ROOT / "configs" / "phenopackets" / "cohort.yaml")
    patient = {"patient_id": "SYN-000001", "disease": "OMIM:154700", "sex": "female", "vital_status": "alive"}
    patient |= {"onset": "childhood", "onset_days": 900, "last_seen_days": 9000}
    terms = [{"patient_id": "SYN-000001", "term": t, "status": s, "onset_days": None}
             for t, s in (("HP:0001166", "observed"), ("HP:0002616", "excluded"))]  # fmt: skip
    variant = {
        "patient_id": "SYN-000001",
        "gene": "FBN1",
        "variant_class": "missense",
        "allele_state": "heterozygous",
        "position": 0.3,
    }
    tables = {"patients": [patient], "phenotypes": terms, "variants": [variant]}
    cohort = Cohort.checked({name: pd.DataFrame(rows) for name, rows in tables.items()}, about, "synthetic")
    place = review_house.workspace(tmp_path)
    run = place.new_run(load_job(ROOT / "configs" / "pbc.yaml"), about, Plan(5805, 5000, None, (), None, None))
    write_cohort(cohort, run.path("synthetic"), ("parquet",))
    run.write_lines("flags.jsonl", [Flag("SYN-000001", "odd", "mild", "An odd pair of terms.", False)])
    run.write_json("stages.json", {s: {"seconds": 1.0, "peak_mb": 100} for s in review_run.STAGES})
    app = create_app(place)
    page = Asker(app, "ana").get(f"/reviews/{opened(app)}/look").text
    assert re.search(r"HP:0001166 Arachnodactyly</summary>[^<]*fingers[^<]*</details></td><td>observed", page)
    assert re.search(r"HP:0002616 Aortic root aneurysm</summary>[^<]+</details></td><td>excluded", page)
    assert "FBN1" in page
    assert "timeline-title" not in page  # nothing to draw
