"""Radiomic statistics of single pictures: of intensity, and of texture by grey-level co-occurrence (Haralick et al. 1973),
named as in the Image Biomarker Standardisation Initiative (Zwanenburg et al. 2020). Grey levels are public: equal steps of 0
to 255."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVELS = 16
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Neighbours that are compared, (down, across): at distance 1 in four directions, whose counts are added up."""
INTENSITY = ("mean", "standard deviation", "skewness", "kurtosis", "10th percentile", "90th percentile", "entropy")
TEXTURE = ("contrast", "dissimilarity", "homogeneity", "angular second moment", "correlation", "joint entropy")


def intensity(grey: Floats) -> Floats:
    """[n, height, width] 0 to 255 -> [n, len(INTENSITY)]."""
    flat = grey.reshape(len(grey), -1)
    mean, spread = flat.mean(axis=1), flat.std(axis=1)
    shares = (flat - mean[:, None]) / np.maximum(spread, 1e-9)[:, None]
    histogram = np.stack([(_levels(flat) == k).mean(axis=1) for k in range(LEVELS)], axis=1)
    low, high = np.percentile(flat, [10, 90], axis=1)
    return np.stack(
        [mean, spread, (shares**3).mean(axis=1), (shares**4).mean(axis=1), low, high, _entropy(histogram)], axis=1
    )


def texture(grey: Floats) -> Floats:
    """[n, height, width] 0 to 255 -> [n, len(TEXTURE)]."""
    joint = co_occurrence(grey)  # [n, level, level]
    i, j = np.arange(LEVELS)[:, None], np.arange(LEVELS)[None, :]
    mean = (joint * i).sum(axis=(1, 2))
    variance = (joint * (i - mean[:, None, None]) ** 2).sum(axis=(1, 2))
    shared = (joint * (i - mean[:, None, None]) * (j - mean[:, None, None])).sum(axis=(1, 2))
    correlation = np.where(variance > 1e-12, shared / np.maximum(variance, 1e-12), 1.0)  # a flat picture: 1, by IBSI
    parts = [(joint * w).sum(axis=(1, 2)) for w in ((i - j) ** 2, abs(i - j), 1 / (1 + abs(i - j)))]
    moment = (joint**2).sum(axis=(1, 2))
    return np.stack([*parts, moment, correlation, _entropy(joint.reshape(len(joint), -1))], axis=1)


def co_occurrence(grey: Floats) -> Floats:
    """[n, height, width] -> [n, LEVELS, LEVELS] shares of neighbouring pairs of levels, symmetric, summing to 1."""
    levels = _levels(grey)
    n, height, width = levels.shape
    counts = np.zeros((n, LEVELS * LEVELS))
    for down, across in STEPS:
        first = levels[:, : height - down, max(0, -across) : width - max(0, across)]
        second = levels[:, down:, max(0, across) : width - max(0, -across)]
        pairs = (first * LEVELS + second).reshape(n, -1) + np.arange(n)[:, None] * LEVELS**2
        counts += np.bincount(pairs.ravel(), minlength=n * LEVELS**2).reshape(n, -1)
    joint = counts.reshape(n, LEVELS, LEVELS)
    joint = joint + joint.transpose(0, 2, 1)
    return np.asarray(joint / joint.sum(axis=(1, 2), keepdims=True))


def _levels(grey: Floats) -> NDArray[np.int64]:
    return np.minimum(grey * (LEVELS / 256), LEVELS - 1).astype(np.int64)


def _entropy(shares: Floats) -> Floats:
    """[n, k] -> [n] in bits."""
    return np.asarray(-(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=1))
