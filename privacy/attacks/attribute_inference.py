"""Attribute inference: is a secret of a training patient told by the synthetic patient who is most like them? (Giomi et al. 2023)

The attacker keeps the guesses that are surest: of all patients of whom the same is said, the half who have somebody nearest to
them. Success is the mean, over the secret's categories, of the share told right: to name the common one is no success, and a
rare one counts as much. Control: the same guesses at holdout patients; that far the disease itself tells. Baseline: a random
synthetic patient's value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.gower import gower
from privacy.attacks.risk import Risk, compared
from privacy.rates import Rate, mean_of, wilson

Floats = NDArray[np.float64]
CLOSE = 0.05
"""A number is guessed when it is off by at most this share of its public range."""
UNKNOWN = Rate(0.5, 0.0, 1.0, 0)
"""The share told right of a category that nobody has on one of the sides."""


def attribute_inference(
    train: Floats,
    holdout: Floats,
    synthetic: Floats,
    discrete: NDArray[np.bool_],
    secret: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Risk:
    """[patients, columns] each; every column but `secret` is known to the attacker. A missing secret is nobody's success."""
    known = np.arange(train.shape[1]) != secret
    train, holdout = (patients[~np.isnan(patients[:, secret])] for patients in (train, holdout))
    attack, control = (_surest(patients, synthetic, discrete, known, secret) for patients in (train, holdout))
    baseline = train[:, secret], synthetic[rng.integers(0, len(synthetic), len(train)), secret]
    if not discrete[secret]:
        return compared(
            *(_share(np.abs(told - true) <= CLOSE, confidence) for true, told in (attack, control, baseline))
        )
    said = np.unique(np.concatenate([train[:, secret], holdout[:, secret]]))
    tried = [c for c in said if (attack[0] == c).any() and (control[0] == c).any()]
    untried = [UNKNOWN] * (len(said) - len(tried)) or [UNKNOWN] * (not tried)
    return compared(
        *(
            mean_of([_share((true == told)[true == c], confidence) for c in tried] + untried)
            for true, told in (attack, control, baseline)
        )
    )


def _surest(
    patients: Floats, synthetic: Floats, discrete: NDArray[np.bool_], known: NDArray[np.bool_], secret: int
) -> tuple[Floats, Floats]:
    """The true secrets, and those told by the likest synthetic patients, where these are nearest."""
    distance = gower(patients[:, known], synthetic[:, known], discrete[known])
    nearest, told = distance.min(axis=1), synthetic[distance.argmin(axis=1), secret]
    groups = [told == c for c in np.unique(told)] if discrete[secret] else [np.ones(len(told), dtype=bool)]
    sure = np.zeros(len(told), dtype=bool)
    for group in groups:
        if group.any():
            sure |= group & (nearest <= np.median(nearest[group]))
    return patients[sure, secret], told[sure]


def _share(hits: NDArray[np.bool_], confidence: float) -> Rate:
    return wilson(int(hits.sum()), len(hits), confidence)
