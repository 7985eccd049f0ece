"""What is asked of the session, and its answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes import facts
from generators.phenotypes.strategy import Strategy

Floats = NDArray[np.float64]
SIZE_WEIGHT = 3.0


@dataclass(frozen=True)
class Question:
    """Which vector of a patient is summed: their marks times public `weights` ([numbers of one patient's vector] or
    [diseases, numbers]), or, with `strategies`, combinations of their marks that each disease has of its own; clipped at
    `clip_norm`."""

    weights: Floats
    clip_norm: float
    strategies: tuple[Strategy, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The noisy sum [numbers], the standard deviation of its noise (0 for none), and what was asked."""

    values: Floats
    noise: float
    question: Question

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """(counts, standard deviation of the noise on each)."""
        weights = np.broadcast_to(self.question.weights, self.values.shape)
        return self.values / weights, self.noise / weights


def facts_question(diseases: int) -> Question:
    """Every group of facts once, the size of the diseases with more weight: every frequency is divided by it."""
    weights = np.ones(facts.WIDTH)
    weights[0] = SIZE_WEIGHT
    return Question(np.tile(weights, (diseases, 1)), float(np.sqrt(SIZE_WEIGHT**2 + len(facts.GROUPS) - 1)))
