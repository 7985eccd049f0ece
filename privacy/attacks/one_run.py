"""A lower bound on epsilon from one training run (Steinke, Nasr & Jagielski 2023).

Each of m canaries took part by a fair coin of its own. The attacker sees the result and guesses some of the coins, as many as
was fixed beforehand. Were the training (epsilon, delta)-private, the number of right guesses would be no larger than a sum of
coins that fall right with probability e^epsilon / (1 + e^epsilon), but for delta. The largest epsilon that can be rejected is
the bound. Choosing how many to guess after looking at the answers raises 36% false alarms where 5% are due: do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.errors import ConfigError

LARGEST = 30.0
SURE = 0.99


@dataclass(frozen=True)
class OneRun:
    """`epsilon_low` at the confidence that was asked for, `epsilon_sure` at 99%, for convictions; `ceiling` is what as many
    guesses, all right, would prove."""

    epsilon_low: float
    epsilon_sure: float
    ceiling: float
    right: int
    guesses: int
    canaries: int


def one_run(
    scores: NDArray[np.float64],
    included: NDArray[np.bool_],
    delta: float,
    share: float = 0.5,
    confidence: float = 0.95,
) -> OneRun:
    """Guesses "took part" for the highest and "did not" for the lowest scores, a quarter of the canaries each by default.

    Args:
        scores: [canaries] higher meaning "took part".
        included: [canaries] the coins.
        share: of the canaries that are guessed, fixed before looking.

    Raises:
        ConfigError: unless there are at least 2 canaries and 0 < share <= 1.
    """
    canaries = len(scores)
    if canaries < 2 or len(included) != canaries or not 0 < share <= 1:
        raise ConfigError(
            f"a one-run audit needs a score and a coin for each of at least 2 canaries. Got {canaries}, share {share}"
        )
    each = max(1, int(share * canaries / 2))
    order = np.argsort(scores, kind="stable")
    right = int(included[order[-each:]].sum() + (~included[order[:each]]).sum())
    bound, sure = (lower_bound(right, 2 * each, canaries, delta, c) for c in (confidence, SURE))
    ceiling = lower_bound(2 * each, 2 * each, canaries, delta, confidence)
    return OneRun(bound, sure, ceiling, right, 2 * each, canaries)


def lower_bound(right: int, guesses: int, canaries: int, delta: float, confidence: float = 0.95) -> float:
    """The largest epsilon at which so many right guesses would be rarer than 1 - confidence; 0 if there is none."""
    error = 1 - confidence
    if p_value(right, guesses, canaries, 0.0, delta) > error:
        return 0.0
    low, high = 0.0, LARGEST
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(right, guesses, canaries, middle, delta) <= error else (low, middle)
    return low


def p_value(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """The largest chance of at least so many right guesses under (epsilon, delta) (Theorem 5.2 and its algorithm)."""
    from scipy.stats import binom

    q = 1 / (1 + math.exp(-epsilon))
    beta = float(binom.sf(right - 1, guesses, q))
    fewer = np.arange(1, right + 1)
    gained = np.cumsum(binom.pmf(right - fewer, guesses, q)) / fewer
    alpha = float(gained.max()) if right else 0.0
    return min(1.0, beta + 2 * canaries * delta * alpha)
