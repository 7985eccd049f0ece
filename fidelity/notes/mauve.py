"""MAUVE (Pillutla et al. 2021): how near two sets of texts are, by the divergence frontier of their quantised features.

Texts become vectors, vectors cells of k-means over all sets together; for mixtures R of the two distributions over cells, the
curve (exp(-c KL(Q|R)), exp(-c KL(P|R))) is drawn, and the area under it is the score: 1 for equal distributions. With few texts
it is read beside a second real sample, never alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALE = 5.0
"""c of the paper."""
PER_CELL = 10
"""Texts of the smallest set for each cell: the paper's n / 10 cells."""
DIMENSIONS = 50


def cells(features: Sequence[Floats], seed: int) -> list[NDArray[np.int64]]:
    """[texts, features] of each set -> [texts] cell of each text: k-means over all sets, each set weighing the same."""
    from sklearn.cluster import KMeans

    together = np.concatenate(features)
    weights = np.concatenate([np.full(len(f), 1 / len(f)) for f in features])
    number = max(2, min(len(f) for f in features) // PER_CELL)
    found = KMeans(number, n_init=3, random_state=seed).fit_predict(together, sample_weight=weights * len(together))
    return [np.asarray(part, dtype=np.int64) for part in np.split(found, np.cumsum([len(f) for f in features])[:-1])]


def mauve(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Cells of the texts of two sets -> 0 to 1."""
    number = int(max(first.max(), second.max())) + 1
    p, q = (_distribution(cell, number) for cell in (first, second))
    weights = np.linspace(1e-6, 1 - 1e-6, 25)
    mixtures = weights[:, None] * p + (1 - weights[:, None]) * q  # [mixtures, cells]
    x = np.concatenate([[1.0], np.exp(-SCALE * _divergence(q, mixtures)), [0.0]])
    y = np.concatenate([[0.0], np.exp(-SCALE * _divergence(p, mixtures)), [1.0]])
    return float(-np.trapezoid(y, x))  # along the curve, x falls


def lexical(texts: Sequence[Sequence[str]]) -> list[Floats]:
    """[texts, dimensions] of each set: TF-IDF of words and pairs of words, its leading directions over all sets."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    together = [text for some in texts for text in some]
    counted = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit_transform(together)
    number = min(DIMENSIONS, counted.shape[1] - 1, counted.shape[0] - 1)
    reduced = normalize(TruncatedSVD(number, random_state=0).fit_transform(counted))
    return [np.asarray(p, dtype=np.float64) for p in np.split(reduced, np.cumsum([len(some) for some in texts])[:-1])]


def _distribution(cell: NDArray[np.int64], number: int) -> Floats:
    """Shares of the cells, half a text added to each (Krichevsky & Trofimov)."""
    counts = np.bincount(cell, minlength=number) + 0.5
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _divergence(p: Floats, mixtures: Floats) -> Floats:
    """[mixtures] KL(p | mixture)."""
    return np.asarray((p * np.log(p / mixtures)).sum(axis=1), dtype=np.float64)
