"""From proposal to signed bundle: what is in the way and who can take it away, four eyes, signatures, expiry, and tampering."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
import review_house
import review_run
from review_house import PASSWORD, Asker

from synthgen.errors import ConfigError
from synthgen.findings import Finding
from synthgen.flags import Flag
from synthgen.review.app import create_app
from synthgen.review.approval import faults_of, read_approval
from synthgen.review.tables import RELEASES
from synthgen.workspace import Run

FAILED = Finding("membership", "tpr", 0.4, "fail", "Members are found too often.", "audit", 0.3, 0.5, 156)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One workspace with two runs: one that could be released once a finding is accepted, one that could not."""
    place = review_house.workspace(tmp_path_factory.mktemp("releases"))
    severe = Flag("SYN-000050", "near_copy", "severe", "Very near a patient.", True)
    review_run.finished(place, [severe], [FAILED])
    review_run.finished(place, review_run.flags(8), [review_run.INCONCLUSIVE])
    return place


def proposed(app, index: int = -1) -> int:
    run = app.state.house.workspace.runs()[index].id
    answer = Asker(app, "sam").post("/releases", run=run, purpose="a methods course")
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rsplit("/", 1)[1])


def accept(asker: Asker, number: int, finding: str = "subgroup/worst_auc"):
    return asker.post(f"/releases/{number}/accept", finding=finding, reason="few men have this disease")


def approve(asker: Asker, number: int, **fields):
    given = {"reason": "the claim holds", "password": PASSWORD, "days": 30} | fields
    return asker.post(f"/releases/{number}/approve", **given)


def approved(app) -> tuple[Asker, int]:
    number = proposed(app)
    olga = Asker(app, "olga")
    assert accept(olga, number).status_code == 303
    answer = approve(olga, number)
    assert answer.status_code == 303, answer.text
    return olga, number


def bundle(asker: Asker, number: int, folder):
    """The signed release, taken along."""
    answer = asker.get(f"/releases/{number}/bundle")
    assert answer.status_code == 200
    path = folder / "signed.zip"
    path.write_bytes(answer.content)
    return path


def test_the_page_lists_what_is_in_the_way_and_who_can_take_it_away(app):
    number = proposed(app, 0)
    page = Asker(app, "olga").get(f"/releases/{number}").text
    assert re.search(r"membership/tpr failed: .*?</td><td[^>]*>scientist", page)
    assert re.search(
        r"SYN-000050 has an open severe flag that read real patients.*?</td><td[^>]*>scientist", page, re.DOTALL
    )
    other = Asker(app, "olga").get(f"/releases/{proposed(app)}").text
    assert re.search(r"subgroup/worst_auc is inconclusive.*?</td><td[^>]*>officer", other, re.DOTALL)
    assert "No specialist has looked at this run" in other


def test_what_is_in_the_way_refuses_the_signature_too(app):
    number = proposed(app, 0)
    answer = approve(Asker(app, "olga"), number)
    assert answer.status_code == 400
    assert "membership/tpr failed" in answer.text
    assert not (app.state.house.workspace.runs()[0].folder / "release").exists()


def test_an_open_review_is_in_the_way_until_it_is_closed_and_rejected_patients_are_left_out(app, tmp_path):
    run = app.state.house.workspace.runs()[-1].id
    sam, ana = Asker(app, "sam"), Asker(app, "ana")
    fields = {"run": run, "looks": 1, "most": 3, "random": 0, "planted": 0}
    review = sam.post("/reviews", **fields).headers["location"].rsplit("/", 1)[1]
    for _ in range(3):
        look = re.search(r"/looks/([0-9a-f]{24})", ana.get(f"/reviews/{review}/look").text)[1]
        ana.post(f"/looks/{look}", answer="reject", reason="values")
    number = proposed(app)
    olga = Asker(app, "olga")
    accept(olga, number)
    assert "is still open" in approve(olga, number).text
    sam.post(f"/reviews/{review}/close")
    assert approve(olga, number).status_code == 303
    path = bundle(olga, number, tmp_path)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "out")
    left = pd.read_parquet(tmp_path / "out" / "release" / "synthetic_patients.parquet")
    assert not {"SYN-000000", "SYN-000001", "SYN-000002"} & set(left["patient_id"])
    statement = read_approval(path)["statement"]
    assert (statement["patients"], statement["left_out"]) == (len(left), 3)
    assert statement["review"][0]["rejected"] == 3


