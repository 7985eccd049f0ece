"""Correlations between columns with missing values, all pairs at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def correlations(a: Floats, b: Floats) -> Floats:
    """[p, q] Pearson correlations of the columns of `a` [rows, p] and `b` [rows, q], each over the rows in which both are known;
    0 where one of them does not vary."""
    here, there = ~np.isnan(a), ~np.isnan(b)
    x, y = (np.where(k, v - _means(v), 0.0) for v, k in ((a, here), (b, there)))  # centred: sums of squares stay small
    m, k = here.astype(np.float64), there.astype(np.float64)
    n = np.maximum(m.T @ k, 1)
    sum_x, sum_y = x.T @ k, m.T @ y
    covariance = x.T @ y - sum_x * sum_y / n
    variances = ((x**2).T @ k - sum_x**2 / n) * (m.T @ y**2 - sum_y**2 / n)
    small = 1e-12 * np.maximum(((x**2).T @ k) * (m.T @ y**2), 1e-300)
    found = np.where(variances > small, covariance / np.sqrt(np.maximum(variances, 1e-300)), 0.0)
    return np.asarray(np.clip(found, -1, 1), dtype=np.float64)


def ranks(frame: pd.DataFrame) -> Floats:
    """[rows, columns] average ranks, NaN where missing: correlations of them are Spearman's."""
    return frame.rank().to_numpy(dtype=np.float64)


def partial(r: Floats, ridge: float) -> Floats:
    """[p, p] partial correlation of each pair given all other columns, from correlations [p, p] shrunk towards 0 by `ridge`
    (with few patients or many columns they could not be inverted)."""
    p = len(r)
    shrunk = (1 - ridge) * r + ridge * np.eye(p)
    np.fill_diagonal(shrunk, 1.0)
    inverse = np.linalg.pinv(shrunk, hermitian=True)
    scale = np.sqrt(np.maximum(np.diag(inverse), 1e-12))
    found = -inverse / np.outer(scale, scale)
    np.fill_diagonal(found, 1.0)
    return np.asarray(np.clip(found, -1, 1), dtype=np.float64)


def _means(values: Floats) -> Floats:
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(total / np.maximum(known.sum(axis=0), 1), dtype=np.float64)
