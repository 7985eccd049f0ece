"""How unequal patients are: how many terms they have, in how many organ systems, and the frailties that make it so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from generators.phenotypes.beliefs import USUAL, Beliefs, hazards
from generators.phenotypes.profiles import Frailty, closed, ends, hits
from generators.phenotypes.public import Public
from generators.phenotypes.questions import Answer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COUNT_EDGES = np.array([0, 1, 2, 4, 6, 9, 13, 18, 26, 40])
"""Lower edges of the bins of how many terms a patient has; the last is open."""
SYSTEM_EDGES = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 13])
"""The same for how many organ systems they touch."""
SHAPES = (0.3, 0.8, 2.0, 8.0)
_STANDING = 6
"""Diseases that stand for all."""


def breadth(marked: NDArray[np.bool_], system: Ints) -> Floats:
    """[patients, bins] one-hot: how many terms (most specific ones), and how many organ systems they touch."""
    systems = np.zeros((len(marked), int(system.max(initial=0)) + 1), dtype=bool)
    for s in np.unique(system):
        systems[:, s] = marked[:, system == s].any(axis=1)
    parts = []
    for count, edges in ((marked.sum(axis=1), COUNT_EDGES), (systems.sum(axis=1), SYSTEM_EDGES)):
        bin_ = np.searchsorted(edges, count, side="right") - 1
        parts.append((bin_[:, None] == np.arange(len(edges))).astype(np.float64))
    return np.concatenate(parts, axis=1)


BREADTH_WIDTH = 2 * (len(COUNT_EDGES) + len(SYSTEM_EDGES))
"""Of observed terms, then of excluded ones."""
BREADTH_CLIP = 2.0
"""A patient is in one bin of each of four histograms."""


def learn_frailties(public: Public, now: Beliefs, answer: Answer) -> Beliefs:
    """The shapes whose simulated patients have the histograms that the session said, for observed and excluded terms."""
    found = []
    for status, histogram in enumerate(answer.values.reshape(2, -1)):
        pairs = np.array([(a, b) for a in SHAPES for b in SHAPES])
        fits = np.array([_fit(public, now, status, Frailty(*pair), histogram, answer.noise) for pair in pairs.tolist()])
        weights = np.exp(fits - special.logsumexp(fits))
        found.append(Frailty(*np.exp(weights @ np.log(pairs)).tolist()))
    return replace(now, frailties=(found[0], found[1]))


def _fit(public: Public, now: Beliefs, status: int, frailty: Frailty, histogram: Floats, noise: float) -> float:
    """Log posterior of a frailty: noisy histograms against simulated ones, and what is usual."""
    pair = (frailty, now.frailties[1]) if status == 0 else (now.frailties[0], frailty)
    patients = float(now.sizes.sum())
    expected = patients * _histogram(public, replace(now, frailties=pair), status)
    spread = noise**2 + expected + (0.02 * patients) ** 2
    fit = -0.5 * np.sum((histogram - expected) ** 2 / spread + np.log(spread))
    usual = np.log([frailty.severity / USUAL.severity, frailty.subtype / USUAL.subtype])
    return float(fit - 0.5 * np.sum(usual**2))


def _histogram(public: Public, now: Beliefs, status: int) -> Floats:
    """[bins] expected shares over the cohort, from `_STANDING` diseases that stand for all, drawn as often as they are large."""
    rng = np.random.default_rng([status, 72])
    share = np.cumsum(now.sizes) / now.sizes.sum()
    chosen = np.searchsorted(share, (np.arange(_STANDING) + 0.5) / _STANDING).clip(max=len(share) - 1)
    total = np.zeros(BREADTH_WIDTH // 2)
    for i, times in zip(*np.unique(chosen, return_counts=True), strict=True):
        if status == 0:
            own = hazards(public, now, int(i), "observed")
            marks = hits(own, now.frailties[0], public.system, 150, rng)
            marked = ends(closed(marks, public.implies), public.implies)
        else:
            own = hazards(public, now, int(i), "excluded")
            marked = ends(hits(own, now.frailties[1], public.system, 150, rng), public.excludes)
        total += times * breadth(marked, public.system).mean(axis=0)
    return total / _STANDING
