"""Shadow-cohort attack: how does a synthetic cohort look near somebody whose record was trained on? (Stadler et al. 2022)

The attacker trains models like the audited one on patients of their own choice and draws a cohort from each. A classifier
learns, from who was in which, what being trained on does to the distances from a patient to the synthetic ones nearest by; it is
then asked about the cohort that was published. Some patients lie in crowds and some alone: of each distance is taken what it is
in cohorts without the patient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEIGHBOURS = (1, 3, 10)
"""Which of the nearest synthetic patients are measured."""


def nearness(patients: Floats, synthetic: Floats) -> Floats:
    """[patients, features], [synthetic, features] -> [patients, neighbours] log distance to each of the `NEIGHBOURS`."""
    from scipy.spatial.distance import cdist

    distances = np.sort(cdist(patients, synthetic), axis=1)
    return np.asarray(np.log(distances[:, [min(k, len(synthetic)) - 1 for k in NEIGHBOURS]] + 1e-3), dtype=np.float64)


def shadow_scores(target: Floats, shadows: Floats, included: NDArray[np.bool_]) -> Floats:
    """[patients] log odds of having been trained on.

    Args:
        target: [patients, neighbours] `nearness` to the audited cohort.
        shadows: [models, patients, neighbours] to the cohorts of the shadow models.
        included: [models, patients] whom each was trained on. At least two must be without each patient.
    """
    from sklearn.linear_model import LogisticRegression

    without = (~included)[..., None]
    count, total = without.sum(axis=0), np.where(without, shadows, 0.0).sum(axis=0)
    others = (total - np.where(without, shadows, 0.0)) / (count - without)  # nobody is compared with that very cohort
    known = (shadows - others).reshape(-1, shadows.shape[-1])
    classifier = LogisticRegression().fit(known, included.ravel())
    return np.asarray(classifier.decision_function(target - total / count), dtype=np.float64)
