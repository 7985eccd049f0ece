"""Who has a note, how many and when: one short vector a patient, and rows drawn from its noisy mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Column, Dictionary, Outcome
from synthgen.errors import ConfigError
from synthgen.occurrence import MOST, Occurrence


def dictionary(dated: bool = True) -> Dictionary:
    note = {
        "patient_id": {"type": "id"},
        "text": {"type": "text"},
        "kind": {"type": "categorical", "categories": ["a", "b"]},
    }
    day = {"day": {"type": "integer", "bounds": [0, 1000]}}
    return Dictionary.model_validate(
        {
            "name": "occurrence",
            "title": "Simulated patients",
            "declared_patients": 400,
            "tables": {
                "patients": {
                    "columns": {
                        "patient_id": {"type": "id"},
                        "sex": {"type": "categorical", "categories": ["f", "m"]},
                        "age": {"type": "continuous", "bounds": [0, 100]},
                    }
                },
                "visits": {"columns": {"patient_id": {"type": "id"}, **day}},
                "notes": {"columns": note | (day if dated else {})},
            },
        }
    )


def cohort(patients: int = 400, seed: int = 0) -> Cohort:
    """Women have a note nine times in ten, men one time in ten; two notes each, at the first and the last of three visits."""
    rng = np.random.default_rng(seed)
    ids = [f"SIM-{i}" for i in range(patients)]
    sex = rng.choice(["f", "m"], patients)
    has = rng.random(patients) < np.where(sex == "f", 0.9, 0.1)
    rows = [(i, day, "a" if day == 0 else "b") for i, h in zip(ids, has, strict=True) if h for day in (0, 200)]
    tables = {
        "patients": pd.DataFrame({"patient_id": ids, "sex": sex, "age": rng.uniform(20, 80, patients)}),
        "visits": pd.DataFrame({"patient_id": np.repeat(ids, 3), "day": np.tile([0, 90, 200], patients)}),
        "notes": pd.DataFrame(rows, columns=["patient_id", "day", "kind"]).assign(text="text"),
    }
    return Cohort.checked(tables, dictionary(), "synthetic")


def fitted(noise: float | None, of: Cohort | None = None) -> Occurrence:
    known = Occurrence(dictionary(), "notes")
    records = {"occurrence": known.encode(of or cohort())}
    charges = [] if noise is None else [Charge(known.charge_name, noise)]
    known.fit(Session(records, charges, 400, Noise(1)))
    return known


def shares(drawn: pd.DataFrame, record: Cohort) -> tuple[float, float]:
    has = record.patients["patient_id"].isin(drawn["patient_id"])
    return tuple(float(has[record.patients["sex"] == s].mean()) for s in ("f", "m"))  # type: ignore[return-value]


def test_who_has_a_note_follows_the_record_and_when_follows_the_visits():
    record = cohort(2000, seed=5)
    drawn = fitted(None).sample(record, np.random.default_rng(0))
    women, men = shares(drawn, record)
    assert women == pytest.approx(0.9, abs=0.05)
    assert men == pytest.approx(0.1, abs=0.05)
    assert set(drawn["day"]) == {0, 200}
    assert drawn["kind"].value_counts(normalize=True)["a"] == pytest.approx(0.5, abs=0.05)
    assert drawn["day"].dtype == "Int64"


def test_a_kind_keeps_to_its_period():
    """Every first note is of kind a and every later one of kind b."""
    drawn = fitted(None).sample(cohort(500, seed=5), np.random.default_rng(0))
    assert (drawn["kind"] == np.where(drawn["day"] == 0, "a", "b")).all()


def test_what_is_written_after_the_last_visit_is_of_the_end_of_follow_up():
    about = dictionary()
    columns = about.tables["patients"].columns | {
        "days": Column(type="integer", bounds=(0, 1000)),
        "status": Column(type="categorical", categories=("alive", "dead")),
    }
    about = about.model_copy(
        update={
            "tables": about.tables | {"patients": about.tables["patients"].model_copy(update={"columns": columns})},
            "outcome": Outcome(time="days", status="status", censored="alive"),
        }
    )
    made = cohort(60)
    patients = made.patients.assign(days=300, status="dead")
    ends = pd.DataFrame({"patient_id": made.ids, "day": 300, "kind": "b", "text": "died"})
    whole = Cohort.checked({**made.tables, "patients": patients, "notes": ends}, about, "synthetic")
    known = Occurrence(about, "notes")
    known.fit(Session({"occurrence": known.encode(whole)}, [], 60))
    drawn = known.sample(replace(whole, notes=None), np.random.default_rng(0))
    assert (drawn["day"] == 300).all()


def test_patients_of_one_kind_have_notes_as_their_kind_has():
    women = cohort(2000, seed=5)
    women = women.of(women.patients.loc[women.patients["sex"] == "f", "patient_id"])
    drawn = fitted(None).sample(women, np.random.default_rng(0))
    assert women.patients["patient_id"].isin(drawn["patient_id"]).mean() == pytest.approx(0.9, abs=0.06)


def test_noise_takes_the_record_out_of_it_before_it_takes_the_share():
    record = cohort(2000, seed=5)
    gaps = []
    for noise in (0.1, 100.0):
        women, men = shares(fitted(noise).sample(record, np.random.default_rng(0)), record)
        gaps.append(women - men)
    assert gaps[0] > 0.6
    assert abs(gaps[1]) < 0.35


def test_no_vector_is_longer_than_its_clip_and_each_depends_on_its_patient_alone():
    everybody = cohort(60)
    known = Occurrence(dictionary(), "notes")
    vectors = known.encode(everybody)
    assert torch.linalg.vector_norm(vectors, dim=1).max() <= known.clip_norm + 1e-9
    few = everybody.of(everybody.ids[::3])
    assert torch.equal(known.encode(few), vectors[::3])


def test_rows_beyond_the_most_are_counted_as_the_most():
    one = cohort(4)
    many = pd.DataFrame({"patient_id": ["SIM-0"] * 20, "day": range(20), "kind": "a", "text": "t"})
    crowded = Cohort.checked({**one.tables, "notes": many}, dictionary(), "synthetic")
    assert Occurrence(dictionary(), "notes").encode(crowded)[0, MOST] == 1


def test_before_any_patient_everybody_has_one_row_at_the_first_day():
    record = cohort(30)
    drawn = Occurrence(dictionary(), "notes").sample(record, np.random.default_rng(0))
    assert drawn["patient_id"].tolist() == record.ids.tolist()
    assert (drawn["day"] == 0).all()


def test_what_is_saved_draws_the_same_rows():
    record, known = cohort(50, seed=3), fitted(1.0)
    again = Occurrence(dictionary(), "notes")
    again.restore(known.state())
    rows = [o.sample(record, np.random.default_rng(7)) for o in (known, again)]
    pd.testing.assert_frame_equal(*rows)


def test_a_table_without_days_draws_none():
    record = cohort(20)
    drawn = Occurrence(dictionary(dated=False), "notes").sample(record, np.random.default_rng(0))
    assert list(drawn) == ["patient_id", "kind"]


def test_a_table_that_is_not_declared_is_refused():
    with pytest.raises(ConfigError, match="declares no such table"):
        Occurrence(dictionary(), "images")
