"""How likely the model finds a patient: what an attack on the model itself asks (`synthgen.auditing.retraining`).

Of one disease, with own hazards h of its terms and the patient's factor w on those of each organ system (`profiles`), a closed
set of observed terms comes about when each of its most specific terms is found, and nothing outside it is:

    P(set | w) = prod_{most specific j} (1 - exp(-h_j w_s(j)))  prod_{j outside} exp(-h_j w_s(j)),   w_s = a z + (1 - a) z_s.

The gammas z and z_s are summed out by quadrature, the z_s one system at a time. Exclusions are the same, downwards, among what is
not observed; facts are independent draws from their frequencies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from generators.phenotypes import facts
from generators.phenotypes.beliefs import Beliefs, hazards
from generators.phenotypes.posterior import Posterior
from generators.phenotypes.profiles import Bools, Frailty, Ints, closed, ends
from generators.phenotypes.public import Public

Floats = NDArray[np.float64]
NODES = 24
"""Equally likely values that stand for a gamma."""
LEAST = 1e-6
"""A frequency or hazard is never thought smaller: nobody is impossible."""


def log_predictive(
    public: Public, now: Beliefs, disease: Ints, observed: Bools, excluded: Bools, facts_: Floats
) -> Floats:
    """[patients] log probability of what is recorded of each. Of a patient with an unknown disease nothing is said: 0.

    Args:
        disease: [patients], -1 where unknown.
        observed: [patients, vocabulary], closed upwards; excluded: [patients, vocabulary] as stated.
        facts_: [patients, facts].
    """
    found = np.zeros(len(disease))
    for i in np.unique(disease[disease >= 0]).tolist():
        rows = disease == i
        has, lacks = observed[rows], excluded[rows] & ~observed[rows]
        down = closed(lacks, public.excludes) | has
        found[rows] = (
            _log_set(hazards(public, now, i, "observed"), ends(has, public.implies), ~has, now.frailties[0], public.system)
            + _log_set(hazards(public, now, i, "excluded"), ends(lacks, public.excludes), ~down, now.frailties[1], public.system)
            + _log_facts(Posterior(now.facts.mass[i * facts.WIDTH : (i + 1) * facts.WIDTH]).mean, facts_[rows])
        )  # fmt: skip
    return found


def _log_set(hazard: Floats, hit: Bools, missed: Bools, frailty: Frailty, system: Ints) -> Floats:
    """[patients] log probability that terms are found where `hit`, and not where `missed`; elsewhere either."""
    severity, subtype = (_gamma(shape) for shape in (frailty.severity, frailty.subtype))
    hazard = np.maximum(hazard, LEAST)
    total = np.zeros((len(hit), NODES))  # [patients, severities]
    for one in np.unique(system):
        mine = system == one
        factor = frailty.share * severity[:, None] + (1 - frailty.share) * subtype  # [severities, subtypes]
        quiet = (missed[:, mine] @ hazard[mine])[:, None, None] * factor
        told = hit[:, mine].astype(np.float64) @ _log_hit(hazard[mine], factor.ravel())
        total += special.logsumexp(told.reshape(len(hit), NODES, NODES) - quiet, axis=2) - np.log(NODES)
    return np.asarray(special.logsumexp(total, axis=1) - np.log(NODES))


def _log_hit(hazard: Floats, factor: Floats) -> Floats:
    """[terms, factors]"""
    return np.asarray(np.log(-np.expm1(-np.maximum(hazard[:, None] * factor, LEAST**2))))


def _gamma(shape: float) -> Floats:
    """[nodes] of mean 1: medians of equally likely parts of Gamma(shape, shape)."""
    nodes = special.gammaincinv(shape, (np.arange(NODES) + 0.5) / NODES) / shape
    return np.asarray(nodes / nodes.mean())


def _log_facts(frequency: Floats, told: Floats) -> Floats:
    """[patients] of each group one category at most; two variants of one patient count half each."""
    total = np.zeros(len(told))
    for part in facts.slices().values():
        share = np.clip(frequency[part], LEAST, 1)
        nothing = max(LEAST, 1 - float(share.sum()))
        total += told[:, part] @ np.log(share) + (1 - told[:, part].sum(axis=1)) * np.log(nothing)
    return total
