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
    patterns, times = np.unique(counts, axis=0, return_counts=True)  # patients who got the same answers weigh together
    n = len(counts)
    observed, kappa = float(times @ _agreeing(patterns) / n), float(_kappa(times[None], patterns)[0])
    drawn = _kappa(np.random.default_rng(seed).multinomial(n, times / n, DRAWS), patterns)
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(kappa) or not len(known):
        return Agreement(n, observed, None, None, None)
    low, high = np.quantile(known, [0.025, 0.975])
    return Agreement(n, observed, kappa, float(low), float(high))


def _agreeing(patterns: NDArray[np.float64]) -> NDArray[np.float64]:
    """[patterns, answers] counts -> [patterns] share of agreeing pairs of answers."""
    n = patterns.sum(axis=1)
    agreeing: NDArray[np.float64] = (patterns * (patterns - 1)).sum(axis=1) / (n * (n - 1))
    return agreeing


def _kappa(weights: NDArray[np.int64], patterns: NDArray[np.float64]) -> NDArray[np.float64]:
    """[draws, patterns] patients of each pattern -> [draws] kappas; not a number where chance agreement is complete."""
    observed = weights @ _agreeing(patterns) / weights.sum(axis=1)
    totals = weights @ patterns
    chance = ((totals / totals.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    kappas: NDArray[np.float64] = (observed - chance) / np.where(chance > 1 - 1e-12, np.nan, 1 - chance)
    return kappas
