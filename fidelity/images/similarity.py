"""Multi-scale structural similarity (MS-SSIM; Wang, Simoncelli & Bovik 2003), and how alike the pictures of one class are.

Pictures are grey, 0 to 255. At each scale luminance, contrast and structure are compared under a Gaussian window of 11 pixels
(sigma 1.5), luminance at the coarsest scale alone. A picture of 28 pixels has room for two of the five scales; the weights of
those that fit are scaled to sum to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first."""
WINDOW = 11
SIGMA = 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ms_ssim(first: Floats, second: Floats) -> Floats:
    """[n, height, width] twice -> [n] similarity, 1 for equal pictures. Sides of 11 pixels at least."""
    scales = max(1, min(len(WEIGHTS), int(np.log2(min(first.shape[1:]) / WINDOW)) + 1))
    weights = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    result = np.ones(len(first))
    for scale, weight in enumerate(weights):
        luminance, structure = _compared(first, second)
        last = scale == scales - 1
        part = (luminance * structure if last else structure).mean(axis=(1, 2))
        result *= np.clip(part, 0, None) ** weight  # a negative correlation counts as none
        first, second = _halved(first), _halved(second)
    return result


def within_class(grey: Floats, classes: NDArray[np.int64], patients: NDArray[np.object_], pairs: int = 400) -> float:
    """Mean similarity of `pairs` pairs of pictures of one class and different patients: 1 is one picture over and over. NaN
    where there is no such pair."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(len(grey), size=(2, pairs * 20))
    fit = (classes[a] == classes[b]) & (patients[a] != patients[b])
    a, b = a[fit][:pairs], b[fit][:pairs]
    return float(ms_ssim(grey[a], grey[b]).mean()) if len(a) else float("nan")


def _compared(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """[n, h, w] luminance, and contrast times structure, wherever the whole window fits."""
    mx, my = _blurred(x), _blurred(y)
    xx, yy, xy = _blurred(x * x) - mx * mx, _blurred(y * y) - my * my, _blurred(x * y) - mx * my
    return (2 * mx * my + C1) / (mx * mx + my * my + C1), (2 * xy + C2) / (xx + yy + C2)


def _blurred(x: Floats) -> Floats:
    from scipy.ndimage import correlate1d

    reach = WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    weights /= weights.sum()
    blurred = correlate1d(correlate1d(x, weights, axis=1), weights, axis=2)
    return np.asarray(blurred[:, reach : x.shape[1] - reach, reach : x.shape[2] - reach])


def _halved(x: Floats) -> Floats:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return np.asarray(x[:, :height, :width].reshape(len(x), height // 2, 2, width // 2, 2).mean(axis=(2, 4)))
