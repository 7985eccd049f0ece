"""Each patient's own privacy loss, from what they contributed: an upper bound that needs no retraining (Feldman & Zrnic 2021).

A charge pays for a patient whose vector is as long as the clip. One whose vectors were shorter lost less:
mu_i^2 = sum over charges of steps x (mean squared share of the clip) / sigma^2. It depends on the data, so it is for the
privacy officer only, and is never a claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from privacy.accounting import epsilon, gaussian_epsilon, parts
from privacy.charges import Charge

Floats = NDArray[np.float64]
GRID = 50
"""Losses are rounded up to this many steps before they are priced."""


class Contributions:
    """What each patient added to the sums of one session; a session writes to it and nothing reads it but audits.

    Args:
        patients: how many rows the session has.
    """

    def __init__(self, patients: int) -> None:
        self._patients = patients
        self._steps: Counter[str] = Counter()
        self._squares: dict[str, Floats] = {}

    def add(self, charge: str, squares: Floats) -> None:
        """[patients] (norm after the clip / clip norm)^2 of one full-batch step."""
        self._steps[charge] += 1
        self._squares[charge] = self._squares.get(charge, 0.0) + squares

    def shares(self, charges: Sequence[Charge]) -> dict[str, Floats]:
        """Charge -> [patients] the mean over its steps. A step nobody noted (answered from the journal after a crash, or on a
        secret sample) counts in full."""
        nothing = np.zeros(self._patients)
        return {c.name: (self._squares.get(c.name, nothing) + c.steps - self._steps[c.name]) / c.steps for c in charges}

    def as_dict(self, charges: Sequence[Charge]) -> dict[str, list[float]]:
        """For the run's folder: `shares` rounded up to a thousandth, in the order of the session's rows."""
        return {name: (np.ceil(1000 * s) / 1000).tolist() for name, s in self.shares(charges).items()}


def individual_epsilons(charges: Sequence[Charge], contributions: Mapping[str, Floats], delta: float) -> Floats:
    """[patients] epsilon of each patient at `delta`; where patients are sampled, each of those charges counts in full.

    Args:
        contributions: charge -> [patients] mean squared share of the clip (`Contributions.shares`).
    """
    full = [c for c in charges if c.sampling_rate >= 1]
    sampled = [c for c in charges if c.sampling_rate < 1]
    squared = sum((contributions[c.name] * c.steps / c.noise_multiplier**2 for c in full), np.zeros(1))
    most = sum(c.steps / c.noise_multiplier**2 for c in full)
    if not parts(sampled)[1]:
        return np.array([gaussian_epsilon(float(mu), delta) for mu in np.sqrt(squared)])
    steps = np.ceil(GRID * np.sqrt(squared / most)).astype(int) if most > 0 else np.zeros(len(squared), dtype=int)
    price = {int(s): _priced(int(s) / GRID * most**0.5, sampled, delta) for s in np.unique(steps)}
    return np.array([price[int(s)] for s in steps])


def _priced(mu: float, sampled: Sequence[Charge], delta: float) -> float:
    return epsilon([*sampled, Charge("full batches", 1 / mu)] if mu > 0 else sampled, delta)
