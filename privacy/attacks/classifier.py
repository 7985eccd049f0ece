"""Classifier attack: a forest learns to tell synthetic patients from the population; who looks synthetic is called a member.

The ratio of densities that DOMIAS estimates with kernels, estimated by a classifier instead (Bickel, Brueckner & Scheffer
2009): p_synthetic / p_reference is the odds. It sees interactions and many columns, where kernels see a few directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def classifier_scores(
    members: Floats, controls: Floats, synthetic: Floats, rng: np.random.Generator, folds: int = 5, trees: int = 200
) -> tuple[Floats, Floats]:
    """([members], [controls]) probabilities of being synthetic, by forests that saw other controls as the population.

    As in `density_ratio`: in each fold a fifth of the members and of the controls are scored by a forest of synthetic patients
    against the other controls.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    folds = min(folds, len(controls))
    fold_of = [rng.permutation(np.arange(n) % folds) for n in (len(members), len(controls))]
    scores = np.empty(len(members)), np.empty(len(controls))
    for fold in range(folds):
        reference = controls[fold_of[1] != fold]
        known = np.concatenate([synthetic, reference])
        label = np.repeat([1, 0], [len(synthetic), len(reference)])
        forest = ExtraTreesClassifier(
            trees, min_samples_leaf=2, class_weight="balanced", random_state=int(rng.integers(2**31))
        ).fit(known, label)
        for patients, mine, out in zip((members, controls), fold_of, scores, strict=True):
            out[mine == fold] = forest.predict_proba(patients[mine == fold])[:, 1]
    return scores
