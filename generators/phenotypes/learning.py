"""From the session's noisy sums to what the generator believes. Everything here is post-processing: it has no patient.

A patient has one disease and adds to that disease's numbers alone, so the questions of all diseases lie side by side in one
vector and cost what one disease costs: within a sum, diseases compose in parallel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes import facts
from generators.phenotypes.beliefs import CONCENTRATION, Beliefs, hazards, simulate, spread
from generators.phenotypes.likeness import expected
from generators.phenotypes.posterior import Levels, Posterior, beta_cells, likelihood, normal
from generators.phenotypes.profiles import closed, hits
from generators.phenotypes.public import Public
from generators.phenotypes.questions import Answer, Question
from generators.phenotypes.strategy import Knowledge, Strategy, knowledge, strategy, told

Floats = NDArray[np.float64]

_DRAWN = 100
"""Simulated patients of each disease behind a clip norm or its correction."""
_STANDING = 12
"""Diseases that stand for all where one number is the same for all."""
_UNEQUAL = np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3])[:, None]
"""Standard deviations of the logarithm of a disease's size."""
_LEAST, _MOST = 2e-4, 0.97
"""No frequency is expected to be smaller or greater than that."""


def learn_facts(public: Public, before: Beliefs, answer: Answer) -> Beliefs:
    """The sizes of the diseases and the facts of their patients."""
    counts, noise = answer.counts
    sizes, unsure = learn_sizes(counts[:, 0], float(noise[0, 0]), float(before.sizes.mean()))
    level = public.fact_level.ravel()
    seen = likelihood(counts.ravel(), np.repeat(sizes, facts.WIDTH), noise.ravel(), unsure)
    return replace(
        before, sizes=sizes, unsure=unsure, facts=Posterior.of(level, Levels(public.fact).learn(level, seen), seen)
    )


# Observed terms: one question for all diseases ------------------------------------------------------------------------------
def observed_question(public: Public, now: Beliefs, quantile: float) -> Question:
    """Of every disease the same directions of the whole vocabulary, clipped at a `quantile` of simulated norms."""
    asked = Strategy(public.axes.T.astype(np.float64), public.centre, np.arange(len(public.vocabulary)))
    some = np.unique(np.linspace(0, len(public.diseases) - 1, _STANDING).astype(int)).tolist()
    norms = np.concatenate([np.linalg.norm(_drawn(public, now, asked, i, seed=0), axis=1) for i in some])
    shape = (len(public.diseases), public.axes.shape[1])
    return Question(np.ones(shape), max(1e-3, float(np.quantile(norms, quantile))), (asked,) * shape[0])


def _drawn(public: Public, now: Beliefs, asked: Strategy, i: int, seed: int) -> Floats:
    """Vectors of simulated patients of one disease."""
    rng = np.random.default_rng([seed, i, 73])
    found = hits(hazards(public, now, i, "observed"), now.frailties[0], public.system, _DRAWN, rng)
    return asked.vectors(closed(found, public.implies))


def likened(public: Public, now: Beliefs, answer: Answer, count: int) -> tuple[Public, Beliefs]:
    """Expectations and the terms to be asked of each disease, after its patients said whom they are like."""
    scale = answer.question.clip_norm * now.sizes
    means = answer.values / scale[:, None]
    rest = np.clip(expected(public, now.rest[0], means, answer.noise / scale), _LEAST, _MOST)
    known_ = public.asking(rest, count)
    excluded = Posterior.of(known_.level[known_.asked], Levels(public.excluded))
    now = now.with_terms("observed", _expected(known_, rest), rest).with_terms("excluded", excluded)
    return known_, now


def _expected(public: Public, rest: Floats) -> Posterior:
    """Beta distributions about what is expected."""
    rows, columns = np.nonzero(public.asked)[0], public.terms[public.asked]
    return Posterior(beta_cells(rest[rows, columns], np.full(len(rows), CONCENTRATION)))


def learn_observed(public: Public, now: Beliefs, answer: Answer) -> Beliefs:
    """The frequencies of observed terms, each disease's together. What the clip makes of patients' mean vector is worked out on
    patients simulated from what is believed (indirect inference)."""
    asked, rest, seen = answer.question.strategies[0], now.rest[0], []
    kept, bent = _clipped(public, now, answer.question)
    beyond = (rest - asked.centre) @ asked.directions.T
    for i, size in enumerate(now.sizes.tolist()):
        terms, scale = public.of(i), kept * size
        mine = Strategy(asked.directions[:, terms], asked.centre[terms])
        mean = rest[i, terms]
        knows = knowledge(mean, spread(mean), public.implies_of(i), public.system[terms], public.directions[terms])
        others = beyond[i] - mine.directions @ (mean - mine.centre)  # what terms that are not asked are expected to add
        says = answer.values[i] / scale - bent[i] / kept - others
        seen.append(normal(*told(knows, mine, says, answer.noise / scale, size, now.unsure)))
    mass = _expected(public, rest).mass * np.concatenate(seen)
    return now.with_terms("observed", Posterior.from_mass(mass))


