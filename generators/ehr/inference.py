"""What one noisy sum says of everything else, as Bayes' rule for Gaussians has it.

Simulated populations are points: the mean of a statistic over each one's patients, and the means of whatever follows from the
patients but is never asked (latent codes, scores of the model's numbers). How these go together over populations is public.
So the question can be put where populations differ most for what it costs (a clip is shared by all numbers that are asked), and
the answer is read as linear Bayes estimation does (Hartigan 1969), noise and sampling known, the prior widened as far as the
answer itself makes likely (empirical Bayes, Efron and Morris 1973).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from privacy.session import Session, Statistic, clip

TRUST = (0.1, 0.3, 1.0, 3.0, 10.0)
"""How many times as much as simulated populations do a cohort may differ (variance)."""
EXTRAS = (0.02, 0.04, 0.08, 0.14, 0.22, 0.35, 0.55, 0.9)
"""What a cohort may differ by in any direction, in patients' standard deviations."""
USUAL = 0.08
"""Of EXTRAS, before the answer is known."""
QUANTILES = (0.3, 0.5, 0.7, 0.85, 0.95, 1.0)
"""Of simulated patients' norms: clip norms that are tried."""
OFF_DIAGONAL = 0.8
"""How far what one number says is trusted to say something of another; simulated populations are few."""


@dataclass(frozen=True)
class Knowledge:
    """Public knowledge of the mean [asked] of a statistic, and of what follows, [inferred].

    Args:
        centre: [asked]; scale: [asked] standard deviation between patients.
        covariance: [asked, asked] of populations' means, in units of `scale`; cross: [inferred, asked].
        query: [questions, asked] what is asked of the standardised statistic.
        clip_norm: of the questions; clipped: [questions] their mean after the clip; kept: share of a shift that it keeps.
        sampling: [questions, questions] covariance between patients, after the clip.
    """

    centre: Tensor
    scale: Tensor
    covariance: Tensor
    inferred: Tensor
    cross: Tensor
    query: Tensor
    clip_norm: float
    clipped: Tensor
    kept: float
    sampling: Tensor

    def questions(self, vectors: Tensor) -> Tensor:
        """[patients, questions] from the statistic [patients, asked]."""
        return ((vectors.double() - self.centre) / self.scale) @ self.query.T


def knowledge(
    vectors: Tensor,
    population: Tensor,
    noise: float,
    follows: Tensor | None = None,
    covariance: Tensor | None = None,
) -> Knowledge:
    """From simulated patients.

    Args:
        vectors: [patients, asked]; population: [patients] number of each one's population, from 0.
        noise: standard deviation of the noise on a mean when the clip norm is 1.
        follows: [patients, inferred] what is never asked, and inferred.
        covariance: [asked, asked] of the mean in the statistic's units, where it is known better than from populations.
    """
    vectors = vectors.double()
    centre, scale = vectors.mean(dim=0), vectors.std(dim=0).clamp(min=1e-3)
    white = (vectors - centre) / scale
    beside = white[:, :0] if follows is None else follows.double()
    means, beside_means = by_population(white, population), by_population(beside - beside.mean(dim=0), population)
    patients = white.T @ white / len(white)
    size = len(white) / len(means)  # the means of so few patients differ by chance alone
    cross = beside_means.T @ means / len(means) - (beside - beside.mean(dim=0)).T @ white / len(white) / size
    own = _shrunk(_positive(means.T @ means / len(means) - patients / size))
    own = own if covariance is None else covariance / scale.outer(scale)
    query = allocate(own + USUAL**2 * torch.eye(len(scale), dtype=own.dtype), patients, noise)
    put = white @ query.T
    clip_norm, cut, kept = clipped(put, population, noise)
    return Knowledge(
        centre, scale, own, beside.mean(dim=0), OFF_DIAGONAL * cross, query, clip_norm,
        cut.mean(dim=0), kept, torch.cov(cut.T).reshape(len(query), -1),
    )  # fmt: skip


def clipped(put: Tensor, population: Tensor, noise: float) -> tuple[float, Tensor, float]:
    """The clip norm under which simulated populations' means are found best: a low one cuts, a high one pays in noise.

    Args:
        put: [patients, questions]; population: [patients]; noise: standard deviation on a mean when the clip norm is 1.

    Returns:
        (clip norm, [patients, questions] after the clip, share of a population's shift that it keeps).
    """
    norms = torch.linalg.vector_norm(put, dim=1)
    moved = by_population(put - put.mean(dim=0), population)
    best, found = math.inf, (1.0, put, 1.0)
    for quantile in QUANTILES:
        clip_norm = float(norms.quantile(quantile).clamp(min=1e-6))
        cut = clip(put, clip_norm)
        told = by_population(cut - cut.mean(dim=0), population)
        kept = float(((moved * told).sum() / (moved**2).sum().clamp(min=1e-9)).clamp(0.3, 1.0))
        error = float(((told / kept - moved) ** 2).sum(dim=1).mean()) + put.shape[1] * (noise * clip_norm / kept) ** 2
        if error < best:
            best, found = error, (clip_norm, cut, kept)
    return found


