"""Recorded frequencies given noisy counts: the posterior knows the noise.

The model, of every (disease, term) pair i with level l(i) of public evidence:

    p_l, kappa_l  ~  public calibration of the level            how often a term with this evidence is recorded
    f_i           ~  Beta(p_l kappa_l, (1 - p_l) kappa_l)       its frequency in this cohort's population
    count_i       ~  Binomial(n_i, f_i)                         patients with the term
    answer_i      ~  Normal(count_i, noise_i)                   what the session said; noise_i is known

`model` is this in Pyro (counts by their normal approximation), for any of Pyro's inference. `Levels` is the same posterior by
quadrature over f and over a grid of (p, kappa): exact up to the grid, fast for a hundred thousand pairs; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.special import betainc, logsumexp

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGES = np.concatenate([[0.0], np.geomspace(1e-4, 0.02, 16), np.linspace(0.03, 0.97, 48), [0.98, 0.99, 0.997, 1.0]])
CELLS = (EDGES[:-1] + EDGES[1:]) / 2
"""Frequencies at which the posterior is worked out: finer near zero, where most terms of a disease lie."""

_P = np.concatenate([np.geomspace(3e-4, 0.04, 12), np.linspace(0.06, 0.94, 23), [0.97, 0.99]])
_KAPPA = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
GRID = np.array([(p, k) for p in _P for k in _KAPPA])
"""[hypotheses, 2] of (p, kappa)."""


def _logit(p: Floats) -> Floats:
    return np.asarray(np.log(p) - np.log1p(-p))


def beta_cells(p: Floats, kappa: Floats) -> Floats:
    """[..., cells] the mass that Beta(p kappa, (1 - p) kappa) puts in each cell."""
    cumulative = betainc((p * kappa)[..., None], ((1 - p) * kappa)[..., None], EDGES)
    mass = np.maximum(np.diff(cumulative, axis=-1), 1e-300)
    return np.asarray(mass / mass.sum(axis=-1, keepdims=True))


PRIORS = beta_cells(GRID[:, 0], GRID[:, 1])
"""[hypotheses, cells]."""


def likelihood(answer: Floats, patients: Floats, noise: Floats, unsure: Floats | float = 0.0) -> Floats:
    """[pairs, cells] of the session's answer at each frequency, up to a factor for each pair.

    Args:
        answer: [pairs] noisy counts.
        patients: [pairs] how many patients could have had the term.
        noise: [pairs] standard deviation of the answer's noise; 0 for exact counts.
        unsure: standard deviation of `patients` itself.
    """
    if not np.any(noise):
        counts = np.round(answer)[:, None]
        lacking = np.maximum(patients[:, None] - counts, 0)
        logs = counts * np.log(CELLS) + lacking * np.log1p(-CELLS)
    else:
        mean = patients[:, None] * CELLS
        spread = noise[:, None] ** 2 + mean * (1 - CELLS) + (np.asarray(unsure)[..., None] * CELLS) ** 2
        logs = -0.5 * (answer[:, None] - mean) ** 2 / spread - 0.5 * np.log(spread)
    relative: Floats = np.exp(logs - np.max(logs, axis=1, keepdims=True))
    return relative


def normal(mean: Floats, variance: Floats) -> Floats:
    """[pairs, cells] of a normal likelihood of each frequency, up to a factor for each pair."""
    logs = -0.5 * (mean[:, None] - CELLS) ** 2 / variance[:, None]
    return np.asarray(np.exp(logs - logs.max(axis=1, keepdims=True)))


def _variance(mass: Floats) -> Floats:
    """[rows] of distributions over `CELLS`."""
    return np.asarray(np.maximum(mass @ CELLS**2 - (mass @ CELLS) ** 2, 1e-8))


@dataclass(frozen=True)
class Levels:
    """What is believed of the levels: `weights` [levels, hypotheses], each row a distribution over `GRID`."""

    weights: Floats

    @classmethod
    def vague(cls, levels: int) -> Levels:
        """Every hypothesis is as good as another."""
        return cls(np.full((levels, len(GRID)), 1 / len(GRID)))

    @classmethod
    def assumed(cls, frequencies: Floats, doubt: float = 0.7, concentration: float = 3.0) -> Levels:
        """[levels] what someone who knows the field expects, give or take `doubt` on the logit scale."""
        gap = _logit(GRID[:, 0]) - _logit(np.clip(frequencies, 1e-3, 0.99))[:, None]
        logs = -0.5 * (gap / doubt) ** 2 - 0.5 * (np.log(GRID[:, 1] / concentration)) ** 2
        return cls(np.exp(logs - logsumexp(logs, axis=1, keepdims=True)))

    def learn(self, level: Ints, seen: Floats, worth: Floats | None = None, steps: int = 2_000_000) -> Levels:
        """The same after pairs were seen.

        Args:
            level: [pairs] of each pair.
            seen: [pairs, cells] likelihoods.
            worth: [levels] each level's evidence is divided down to at most this many pairs; None for all of it.
        """
        logs = np.log(np.maximum(self.weights, 1e-300))
        size = max(1, steps // len(GRID))
        for one in np.unique(level):
            mine = seen[level == one]
            total = np.zeros(len(GRID))
            for start in range(0, len(mine), size):
                total += np.log(np.maximum(mine[start : start + size] @ PRIORS.T, 1e-300)).sum(axis=0)
            share = 1.0 if worth is None else min(1.0, float(worth[one]) / len(mine))
            logs[one] += share * total
        return Levels(np.exp(logs - logsumexp(logs, axis=1, keepdims=True)))

    @cached_property
    def prior(self) -> Floats:
        """[levels, cells] what is expected of a frequency of each level."""
        mixed: Floats = self.weights @ PRIORS
        return mixed

    @cached_property
    def mean(self) -> Floats:
        """[levels] the expected frequency."""
        expected: Floats = self.prior @ CELLS
        return expected

    @cached_property
    def variance(self) -> Floats:
        """[levels] of the frequencies of one level."""
        return _variance(self.prior)


@dataclass(frozen=True)
class Posterior:
    """`mass` [pairs, cells], each row a distribution over frequencies."""

    mass: Floats

    @classmethod
    def of(cls, level: Ints, levels: Levels, seen: Floats | None = None) -> Posterior:
        """Each pair's level, and what was seen of it."""
        mass = levels.prior[level]
        return cls.from_mass(mass if seen is None else mass * seen)

    @classmethod
    def from_mass(cls, mass: Floats) -> Posterior:
        """From masses that need not add to 1."""
        return cls(mass / mass.sum(axis=1, keepdims=True))

    @property
    def mean(self) -> Floats:
        """[pairs]."""
        mean: Floats = self.mass @ CELLS
        return mean

    @property
    def variance(self) -> Floats:
        """[pairs]."""
        return _variance(self.mass)

    def shifted(self, logits: Floats) -> Posterior:
        """The same with the logit of each frequency [pairs] that much greater."""
        inner = _logit(EDGES[1:-1])
        cumulative = np.cumsum(self.mass, axis=1)
        below = np.zeros((len(self.mass), len(EDGES)))
        below[:, -1] = 1
        for row, (mass, shift) in enumerate(zip(cumulative, logits.tolist(), strict=True)):
            below[row, 1:-1] = np.interp(special.expit(inner - shift), EDGES, np.concatenate([[0.0], mass]))
        return Posterior.from_mass(np.maximum(np.diff(below, axis=1), 1e-300))

    def draw(self, rng: np.random.Generator) -> Floats:
        """[pairs] one frequency each, uniform within its cell."""
        cell = (np.cumsum(self.mass, axis=1) < rng.random((len(self.mass), 1))).sum(axis=1).clip(max=len(CELLS) - 1)
        within: Floats = EDGES[cell] + rng.random(len(cell)) * (EDGES[cell + 1] - EDGES[cell])
        return within

    def predictive(self, patients: int, rng: np.random.Generator, draws: int = 400, coverage: float = 0.9) -> Floats:
        """[pairs, 2] the interval that should hold the frequency among `patients` new ones, with probability `coverage`."""
        drawn = np.stack([rng.binomial(patients, self.draw(rng)) / patients for _ in range(draws)])
        return np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0).T


