"""Synthetic patients that a membership attack leaned on are flagged, and say that real patients were read."""

from __future__ import annotations

import numpy as np

from synthgen.auditing.exposed import REASON, exposed


def halves(rng: np.random.Generator, n: int = 150, features: int = 8) -> tuple[np.ndarray, ...]:
    return tuple(rng.normal(size=(n, features)) for _ in range(3))


def test_whoever_gives_a_training_patient_away_is_flagged_and_nobody_else() -> None:
    """Three synthetic patients are a training patient with a little noise; nobody else is flagged."""
    train, holdout, synthetic = halves(np.random.default_rng(1))
    leaky = [3, 77, 140]
    for row in leaky:
        synthetic[row] = train[row - 1] + 0.05
    ids = [f"SYN-{i}" for i in range(len(synthetic))]
    flags = exposed(train, holdout, synthetic, ids, 0.0025)
    assert {f.patient_id for f in flags} >= {ids[row] for row in leaky}
    assert len(flags) == len(leaky)
    assert {(f.reason, f.reads_real_data) for f in flags} == {(REASON, True)}


def test_a_cohort_of_copies_is_moderate_and_says_so() -> None:
    train, holdout, _ = halves(np.random.default_rng(2))
    flags = exposed(train, holdout, train + 0.02, [str(i) for i in range(len(train))], 0.0025)
    assert len(flags) > 0.9 * len(train)
    assert {f.severity for f in flags} == {"moderate"}
    assert "gives a training patient away" in flags[0].text
    assert all(0 < f.evidence["chance"] <= 0.02 for f in flags)


def test_an_honest_cohort_has_few_and_mild_ones() -> None:
    """Over 40 independent cohorts: hardly ever a flag, for all that the attack names somebody in each."""
    found, moderate = [], 0
    for seed in range(40):
        train, holdout, synthetic = halves(np.random.default_rng(seed))
        flags = exposed(train, holdout, synthetic, [str(i) for i in range(len(synthetic))], 0.0025)
        found.append(len(flags))
        moderate += any(f.severity == "moderate" for f in flags)
    assert np.count_nonzero(found) <= 3
    assert moderate <= 1


def test_no_control_may_be_nearer_where_there_are_few() -> None:
    train, holdout, synthetic = halves(np.random.default_rng(5), n=30)
    synthetic[0] = train[0] + 1e-6
    holdout[0] = synthetic[1] + 1e-9
    assert exposed(train, holdout, synthetic, [str(i) for i in range(30)], 0.0025) == []