def test_rejections_that_saw_real_data_flags_block_instead(app):
    run = app.state.house.workspace.runs()[-1].id
    sam, ana = Asker(app, "sam"), Asker(app, "ana")
    fields = {"run": run, "looks": 1, "most": 1, "random": 0, "planted": 0, "real_data": "true"}
    review = sam.post("/reviews", **fields).headers["location"].rsplit("/", 1)[1]
    look = re.search(r"/looks/([0-9a-f]{24})", ana.get(f"/reviews/{review}/look").text)[1]
    ana.post(f"/looks/{look}", answer="reject", reason="copy")
    sam.post(f"/reviews/{review}/close")
    number = proposed(app)
    olga = Asker(app, "olga")
    accept(olga, number)
    assert "severe flag that read real patients (rejected)" in approve(olga, number).text


def test_only_inconclusive_findings_can_be_accepted_and_only_by_name(app):
    number = proposed(app)
    olga = Asker(app, "olga")
    for finding in ("membership/auc", "nonsense", "", "subgroup", "*", "membership/*"):
        assert accept(olga, number, finding).status_code in (400, 422)
    assert approve(olga, number).status_code == 400


def test_a_check_is_accepted_finding_by_finding(app):
    """`subgroup/*` is written down and logged under each finding's own name; the release can then be approved."""
    number = proposed(app)
    olga = Asker(app, "olga")
    assert accept(olga, number, "subgroup/*").status_code == 303
    text = olga.get("/log").text
    assert "subgroup/worst_auc" in text
    assert "subgroup/*" not in text
    assert approve(olga, number).status_code == 303


def test_whoever_proposes_does_not_approve_and_a_wrong_password_signs_nothing(app):
    from synthgen.review import people, releases

    house = app.state.house
    with house.database.write() as write:
        olga = people.named(write.connection, "olga")
        number = releases.propose(write, house.workspace.runs()[-1], "a methods course", olga)
    asker = Asker(app, "olga")
    accept(asker, number)
    answer = approve(asker, number)
    assert answer.status_code == 400
    assert "does not approve it" in answer.text
    assert approve(Asker(app, "otto"), number, password="wrong password!").status_code == 403
    assert approve(Asker(app, "otto"), number, days=0).status_code == 400
    assert approve(Asker(app, "otto"), number, reason=" ").status_code == 400
    assert approve(Asker(app, "otto"), number).status_code == 303
    assert approve(Asker(app, "otto"), number).status_code == 400  # once


def test_a_signed_release_is_whole_anywhere_and_carries_no_number_from_inside(app, tmp_path, cli):
    olga, number = approved(app)
    path = bundle(olga, number, tmp_path)
    key = re.search(r"<code>([0-9a-f]{64})</code>", olga.get("/account").text)[1]
    assert faults_of(path, key) == []
    code, out, _ = cli("release", "verify", path, "--key", key, "--json")
    assert (code, json.loads(out)["faults"], json.loads(out)["signed"]) == (0, [], True)
    with zipfile.ZipFile(path) as archive:
        text = " ".join(
            archive.read(n).decode("utf-8", "replace") for n in archive.namelist() if not n.endswith(".parquet")
        )
    assert "worst_auc" in text  # what was accepted is said by name
    assert "0.55" not in json.dumps(read_approval(path)["statement"]["accepted"])
    assert "0.511379" not in text


def test_a_key_of_somebody_else_and_an_expired_approval_are_faults(app, tmp_path):
    olga, number = approved(app)
    path = bundle(olga, number, tmp_path)
    other = re.search(r"<code>([0-9a-f]{64})</code>", Asker(app, "otto").get("/account").text)[1]
    assert faults_of(path, other) == ["APPROVAL.json is not signed with the key given"]
    assert "expired" in faults_of(path, now=datetime.now(UTC) + timedelta(days=31))[0]


def _another_digit(found: re.Match[bytes]) -> bytes:
    return found[1] + (b"1" if found[2] == b"0" else b"0")


