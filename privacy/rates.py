"""Intervals of what an audit measures: shares of patients, and the area under an attack's curve.

The patient is the unit everywhere: what is resampled or counted are patients, never their visits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privacy.errors import ConfigError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A measured value with its interval; `n` is what it was measured on."""

    value: float
    low: float
    high: float
    n: int


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """The exact interval of a share (Clopper & Pearson 1934): it covers at least as often as it says, at any n.

    Raises:
        ConfigError: unless 0 <= successes <= trials and 0 < confidence < 1.
    """
    from scipy.special import betaincinv

    _check(successes, trials, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(betaincinv(successes, trials - successes + 1, tail))
    high = 1.0 if successes == trials else float(betaincinv(successes + 1, trials - successes, 1 - tail))
    return Rate(successes / trials if trials else 0.0, low, high, trials)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """The score interval of a share (Wilson 1927): covers as often as it says on average; Anonymeter's choice.

    Raises:
        ConfigError: as `clopper_pearson`.
    """
    from scipy.special import ndtri

    _check(successes, trials, confidence)
    if trials == 0:
        return Rate(0.0, 0.0, 1.0, 0)
    z2 = float(ndtri(1 - (1 - confidence) / 2)) ** 2
    share = successes / trials
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = np.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == trials else middle + half
    return Rate(share, float(low), float(high), trials)


def combined(weights: Sequence[float], rates: Sequence[Rate], n: int) -> Rate:
    """A weighted sum of independent rates, measured on n; the squares of the distances to their limits add, each to the limit
    that its weight's sign leads to (Zou & Donner 2008). With weights 1 and -1 it is Newcombe's interval of a difference."""
    pairs = list(zip(weights, rates, strict=True))
    value = sum(w * r.value for w, r in pairs)
    below = sum((w * (r.value - (r.low if w > 0 else r.high))) ** 2 for w, r in pairs) ** 0.5
    above = sum((w * (r.value - (r.high if w > 0 else r.low))) ** 2 for w, r in pairs) ** 0.5
    return Rate(value, value - below, value + above, n)


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """How often a positive's score lies above a negative's, a tie counting half (Mann & Whitney 1947)."""
    return float(_wins(positive, negative).mean())


def auc_interval(
    positive: ArrayLike, negative: ArrayLike, rng: np.random.Generator, confidence: float = 0.95, draws: int = 4000
) -> Rate:
    """AUC with a bootstrap interval over patients, both groups resampled.

    Where the groups are wholly apart the bootstrap has no width; the end is then that of as many independent pairs as the
    smaller group has patients, all of them won (Clopper-Pearson).

    Args:
        positive: [members] scores.
        negative: [controls] scores.
    """
    wins = _wins(positive, negative)  # [members, controls]
    members, controls = wins.shape
    weight_of = [rng.multinomial(n, np.full(n, 1 / n), draws) / n for n in (members, controls)]
    resampled = np.einsum("dm,dm->d", weight_of[0] @ wins, weight_of[1])
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    fewest = min(members, controls)
    if wins.min() == 1:
        low = clopper_pearson(fewest, fewest, confidence).low
    if wins.max() == 0:
        high = clopper_pearson(0, fewest, confidence).high
    return Rate(
        float(wins.mean()), float(low), min(float(high), 1.0), members + controls
    )  # weights sum to 1 but for rounding


def _wins(positive: ArrayLike, negative: ArrayLike) -> Floats:
    """[members, controls] 1 where the member's score is higher, 1/2 where equal."""
    above, below = np.asarray(positive, dtype=np.float64)[:, None], np.asarray(negative, dtype=np.float64)[None, :]
    if not (above.size and below.size):
        raise ConfigError("an AUC needs at least one score of each kind")
    return np.asarray((above > below) + 0.5 * (above == below), dtype=np.float64)


def _check(successes: int, trials: int, confidence: float) -> None:
    if not (0 <= successes <= trials and 0 < confidence < 1):
        raise ConfigError(
            f"a rate needs 0 <= successes <= trials and 0 < confidence < 1. Got {successes} of {trials}, {confidence}"
        )
