"""Gower's distance (1971) between patients with numbers, categories and missing values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gower(points: Floats, others: Floats, discrete: NDArray[np.bool_]) -> Floats:
    """[points, others] mean over columns of |difference| (numbers, in shares of their public range) or inequality (categories).

    Missing is a value of its own: equal to missing, as far as can be from anything else.

    Args:
        points, others: [patients, columns], NaN where missing.
        discrete: [columns] which are category numbers.
    """
    total = np.zeros((len(points), len(others)))
    for column, category in enumerate(discrete):
        a, b = points[:, column, None], others[None, :, column]
        apart = (a != b).astype(np.float64) if category else np.abs(a - b)
        missing = np.isnan(a), np.isnan(b)
        total += np.where(missing[0] & missing[1], 0.0, np.where(missing[0] | missing[1], 1.0, apart))
    return total / max(1, len(discrete))
