"""From frequencies to whole patients that keep to the ontology.

A term is found in a patient at a hazard of its own, and a patient has every ancestor of what is found. Hazards add up along the
ontology: with L_j the sum over a term and all that imply it,

    P(patient lacks j) = E[exp(-(a z + (1 - a) z_s) L_j)] = (1 + a L_j / k)^-k (1 + (1 - a) L_j / k_s)^-k_s,

z ~ Gamma(k, k) the patient's severity (and how closely they were described), z_s ~ Gamma(k_s, k_s) of each organ system the
subtype: a low-rank latent that makes terms of one patient, and of one system, go together and leaves every frequency as it is.
Exclusions are the same, downwards. Nothing can contradict: an exclusion that an observed term denies is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_HAZARDS = np.concatenate([[0.0], np.geomspace(1e-6, 1e6, 600)])
_STEPS = 200
_NOTHING, _STILL = 1e-5, 2e-3
_RARE = 0.3


@dataclass(frozen=True)
class Frailty:
    """How much patients differ: shapes of the gammas of severity and of the subtype in each organ system (infinite: not at
    all), and the share of severity."""

    severity: float
    subtype: float
    share: float = 0.5

    def hazard(self, frequency: Floats) -> Floats:
        """The total hazard at which a share `frequency` of the patients has the term."""
        target = -np.log1p(-np.clip(frequency, 0, 0.995))
        return np.asarray(np.interp(target, self._lacking(_HAZARDS), _HAZARDS))

    def frequency(self, hazard: Floats) -> Floats:
        """The share of patients that have a term of this total hazard."""
        return -np.expm1(-self._lacking(hazard))

    def _lacking(self, hazard: Floats) -> Floats:
        """-log P(a patient lacks the term)."""
        a, b = self.share * hazard, (1 - self.share) * hazard
        return np.asarray(self.severity * np.log1p(a / self.severity) + self.subtype * np.log1p(b / self.subtype))

    def draw(self, patients: int, systems: int, rng: np.random.Generator) -> Floats:
        """[patients, systems] each patient's factor on the hazards of each organ system."""
        severity = rng.gamma(self.severity, 1 / self.severity, (patients, 1))
        subtype = rng.gamma(self.subtype, 1 / self.subtype, (patients, systems))
        return np.asarray(self.share * severity + (1 - self.share) * subtype)


def own_hazards(total: Floats, certainty: Floats, implies: sparse.csr_array) -> Floats:
    """[terms] non-negative hazards of the terms themselves whose sums along the ontology come nearest to `total`.

    Args:
        total: [terms] wanted sums; noisy ones may contradict the ontology (a term more frequent than its ancestor).
        certainty: [terms] weight of each in the sum of squares, 1 / variance: certain sums correct uncertain ones.
        implies: [terms, terms] 1 where the row implies the column.

    Multiplicative updates for non-negative least squares (Lee and Seung 2001).
    """
    sums = implies.T.tocsr()
    wanted = implies @ (certainty * total)
    own = np.maximum(2 * total - sums @ total, 0.02 * total) + 1e-9
    for _ in range(_STEPS):
        step = wanted / np.maximum(implies @ (certainty * (sums @ own)), 1e-12)
        own *= step
        if np.abs(step[own > _NOTHING] - 1).max(initial=0) < _STILL:
            break
    return np.asarray(own)


@dataclass(frozen=True)
class Profile:
    """One disease, ready to be drawn. All arrays are over its terms, ancestors first.

    Args:
        implies: [terms, terms] sparse closure, 1 where the row is or implies the column.
        system: [terms] organ system of each term.
        systems: how many there are.
        observed, excluded: [terms] own hazards.
    """

    implies: sparse.csr_array
    system: Ints
    systems: int
    observed: Floats
    excluded: Floats

    def draw(self, patients: int, frailties: tuple[Frailty, Frailty], rng: np.random.Generator) -> tuple[Bools, Bools]:
        """([patients, terms] observed, all that they imply included; [patients, terms] excluded, what that excludes not
        included). Never both."""
        has = closed(hits(self.observed, frailties[0], self.system, patients, rng), self.implies)
        lacks = hits(self.excluded, frailties[1], self.system, patients, rng)
        return has, lacks & ~has


def hits(hazard: Floats, frailty: Frailty, system: Ints, patients: int, rng: np.random.Generator) -> Bools:
    """[patients, terms] where a term is found. What has a small hazard is drawn as points of a Poisson process in each organ
    system, which is the same and does not draw a number for every term that a patient lacks."""
    factor = frailty.draw(patients, int(system.max()) + 1, rng)
    found = np.zeros((patients, len(hazard)), dtype=bool)
    often = np.flatnonzero(hazard > _RARE)
    found[:, often] = rng.random((patients, len(often))) < -np.expm1(-hazard[often] * factor[:, system[often]])
    for one in np.unique(system):
        rare = np.flatnonzero((system == one) & (hazard <= _RARE))
        points = rng.poisson(hazard[rare].sum() * factor[:, one])
        which = np.searchsorted(np.cumsum(hazard[rare]), rng.random(points.sum()) * hazard[rare].sum(), side="right")
        found[np.repeat(np.arange(patients), points), rare[which.clip(max=len(rare) - 1)]] = True
    return found


def closed(marks: Bools, implies: sparse.csr_array) -> Bools:
    """[patients, terms] with all that the marks imply."""
    return np.asarray((_sparse(marks) @ implies).toarray() > 0)


def _sparse(marks: Bools) -> sparse.csr_array:
    rows, columns = np.nonzero(marks)
    return sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=marks.shape)


def ends(marked: Bools, implies: sparse.csr_array) -> Bools:
    """[patients, terms] only those that no other marked term implies (with `implies` transposed: excludes)."""
    strict = (implies - sparse.eye_array(implies.shape[0])).tocsr()
    return np.asarray(marked & ~((_sparse(marked) @ strict).toarray() > 0))
