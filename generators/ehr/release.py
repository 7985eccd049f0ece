"""A noisy mean of a statistic, and what to believe after it.

Whitened and clipped by what simulated patients look like (public), corrected for what the clip took away, and shrunk to
the public expectation by the weights of a Gaussian posterior: the prior variance is how much simulated populations differ,
the noise is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from privacy.session import Session, clip
from privacy.session import Statistic as Statistic

EXTRA = 0.05
"""Prior standard deviation, in patients' standard deviations, beyond what simulated populations differ by."""


@dataclass(frozen=True)
class Expectation:
    """What public knowledge expects of a statistic, [numbers] each.

    Args:
        centre: its mean; scale: its standard deviation between patients.
        variance: prior variance of a population's mean, in units of `scale` squared.
        clip_norm: of the whitened vectors; clipped: their mean after the clip; kept: what share of a shift the clip keeps.
    """

    centre: Tensor
    scale: Tensor
    variance: Tensor
    clip_norm: float
    clipped: Tensor
    kept: float

    def whiten(self, vectors: Tensor) -> Tensor:
        return (vectors.double() - self.centre) / self.scale


def expect(vectors: Tensor, population: Tensor, quantile: float, variance: Tensor | None = None) -> Expectation:
    """From the statistic of simulated patients.

    Args:
        vectors: [patients, numbers]; population: [patients] number of the population each one is from.
        variance: [numbers] prior variance in units of the statistic, where it is known better.
    """
    vectors = vectors.double()
    centre, scale = vectors.mean(dim=0), vectors.std(dim=0).clamp(min=1e-3)
    white = (vectors - centre) / scale
    clip_norm = float(torch.linalg.vector_norm(white, dim=1).quantile(quantile).clamp(min=1e-3))
    cut = clip(white, clip_norm)
    means, cut_means, size = (
        _by_population(white, population),
        _by_population(cut, population),
        len(white) / population.unique().numel(),
    )
    kept = float(((means * (cut_means - cut.mean(dim=0))).sum() / (means**2).sum().clamp(min=1e-9)).clamp(0.3, 1.0))
    if variance is None:
        prior = (means.var(dim=0) - 1 / size).clamp(min=0) + EXTRA**2
    else:
        prior = variance / scale**2 + EXTRA**2
    return Expectation(centre, scale, prior, clip_norm, cut.mean(dim=0), kept)


def _by_population(vectors: Tensor, population: Tensor) -> Tensor:
    return torch.stack([vectors[population == k].mean(dim=0) for k in population.unique()])


@dataclass(frozen=True)
class Belief:
    """[numbers] mean of the statistic in the cohort, and the variance that is left, in the statistic's units."""

    mean: Tensor
    variance: Tensor


def ask(session: Session, statistic: Statistic, expected: Expectation, charge: str) -> Belief:
    """One noisy sum over the patients, read with what was expected."""
    noisy = session.mean(lambda rows: expected.whiten(statistic(rows)), expected.clip_norm, charge)
    noise = (session.error(charge, expected.clip_norm) / expected.kept) ** 2 + 1 / session.declared_patients
    return _posterior((noisy - expected.clipped) / expected.kept, noise, expected)


def look(statistic: Tensor, expected: Expectation) -> Belief:
    """The same without privacy: the mean of [patients, numbers] as it is."""
    mean = expected.whiten(statistic).mean(dim=0)
    return Belief(expected.centre + expected.scale * mean, torch.zeros_like(mean))


def _posterior(shift: Tensor, noise: float, expected: Expectation) -> Belief:
    weight = expected.variance / (expected.variance + noise)
    return Belief(expected.centre + expected.scale * weight * shift, expected.scale**2 * weight * noise)
