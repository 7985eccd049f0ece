"""k-map of the quasi-identifiers (Sweeney; El Emam & Dankar 2008): how many real patients share a synthetic one's combination.

k = 1: whoever knows a patient's quasi-identifiers would find a synthetic patient that can be no one else of the cohort. In a
synthetic cohort that proves no leak: holdout patients, whom the generator never saw, are the control.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.rates import Rate, wilson


@dataclass(frozen=True)
class KMap:
    """Of the patients who are alone with their combination in the cohort, the share whose combination a synthetic patient has."""

    attack: Rate
    """Among training patients."""
    control: Rate
    """Among holdout patients."""


def k_map(
    train: NDArray[np.float64], holdout: NDArray[np.float64], synthetic: NDArray[np.float64], confidence: float = 0.95
) -> KMap:
    """[patients, quasi-identifiers] category numbers each, NaN where missing."""
    real = Counter(map(_key, np.concatenate([train, holdout])))
    known = set(map(_key, synthetic))

    def met(patients: NDArray[np.float64]) -> Rate:
        alone = [key for key in map(_key, patients) if real[key] == 1]
        return wilson(sum(key in known for key in alone), len(alone), confidence)

    return KMap(met(train), met(holdout))


def _key(row: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in row)
