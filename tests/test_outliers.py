"""Synthetic patients unlike every real one: flagged, named, marked as reading real data, and rarely by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cohorts import pbc

from fidelity.outliers import CHANCE, off_manifold, outliers
from synthgen.cohort import Cohort
from synthgen.findings import Evidence
from synthgen.population import draw
from synthgen.simulation import simulate_population

ABOUT = pbc()


@pytest.fixture(scope="module")
def thirds() -> list[Cohort]:
    rng = np.random.default_rng(3)
    whole = simulate_population(ABOUT, draw(ABOUT, rng), 900, rng)
    return [whole.of(list(ids)) for ids in np.split(whole.ids.to_numpy(), 3)]


def evidence(thirds: list[Cohort], synthetic: Cohort) -> Evidence:
    return Evidence(ABOUT, thirds[0], thirds[1], synthetic, thirds[0], np.random.default_rng(0))


def changed(cohort: Cohort, **columns: float) -> Cohort:
    """The cohort whose first patient has these values at every visit."""
    visits = cohort.visits
    assert visits is not None
    mine = visits["patient_id"] == cohort.ids[0]
    return replace(cohort, visits=visits.assign(**{n: visits[n].mask(mine, v) for n, v in columns.items()}))


def test_an_honest_cohort_is_flagged_as_often_as_chance_says(thirds: list[Cohort]) -> None:
    for kind in (outliers, off_manifold):
        flagged = {f.patient_id for f in kind(evidence(thirds, thirds[2]))}
        assert len(flagged) <= 300 * CHANCE + 6  # three standard deviations, the holdout's own chance included


def test_a_number_that_no_real_patient_has_is_named_without_any_of_theirs(thirds: list[Cohort]) -> None:
    """Platelets of 1990: twice the highest that is simulated."""
    made = changed(thirds[2], platelets=1990.0)
    [flag] = [f for f in outliers(evidence(thirds, made)) if f.patient_id == made.ids[0]]
    assert flag.text == "Platelets in blood is, at most visits, 1990 10*3/uL, above nearly every real patient's."
    assert (flag.reads_real_data, flag.reason) == (True, "outlier")
    assert set(flag.evidence) == {"column", "platelets", "chance"}
    assert flag.evidence["chance"] == pytest.approx(1 / 301, abs=1e-4)


def test_a_record_of_which_no_number_is_odd_may_lie_off_the_manifold(thirds: list[Cohort]) -> None:
    """Every measurement at the 3rd or the 97th percentile of real patients, against the way that they go together."""
    assert thirds[0].visits is not None
    values = thirds[0].visits[[n for n, c in ABOUT.measurements.items() if c.numeric]].astype("float64")
    ends = {str(n): float(values[n].quantile(0.97 if i % 2 else 0.03)) for i, n in enumerate(values)}
    made = changed(thirds[2], **ends)
    flags = [f for f in off_manifold(evidence(thirds, made)) if f.patient_id == made.ids[0]]
    assert [f.reason for f in flags] == ["off manifold"]
    assert flags[0].reads_real_data
    assert not [f for f in outliers(evidence(thirds, made)) if f.patient_id == made.ids[0]]


def test_too_few_real_patients_tell_nothing(thirds: list[Cohort]) -> None:
    few = [thirds[0], thirds[1].of(list(thirds[1].ids[:10])), thirds[2]]
    made = changed(thirds[2], platelets=1990.0)
    assert not [*outliers(evidence(few, made)), *off_manifold(evidence(few, made))]


def test_the_checks_hand_them_to_the_queue(thirds: list[Cohort]) -> None:
    from fidelity.detection import Detection
    from fidelity.tails import Tails

    made = changed(thirds[2], platelets=1990.0)
    assert made.ids[0] in {f.patient_id for f in Tails().flags(evidence(thirds, made))}
    assert all(f.reason == "off manifold" for f in Detection().flags(evidence(thirds, made)))
