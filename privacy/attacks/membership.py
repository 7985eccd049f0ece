"""Membership inference: do an attack's scores tell patients who were trained on from patients who were not?

This file judges scores, wherever they come from (`distance`, `density_ratio`, `likelihood`, ...). Members are the attack,
holdout patients the control, guessing is the baseline. Beside what was measured stands what so few patients could show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.rates import Rate, auc_interval, clopper_pearson

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Membership:
    """What one attack found. Its baseline is guessing: AUC 0.5, a TPR equal to the FPR."""

    attack: str
    auc: Rate
    corrected_low: float
    """Lower limit of the AUC at the confidence that is left to this attack when all attacks of the audit share the error."""
    tpr_at_1: Rate
    """Share of members above the score that 1% of the controls pass."""
    tpr_at_10: Rate
    smallest_fpr: float
    """1 / controls: below this false-positive rate, so few controls say nothing."""
    ceiling: float
    """The largest lower bound on epsilon that these numbers of patients could prove, were every one of them told apart."""


def membership(
    attack: str,
    members: Floats,
    controls: Floats,
    rng: np.random.Generator,
    attacks: int = 1,
    error: float = 0.01,
    delta: float = 0.0,
) -> Membership:
    """Judges an attack's scores.

    Args:
        members: [members] scores, higher meaning "was trained on".
        controls: [controls] scores of patients of the same population who were not.
        attacks: how many attacks the audit makes; they share `error` (Bonferroni).
        error: the chance that an honest cohort is convicted by any of them.
    """
    area = auc_interval(members, controls, rng)
    corrected = auc_interval(members, controls, rng, confidence=1 - 2 * error / attacks)
    return Membership(
        attack,
        area,
        corrected.low,
        tpr_at(members, controls, 0.01),
        tpr_at(members, controls, 0.10),
        1 / len(controls),
        epsilon_ceiling(len(members), len(controls), delta),
    )


def tpr_at(members: Floats, controls: Floats, fpr: float) -> Rate:
    """Share of members whose score is above all but `fpr` of the controls; with fewer than 1 / fpr controls, above all of them.
    The interval (Clopper-Pearson) is of the members at this cut-off."""
    allowed = math.floor(fpr * len(controls))
    cut = np.sort(controls)[::-1][allowed]
    return clopper_pearson(int((members > cut).sum()), len(members))


def epsilon_ceiling(members: int, controls: int, delta: float = 0.0, confidence: float = 0.95) -> float:
    """ln((TPR - delta) / FPR) with every member and no control accused, at the limits of their Clopper-Pearson intervals
    (Nasr et al. 2021): what the best attack there can be would prove."""
    each = 1 - (1 - confidence) / 2
    tpr = clopper_pearson(members, members, each).low
    fpr = clopper_pearson(0, controls, each).high
    return max(0.0, math.log((tpr - delta) / fpr)) if tpr > delta else 0.0