TAMPERINGS = {
    "a value in the data": ("release/synthetic_patients.csv", lambda b: b.replace(b",f,", b",m,", 1)),
    "the claim": ("release/claim.json", lambda b: b.replace(b'"epsilon": 2', b'"epsilon": 1', 1)),
    "the sums": ("release/SHA256SUMS", lambda b: b.replace(b"0", b"1", 1)),
    "who approved": ("APPROVAL.json", lambda b: b.replace(b"olga", b"otto")),
    "the term": ("APPROVAL.json", lambda b: b.replace(b'"expires_at": 1', b'"expires_at": 9')),
    "the signature": ("APPROVAL.json", lambda b: re.sub(rb'("signature": "..)(.)', _another_digit, b)),
    "a file taken out": ("release/CLAIM.md", lambda b: None),
    "the approval emptied": ("APPROVAL.json", lambda b: b"{}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def signed(template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    olga, number = approved(create_app(review_house.copy(template, folder)))
    return bundle(olga, number, folder)


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_tampered_release_is_refused(signed, tmp_path, what, cli):
    name, change = TAMPERINGS[what]
    path = tmp_path / "tampered.zip"
    changed = False
    with zipfile.ZipFile(signed) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            put = change(content) if entry == name else content
            changed |= put != content
            if put is not None:
                new.writestr(entry, put)
    assert changed
    assert faults_of(path) != []
    assert cli("release", "verify", path)[0] == 1


def test_a_file_added_to_a_release_is_a_fault_and_a_name_that_climbs_is_not_unpacked(signed, tmp_path):
    shutil.copy(signed, tmp_path / "added.zip")
    with zipfile.ZipFile(tmp_path / "added.zip", "a") as archive:
        archive.writestr("release/extra.csv", "x")
    assert faults_of(tmp_path / "added.zip") == ["extra.csv was not there"]
    shutil.copy(signed, tmp_path / "climbs.zip")
    with zipfile.ZipFile(tmp_path / "climbs.zip", "a") as archive:
        archive.writestr("../climbed", "x")
    with pytest.raises(ConfigError, match="climb"):
        faults_of(tmp_path / "climbs.zip")
    assert not (tmp_path.parent / "climbed").exists()
    with pytest.raises(ConfigError):
        faults_of(tmp_path / "nothing.zip")


def test_withdrawing_ends_it_and_the_run_can_be_proposed_again_and_compared(app):
    olga, number = approved(app)
    assert olga.post(f"/releases/{number}/withdraw", reason="consent withdrawn", password=PASSWORD).status_code == 303
    assert olga.get(f"/releases/{number}/bundle").status_code == 409
    assert "cannot be called back" in olga.get(f"/releases/{number}").text
    second = proposed(app)
    page = olga.get(f"/releases/{second}").text
    assert "Different from the release before" in page
    assert "Nothing that is stated differs" in page
    accept(olga, second)
    assert approve(olga, second).status_code == 303
    assert olga.get(f"/releases/{second}/bundle").status_code == 200


def test_refusing_keeps_the_reason_and_ends_the_proposal(app):
    number = proposed(app)
    otto = Asker(app, "otto")
    assert otto.post(f"/releases/{number}/refuse", reason="too few men", password=PASSWORD).status_code == 303
    assert "too few men" in Asker(app, "sam").get(f"/releases/{number}").text
    assert approve(otto, number).status_code == 400
    assert proposed(app) != number


def test_an_expired_release_cannot_be_taken_along(app):
    olga, number = approved(app)
    with app.state.house.database.write() as write:
        write.connection.execute(RELEASES.update().values(expires_at=write.now - 1))
    assert "expired" in olga.get("/releases").text
    assert olga.get(f"/releases/{number}/bundle").status_code == 409


def test_data_changed_after_the_report_is_not_signed(app):
    number = proposed(app)
    path = app.state.house.workspace.runs()[-1].folder / "flags.jsonl"
    path.write_text("")
    olga = Asker(app, "olga")
    accept(olga, number)
    answer = approve(olga, number)
    assert answer.status_code == 400
    assert "flags.jsonl has changed" in answer.text


def test_what_a_killed_approval_left_is_set_aside_and_never_taken_for_a_release(app):
    number = proposed(app)
    run = app.state.house.workspace.runs()[-1]
    (run.folder / "release").mkdir()
    (run.folder / "release" / "half").write_text("written")
    olga = Asker(app, "olga")
    accept(olga, number)
    assert approve(olga, number).status_code == 303
    assert not (run.folder / "release" / "half").exists()


def test_the_officer_sets_the_cap_and_sees_every_run_in_the_history(app):
    olga = Asker(app, "olga")
    page = olga.get("/privacy/pbc").text
    for run in app.state.house.workspace.runs():
        assert run.id in page
    assert olga.post("/privacy/pbc/cap", cap="4", password="wrong password!").status_code == 403
    assert olga.post("/privacy/pbc/cap", cap="4", password=PASSWORD).status_code == 303
    assert "above the cap of 4" in olga.get(f"/releases/{proposed(app)}").text
    for cap in ("0", "-1", "nan", "inf", "x"):
        assert olga.post("/privacy/pbc/cap", cap=cap, password=PASSWORD).status_code in (400, 422)
    assert olga.get("/privacy/nothing").status_code == 400


def test_the_ledgers_root_is_shown_and_verified(app):
    olga = Asker(app, "olga")
    root = re.search(r"<code>(\d+:[0-9a-f]{64})</code>", olga.get("/privacy").text)[1]
    assert "chain is sound" in olga.post("/privacy/verify", root=root).text
    number, digest = root.split(":")
    assert "was changed" in olga.post("/privacy/verify", root=f"{int(number) + 5}:{digest}").text
    assert olga.post("/privacy/verify", root="nonsense").status_code == 400


def test_withdrawn_consent_erases_models_and_answers_says_what_it_means_and_ends_the_runs_release(app):
    olga = Asker(app, "olga")
    number = proposed(app)
    assert "cannot be called back" in olga.get("/privacy/pbc").text
    assert olga.post("/privacy/pbc/consent", reason="one patient", password=PASSWORD).status_code == 303
    for run in app.state.house.workspace.runs():
        assert not (run.folder / "models").exists()
        assert not (run.folder / "answers").exists()
    accept(olga, number)
    assert "is missing since the report" in approve(olga, number).text
    kinds = [e.content["kind"] for e in app.state.house.database.chain.read()]
    assert "consent withdrawn" in kinds


def test_models_are_erased_once_their_term_is_over_and_not_before(app):
    olga = Asker(app, "olga")
    run, *younger = app.state.house.workspace.runs()
    ask = {"days": 30, "password": PASSWORD}
    assert olga.post("/privacy/pbc/retention", **ask).status_code == 303
    assert (run.folder / "models").exists()
    for other in (run, *younger):  # a file's date is no record: copying and restoring change it
        os.utime(other.folder / "job.json", (0, 0))
    assert olga.post("/privacy/pbc/retention", **ask).status_code == 303
    assert (run.folder / "models").exists()
    long_ago = datetime.fromtimestamp(run.begun - 31 * 86_400, UTC).strftime("%Y%m%d-%H%M%S")
    run = Run(run.folder.rename(run.folder.with_name(long_ago + run.id[15:])))
    assert olga.post("/privacy/pbc/retention", **ask | {"password": "wrong"}).status_code == 403
    assert (run.folder / "models").exists()
    assert olga.post("/privacy/pbc/retention", **ask).status_code == 303
    assert not (run.folder / "models").exists()
    assert not (run.folder / "answers").exists()
    assert all((other.folder / "models").exists() for other in younger)
    logged = [e.content for e in app.state.house.database.chain.read() if e.content["kind"] == "retention ended"]
    assert [entry["runs"] for entry in logged] == [[], [], [run.id]]
    run.folder.rename(run.folder.with_name("pbc"))
    answer = olga.post("/privacy/pbc/retention", **ask)
    assert answer.status_code == 404
    assert "does not say when the run began" in answer.text


def test_the_log_holds_the_ledgers_entries_and_shows_every_decision(app):
    from synthgen.review import log

    olga, number = approved(app)
    olga.get(f"/releases/{number}")
    page = olga.get("/log").text
    for said in ("release proposed", "finding accepted", "release approved", "release viewed", "ledger"):
        assert said in page
    database = app.state.house.database
    assert log.verify(database).ok
    taken = [e.content["number"] for e in database.chain.read() if e.content["kind"] == "ledger"]
    assert taken == list(range(1, len(taken) + 1))
    with database.chain.transaction(exclusive=True) as connection:
        connection.exec_driver_sql("UPDATE ledger SET hash = 'zz' || substr(hash, 3) WHERE number = 2")
    assert "took over" in log.verify(database).text
