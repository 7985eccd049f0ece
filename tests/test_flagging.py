"""Flags that need no real patient, and the queue, on hand-worked patients."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.flagging import ALIKE, duplicated, flag, frozen, near_duplicates, on_bounds
from synthgen.flags import Flag
from synthgen.queue import TWINS, among, for_release, patients_of, ranked, shown_once

ABOUT = Dictionary.model_validate(
    {
        "name": "small",
        "title": "Invented patients",
        "declared_patients": 10,
        "tables": {
            "patients": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "age": {"type": "continuous", "bounds": [0, 100]},
                    "sex": {"type": "categorical", "categories": ["f", "m"]},
                }
            },
            "visits": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "day": {"type": "integer", "bounds": [0, 1000]},
                    "bilirubin": {
                        "type": "continuous",
                        "bounds": [0.1, 100],
                        "scale": "log",
                        "missing": True,
                        "unit": "mg/dL",
                    },
                    "albumin": {"type": "continuous", "bounds": [1, 6], "missing": True, "label": "Albumin in serum"},
                    "score": {"type": "integer", "bounds": [0, 3]},
                    "stage": {"type": "ordinal", "categories": ["1", "2"]},
                }
            },
        },
    }
)


def cohort(**visits: list[tuple[float | None, float | None]]) -> Cohort:
    """Patients by id, each with (bilirubin, albumin) at visits 100 days apart; all 50 years old and female."""
    rows = [
        (patient, 100 * i, bilirubin, albumin, 0, "1")
        for patient, values in visits.items()
        for i, (bilirubin, albumin) in enumerate(values)
    ]
    columns = ["patient_id", "day", "bilirubin", "albumin", "score", "stage"]
    patients = pd.DataFrame({"patient_id": list(visits), "age": 50.0, "sex": "f"})
    return Cohort.checked({"patients": patients, "visits": pd.DataFrame(rows, columns=columns)}, ABOUT, "synthetic")


UNUSUAL = ("level", "combination")
"""Reasons that tell a value from simulated patients'."""
MOVING = [(1.0, 4.0), (1.3, 3.8), (1.1, 3.9), (1.7, 3.7), (2.0, 3.5)]


def shifted(by: float) -> list[tuple[float, float]]:
    """MOVING with its third albumin moved by a share of the column's range."""
    return [(b, a + by * 5 if i == 2 else a) for i, (b, a) in enumerate(MOVING)]


class TestNearDuplicates:
    def test_within_one_percent_of_the_public_range(self):
        made = cohort(A=MOVING, B=shifted(0.9 * ALIKE), C=shifted(1.5 * ALIKE), D=MOVING)
        assert near_duplicates(made, ABOUT) == {"B": "A", "D": "A"}

    def test_the_range_is_logarithmic_where_the_column_is(self):
        """0.9% of three decades is a factor of 1.064."""
        near, far = ([(b * by, a) for b, a in MOVING] for by in (1.064, 1.08))
        assert near_duplicates(cohort(A=MOVING, B=near, C=far), ABOUT) == {"B": "A"}

    @pytest.mark.parametrize("change", ["fewer", "missing"])
    def test_other_rows_or_other_gaps_are_other_patients(self, change):
        other = MOVING[:-1] if change == "fewer" else [*MOVING[:-1], (2.0, None)]
        assert near_duplicates(cohort(A=MOVING, B=other), ABOUT) == {}

    def test_another_category_is_another_patient(self):
        made = cohort(A=MOVING, B=MOVING)
        made.patients["sex"] = pd.Categorical(["f", "m"], ["f", "m"])
        assert near_duplicates(made, ABOUT) == {}

    def test_agrees_with_comparing_all_pairs(self):
        """A grid in one value, so that chains of neighbours have to be cut as by hand: the first one stands for its reach."""
        rng = np.random.default_rng(3)
        shifts = rng.uniform(0, 0.1, 30)
        made = cohort(**{f"P{i:02d}": shifted(by) for i, by in enumerate(shifts)})
        standing: dict[int, int] = {}
        for i in range(30):
            if i not in standing:
                for j in range(30):
                    if j not in standing and abs(shifts[i] - shifts[j]) <= ALIKE:
                        standing[j] = i
        expected = {f"P{j:02d}": f"P{i:02d}" for j, i in standing.items() if i != j}
        assert near_duplicates(made, ABOUT) == expected

    def test_a_cohort_without_visits(self):
        patients = pd.DataFrame({"patient_id": ["A", "B"], "age": [50.0, 50.5], "sex": ["f", "f"]})
        bare = ABOUT.model_copy(update={"tables": {"patients": ABOUT.tables["patients"]}})
        assert near_duplicates(Cohort.checked({"patients": patients}, bare, "synthetic"), bare) == {"B": "A"}


def test_one_flag_for_a_group_of_copies():
    [raised] = duplicated(near_duplicates(cohort(C=MOVING, B=MOVING, A=MOVING, D=shifted(0.3)), ABOUT))
    assert patients_of(raised) == ("A", "B", "C")
    assert not raised.reads_real_data
    assert "3 times" in raised.text


def test_several_values_on_a_bound():
    made = cohort(A=[(0.1, 4.0), (0.1, 3.9), (100.0, 4.1)], B=[(0.1, 4.0), (0.1, 3.9), (1.0, 4.1)], C=MOVING)
    [raised] = on_bounds(made, ABOUT)
    assert (raised.patient_id, raised.reason, raised.severity) == ("A", "on_bound", "moderate")
    assert raised.evidence == {"bilirubin": [0.1, 100.0]}
    assert raised.score == pytest.approx(3 / 6)
    assert "3 of 6 measurements" in raised.text
    assert "bilirubin at 0.1 mg/dL" in raised.text


