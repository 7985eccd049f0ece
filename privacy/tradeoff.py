"""Epsilon in an attacker's terms: how often may a patient be found out, at how many false alarms?

Whoever sees everything that was released and guesses whether one patient took part has some false-positive rate and some
true-positive rate. The composition of all charges bounds the second by the first (Wasserman & Zhou 2010; Kairouz et al.
2015; the trade-off function of Dong, Roth & Su 2022), for every attacker there can be, with any side knowledge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privacy.accounting import loss_distribution, parts
from privacy.errors import ConfigError

if TYPE_CHECKING:
    from privacy.charges import Charge

Floats = NDArray[np.float64]


def tpr_at(charges: Sequence[Charge], fpr: float) -> float:
    """The largest true-positive rate an attacker can have at this false-positive rate; `fpr` itself for no charges.

    Raises:
        ConfigError: unless 0 <= fpr <= 1.
    """
    if not 0 <= fpr <= 1:
        raise ConfigError(f"A false-positive rate lies between 0 and 1. Got {fpr!r}")
    return float(_largest_tpr(charges, np.array([fpr]))[0])


def curve(charges: Sequence[Charge], n: int = 201) -> tuple[Floats, Floats]:
    """The whole trade-off as (fpr, tpr), each [n]: fpr is 0 and then equally spaced in log from 1e-4 to 1."""
    fpr = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, n - 1)])
    return fpr, _largest_tpr(charges, fpr)


def _largest_tpr(charges: Sequence[Charge], fpr: Floats) -> Floats:
    """[n] -> [n]: full batch in closed form, otherwise from the privacy profile of the composition."""
    mu, subsampled = parts(charges)
    if not subsampled:
        return _gaussian(mu, fpr)
    pld = loss_distribution(mu, subsampled)
    furthest = min(pld.get_epsilon_for_delta(1e-12), 700.0)  # beyond, exp(epsilon) overflows and nothing is gained
    epsilons = np.linspace(0.0, furthest, 4001)
    return _from_profile(fpr, epsilons, pld.get_delta_for_epsilon(epsilons))


def _gaussian(mu: float, fpr: Floats) -> Floats:
    """Phi(Phi^-1(fpr) + mu) (Dong et al. 2022, Eq. 6)."""
    from scipy.special import ndtr, ndtri

    return np.asarray(ndtr(ndtri(fpr) + mu), dtype=np.float64)


def _from_profile(fpr: Floats, epsilons: Floats, deltas: ArrayLike) -> Floats:
    """Being (epsilon, delta)-private bounds both kinds of error, tpr <= exp(e) fpr + d and 1 - fpr <= exp(e) (1 - tpr) + d
    (Dong et al. 2022, Prop. 2.5); all pairs of a profile hold at once, so the lowest bound counts (Prop. 2.13).
    The profile is the worse of adding and removing, so the curve holds whichever of the two the attacker calls positive."""
    deltas = np.asarray(deltas, dtype=np.float64)
    growth = np.exp(epsilons)
    claims = fpr[:, None] * growth + deltas  # [n, epsilons]
    misses = 1 - (1 - fpr[:, None] - deltas) / growth  # [n, epsilons]
    lowest: Floats = np.minimum(claims, misses).min(axis=1)
    return np.clip(lowest, fpr, 1.0)
