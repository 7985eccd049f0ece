"""Simulated patients: they keep to their dictionary, follow its knowledge, and differ between populations."""

from __future__ import annotations

import cohorts
import numpy as np
import pytest
from yardstick import at_most

from synthgen.conformance import conform
from synthgen.simulation import simulate
from synthgen.values import fold, from_scale


@pytest.mark.parametrize("name", cohorts.DICTIONARIES)
@pytest.mark.parametrize("vague", [False, True])
def test_simulated_patients_keep_to_their_dictionary(name: str, vague: bool) -> None:
    dictionary = cohorts.DICTIONARIES[name]()
    dictionary = dictionary.vague() if vague else dictionary
    cohort = simulate(dictionary, 300, np.random.default_rng(1), populations=6)
    typed, breaches = conform(cohort.tables, dictionary)
    assert breaches == []
    assert len(cohort) == 300
    assert cohort.patients["patient_id"].str.startswith("SIM-").all()
    for table, frame in cohort.tables.items():
        assert (frame.dtypes == typed[table].dtypes).all()


def test_the_same_seed_gives_the_same_patients() -> None:
    dictionary = cohorts.registry()
    one, two = (simulate(dictionary, 40, np.random.default_rng(3), 4) for _ in range(2))
    for name, frame in one.tables.items():
        assert frame.equals(two.tables[name])


def test_public_knowledge_is_followed() -> None:
    """Over many populations the medians, frequencies and trends are the stated ones."""
    cohort = simulate(cohorts.pbc(), 6000, np.random.default_rng(0), populations=60)
    first = cohort.visits[cohort.visits["day"] == 0]
    assert first["bilirubin"].median() == pytest.approx(1.5, rel=0.2)
    assert np.log(first["bilirubin"]).std() == pytest.approx(np.hypot(1.0, 0.3), rel=0.15)
    assert (cohort.patients["sex"] == "f").mean() == pytest.approx(0.9, abs=0.03)
    assert cohort.visits["cholesterol"].isna().mean() == pytest.approx(0.4, abs=0.15)
    worse = first.merge(cohort.patients[["patient_id", "status"]], on="patient_id")
    dead = worse.loc[worse["status"] == "dead", "bilirubin"].median()
    assert dead > 1.3 * worse.loc[worse["status"] == "alive", "bilirubin"].median()


def test_populations_differ_more_without_knowledge() -> None:
    def spread(dictionary) -> float:
        medians = [
            np.log(simulate(dictionary, 50, np.random.default_rng(k)).visits["bilirubin"]).median() for k in range(12)
        ]
        return float(np.std(medians))

    assert spread(cohorts.pbc().vague()) > 2 * spread(cohorts.pbc())


def test_nothing_follows_the_end() -> None:
    cohort = simulate(cohorts.registry(), 400, np.random.default_rng(5), populations=4)
    end = cohort.patients.set_index("patient_id")["followup_days"].astype(float)
    for frame in (cohort.visits, cohort.events):
        assert (frame["day"].astype(float) <= frame["patient_id"].map(end)).all()
    stopped = cohort.events.dropna(subset=["stop"])
    assert len(stopped) > 50
    assert (stopped["stop"] >= stopped["day"]).all()
    assert cohort.events["code"].nunique() == 4


def test_thousands_of_patients_take_seconds() -> None:
    with at_most(300):
        simulate(cohorts.pbc(), 6000, np.random.default_rng(0), populations=48)


def test_values_are_folded_at_the_bounds_and_rounded_inside_them() -> None:
    assert fold(np.array([-1.0, 0.0, 2.5, 4.0, 7.0]), 0.0, 3.0) == pytest.approx([1.0, 0.0, 2.5, 2.0, 1.0])
    column = cohorts.pbc().measurements["bilirubin"]
    values = from_scale(column, np.random.default_rng(0).normal(0, 5, 1000))
    assert values.min() >= 0.05
    assert values.max() <= 80
