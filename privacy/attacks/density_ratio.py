"""Density-ratio attack (DOMIAS, van Breugel et al. 2023): members lie where the synthetic cohort is denser than the population.

score(x) = log p_synthetic(x) - log p_reference(x). The reference are patients who are neither members nor, for the control
that is being scored, that control: both densities by Gaussian kernels on principal components of the synthetic cohort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def density_ratio_scores(
    members: Floats, controls: Floats, synthetic: Floats, rng: np.random.Generator, components: int = 16, folds: int = 5
) -> tuple[Floats, Floats]:
    """([members], [controls]) log density ratios.

    Controls double as the reference: in each fold, a fifth of the controls and of the members are scored against the other
    controls. A control is never part of its own reference, and a member's reference is no larger than a control's.

    Args:
        components: 6 found a bootstrap copy of 156 simulated patients with an AUC of .64, 16 of .78, 24 of .80.
    """
    centre, axes = _principal(synthetic, components)
    members, controls, synthetic = ((x - centre) @ axes for x in (members, controls, synthetic))
    folds = min(folds, len(controls))
    fold_of = [rng.permutation(np.arange(n) % folds) for n in (len(members), len(controls))]
    scores = np.empty(len(members)), np.empty(len(controls))
    for fold in range(folds):
        reference = controls[fold_of[1] != fold]
        for patients, mine, out in zip((members, controls), fold_of, scores, strict=True):
            here = patients[mine == fold]
            out[mine == fold] = log_density(here, synthetic) - log_density(here, reference)
    return scores


def log_density(points: Floats, sample: Floats) -> Floats:
    """[points] log of a Gaussian kernel density with Silverman's bandwidth in each direction."""
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    n, d = sample.shape
    width = (4 / ((d + 2) * n)) ** (1 / (d + 4)) * np.maximum(sample.std(axis=0), 1e-3)
    squared = cdist(points / width, sample / width, "sqeuclidean")
    return np.asarray(logsumexp(-squared / 2, axis=1) - np.log(width).sum() - np.log(n) - d / 2 * np.log(2 * np.pi))


def _principal(sample: Floats, components: int) -> tuple[Floats, Floats]:
    """Centre and [features, components] leading directions."""
    centre = sample.mean(axis=0)
    _, _, rows = np.linalg.svd(sample - centre, full_matrices=False)
    return centre, rows[:components].T
