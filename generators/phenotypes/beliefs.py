"""What the generator believes of each disease, and patients who are as it believes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from generators.phenotypes.posterior import Levels, Posterior
from generators.phenotypes.profiles import Frailty, Profile, closed, hits, own_hazards
from generators.phenotypes.public import Public

Floats = NDArray[np.float64]

CONCENTRATION = 2.0
"""Frequencies about what is expected of them are Beta with this many patients' worth of certainty (found on simulated ones)."""
USUAL = Frailty(1.2, 1.2)
"""What is expected of patients of one disease: described very unequally, with systems that go together."""


@dataclass(frozen=True)
class Beliefs:
    """Args:
    sizes: [diseases] patients of each, and `unsure` their standard deviation.
    observed, excluded: posterior of each (disease, term) in `Public.asked`, in its order; facts: of each (disease, fact).
    rest: [diseases, vocabulary] expected frequencies of observed and excluded terms: all that is known of terms not asked.
    frailties: of observed and excluded terms.
    """

    sizes: Floats
    unsure: float
    observed: Posterior
    excluded: Posterior
    facts: Posterior
    rest: tuple[Floats, Floats]
    frailties: tuple[Frailty, Frailty] = (USUAL, USUAL)

    def terms(self, status: str) -> Posterior:
        """`observed` or `excluded`."""
        return self.excluded if status == "excluded" else self.observed

    def with_terms(self, status: str, posterior: Posterior, rest: Floats | None = None) -> Beliefs:
        """The same with another posterior of one status, and with other expectations of what is not asked."""
        k = int(status == "excluded")
        both = self.rest if rest is None else (rest, self.rest[1]) if k == 0 else (self.rest[0], rest)
        return replace(self, rest=both, observed=posterior) if k == 0 else replace(self, rest=both, excluded=posterior)


def prior(public: Public, patients: int) -> Beliefs:
    """What is believed before any patient: epsilon 0."""
    level = public.level[public.asked]
    levels = Levels(public.observed), Levels(public.excluded)
    return Beliefs(
        np.full(len(public.diseases), patients / len(public.diseases)),
        0.0,
        Posterior.of(level, levels[0]),
        Posterior.of(level, levels[1]),
        Posterior.of(public.fact_level.ravel(), Levels(public.fact)),
        (levels[0].mean[public.levels], levels[1].mean[public.levels]),
    )


def spread(mean: Floats) -> Floats:
    """[...] variance of a frequency of which no more than its expectation is known."""
    return np.asarray(mean * (1 - mean) / (CONCENTRATION + 1))


def profile(public: Public, now: Beliefs, i: int) -> Profile:
    """One disease, ready to be drawn, over the whole vocabulary: what was asked of it as is believed now, the rest as terms of
    that level of evidence are."""
    has = hazards(public, now, i, "observed")
    lacks = hazards(public, now, i, "excluded")
    return Profile(public.implies, public.system, int(public.system.max()) + 1, has, lacks)


def hazards(public: Public, now: Beliefs, i: int, status: str) -> Floats:
    """[vocabulary] own hazards of one disease's terms."""
    observed, excluded = (_frequencies(public, now, i, s) for s in ("observed", "excluded"))
    if status == "observed":
        return _own(*observed, now.frailties[0], public.implies)
    return _own(_given_not(excluded[0], observed[0]), excluded[1], now.frailties[1], public.excludes)


def _given_not(excluded: Floats, observed: Floats) -> Floats:
    """How often a term is excluded where it is not observed."""
    return np.asarray(np.clip(excluded / np.maximum(1 - observed, 0.02), 0, 0.98))


def _frequencies(public: Public, now: Beliefs, i: int, status: str) -> tuple[Floats, Floats]:
    """([vocabulary] mean, variance) of one disease's frequencies."""
    mean = now.rest[status == "excluded"][i].astype(np.float64)
    variance = np.maximum(spread(mean), 1e-8)
    asked = Posterior(now.terms(status).mass[public.rows_of(i)])
    mean[public.of(i)], variance[public.of(i)] = asked.mean, asked.variance
    return mean, variance


def _own(frequency: Floats, variance: Floats, frailty: Frailty, implies: sparse.csr_array) -> Floats:
    total = frailty.hazard(frequency)
    slope = (frailty.hazard(np.minimum(frequency + 1e-3, 0.994)) - total) / 1e-3
    return own_hazards(total, 1 / np.maximum(slope**2 * variance, 1e-8), implies)


def simulate(public: Public, now: Beliefs, status: str, patients: int, seed: int) -> list[NDArray[np.bool_]]:
    """Of each disease that many patients: [patients, asked terms] observed (closed upwards) or excluded (closed downwards)."""
    rng = np.random.default_rng([seed, 71])
    drawn = []
    for i in range(len(public.diseases)):
        implies, system = public.implies_of(i), public.system[public.of(i)]
        observed, excluded = (Posterior(p.mass[public.rows_of(i)]) for p in (now.observed, now.excluded))
        has = closed(hits(_own(observed.mean, observed.variance, now.frailties[0], implies), now.frailties[0], system,
                          patients, rng), implies)  # fmt: skip
        if status == "excluded":
            given_not = _given_not(excluded.mean, observed.mean)
            down = implies.T.tocsr()
            own = _own(given_not, excluded.variance, now.frailties[1], down)
            has = closed(hits(own, now.frailties[1], system, patients, rng), down) & ~has
        drawn.append(has)
    return drawn


def closed_down(lacks: NDArray[np.bool_], has: NDArray[np.bool_], implies: sparse.csr_array) -> NDArray[np.bool_]:
    """[patients, terms] excluded terms and all that their exclusion excludes."""
    return np.asarray(closed(lacks, implies.T.tocsr()) & ~has)
