"""Simulated patients: they keep to their dictionary, follow its knowledge, and differ between populations."""

from __future__ import annotations

from dataclasses import replace

import cohorts
import numpy as np
import pytest
from yardstick import at_most

from synthgen.conformance import conform
from synthgen.population import Discrete, Numeric, Population, draw
from synthgen.simulation import simulate, simulate_population
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


def _population(**changes: object) -> Population:
    return replace(draw(cohorts.pbc(), np.random.default_rng(2)), **changes)  # type: ignore[arg-type]


def test_who_dies_declines_before_and_nobody_else() -> None:
    """Decline draws nothing at random: two cohorts that differ by it alone differ by its formula."""
    none, much = (_population(decline=(size, 1.5)) for size in (0.0, 1.0))
    one, two = (simulate_population(cohorts.pbc(), p, 400, np.random.default_rng(4)) for p in (none, much))
    both = one.visits.merge(one.patients[["patient_id", "status", "followup_days"]], on="patient_id")
    grown = np.log(two.visits["bilirubin"].to_numpy() / both["bilirubin"].to_numpy())
    dead = (both["status"] == "dead").to_numpy()
    assert dead.any()
    assert (grown[(both["status"] == "alive").to_numpy()] == 0).all()
    law = none.measured["bilirubin"]
    assert isinstance(law, Numeric)
    left = (both["followup_days"] - both["day"]).to_numpy()[dead] / 365.25
    values = both["bilirubin"].to_numpy()[dead], two.visits["bilirubin"].to_numpy()[dead]
    known = (values[0] > 1) & (values[1] < 20)  # little rounded, not folded
    wanted = law.between * law.severity * np.exp(-left / 1.5)
    assert grown[dead][known] == pytest.approx(wanted[known], abs=0.12)


def test_an_end_that_the_healthy_reach_is_no_decline() -> None:
    recovery = {name: replace(rate, severity=-0.5) for name, rate in _population().causes.items()}
    none, much = (_population(decline=(size, 1.0), causes=recovery) for size in (0.0, 2.0))
    one, two = (simulate_population(cohorts.pbc(), p, 200, np.random.default_rng(4)) for p in (none, much))
    assert one.visits.equals(two.visits)


def test_categories_are_carried_forward() -> None:
    name, law = next((n, m) for n, m in _population().measured.items() if isinstance(m, Discrete))

    def repeats(chance: float) -> float:
        population = _population(measured=_population().measured | {name: replace(law, carried=chance)}, missing={})
        visits = simulate_population(cohorts.pbc(), population, 400, np.random.default_rng(4)).visits
        before = visits.groupby("patient_id")[name].shift()
        return float((visits[name] == before)[before.notna()].mean())

    seldom, often = repeats(0.0), repeats(0.8)
    assert often == pytest.approx(1 - 0.2 * (1 - seldom), abs=0.04)
