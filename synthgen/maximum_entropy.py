"""Distributions from noisy moments: the least that they commit to, given what was released and how noisy it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_SPREAD = 2.0
"""Standard deviation of the prior of a log odds ratio over the whole range of a feature."""


def nearest_distribution(noisy: Floats) -> Floats:
    """The probabilities nearest to a noisy estimate of them: the most likely ones, since the noise is the same in each
    (projection on the simplex, Duchi et al. 2008, figure 1)."""
    ordered = np.sort(noisy)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(noisy) + 1)
    nearest: Floats = np.maximum(noisy - excess[np.flatnonzero(ordered > excess)[-1]], 0)
    return np.asarray(nearest / nearest.sum())


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def tilted(features: Floats, means: Floats, error: float) -> Floats:
    """[rows] weights that sum to 1, proportional to exp(features . t), whose means are `means` to within their noise."""
    variance = np.full(features.shape[1], error**2 + 1e-6)
    tilt: Floats = np.zeros(features.shape[1])
    for _ in range(50):
        logits = features @ tilt
        weights: Floats = np.exp(logits - logits.max())
        weights /= weights.sum()
        centred = features - weights @ features
        slope = means - weights @ features - variance * tilt
        curve = (centred * weights[:, None]).T @ centred + np.diag(variance)
        if np.abs(step := _limited(np.linalg.solve(curve, slope))).max(initial=0.0) < 1e-8:
            break
        tilt = tilt + step
    return weights


def logistic(design: Floats, weights: Floats, moments: Floats, error: float, patients: int) -> Floats:
    """Maximises moments . theta - weighted mean of log(1 + exp(design theta)) - precision |b|^2 / 2 by Newton's method.

    The log odds ratios b have a normal prior. Moments of n patients with noise weigh as those of fewer patients without: the
    variance of a feature of norm at most 1 / sqrt(d), had by half of them, is about 1 / (4 d).
    """
    features = design.shape[1] - 1
    weight = (1 / patients + 4 * features * error**2) / (PRIOR_SPREAD**2 * max(1, features))
    precision = np.r_[1e-6, np.full(features, weight)]
    theta: Floats = np.r_[math.log(moments[0] / (1 - moments[0])), np.zeros(features)]
    for _ in range(50):
        p = sigmoid(design @ theta)
        slope = moments - design.T @ (weights * p) - precision * theta
        curve = (design * (weights * p * (1 - p))[:, None]).T @ design + np.diag(precision + 1e-9)
        if np.abs(step := _limited(np.linalg.solve(curve, slope))).max() < 1e-8:
            break
        theta = theta + step
    return theta


def _limited(step: NDArray[np.floating[Any]]) -> Floats:
    """A Newton step of at most 4 in any direction."""
    limited: Floats = np.asarray(step, dtype=np.float64) * min(
        1.0, 4.0 / max(1e-12, float(np.abs(step).max(initial=0.0)))
    )
    return limited