def _clipped(public: Public, now: Beliefs, question: Question) -> tuple[float, Floats]:
    """(the length of clipped vectors' means along those of the unclipped, [diseases, axes] how far they stray from it)."""
    whole, cut_ = [], []
    for i, asked in enumerate(question.strategies):
        rows = _drawn(public, now, asked, i, seed=1)
        factor = np.minimum(1, question.clip_norm / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
        whole.append(rows.mean(axis=0))
        cut_.append((rows * factor).mean(axis=0))
    plain, bent = np.array(whole), np.array(cut_)
    kept = max(float((plain * bent).sum() / max((plain**2).sum(), 1e-9)), 1e-3)
    return kept, bent - kept * plain


# Excluded terms: of each disease its own question ---------------------------------------------------------------------------
def learn_sizes(answer: Floats, noise: float, typical: float) -> tuple[Floats, float]:
    """([diseases] expected patients of each, standard deviation of that): sizes are log-normal with mean `typical`, and how
    unequal they are is learnt from all answers (empirical Bayes)."""
    if len(answer) == 1:
        return np.full(1, typical), 0.0
    if not noise:
        return np.maximum(answer, 1.0), 0.0
    grid = np.geomspace(1.0, max(50 * typical, 2.0), 2000)
    seen = np.exp(-0.5 * (answer[:, None] - grid) ** 2 / (noise**2 + np.gradient(grid) ** 2)) + 1e-300
    prior = np.exp(-0.5 * ((np.log(grid / typical) + _UNEQUAL**2 / 2) / _UNEQUAL) ** 2)  # [inequalities, sizes]
    prior /= prior.sum(axis=1, keepdims=True)
    fit = np.log(seen @ prior.T).sum(axis=0)
    mass = seen * (np.exp(fit - fit.max()) @ prior)
    mass /= mass.sum(axis=1, keepdims=True)
    mean = mass @ grid
    return mean, float(np.sqrt((mass @ grid**2 - mean**2).mean()))


def known(public: Public, i: int, status: str) -> Knowledge:
    """What is publicly known of one disease's terms, together."""
    levels = Levels(getattr(public, status))
    level, terms = public.level[i][public.asked[i]], public.of(i)
    implies = public.implies_of(i)
    implies = implies.T.tocsr() if status == "excluded" else implies
    return knowledge(
        levels.mean[level], levels.variance[level], implies, public.system[terms], public.directions[terms]
    )


def terms_question(public: Public, now: Beliefs, status: str, noise_multiplier: float, quantile: float) -> Question:
    """Of each disease the combinations of terms that tell most, clipped at a `quantile` of the norms of simulated patients."""
    best = (strategy(known(public, i, status), noise_multiplier / n) for i, n in enumerate(now.sizes.tolist()))
    asked = tuple(replace(s, terms=public.of(i)) for i, s in enumerate(best))
    width = max(len(a.directions) for a in asked)
    drawn = simulate(public, now, status, _DRAWN, seed=0)
    norms = [np.linalg.norm(a.vectors(d), axis=1) for a, d in zip(asked, drawn, strict=True)]
    clip_norm = max(1e-3, float(np.quantile(np.concatenate(norms), quantile)))
    return Question(np.ones((len(asked), width)), clip_norm, asked)


def learn_excluded(public: Public, now: Beliefs, answer: Answer) -> Beliefs:
    """The frequencies of exclusions; the share that the clip cuts off is worked out on simulated patients."""
    level = public.level[public.asked]
    seen = _noisy(public, now, "excluded", answer)
    return now.with_terms("excluded", Posterior.of(level, Levels(public.excluded), seen))


def _noisy(public: Public, now: Beliefs, status: str, answer: Answer) -> Floats:
    """[pairs, cells] likelihoods of what the session said of combinations of terms."""
    parts = []
    kept = cut(public, now, status, answer.question, seed=1)
    for i, asked in enumerate(answer.question.strategies):
        scale = kept[i] * now.sizes[i]
        mine = answer.values[i, : len(asked.directions)] / scale
        mean, variance = told(
            known(public, i, status), asked, mine, answer.noise / scale, float(now.sizes[i]), now.unsure
        )
        parts.append(normal(mean, variance))
    return np.concatenate(parts)


def cut(public: Public, now: Beliefs, status: str, question: Question, seed: int) -> Floats:
    """[diseases] the share of the patients' vectors that is left after the clip."""
    kept = np.ones(len(public.diseases))
    for i, (asked, drawn) in enumerate(
        zip(question.strategies, simulate(public, now, status, _DRAWN, seed), strict=True)
    ):
        size = np.linalg.norm(asked.vectors(drawn), axis=1) ** 2
        factor = np.minimum(1, question.clip_norm / np.sqrt(np.maximum(size, 1e-18)))
        kept[i] = (size @ factor + 1e-9) / (size.sum() + 1e-9)
    return kept


# Without privacy -----------------------------------------------------------------------------------------------------------
def learn_exactly(public: Public, now: Beliefs, counts: dict[str, Floats], count: int) -> tuple[Public, Beliefs]:
    """From exact counts [diseases, vocabulary] of both statuses: levels of evidence are learnt with the frequencies."""
    means, levels = {}, {}
    for status, numbers in counts.items():
        seen = [
            likelihood(row, np.full(len(row), n), np.zeros(len(row)))
            for row, n in zip(numbers, now.sizes.tolist(), strict=True)
        ]
        learnt = Levels(getattr(public, status))
        for level, likely in zip(public.levels, seen, strict=True):
            learnt = learnt.learn(level, likely)
        levels[status] = learnt
        means[status] = np.stack(
            [Posterior.of(level, learnt, s).mean for level, s in zip(public.levels, seen, strict=True)]
        )
    known_ = public.asking(means["observed"], count)
    rows, columns, level = np.nonzero(known_.asked)[0], known_.terms[known_.asked], known_.level[known_.asked]
    for status, numbers in counts.items():
        seen_ = likelihood(numbers[rows, columns], now.sizes[rows], np.zeros(len(rows)))
        now = now.with_terms(status, Posterior.of(level, levels[status], seen_), means[status])
    return known_, now