def test_a_few_hits_in_a_long_record_are_chance():
    assert on_bounds(cohort(A=[(0.1, 4.0)] * 3 + [(1.0, 3.9)] * 5), ABOUT) == []


def test_coarse_columns_may_lie_on_a_bound_and_stand_still():
    """`score` is 0 at every visit of every patient here. Whether 0 is usual is another question, which `UNUSUAL` flags ask."""
    assert [f for f in flag(cohort(A=MOVING), ABOUT) if f.reason not in UNUSUAL] == []


def test_frozen_trajectory():
    made = cohort(A=[(1.2, a) for _, a in MOVING], B=[(1.2, 4.0)] * 5, C=[(1.2, 4.0)] * 4, D=MOVING)
    by_patient = {raised.patient_id: raised for raised in frozen(made, ABOUT)}
    assert {p: f.severity for p, f in by_patient.items()} == {"A": "mild", "B": "moderate"}
    assert by_patient["A"].evidence == {"bilirubin": 1.2}
    assert by_patient["B"].evidence == {"bilirubin": 1.2, "albumin": 4.0}
    assert "Albumin in serum always 4" in by_patient["B"].text
    assert "5 visits" in by_patient["B"].text


def test_missing_values_do_not_make_a_trajectory_long():
    assert frozen(cohort(A=[(1.2, 4.0 + i / 10) for i in range(4)] + [(None, 4.5), (None, 4.6)]), ABOUT) == []


@pytest.mark.parametrize(("value", "flagged"), [(0.4, False), (1.2, True)])
def test_rounding_may_hold_a_small_value_still(value, flagged):
    tables = ABOUT.tables["visits"].columns
    rounded = tables | {"bilirubin": tables["bilirubin"].model_copy(update={"decimals": 1})}
    visits = ABOUT.tables["visits"].model_copy(update={"columns": rounded})
    about = ABOUT.model_copy(update={"tables": ABOUT.tables | {"visits": visits}})
    assert bool(frozen(cohort(A=[(value, a) for _, a in MOVING]), about)) == flagged


def raised(patient: str, severity: str = "mild", real: bool = False, score: float = 0.0, reason: str = "r") -> Flag:
    return Flag(patient, reason, severity, "Odd.", real, {}, score)


class TestQueue:
    def test_severity_then_mark_then_score(self):
        expected = [
            raised("A", "severe", score=0.1),
            raised("B", "severe", real=True, score=0.9),
            raised("C", "moderate", score=0.8),
            raised("D", "moderate", score=0.2),
            raised("E", "mild", score=1.0),
        ]
        for order in itertools.permutations(expected):
            assert ranked(order) == expected

    def test_for_release_holds_no_real_data_flag_and_no_order_of_one(self):
        flags = [raised("B", "severe", real=True), raised("C"), raised("A", "moderate")]
        assert [f.patient_id for f in for_release(flags)] == ["A", "C"]

    def test_near_duplicates_are_shown_once(self):
        [shown] = shown_once([raised("B"), raised("A"), raised("C")], {"B": "A", "C": "A"})
        assert patients_of(shown) == ("A", "B", "C")

    def test_nothing_is_hidden_behind_a_milder_flag_or_another_mark(self):
        flags = [
            raised("A", "mild"),
            raised("B", "severe"),
            raised("C", "severe", real=True),
            raised("D", reason="other"),
        ]
        shown = shown_once(flags, {"B": "A", "C": "A", "D": "A"})
        assert sorted(shown, key=lambda f: f.patient_id) == flags

    def test_the_queue_for_release_does_not_depend_on_real_data_flags(self):
        twin_of = {"B": "A", "C": "A"}
        clean = [raised("B"), raised("C")]
        real = [raised("A", real=True), raised("C", "severe", real=True)]
        assert for_release(shown_once([*real, *clean], twin_of)) == for_release(shown_once(clean, twin_of))

    def test_doing_it_twice_changes_nothing(self):
        twin_of = {"B": "A", "C": "A"}
        once = shown_once([raised("B"), raised("C"), raised("A", "severe")], twin_of)
        assert shown_once(once, twin_of) == once

    def test_among_the_patients_that_are_left(self):
        [group] = shown_once([raised("A"), raised("B"), raised("C")], {"B": "A", "C": "A"})
        assert [patients_of(f) for f in among([group, raised("X")], {"B", "C"})] == [("B", "C")]
        assert TWINS not in among([group], {"C"})[0].evidence


def test_the_whole_queue():
    """Copies are flagged, a severe flag of a check comes first, one with real data after its equals, marks are kept."""
    made = cohort(A=MOVING, B=MOVING, C=[(1.2, 4.0)] * 5)
    queue = flag(made, ABOUT, [raised("A", "moderate", real=True), raised("C", "severe")])
    queue = [f for f in queue if f.reason not in UNUSUAL]
    assert [(f.patient_id, f.severity, f.reads_real_data) for f in queue] == [
        ("C", "severe", False),
        ("C", "moderate", False),
        ("A", "moderate", False),
        ("A", "moderate", True),
    ]
    for entry in queue:
        assert Flag(**json.loads(entry.as_json())) == entry
