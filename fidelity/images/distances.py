"""Distances between two sets of pictures, both given as features [n, d] of equal n (each is biased by n)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEIGHBOURS = 5
"""Nearest neighbours that span the support of a set; Naeem et al. take 5."""


def frechet(real: Floats, other: Floats) -> float:
    """Squared Frechet distance of two normal distributions (Heusel et al. 2017, eq. 6):
    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)). 0 is the same."""
    gap = real.mean(axis=0) - other.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    return max(0.0, float(gap @ gap + np.trace(first) + np.trace(second) - 2 * cross))


def kernel(real: Floats, other: Floats) -> float:
    """Squared maximum mean discrepancy under the kernel (x.y / d + 1)^3 (Binkowski et al. 2018), in its biased form: never
    below 0,
    and comparable between sets of equal size. Features are scaled by the real ones' spread first."""
    spread = max(float(np.sqrt(((real - real.mean(axis=0)) ** 2).mean())), 1e-12)
    x, y = ((f - real.mean(axis=0)) / spread for f in (real, other))
    return max(0.0, float(_polynomial(x, x).mean() + _polynomial(y, y).mean() - 2 * _polynomial(x, y).mean()))


def precision(real: Floats, other: Floats) -> float:
    """Share of `other` inside the support of `real`: within reach of a real picture's k-th neighbour
    (Kynkaanniemi et al. 2019)."""
    return float((_between(other, real) <= _reach(real)[None, :]).any(axis=1).mean())


def recall(real: Floats, other: Floats) -> float:
    """Share of `real` inside the support of `other`: what the other set has no picture of, lowers it."""
    return precision(other, real)


def density(real: Floats, other: Floats) -> float:
    """How many real neighbourhoods a picture of `other` lies in, over k (Naeem et al. 2020, eq. 5); 1 is expected of a second
    real sample. An outlier with a wide neighbourhood does not help."""
    return float((_between(other, real) <= _reach(real)[None, :]).sum(axis=1).mean() / _k(real))


def coverage(real: Floats, other: Floats) -> float:
    """Share of real neighbourhoods that hold a picture of `other` (Naeem et al. 2020, eq. 6)."""
    return float((_between(real, other) <= _reach(real)[:, None]).any(axis=1).mean())


def _polynomial(x: Floats, y: Floats) -> Floats:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _between(x: Floats, y: Floats) -> Floats:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(x, y))


def _reach(points: Floats) -> Floats:
    """[n] distance to the k-th nearest other point."""
    return np.asarray(np.sort(_between(points, points), axis=1)[:, _k(points)])


def _k(points: Floats) -> int:
    return min(NEIGHBOURS, len(points) - 1)
