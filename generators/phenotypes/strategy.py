"""Which combinations of terms to ask of a disease's patients, and what their noisy answers say.

A patient's marks x (0 or 1, closed over the ontology) are asked as y = A (x - m), m being what is expected: a patient who is as
expected costs nothing, so neither does an ancestor that nearly all have. Summed over n patients, y tells of the frequencies f

    y = n A (f - m) + noise,     f ~ (m, Sigma),     x | f ~ (f, C).

Sigma says which frequencies are unsure *together* (an ancestor is as unsure as the terms that imply it), so that one question
tells of many terms. A is the matrix mechanism's strategy (Li et al. 2015) with a prior: along each eigenvector q of Sigma, with
eigenvalue s, weight w leaves the variance 1 / (1 / s + (n w / noise)^2) and costs w^2 q' (C + Sigma) q of the patients' mean
squared norm; the least total variance at cost 1 has w^2 = max(0, c / sqrt(cost) - (noise / n)^2 / s) (water-filling).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from generators.phenotypes.profiles import own_hazards

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FACTOR_SPREADS = (0.35, 0.5, 0.6)
"""How much diseases of one level differ together: in all their terms and in those of one organ system, as shares of the expected
frequencies; along the directions in which public diseases differ, as a share of that. An assumption."""
_FRAILTY = 0.2
"""Variances of a patient's severity and of the subtype in an organ system, as far as marks vary together. An assumption."""
_ALONE = 0.2
"""Share of a term's doubt that is its own: frequencies add up along the ontology linearly near what is expected only."""
_LEAST = 1e-9


@dataclass(frozen=True)
class Knowledge:
    """What is known of one disease's terms before they are asked.

    Args:
        mean: [terms] expected frequencies.
        unsure: [terms, terms] covariance of the frequencies.
        patients: [terms, terms] covariance of one patient's marks.
    """

    mean: Floats
    unsure: Floats
    patients: Floats


@dataclass(frozen=True)
class Strategy:
    """`directions` [questions, terms] of marks about their `centre` [terms]; `terms` are their positions in the vocabulary, where
    the marks are those of a whole patient."""

    directions: Floats
    centre: Floats
    terms: Ints | None = None

    def vectors(self, marks: Floats | NDArray[np.bool_]) -> Floats:
        """[patients, questions] what each patient adds."""
        return np.asarray((marks - self.centre) @ self.directions.T)


def knowledge(mean: Floats, variance: Floats, implies: sparse.csr_array, system: Ints, directions: Floats) -> Knowledge:
    """From marginal beliefs, the ontology and the directions in which public diseases differ.

    Args:
        mean, variance: [terms] of the frequencies.
        implies: [terms, terms] 1 where having the row's term is having the column's.
        directions: [terms, factors].
    """
    closure = implies.toarray().astype(np.float64)
    lacking = 1 - np.clip(mean, 1e-4, 0.99)
    own = own_hazards(-np.log(lacking), lacking**2 / variance, implies)
    together = closure.T @ (own[:, None] * closure)  # hazards of all that implies both
    hazard = np.diag(together)
    lacks = np.exp(-hazard)
    severity = lacks * hazard
    same = system[:, None] == system[None, :]
    patients = np.outer(lacks, lacks) * np.expm1(together) + _FRAILTY * np.outer(severity, severity) * (1.0 + same)
    doubt = own_hazards(variance / lacking**2, np.ones(len(mean)), implies)
    shared = np.outer(lacking, lacking) * (closure.T @ (doubt[:, None] * closure))
    systems = same[:, np.unique(system, return_index=True)[1]] * mean[:, None]
    spreads = _FACTOR_SPREADS
    loadings = np.concatenate([spreads[0] * mean[:, None], spreads[1] * systems, spreads[2] * directions], axis=1)
    left = np.maximum(variance - (loadings**2).sum(axis=1), 0.3 * variance)
    unsure = _scaled(shared, (1 - _ALONE) * left) + np.diag(_ALONE * left) + loadings @ loadings.T
    return Knowledge(mean, _scaled(unsure, variance), patients)


def _scaled(covariance: Floats, variance: Floats) -> Floats:
    """The same correlations with other variances."""
    scale = np.sqrt(variance / np.maximum(np.diag(covariance), 1e-12))
    return np.asarray(covariance * np.outer(scale, scale))


def strategy(known: Knowledge, noise: float) -> Strategy:
    """The least total variance of the frequencies when the noise on a patient's mean vector is `noise` (at a norm of 1)."""
    size, axes = np.linalg.eigh(known.unsure)
    axes, size = axes.T, np.maximum(size, _LEAST)
    cost = np.maximum(((axes @ (known.patients + known.unsure)) * axes).sum(axis=1), 1e-6)
    squared = fill(1 / np.sqrt(cost), noise**2 / size, cost)
    asked = squared > 0
    return Strategy(np.sqrt(squared[asked])[:, None] * axes[asked], known.mean)


def fill(rise: Floats, floor: Floats, cost: Floats) -> Floats:
    """max(0, c rise - floor) with c such that its total cost is 1."""
    low, high = 0.0, float((1 + cost @ floor) / (cost @ rise)) + 1.0
    for _ in range(60):
        c = (low + high) / 2
        if cost @ np.maximum(c * rise - floor, 0) < 1:
            low = c
        else:
            high = c
    return np.asarray(np.maximum(high * rise - floor, 0))


def told(
    known: Knowledge, asked: Strategy, answer: Floats, noise: float, patients: float, unsure: float
) -> tuple[Floats, Floats]:
    """([terms] mean, [terms] variance) of a normal likelihood of each frequency: what the answer adds to the marginal belief.

    The joint normal posterior, each marginal divided by its prior (one step of expectation propagation, Minka 2001).

    Args:
        answer: [questions] the mean vector of the patients, and `noise` its noise; `patients` how many, give or take `unsure`.
    """
    a = asked.directions
    across = a @ known.unsure
    spread = (1 + (unsure / patients) ** 2) * across @ a.T + a @ known.patients @ a.T / patients
    spread[np.diag_indices(len(spread))] += noise**2
    gain = np.linalg.solve(spread, across).T
    variance = np.diag(known.unsure)
    mean = known.mean + gain @ (answer + a @ (asked.centre - known.mean))
    after = np.clip(variance - (gain * across.T).sum(axis=1), 1e-7, variance * (1 - 1e-4))
    precision = 1 / after - 1 / variance
    return (mean / after - known.mean / variance) / precision, 1 / precision


def model(known: Knowledge, asked: Strategy, noise: float, patients: float, answer: torch.Tensor) -> None:
    """The same in Pyro, for any of its inference; arguments as in `told`."""
    import pyro
    import torch
    from pyro import distributions as dist

    a, centre, mean, unsure, varies = (
        torch.as_tensor(x) for x in (asked.directions, asked.centre, known.mean, known.unsure, known.patients)
    )
    frequency = pyro.sample("frequency", dist.MultivariateNormal(mean, unsure))
    spread = a @ varies @ a.T / patients + noise**2 * torch.eye(len(a), dtype=a.dtype)
    pyro.sample("answer", dist.MultivariateNormal(a @ (frequency - centre), spread), obs=answer)
