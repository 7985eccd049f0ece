"""How many wrong patients are left, from looks at some of them, however and whenever the looking stops.

A confidence sequence for sampling without replacement (Waudby-Smith & Ramdas 2020, NeurIPS 33, the prior-posterior-ratio
martingale): of N patients K are wrong; after n of a random order were looked at and x found wrong,

    K is in the interval  <=>  P(x | N, K, n)  >=  alpha * (integral of P(x | N, k, n) over a beta-binomial prior of k).

The interval holds for all n at once, so one may stop when it is narrow enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, gammaln

from synthgen.errors import ConfigError

PRIOR = (1.0, 9.0)
"""Beta parameters: about a tenth is wrong, with the weight of ten looks. A wrong guess widens the interval; it stays valid."""


@dataclass(frozen=True)
class Count:
    """How many of `total` are wrong: a best guess and an interval."""

    value: float
    low: float
    high: float
    total: int


def wrong_among(total: int, looked: int, found: int, confidence: float = 0.95) -> Count:
    """Of `total` patients, `looked` chosen at random were looked at and `found` of these are wrong.

    Raises:
        ConfigError: unless 0 <= found <= looked <= total.
    """
    if not 0 <= found <= looked <= total:
        raise ConfigError(f"needs 0 <= found <= looked <= total. Got {found} of {looked} of {total}")
    if looked == total:
        return Count(found, found, found, total)
    k = np.arange(found, total - looked + found + 1)
    likelihood = _choose(k, found) + _choose(total - k, looked - found) - _choose(total, looked)
    a, b = PRIOR
    mixed = float(_choose(looked, found) + betaln(found + a, looked - found + b) - betaln(a, b))
    inside = k[likelihood >= np.log(1 - confidence) + mixed]
    rate = (found + a) / (looked + a + b) if looked == 0 else found / looked
    return Count(found + rate * (total - looked), float(inside.min()), float(inside.max()), total)


def looks_left(total: int, looked: int, found: int, margin: float, confidence: float = 0.95) -> int:
    """How many more random looks until the share of wrong patients is known to within `margin`, if it goes on as so far.

    Raises:
        ConfigError: for a margin that is no share.
    """
    if not 0 < margin < 1:
        raise ConfigError(f"margin needs to lie between 0 and 1. Got {margin}")
    a, b = PRIOR
    rate = (found + a) / (looked + a + b)

    def known(n: int) -> bool:
        count = wrong_among(total, n, min(n, found + round(rate * (n - looked))), confidence)
        return (count.high - count.low) / 2 <= margin * total

    low, high = looked, total
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if known(middle) else (middle + 1, high)
    return low - looked


def _choose(n: object, k: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
