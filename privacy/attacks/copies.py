"""Copies: synthetic patients that lie nearer to a training patient than chance allows.

Attack: the nearest training patient. Control: the nearest holdout patient. Baseline: with neither group known to the
generator, the nearest real patient is a training patient as often as training patients are among the real ones.
The mean distance to the closest record says nothing (arXiv 2505.01524); which side the closest record lies on does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.distance import nearest
from privacy.rates import Rate, clopper_pearson

Floats = NDArray[np.float64]
SAME = 1e-9
"""Distances up to this are zero."""


@dataclass(frozen=True)
class Copies:
    """`exact` and `near` are [copies] rows of the synthetic cohort; they exclude each other."""

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    share: Rate
    """Synthetic patients that are exact or near copies of a training patient."""
    control: Rate
    """The same of the holdout: what chance makes."""
    closer: Rate
    """Synthetic patients whose nearest real patient was trained on; the interval is where chance alone puts it."""
    expected: float
    """The baseline of `closer`: training patients among the real ones."""
    p_value: float
    """How often chance puts as many of them nearer to training patients: over relabellings of the real patients."""
    twins: float
    """Share of the real patients who are exactly like another: an exact match may be chance, and says nothing where most are."""


def copies(train: Floats, holdout: Floats, synthetic: Floats, rng: np.random.Generator, draws: int = 5000) -> Copies:
    """Looks for copies among [synthetic, features].

    A near copy lies within half the smallest distance between two different real patients that are not alike.
    """
    real = np.concatenate([train, holdout])
    between, _ = nearest(real, real, itself=True)
    apart = between[between > SAME]
    radius = apart.min() / 2 if len(apart) else 0.0
    to_train, to_holdout = nearest(synthetic, train)[0], nearest(synthetic, holdout)[0]
    exact = np.flatnonzero(to_train <= SAME)
    near = np.flatnonzero((to_train > SAME) & (to_train <= radius))
    n = len(synthetic)
    closer, p_value = _sides(real, len(train), synthetic, rng, draws)
    return Copies(
        exact,
        near,
        clopper_pearson(len(exact) + len(near), n),
        clopper_pearson(int((to_holdout <= max(radius, SAME)).sum()), n),
        closer,
        len(train) / len(real),
        p_value,
        float((between <= SAME).mean()),
    )


def _sides(real: Floats, trained: int, synthetic: Floats, rng: np.random.Generator, draws: int) -> tuple[Rate, float]:
    """The share nearer to training patients, the middle 95% of chance, and the one-sided p-value: an exact permutation test,
    because were the generator blind to who is who, the labels of real patients could be exchanged."""
    shuffled = rng.permutation(len(real))  # between equally near patients, neither side is favoured
    where = shuffled[nearest(synthetic, real[shuffled])[1]]
    neighbours = np.bincount(where, minlength=len(real))  # how many synthetic patients each real one is nearest to
    found = neighbours[:trained].sum()
    chance = np.array([rng.permutation(neighbours)[:trained].sum() for _ in range(draws)])
    low, high = np.quantile(chance, [0.025, 0.975]) / len(synthetic)
    p_value = (1 + int((chance >= found).sum())) / (1 + draws)
    return Rate(float(found / len(synthetic)), float(low), float(high), len(synthetic)), p_value
