"""Linkability: can two halves of a patient's record be put together through the synthetic cohort? (Giomi et al. 2023)

The attacker holds some columns of a patient from one source and others from a second. Where both halves have the same
synthetic patient among their nearest, they are taken to be one person's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.gower import gower
from privacy.attacks.risk import Risk, risk

Floats = NDArray[np.float64]


def linkability(
    train: Floats,
    holdout: Floats,
    synthetic: Floats,
    discrete: NDArray[np.bool_],
    first: NDArray[np.bool_],
    rng: np.random.Generator,
    neighbours: int = 1,
    confidence: float = 0.95,
) -> Risk:
    """[patients, columns] each; `first` says which columns the first source has, the second has the others."""

    def linked(patients: Floats) -> tuple[int, int]:
        near = [_nearest(patients[:, half], synthetic[:, half], discrete[half], neighbours) for half in (first, ~first)]
        return _shared(*near), len(patients)

    k = min(neighbours, len(synthetic))
    guesses = [np.stack([rng.choice(len(synthetic), k, replace=False) for _ in range(len(train))]) for _ in range(2)]
    return risk(linked(train), linked(holdout), (_shared(*guesses), len(train)), confidence)


def _nearest(points: Floats, others: Floats, discrete: NDArray[np.bool_], neighbours: int) -> NDArray[np.int64]:
    """[points, neighbours]"""
    return np.argsort(gower(points, others, discrete), axis=1, kind="stable")[:, :neighbours]


def _shared(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """In how many rows the two have a number in common."""
    return sum(bool(set(a) & set(b)) for a, b in zip(one.tolist(), other.tolist(), strict=True))
