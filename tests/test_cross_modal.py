"""Whole patients: days in order, pictures beside notes, every planted error noticed by a check. All patients are simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from clinic import CLINIC, clinic
from cohorts import simulated, two_labs
from conftest import ROOT
from planted import ERRORS, TOLD, planted

from fidelity.cross_modal import CrossModal, claimed, out_of_order, pairs
from fidelity.images.agreement import ImageAgreement
from fidelity.notes.factuality import Factuality
from synthgen.auditing.notes import audit_notes
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence
from synthgen.flagging import flag
from synthgen.linked_simulation import simulate_linked
from synthgen.queue import for_release

Parts = tuple[Cohort, Cohort, Cohort]


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return read_dictionary(ROOT / "configs/linked/cohort.yaml")


@pytest.fixture(scope="module")
def parts(dictionary: Dictionary) -> Parts:
    """Training, holdout and synthetic patients of one population, 150 each, with pictures and notes."""
    whole = simulate_linked(dictionary, 450, np.random.default_rng(0))
    train, holdout, made = (whole.of(list(whole.ids)[i::3]) for i in range(3))
    return train, holdout, replace(made, origin="synthetic")


def evidence(dictionary: Dictionary, parts: Parts, synthetic: Cohort | None = None) -> Evidence:
    return Evidence(dictionary, parts[0], parts[1], synthetic or parts[2], parts[0], np.random.default_rng(1))


def on_days(*days: int) -> Cohort:
    """The patient of `clinic`, who dies on day 800, with a note on each of these days: no cohort that was read has late ones."""
    cohort = clinic([(0, str(number)) for number, _ in enumerate(days)])
    assert cohort.notes is not None
    return replace(cohort, notes=cohort.notes.assign(day=pd.Series(days, dtype="Int64")))


def test_days_out_of_order_by_hand():
    rows = out_of_order(on_days(0, 800, 801), CLINIC)
    assert rows["wrong"].tolist() == [False, False, True]
    assert set(rows["end"]) == {800}


def test_a_late_note_is_flagged_and_on_time_nothing_is():
    late, on_time = on_days(0, 900), on_days(*range(10))
    of_late, of_none = (
        Evidence(CLINIC, on_time, on_time, c, on_time, np.random.default_rng(0)) for c in (late, on_time)
    )
    assert [(f.metric, f.value, f.verdict) for f in CrossModal().run(of_late)] == [("order", 0.5, "fail")]
    (flag,) = CrossModal().flags(of_late)
    assert (flag.patient_id, flag.severity, flag.reads_real_data) == ("SYN-1", "severe", False)
    assert flag.text == "A note is of day 900, after follow-up ended on day 800."
    assert not CrossModal().flags(of_none)


def test_what_a_note_claims_of_a_condition():
    told = claimed(
        clinic(
            [(0, "Stage 2. No ascites. Previously stage 4."), (200, "There is edema. Randomised treatment: feverine")]
        ),
        CLINIC,
    )
    assert told["histologic_stage"].to_numpy().tolist() == [["SYN-1", 0, 1]]
    assert told["ascites"].to_numpy().tolist() == [["SYN-1", 0, 0]]
    assert told["arm"].to_numpy().tolist() == [["SYN-1", 200, 1]]
    assert "edema" not in told  # of no grade


def test_a_picture_goes_with_the_nearest_note():
    pictures = pd.DataFrame({"patient_id": ["a", "a", "b", "c"], "day": [0.0, 400.0, 0.0, np.nan]})
    claims = pd.DataFrame({"patient_id": ["a", "a", "b", "c"], "day": [10.0, 390.0, 184.0, 50.0], "code": [1, 2, 3, 4]})
    found = pairs(pictures, claims)
    assert found[["row", "code"]].to_numpy().tolist() == [[0, 1], [1, 2], [3, 4]]  # b's note is half a year away
    assert pairs(pictures, claims, np.inf)["code"].tolist() == [1, 2, 3, 4]


def test_pictures_and_notes_of_one_patient_agree_as_in_real_ones(dictionary: Dictionary, parts: Parts):
    (found,) = [f for f in CrossModal().run(evidence(dictionary, parts)) if f.name == "cross-modal/image_note/stage"]
    assert found.ceiling is not None
    assert found.floor is not None
    assert abs(found.value - found.ceiling) < 0.12  # of 150 patients
    assert found.value > found.floor + 0.1
    assert found.low <= found.value <= found.high


def test_pictures_of_other_patients_do_not(dictionary: Dictionary, parts: Parts):
    wrong, _ = planted("picture: another patient's", parts[2], parts[0], dictionary, np.random.default_rng(2), 1.0)
    by_name = {f.name: f for f in CrossModal().run(evidence(dictionary, parts, wrong))}
    found = by_name["cross-modal/image_note/stage"]
    assert found.low < found.floor + 0.05
    assert found.verdict in ("fail", "inconclusive")
    (record,) = [f for f in ImageAgreement().run(evidence(dictionary, parts, wrong)) if f.column == "stage"]
    assert record.verdict in ("fail", "inconclusive")


@pytest.mark.parametrize(
    "name", [n for n, e in ERRORS.items() if n not in TOLD and e.flagged_by in ("cross-modal", "note-factuality")]
)
def test_planted_errors_are_flagged(name: str, dictionary: Dictionary, parts: Parts):
    wrong, touched = planted(name, parts[2], parts[0], dictionary, np.random.default_rng(3))
    check = {"cross-modal": CrossModal(), "note-factuality": Factuality()}[str(ERRORS[name].flagged_by)]
    seen = {f.patient_id for f in check.flags(evidence(dictionary, parts, wrong))}
    with_any = touched & set(wrong.notes["patient_id"]) if name.startswith("note") else touched
    assert seen
    assert not seen - touched
    if name in (
        "note: dated after the end",
        "picture: dated after the end",
        "note: other units",
        "note: another patient's",
    ):
        assert len(seen) >= 0.9 * len(with_any)


def test_contradictory_notes_lie_in_the_queue_with_patient_reason_and_place(dictionary: Dictionary, parts: Parts):
    wrong, touched = planted("note: another outcome", parts[2], parts[0], dictionary, np.random.default_rng(3))
    raised = Factuality().flags(evidence(dictionary, parts, wrong))
    told = [f for f in for_release(flag(wrong, dictionary, raised)) if f.reason == "note_contradicts_record"]
    assert {f.patient_id for f in told} == touched
    assert wrong.notes is not None
    for one in told:
        assert "record" in one.text
        text = list(wrong.notes.loc[wrong.notes["patient_id"] == one.patient_id, "text"])[one.evidence["note"]]
        assert text[one.evidence["start"] : one.evidence["end"]].strip()


@pytest.mark.parametrize("name", ["note: copied from training", "note: a name and a telephone number"])
def test_leaks_are_noticed_by_the_audit(name: str, dictionary: Dictionary, parts: Parts):
    wrong, touched = planted(name, parts[2], parts[0], dictionary, np.random.default_rng(3))
    findings, flags = audit_notes(evidence(dictionary, parts, wrong))
    verdicts = {f.name: f.verdict for f in findings}
    assert verdicts[str(ERRORS[name].failed_by)] == "fail"
    assert flags
    assert {f.patient_id for f in flags} <= touched


def test_a_cohort_of_records_alone_is_not_judged():
    bare = two_labs()
    cohort = simulated(bare, 20)
    nothing = Evidence(bare, cohort, cohort, cohort, cohort, np.random.default_rng(0))
    assert list(CrossModal().run(nothing)) == list(CrossModal().flags(nothing)) == []
