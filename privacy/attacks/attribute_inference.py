"""Attribute inference: is a secret of a training patient told by the synthetic patient who is most like them? (Giomi et al. 2023)

Control: the same guess for holdout patients; that far the disease itself tells. Baseline: a random synthetic patient's value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.gower import gower
from privacy.attacks.risk import Risk, risk

Floats = NDArray[np.float64]
CLOSE = 0.05
"""A number is guessed when it is off by at most this share of its public range."""


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

    def guessed(patients: Floats, chosen: NDArray[np.int64]) -> tuple[int, int]:
        told, true = synthetic[chosen, secret], patients[:, secret]
        hit = told == true if discrete[secret] else np.abs(told - true) <= CLOSE
        present = ~np.isnan(true)
        return int((hit & present).sum()), int(present.sum())

    def likest(patients: Floats) -> NDArray[np.int64]:
        return np.asarray(gower(patients[:, known], synthetic[:, known], discrete[known]).argmin(axis=1))

    attack, control = (guessed(patients, likest(patients)) for patients in (train, holdout))
    return risk(attack, control, guessed(train, rng.integers(0, len(synthetic), len(train))), confidence)
