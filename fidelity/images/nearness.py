"""How near synthetic and real pictures lie to training and holdout pictures, in pixels and in features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fidelity.images.features import Bytes, Domain, Floats, luma, shrunk
from fidelity.images.sets import Pictures

SPACES = ("pixels", "features")
SHIFT = 1
"""Pixels by which a copy may be moved and still counts as one, up, down, left and right."""
NOTHING = 1e-6
"""Squared distances up to this are rounding."""


@dataclass(frozen=True)
class Nearness:
    """Smallest distances, [pictures] each. Of a real picture, those of its own patient do not count."""

    to_train: Floats
    to_holdout: Floats
    train_to_train: Floats
    train_to_holdout: Floats
    holdout_to_train: Floats
    holdout_to_holdout: Floats
    nearest_real: NDArray[np.int64]
    """[synthetic] index of the nearest real picture, training pictures first; between equals, neither side is favoured."""


def nearness(space: str, train: Pictures, holdout: Pictures, synthetic: Pictures) -> Nearness:
    """In one of the `SPACES`."""
    real = np.concatenate([train.pixels, holdout.pixels])
    patients = np.concatenate([train.patients, holdout.patients]).astype(str)
    if space == "pixels":
        made, between = _shifted_distances(synthetic.pixels, real), _shifted_distances(real, real)
    else:
        domain = Domain.learnt(real)  # from both alike: features of training pictures alone would know them better
        points = domain.of(real)
        made, between = _distances(domain.of(synthetic.pixels), points), _distances(points, points)
    between[patients[:, None] == patients[None, :]] = np.inf
    n = len(train)
    shuffled = np.random.default_rng(0).permutation(len(real))
    return Nearness(
        made[:, :n].min(axis=1),
        made[:, n:].min(axis=1),
        between[:n, :n].min(axis=1),
        between[:n, n:].min(axis=1),
        between[n:, :n].min(axis=1),
        between[n:, n:].min(axis=1),
        shuffled[made[:, shuffled].argmin(axis=1)],
    )


def _shifted_distances(first: Bytes, second: Bytes) -> Floats:
    """[first, second] distance of grey pixels, the smallest over shifts; what a shift moves out of the picture is not
    compared, and the distance is per pixel compared."""
    a, b = luma(shrunk(first)), luma(shrunk(second))
    height, width = a.shape[1:]
    best = np.full((len(a), len(b)), np.inf)
    for down in range(-SHIFT, SHIFT + 1):
        for across in range(-SHIFT, SHIFT + 1):
            window = a[:, max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)]
            under = b[:, max(0, -down) : height + min(0, -down), max(0, -across) : width + min(0, -across)]
            flat = window.reshape(len(a), -1)
            distance = _distances(flat, under.reshape(len(b), -1)) / np.sqrt(flat.shape[1])
            np.minimum(best, distance, out=best)
    return best


def _distances(first: Floats, second: Floats) -> Floats:
    """[first, second] Euclidean, by |a|^2 + |b|^2 - 2 a.b: exact for whole grey values, which is where zero matters."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :] - 2 * first @ second.T
    return np.asarray(np.sqrt(np.where(squares > NOTHING, squares, 0.0)))
