"""A noisy mean of a statistic, and what to believe after it.

Whitened and clipped by what simulated patients look like (public), corrected for what the clip took away, and shrunk to
the public expectation by the weights of a Gaussian posterior: the prior variance is how much simulated populations differ,
the noise is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from privacy.session import Session, clip
from privacy.session import Statistic as Statistic

EXTRA = 0.12
"""Prior standard deviation, in patients' standard deviations, beyond what simulated populations differ by."""
OFF_DIAGONAL = 0.5
"""How far what one number says is trusted to say something of another."""


@dataclass(frozen=True)
class Expectation:
    """What public knowledge expects of a statistic, [numbers] each.

    Args:
        centre: its mean; scale: its standard deviation between patients.
        covariance: [numbers, numbers] prior covariance of a population's mean, in units of `scale`.
        clip_norm: of the whitened vectors; clipped: their mean after the clip; kept: what share of a shift the clip keeps.
    """

    centre: Tensor
    scale: Tensor
    covariance: Tensor
    clip_norm: float
    clipped: Tensor
    kept: float

    def whiten(self, vectors: Tensor) -> Tensor:
        return (vectors.double() - self.centre) / self.scale


def expect(vectors: Tensor, population: Tensor, quantile: float, covariance: Tensor | None = None) -> Expectation:
    """From the statistic of simulated patients.

    Args:
        vectors: [patients, numbers]; population: [patients] number of the population each one is from.
        covariance: [numbers, numbers] prior covariance in the statistic's units, where it is known better.
    """
    vectors = vectors.double()
    centre, scale = vectors.mean(dim=0), vectors.std(dim=0).clamp(min=1e-3)
    white = (vectors - centre) / scale
    clip_norm = float(torch.linalg.vector_norm(white, dim=1).quantile(quantile).clamp(min=1e-3))
    cut = clip(white, clip_norm)
    means, cut_means = _by_population(white, population), _by_population(cut, population)
    kept = float(((means * (cut_means - cut.mean(dim=0))).sum() / (means**2).sum().clamp(min=1e-9)).clamp(0.3, 1.0))
    prior = _between(means, white) if covariance is None else covariance / scale.outer(scale)
    prior = prior + EXTRA**2 * torch.eye(len(scale), dtype=prior.dtype)
    return Expectation(centre, scale, prior, clip_norm, cut.mean(dim=0), kept)


def _between(means: Tensor, white: Tensor) -> Tensor:
    """[numbers, numbers] covariance of populations' means [populations, numbers] beyond what sampling their patients makes;
    half of what lies beside the diagonal, for so few populations say little of it."""
    size = len(white) / len(means)
    covariance = torch.cov(means.T).reshape(means.shape[1], -1) - torch.cov(white.T).reshape(means.shape[1], -1) / size
    values, vectors = torch.linalg.eigh(covariance)
    positive = vectors @ torch.diag(values.clamp(min=0)) @ vectors.T
    prior: Tensor = OFF_DIAGONAL * positive + (1 - OFF_DIAGONAL) * torch.diag(positive.diagonal())
    return prior


def _by_population(vectors: Tensor, population: Tensor) -> Tensor:
    return torch.stack([vectors[population == k].mean(dim=0) for k in population.unique()])


@dataclass(frozen=True)
class Belief:
    """Mean [numbers] of the statistic in the cohort, and the covariance that is left, in the statistic's units."""

    mean: Tensor
    covariance: Tensor


def ask(session: Session, statistic: Statistic, expected: Expectation, charge: str) -> Belief:
    """One noisy sum over the patients, read with what was expected."""
    noisy = session.mean(lambda rows: expected.whiten(statistic(rows)), expected.clip_norm, charge)
    noise = (session.error(charge, expected.clip_norm) / expected.kept) ** 2 + 1 / session.declared_patients
    prior = expected.covariance
    total = prior + noise * torch.eye(len(prior), dtype=prior.dtype)
    weight = torch.linalg.solve(total, prior).T  # prior (prior + noise)^-1
    mean = expected.centre + expected.scale * (weight @ ((noisy - expected.clipped) / expected.kept))
    return Belief(mean, weight * noise * expected.scale.outer(expected.scale))
