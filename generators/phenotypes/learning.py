"""From the session's noisy sums to what the generator believes. Everything here is post-processing: it has no patient.

A patient has one disease and adds to that disease's numbers alone, so counts of all diseases lie side by side in one vector and
cost what one disease costs: within a sum, diseases compose in parallel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from generators.phenotypes import facts
from generators.phenotypes.posterior import CELLS, Levels, Posterior, likelihood
from generators.phenotypes.profiles import Frailty, Profile, ends, own_hazards
from generators.phenotypes.public import Public

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Drawn = tuple[NDArray[np.bool_], NDArray[np.bool_]]

COUNT_EDGES = np.array([0, 1, 2, 4, 6, 9, 13, 18, 26, 40])
"""Lower edges of the bins of how many terms a patient has; the last is open."""
SYSTEM_EDGES = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 13])
"""The same for how many organ systems they touch."""
SHAPES = (0.3, 0.6, 1.2, 2.5, 8.0)
USUAL = Frailty(1.2, 1.2)
"""What is expected of patients of one disease: described very unequally, with systems that go together."""
_UNKNOWN = 1e6
_SIZE_WEIGHT = 2.5
_STANDING = 12
_FACTOR_SPREADS = (0.35, 0.5, 0.6)
"""How much diseases of one level differ together: in all their terms and in those of one organ system, as shares of the expected
frequencies; along the directions in which public diseases differ, as a share of that. An assumption."""
_TILTS = (-3.0, 3.0)
_DRAWN = 200
"""Simulated patients of each disease behind a clip norm or its correction."""


@dataclass(frozen=True)
class Question:
    """Which vector of a patient is summed: marks times public `weights` ([numbers of one patient's vector] or
    [diseases, numbers]), clipped at `clip_norm`."""

    weights: Floats
    clip_norm: float


@dataclass(frozen=True)
class Answer:
    """The noisy sum [numbers], the standard deviation of its noise (0 for none), and what was asked."""

    values: Floats
    noise: float
    question: Question

    @property
    def counts(self) -> tuple[Floats, Floats]:
        """(counts, standard deviation of the noise on each); what had no weight is not known at all."""
        weights = np.broadcast_to(self.question.weights, self.values.shape)
        asked = weights > 0
        safe = np.where(asked, weights, 1.0)
        return np.where(asked, self.values / safe, 0.0), np.where(asked, self.noise / safe, _UNKNOWN)


@dataclass(frozen=True)
class Beliefs:
    """Args:
    sizes: [diseases] patients of each, and `unsure` their standard deviation.
    observed, excluded: posterior of each (disease, term) in `Public.asked`, in its order; facts: of each (disease, fact).
    frailties: of observed and excluded terms.
    """

    sizes: Floats
    unsure: float
    observed: Posterior
    excluded: Posterior
    facts: Posterior
    frailties: tuple[Frailty, Frailty] = (USUAL, USUAL)

    def terms(self, status: str) -> Posterior:
        """`observed` or `excluded`."""
        return self.excluded if status == "excluded" else self.observed

    def with_terms(self, status: str, posterior: Posterior) -> Beliefs:
        """The same with another posterior of one status."""
        return replace(self, excluded=posterior) if status == "excluded" else replace(self, observed=posterior)


def prior(public: Public, patients: int) -> Beliefs:
    """What is believed before any patient: epsilon 0."""
    level = public.level[public.asked]
    return Beliefs(
        np.full(len(public.diseases), patients / len(public.diseases)),
        0.0,
        Posterior.of(level, Levels(public.observed)),
        Posterior.of(level, Levels(public.excluded)),
        Posterior.of(public.fact_level.ravel(), Levels(public.fact)),
    )


def facts_question(diseases: int) -> Question:
    """Every group of facts once, the size of the diseases with more weight: every frequency is divided by it."""
    weights = np.ones(facts.WIDTH)
    weights[0] = _SIZE_WEIGHT
    return Question(np.tile(weights, (diseases, 1)), float(np.sqrt(_SIZE_WEIGHT**2 + len(facts.GROUPS) - 1)))


def learn_facts(public: Public, before: Beliefs, answer: Answer) -> Beliefs:
    """The sizes of the diseases and the facts of their patients."""
    counts, noise = answer.counts
    typical = before.sizes.mean()
    trust = typical**2 / (typical**2 + noise[0, 0] ** 2) if len(public.diseases) > 1 else 0.0
    sizes = np.maximum(trust * counts[:, 0] + (1 - trust) * typical, 1.0)
    unsure = float(noise[0, 0] * np.sqrt(trust))
    level = public.fact_level.ravel()
    seen = likelihood(counts.ravel(), np.repeat(sizes, facts.WIDTH), noise.ravel(), unsure)
    return replace(
        before, sizes=sizes, unsure=unsure, facts=Posterior.of(level, Levels(public.fact).learn(level, seen), seen)
    )


def terms_question(public: Public, now: Beliefs, status: str, noise_multiplier: float, quantile: float) -> Question:
    """Which terms to weigh how much, and where to clip: what tells most, given how unsure each is and how loud the noise.

    A term of prior mean m and variance v, asked with weight w among n patients, keeps the variance 1 / (1/v + (n w / s)^2), and
    costs w^2 m of the patients' squared norm. The least total variance for a squared norm of 1 has

        w^2 = max(0, c / sqrt(m) - (s / n)^2 / v)

    with c such that the cost is 1 (water-filling); s is the noise at that norm.
    """
    believed = now.terms(status)
    m, v = np.maximum(believed.mean, 1e-4), _variance(believed)
    disease = np.nonzero(public.asked)[0]
    loud = (noise_multiplier / now.sizes[disease]) ** 2 / v
    squared = np.zeros(len(m))
    for i in range(len(public.diseases)):
        mine = disease == i
        squared[mine] = _fill(1 / np.sqrt(m[mine]), loud[mine], m[mine])
    weights = np.zeros(public.terms.shape)
    weights[public.asked] = np.sqrt(squared)
    drawn = simulate(public, now, _DRAWN, seed=0)
    norms = np.concatenate([_norms(public, d, weights[i], i, status) for i, d in enumerate(drawn)])
    return Question(weights, max(1e-3, float(np.quantile(norms, quantile))))


def _fill(rise: Floats, floor: Floats, cost: Floats) -> Floats:
    """max(0, c rise - floor) with c such that its total cost is 1."""
    low, high = 0.0, float((1 + cost @ floor) / (cost @ rise)) + 1.0
    for _ in range(60):
        c = (low + high) / 2
        if cost @ np.maximum(c * rise - floor, 0) < 1:
            low = c
        else:
            high = c
    return np.asarray(np.maximum(high * rise - floor, 0))


def _norms(public: Public, drawn: Drawn, weights: Floats, disease: int, status: str) -> Floats:
    """[patients] norms of the weighted vectors of simulated patients."""
    mine = weights[public.asked[disease]]
    return np.asarray(np.sqrt(drawn[status == "excluded"] @ mine**2))


def learn_terms(public: Public, now: Beliefs, status: str, answer: Answer) -> Beliefs:
    """The frequencies of one status (`observed` or `excluded`), twice over: each time the share that the clip cuts off
    is worked out again on patients simulated from what is believed (indirect inference)."""
    counts, noise = (part[public.asked] for part in answer.counts)
    level = public.level[public.asked]
    disease = np.nonzero(public.asked)[0]
    for turn in range(2):
        kept = cut(public, now, status, answer.question, seed=turn)[disease]
        seen = likelihood(counts / kept, now.sizes[disease], noise / kept, now.unsure)
        levels = Levels(getattr(public, status)).learn(level, seen)
        prior_mass = levels.prior[level]
        if answer.noise:
            prior_mass = _together(public, now, prior_mass, counts / kept, noise / kept)
        now = now.with_terms(status, Posterior.from_mass(prior_mass * seen))
    return now


def _together(public: Public, now: Beliefs, mass: Floats, counts: Floats, noise: Floats) -> Floats:
    """[pairs, cells] prior masses moved by what the terms of a disease say together: a disease is described more closely than
    most, touches one organ system more, or resembles others that are known. A linear-Gaussian model with one factor for each, its
    posterior mean."""
    before = Posterior(mass)
    m, v = before.mean, _variance(before)
    moved = m.copy()
    disease = np.nonzero(public.asked)[0]
    for i in range(len(public.diseases)):
        mine = disease == i
        system = public.system[public.of(i)]
        systems = (system[:, None] == np.unique(system)) * m[mine][:, None]
        known = _FACTOR_SPREADS[2] * public.directions[public.of(i)]
        loadings = np.concatenate([_FACTOR_SPREADS[0] * m[mine][:, None], _FACTOR_SPREADS[1] * systems, known], axis=1)
        n = now.sizes[i]
        left = np.maximum(v[mine] - (loadings**2).sum(axis=1), 0.3 * v[mine])
        spread = left + (noise[mine] / n) ** 2 + m[mine] * (1 - m[mine]) / n
        weighted = loadings / spread[:, None]
        precision = np.eye(loadings.shape[1]) + loadings.T @ weighted
        factors = np.linalg.solve(precision, weighted.T @ (counts[mine] / n - m[mine]))
        moved[mine] = np.clip(m[mine] + loadings @ factors, 1e-4, 0.98)
    return tilted(mass, moved)


def tilted(mass: Floats, mean: Floats) -> Floats:
    """[pairs, cells] each row times odds^t, with t such that its mean is as given (a beta stays a beta)."""
    odds = np.log(CELLS / (1 - CELLS))
    logs = np.log(np.maximum(mass, 1e-300))
    low, high = np.full(len(mass), _TILTS[0]), np.full(len(mass), _TILTS[-1])
    for _ in range(12):
        middle = (low + high) / 2
        tried = _normalised(logs + middle[:, None] * odds)
        short = tried @ CELLS < mean
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return _normalised(logs + ((low + high) / 2)[:, None] * odds)


def _normalised(logs: Floats) -> Floats:
    mass = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def profiles(public: Public, now: Beliefs) -> list[Profile]:
    """Every disease, ready to be drawn."""
    return [profile(public, now, i) for i in range(len(public.diseases))]


def profile(public: Public, now: Beliefs, i: int) -> Profile:
    """One disease, ready to be drawn."""
    implies = public.implies_of(i)
    observed, excluded = (Posterior(p.mass[public.rows_of(i)]) for p in (now.observed, now.excluded))
    has = _own(observed.mean, _variance(observed), now.frailties[0], implies)
    lacks_it = np.clip(excluded.mean / np.maximum(1 - observed.mean, 0.02), 0, 0.98)
    lacks = _own(lacks_it, _variance(excluded), now.frailties[1], implies.T.tocsr())
    return Profile(implies, public.system[public.of(i)], int(public.system.max()) + 1, has, lacks)


def _own(frequency: Floats, variance: Floats, frailty: Frailty, implies: sparse.csr_array) -> Floats:
    total = frailty.hazard(frequency)
    slope = (frailty.hazard(np.minimum(frequency + 1e-3, 0.994)) - total) / 1e-3
    return own_hazards(total, 1 / np.maximum(slope**2 * variance, 1e-8), implies)


def _variance(posterior: Posterior) -> Floats:
    return np.asarray(np.maximum(posterior.mass @ CELLS**2 - posterior.mean**2, 1e-8))


def simulate(public: Public, now: Beliefs, patients: int, seed: int) -> list[Drawn]:
    """Of each disease that many patients: terms observed (closed upwards) and excluded (closed downwards)."""
    rng = np.random.default_rng([seed, 71])
    drawn = []
    for one in profiles(public, now):
        has, lacks = one.draw(patients, now.frailties, rng)
        drawn.append((has, closed_down(lacks, has, one.implies)))
    return drawn


def closed_down(lacks: NDArray[np.bool_], has: NDArray[np.bool_], implies: sparse.csr_array) -> NDArray[np.bool_]:
    """[patients, terms] excluded terms and all that their exclusion excludes."""
    below = (sparse.csr_array(lacks.astype(np.float32)) @ implies.T).toarray() > 0
    return np.asarray(below & ~has)


def cut(public: Public, now: Beliefs, status: str, question: Question, seed: int) -> Floats:
    """[diseases] the share of the counts that is left after the clip."""
    kept = np.ones(len(public.diseases))
    if not np.isfinite(question.clip_norm):
        return kept
    for i, drawn in enumerate(simulate(public, now, _DRAWN, seed)):
        size = _norms(public, drawn, question.weights[i], i, status) ** 2
        factor = np.minimum(1, question.clip_norm / np.sqrt(np.maximum(size, 1e-18)))
        kept[i] = (size @ factor + 1e-9) / (size.sum() + 1e-9)
    return kept


# How unequal patients are ----------------------------------------------------------------------------------------------------
def breadth(marked: NDArray[np.bool_], system: Ints) -> Floats:
    """[patients, bins] one-hot: how many terms (most specific ones), and how many organ systems they touch."""
    systems = np.zeros((len(marked), int(system.max(initial=0)) + 1), dtype=bool)
    for s in np.unique(system):
        systems[:, s] = marked[:, system == s].any(axis=1)
    parts = []
    for count, edges in ((marked.sum(axis=1), COUNT_EDGES), (systems.sum(axis=1), SYSTEM_EDGES)):
        bin_ = np.searchsorted(edges, count, side="right") - 1
        parts.append((bin_[:, None] == np.arange(len(edges))).astype(np.float64))
    return np.concatenate(parts, axis=1)


BREADTH_WIDTH = 2 * (len(COUNT_EDGES) + len(SYSTEM_EDGES))
"""Of observed terms, then of excluded ones."""
BREADTH_CLIP = 2.0
"""A patient is in one bin of each of four histograms."""


def learn_frailties(public: Public, now: Beliefs, answer: Answer) -> Beliefs:
    """The shapes whose simulated patients have the histograms that the session said, for observed and excluded terms."""
    found = []
    for status, histogram in enumerate(answer.values.reshape(2, -1)):
        pairs = np.array([(a, b) for a in SHAPES for b in SHAPES])
        fits = np.array([_fit(public, now, status, Frailty(*pair), histogram, answer.noise) for pair in pairs.tolist()])
        weights = np.exp(fits - special.logsumexp(fits))
        found.append(Frailty(*np.exp(weights @ np.log(pairs)).tolist()))
    return replace(now, frailties=(found[0], found[1]))


def _fit(public: Public, now: Beliefs, status: int, frailty: Frailty, histogram: Floats, noise: float) -> float:
    """Log posterior of a frailty: noisy histograms against simulated ones, and what is usual."""
    pair = (frailty, now.frailties[1]) if status == 0 else (now.frailties[0], frailty)
    patients = float(now.sizes.sum())
    expected = patients * _histogram(public, replace(now, frailties=pair), status)
    spread = noise**2 + expected + (0.02 * patients) ** 2
    fit = -0.5 * np.sum((histogram - expected) ** 2 / spread + np.log(spread))
    usual = np.log([frailty.severity / USUAL.severity, frailty.subtype / USUAL.subtype])
    return float(fit - 0.5 * np.sum(usual**2))


def _histogram(public: Public, now: Beliefs, status: int) -> Floats:
    """[bins] expected shares over the cohort, from `_STANDING` diseases that stand for all, drawn as often as they are large."""
    rng = np.random.default_rng([status, 72])
    share = np.cumsum(now.sizes) / now.sizes.sum()
    chosen = np.searchsorted(share, (np.arange(_STANDING) + 0.5) / _STANDING).clip(max=len(share) - 1)
    total = np.zeros(BREADTH_WIDTH // 2)
    for i, times in zip(*np.unique(chosen, return_counts=True), strict=True):
        one = profile(public, now, int(i))
        has, lacks = one.draw(150, now.frailties, rng)
        marked = ends(has, one.implies) if status == 0 else ends(lacks, one.implies.T.tocsr())
        total += times * breadth(marked, one.system).mean(axis=0)
    return total / _STANDING


# Before any patient -----------------------------------------------------------------------------------------------------------
def foretell(public: Public, patients: int, noise_multiplier: float, quantile: float) -> tuple[float, float]:
    """How much the patients will add, from public numbers alone: standard deviation of a frequency before and after, averaged
    over the terms that a disease is expected to have in one of twenty patients or more."""
    now = prior(public, patients)
    question = terms_question(public, now, "observed", noise_multiplier, quantile)
    m, v = now.observed.mean, _variance(now.observed)
    n = now.sizes[np.nonzero(public.asked)[0]]
    weights = np.maximum(question.weights[public.asked], 1e-9)
    seen = (noise_multiplier * question.clip_norm / (n * weights)) ** 2 + m * (1 - m) / n
    likely = m >= 0.05
    after = 1 / (1 / v + 1 / seen)
    return float(np.sqrt(v[likely]).mean()), float(np.sqrt(after[likely]).mean())
