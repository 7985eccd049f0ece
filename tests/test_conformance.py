"""Raw tables become typed tables; what the dictionary says is what comes out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml
from small_cohort import DICTIONARY
from yardstick import at_most

from synthgen.cohort import Cohort, concatenate
from synthgen.conformance import conform, rows
from synthgen.dictionary import Dictionary
from synthgen.errors import DataError


@pytest.fixture
def dictionary() -> Dictionary:
    """Patients, visits and events of the small cohort."""
    content = yaml.safe_load(DICTIONARY)
    del content["tables"]["notes"]
    return Dictionary.model_validate(content)


def tables() -> dict[str, pd.DataFrame]:
    return {
        "patients": pd.DataFrame(
            {
                "status": ["alive", "dead", "alive"],
                "patient_id": ["b", "a", "c"],
                "age": ["34.54", "61", " 47.2 "],
                "sex": ["f", "m", "f"],
                "followup_days": [800, 400, 730],
            }
        ),
        "visits": pd.DataFrame(
            {
                "patient_id": ["a", "b", "a", "b"],
                "day": [0, 0, 31, 60],
                "bilirubin": [2.4, np.nan, 3.0, 1.0],
                "stage": [1, 2, 3, 2],
                "ascites": [True, False, None, True],
            }
        ),
        "events": pd.DataFrame(
            {
                "patient_id": ["b", "b", "a"],
                "day": [10, 5, 0],
                "code": ["ursodiol", "biopsy", "ursodiol"],
                "stop": pd.array([300, None, 400], dtype="Int64"),
                "dose": [750, None, 500],
            }
        ),
    }


def test_tables_come_out_in_the_dictionarys_types_order_and_decimals(dictionary: Dictionary):
    cohort = Cohort.checked(tables(), dictionary, "real")
    patients = cohort.patients
    assert list(patients) == ["patient_id", "age", "sex", "followup_days", "status"]
    assert [str(kind) for kind in patients.dtypes] == ["object", "float64", "category", "Int64", "category"]
    assert patients["age"].tolist() == [34.5, 61.0, 47.2]
    assert not patients["sex"].cat.ordered
    visits = cohort.visits
    assert visits is not None
    assert visits["stage"].cat.ordered
    assert visits["stage"].cat.categories.tolist() == ["1", "2", "3"]
    assert visits["ascites"].tolist()[:3] == ["no", "yes", "yes"]
    assert pd.isna(visits["ascites"].iloc[3])
    assert cohort.events is not None
    assert cohort.events["stop"].dtype == "Int64"
    assert cohort.notes is None


def test_rows_stand_by_patient_in_the_order_of_patients_and_by_day(dictionary: Dictionary):
    cohort = Cohort.checked(tables(), dictionary, "real")
    assert cohort.visits is not None
    assert cohort.events is not None
    assert list(zip(cohort.visits["patient_id"], cohort.visits["day"], strict=True)) == [
        ("b", 0),
        ("b", 60),
        ("a", 0),
        ("a", 31),
    ]
    assert list(zip(cohort.events["patient_id"], cohort.events["day"], strict=True)) == [("b", 5), ("b", 10), ("a", 0)]


def test_the_tables_that_came_in_are_left_alone(dictionary: Dictionary):
    given = tables()
    conform(given, dictionary)
    for name, frame in tables().items():
        pd.testing.assert_frame_equal(given[name], frame)


def test_what_came_out_goes_in_again_unchanged(dictionary: Dictionary):
    once = Cohort.checked(tables(), dictionary, "real")
    again = Cohort.checked(once.tables, dictionary, "real")
    for name, frame in once.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], frame)


@pytest.mark.parametrize(
    "raw",
    [["1", "2"], [1, 2], [1.0, 2.0], pd.array([1, 2], dtype="Int64"), pd.Categorical([1, 2]), np.array([1, 2], "int8")],
)
def test_whole_numbers_are_categories_however_a_file_types_them(raw: object, dictionary: Dictionary):
    given = tables()
    given["visits"] = given["visits"].iloc[:2].assign(stage=raw)
    cohort = Cohort.checked(given, dictionary, "real")
    assert cohort.visits is not None
    assert cohort.visits["stage"].tolist() == ["2", "1"]


def test_counts_below_eleven_are_not_told_apart_and_others_are_exact(dictionary: Dictionary):
    assert rows(1) == rows(10) == "fewer than 11 rows"
    ids = [f"p{i}" for i in range(40)]
    given = {
        "patients": pd.DataFrame(
            {
                "patient_id": ids,
                "age": 50.0,
                "sex": "f",
                "followup_days": [1] * 23 + [-1] * 17,
                "status": ["lost"] * 10 + ["dead"] * 30,
            }
        ),
        "visits": tables()["visits"].assign(patient_id=ids[:4], day=0),
        "events": tables()["events"].assign(patient_id=ids[0], day=0, stop=1),
    }
    _, breaches = conform(given, dictionary)
    assert breaches[0].startswith("patients.followup_days: 17 rows lie outside the bounds [0, 4000]")
    assert breaches[1].startswith("patients.status: fewer than 11 rows hold no declared category")
    assert len(breaches) == 2


def test_one_breach_does_not_hide_another_in_the_same_column(dictionary: Dictionary):
    given = tables()
    given["visits"]["bilirubin"] = ["word", "1,5", "inf", 99]
    _, breaches = conform(given, dictionary)
    told = " ".join(b for b in breaches if b.startswith("visits.bilirubin"))
    for words in ("hold no number", "decimal comma", "NaN or infinite", "outside the bounds"):
        assert words in told


def test_a_table_that_the_dictionary_does_not_know_and_one_that_is_not_there(dictionary: Dictionary):
    given = tables()
    given["images"] = given.pop("events")
    _, breaches = conform(given, dictionary)
    assert [b.split(":")[0] for b in breaches] == ["events", "images"]


def test_a_synthetic_cohort_may_be_one_patient_without_events_but_a_real_one_not(dictionary: Dictionary):
    given = tables()
    one = {
        "patients": given["patients"].iloc[:1],
        "visits": given["visits"].iloc[[1]],
        "events": given["events"].iloc[:0],
    }
    assert len(Cohort.checked(one, dictionary, "synthetic")) == 1
    with pytest.raises(DataError) as refusal:
        Cohort.checked(one, dictionary, "real")
    assert sorted(b.split(":")[0] for b in refusal.value.breaches) == ["events", "patients"]


def test_an_event_may_stop_on_its_day_and_a_visit_lie_on_the_last_one(dictionary: Dictionary):
    given = tables()
    given["events"]["stop"] = given["events"]["day"]
    given["patients"]["followup_days"] = [60, 31, 0]
    assert conform(given, dictionary)[1] == []


def test_a_patient_without_visits_is_a_patient(dictionary: Dictionary):
    cohort = Cohort.checked(tables(), dictionary, "real")
    assert cohort.visits is not None
    assert "c" in set(cohort.ids) - set(cohort.visits["patient_id"])


def test_many_patients_are_checked_in_seconds(dictionary: Dictionary):
    n = 20_000
    ids = np.array([f"p{i}" for i in range(n)])
    given = {
        "patients": pd.DataFrame({"patient_id": ids, "age": 50.0, "sex": "f", "followup_days": 900, "status": "alive"}),
        "visits": pd.DataFrame(
            {
                "patient_id": ids.repeat(5),
                "day": np.tile(np.arange(5), n),
                "bilirubin": 1.0,
                "stage": "1",
                "ascites": "no",
            }
        ),
        "events": pd.DataFrame({"patient_id": ids, "day": 1, "code": "biopsy", "stop": None, "dose": None}),
    }
    with at_most(200):
        cohort = Cohort.checked(given, dictionary, "synthetic")
    assert cohort.visits is not None
    assert len(cohort.visits) == 5 * n


def test_cohorts_of_other_patients_are_joined_and_parted(dictionary: Dictionary):
    cohort = Cohort.checked(tables(), dictionary, "real")
    parts = [cohort.of(["b", "c"]), cohort.of(["a"])]
    assert [len(part) for part in parts] == [2, 1]
    joined = concatenate(parts)
    assert sorted(joined.ids) == ["a", "b", "c"]
    assert joined.visits is not None
    assert len(joined.visits) == 4
    assert joined.visits["stage"].cat.ordered


def test_ids_that_differ_only_in_spelling_are_one_patient(dictionary: Dictionary):
    """The ledger knows them as one; two rows would be counted twice in every sum."""
    raw = tables()
    raw["patients"]["patient_id"] = ["b", "B ", "c"]
    _, breaches = conform(raw, dictionary)
    assert any("repeat an id (case, Unicode form and spaces" in breach for breach in breaches)