def model(
    level: torch.Tensor,
    weights: torch.Tensor,
    patients: torch.Tensor,
    noise: torch.Tensor,
    answer: torch.Tensor | None = None,
    grid: torch.Tensor | None = None,
) -> None:
    """The generative model in Pyro, for any of its inference.

    Args:
        level, patients, noise, answer: [pairs].
        weights: [levels, hypotheses] over `grid`, as in `Levels`.
        grid: [hypotheses, 2], by default `GRID`.
    """
    import pyro
    import torch
    from pyro import distributions as dist

    p, kappa = (torch.as_tensor(GRID) if grid is None else grid).unbind(-1)
    priors = dist.Beta((p * kappa)[:, None], ((1 - p) * kappa)[:, None])  # [hypotheses, 1]
    for one in range(len(weights)):
        mine = level == one
        with pyro.plate(f"pairs_{one}", int(mine.sum())):
            frequency = pyro.sample(f"frequency_{one}", dist.Uniform(torch.zeros(()).double(), 1.0))
            mean = patients[mine] * frequency
            spread = torch.sqrt(noise[mine] ** 2 + mean * (1 - frequency))
            pyro.sample(f"answer_{one}", dist.Normal(mean, spread), obs=None if answer is None else answer[mine])
        # pairs of a level share its hypothesis, which is summed out here: NUTS needs what is left to be continuous
        together = torch.log(weights[one]) + priors.log_prob(frequency).sum(dim=-1)
        pyro.factor(f"level_{one}", torch.logsumexp(together, dim=0))