def by_population(vectors: Tensor, population: Tensor) -> Tensor:
    """[populations, numbers] means; populations are numbered from 0."""
    count = torch.bincount(population).double()
    total = torch.zeros(len(count), vectors.shape[1], dtype=torch.float64).index_add_(0, population, vectors.double())
    return total / count.unsqueeze(1)


def _positive(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    out: Tensor = vectors @ torch.diag(values.clamp(min=0)) @ vectors.T
    return out


def _shrunk(matrix: Tensor) -> Tensor:
    return OFF_DIAGONAL * matrix + (1 - OFF_DIAGONAL) * torch.diag(matrix.diagonal())


def allocate(prior: Tensor, patients: Tensor, noise: float) -> Tensor:
    """[questions, asked] rows along the prior's principal axes, sized so that the expected squared error that is left is least.

    With axis i of prior variance p_i and variance s_i between patients, a share b_i of the squared norm buys a noise of
    c^2 s_i / b_i; the least sum of posterior variances has b_i = max(0, c sqrt(s_i) / v - c^2 s_i / p_i), with v so that they
    sum to 1.

    Args:
        prior: [asked, asked] covariance of the mean; patients: the same of single patients; noise: c.
    """
    values, vectors = torch.linalg.eigh(prior)
    values = values.clamp(min=1e-9)
    spread = torch.einsum("ji,jk,ki->i", vectors, patients, vectors).clamp(min=1e-6)
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        share = (noise * spread.sqrt() * middle - noise**2 * spread / values).clamp(min=0)
        low, high = (middle, high) if float(share.sum()) < 1 else (low, middle)
    keep = share > 1e-9
    rows: Tensor = (share / spread).sqrt()[keep].unsqueeze(1) * vectors.T[keep]
    return rows


@dataclass(frozen=True)
class Posterior:
    """What is believed after the answer: [asked] in the statistic's units and the covariance that is left of it, and
    [inferred]."""

    asked: Tensor
    covariance: Tensor
    inferred: Tensor


def ask(session: Session, statistic: Statistic, known: Knowledge, charge: str) -> Posterior:
    """One noisy sum over the patients, read with what is known."""
    answer = session.mean(lambda rows: known.questions(statistic(rows)), known.clip_norm, charge)
    seen = (answer - known.clipped) / known.kept
    one = torch.eye(len(seen), dtype=seen.dtype)
    noise = session.error(charge, known.clip_norm) ** 2 * one + known.sampling / session.declared_patients
    prior, trust = _likeliest(seen, known, noise / known.kept**2)
    total = known.query @ prior @ known.query.T + noise / known.kept**2
    back = known.query.T @ torch.linalg.solve(total, torch.cat([seen.unsqueeze(1), known.query @ prior], dim=1))
    return Posterior(
        known.centre + known.scale * (prior @ back[:, 0]),
        (prior - prior @ back[:, 1:]) * known.scale.outer(known.scale),
        known.inferred + trust * known.cross @ back[:, 0],
    )


def _likeliest(seen: Tensor, known: Knowledge, noise: Tensor) -> tuple[Tensor, float]:
    """(prior covariance [asked, asked], trust) under which the answer is likeliest."""
    one = torch.eye(len(known.centre), dtype=seen.dtype)
    own, round_ = known.query @ known.covariance @ known.query.T, known.query @ known.query.T
    best, found = -float("inf"), (1.0, USUAL)
    for trust in TRUST:
        for extra in EXTRAS:
            root = torch.linalg.cholesky(trust * own + extra**2 * round_ + noise)
            fit = torch.linalg.solve_triangular(root, seen.unsqueeze(1), upper=False).square().sum() / 2
            hyper = (math.log(trust) / 1.2) ** 2 / 2 + (math.log(extra / USUAL) / 0.8) ** 2 / 2
            now = -float(fit + root.diagonal().log().sum()) - hyper
            if now > best:
                best, found = now, (trust, extra)
    return found[0] * known.covariance + found[1] ** 2 * one, found[0]
