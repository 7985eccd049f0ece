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
        own *= wanted / np.maximum(implies @ (certainty * (sums @ own)), 1e-12)
    return np.asarray(own)


@dataclass(frozen=True)
class Profile:
    """One disease, ready to be drawn. All arrays are over its terms, ancestors first.

    Args:
        implies: [terms, terms] sparse closure, 1 where the row is or implies the column.
        system: [terms] organ system of each term.
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
        has = closed(self._hits(self.observed, frailties[0], patients, rng), self.implies)
        lacks = self._hits(self.excluded, frailties[1], patients, rng)
        return has, lacks & ~has

    def _hits(self, hazard: Floats, frailty: Frailty, patients: int, rng: np.random.Generator) -> Bools:
        factor = frailty.draw(patients, self.systems, rng)
        chance = -np.expm1(-hazard * factor[:, self.system])
        return np.asarray(rng.random(chance.shape) < chance)


def closed(hits: Bools, implies: sparse.csr_array) -> Bools:
    """[patients, terms] with all that the hits imply."""
    return np.asarray((sparse.csr_array(hits.astype(np.float32)) @ implies).toarray() > 0)


def ends(marked: Bools, implies: sparse.csr_array) -> Bools:
    """[patients, terms] only those that no other marked term implies (with `implies` transposed: excludes)."""
    strict = (implies - sparse.eye_array(implies.shape[0])).tocsr()
    return np.asarray(marked & ~((sparse.csr_array(marked.astype(np.float32)) @ strict).toarray() > 0))
