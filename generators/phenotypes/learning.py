"""From the session's noisy sums to what the generator believes. Everything here is post-processing: it has no patient.

A patient has one disease and adds to that disease's numbers alone, so the questions of all diseases lie side by side in one
vector and cost what one disease costs: within a sum, diseases compose in parallel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes import facts
from generators.phenotypes.beliefs import Beliefs, simulate
from generators.phenotypes.posterior import Levels, Posterior, likelihood, normal
from generators.phenotypes.public import Public
from generators.phenotypes.questions import Answer, Question
from generators.phenotypes.strategy import Knowledge, knowledge, strategy, told

Floats = NDArray[np.float64]

_DRAWN = 100
"""Simulated patients of each disease behind a clip norm or its correction."""


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
    asked = tuple(strategy(known(public, i, status), noise_multiplier / n) for i, n in enumerate(now.sizes.tolist()))
    width = max(len(a.directions) for a in asked)
    drawn = simulate(public, now, status, _DRAWN, seed=0)
    norms = [np.linalg.norm(a.vectors(d), axis=1) for a, d in zip(asked, drawn, strict=True)]
    clip_norm = max(1e-3, float(np.quantile(np.concatenate(norms), quantile)))
    return Question(np.ones((len(asked), width)), clip_norm, asked)


def learn_terms(public: Public, now: Beliefs, status: str, answer: Answer) -> Beliefs:
    """The frequencies of one status (`observed` or `excluded`). The share that the clip cuts off is worked out on patients
    simulated from what is believed (indirect inference)."""
    level, levels = public.level[public.asked], Levels(getattr(public, status))
    if not answer.noise:
        seen = _exact(public, now, answer)
        levels = levels.learn(level, seen)
    else:  # answers about terms are told together: levels that took each for evidence of its own would be too sure
        seen = _noisy(public, now, status, answer)
    return now.with_terms(status, Posterior.of(level, levels, seen), levels)


def _exact(public: Public, now: Beliefs, answer: Answer) -> Floats:
    """[pairs, cells] likelihoods of counts without noise."""
    patients = now.sizes[np.nonzero(public.asked)[0]]
    return likelihood(answer.values[public.asked], patients, np.zeros(len(patients)))


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
