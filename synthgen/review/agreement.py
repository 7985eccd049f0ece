"""How far reviewers agree beyond chance: Fleiss' kappa, with an interval over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000


@dataclass(frozen=True)
class Agreement:
    """Kappa (None while all answers are the same, or too few) with a 95% bootstrap interval over `patients`."""

    patients: int
    observed: float | None
    kappa: float | None
    low: float | None
    high: float | None


def agreement(answers: Sequence[Sequence[str]], seed: int = 0) -> Agreement:
    """Of the answers that each patient got; patients with fewer than two are left out.

    Fleiss 1971, generalised to patients with different numbers of answers: the observed agreement is the mean over patients of
    the share of agreeing pairs, chance agreement comes from the answers' overall shares.
    """
    labels = sorted({a for given in answers for a in given})
    counts = np.array(
        [[given.count(label) for label in labels] for given in map(list, answers) if len(given) > 1], float
    )
    if not len(counts):
        return Agreement(0, None, None, None, None)
    observed = float(_observed(counts).mean())
    rng = np.random.default_rng(seed)
    drawn = [_kappa(counts[rng.integers(0, len(counts), len(counts))]) for _ in range(DRAWS)]
    known = [k for k in drawn if k is not None]
    kappa = _kappa(counts)
    if kappa is None or not known:
        return Agreement(len(counts), observed, kappa, None, None)
    low, high = np.quantile(known, [0.025, 0.975])
    return Agreement(len(counts), observed, kappa, float(low), float(high))


def _observed(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """[patients] share of agreeing pairs of answers."""
    n = counts.sum(axis=1)
    agreeing: NDArray[np.float64] = (counts * (counts - 1)).sum(axis=1) / (n * (n - 1))
    return agreeing


def _kappa(counts: NDArray[np.float64]) -> float | None:
    shares = counts.sum(axis=0) / counts.sum()
    chance = float((shares**2).sum())
    return None if chance > 1 - 1e-12 else float((_observed(counts).mean() - chance) / (1 - chance))
