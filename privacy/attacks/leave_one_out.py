"""Exact leave-one-patient-out: the training repeated many times with one patient and many times without.

What the strongest observer of one released statistic could tell of this very patient. The statistic is fixed beforehand (the
log-likelihood of the patient's own record under the model); the randomness is the training's own noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.rates import Rate, auc_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeaveOneOut:
    """`auc` of telling trainings with the patient from trainings without; `mu` the same as a shift in standard deviations, with a
    95% interval (Welch)."""

    auc: Rate
    mu: Rate


def leave_one_out(with_: Floats, without: Floats, rng: np.random.Generator, confidence: float = 0.95) -> LeaveOneOut:
    """[trainings] the statistic of each training with the patient, and of each without; at least two of each."""
    from scipy.stats import t

    spread = np.sqrt((with_.var(ddof=1) + without.var(ddof=1)) / 2)
    spread = max(float(spread), 1e-12)
    error = float(np.sqrt(with_.var(ddof=1) / len(with_) + without.var(ddof=1) / len(without))) / spread
    value = float(with_.mean() - without.mean()) / spread
    half = float(t.isf((1 - confidence) / 2, min(len(with_), len(without)) - 1)) * error
    n = len(with_) + len(without)
    return LeaveOneOut(auc_interval(with_, without, rng, confidence), Rate(value, value - half, value + half, n))
