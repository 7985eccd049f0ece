"""Distance attack: a patient who lies near a synthetic one is called a member (GAN-leaks' black-box attack, Chen et al. 2020)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distance_scores(patients: Floats, synthetic: Floats) -> Floats:
    """[patients, features], [synthetic, features] -> [patients] minus the Euclidean distance to the nearest synthetic patient."""
    return -nearest(patients, synthetic)[0]


def nearest(points: Floats, others: Floats, itself: bool = False) -> tuple[Floats, NDArray[np.int64]]:
    """[points] distance to and index of the nearest of `others`.

    Args:
        itself: `others` are the same patients in the same order, and nobody is their own neighbour.
    """
    from scipy.spatial.distance import cdist

    distances = cdist(points, others)  # [points, others]
    if itself:
        np.fill_diagonal(distances, np.inf)
    where = distances.argmin(axis=1)
    return distances[np.arange(len(points)), where], where
