"""How much the patients will add to public knowledge, said in advance from public numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from generators.phenotypes.beliefs import prior
from generators.phenotypes.learning import known, observed_question
from generators.phenotypes.public import Public
from generators.phenotypes.strategy import Strategy, told

_STANDING = 8
"""Diseases that stand for all, from the best to the least annotated."""
_LIKELY = 0.05


@dataclass(frozen=True)
class Forecast:
    """Standard deviations of a term's frequency before the patients and after them, averaged over the terms that a disease is
    expected to have in one of twenty patients or more; patients of a disease (all alike, as nothing else is public)."""

    before: float
    after: float
    each: float


def foretell(public: Public, patients: int, noise_multiplier: float, quantile: float) -> Forecast:
    """What the question about observed terms will tell of a disease of average size, likeness to public diseases left aside.

    Args:
        noise_multiplier: of the charge on observed terms; 0 without privacy.
        quantile: of the norms of simulated patients at which they are clipped.
    """
    now = prior(public, patients)
    n = float(now.sizes.mean())
    question = observed_question(public, now, quantile)
    noise = max(noise_multiplier, 1e-3) * question.clip_norm / n
    rows = np.argsort(public.strength[:, 2], kind="stable")
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _STANDING).astype(int))]
    before, after = [], []
    for i in chosen.tolist():
        knows, terms = known(public, i, "observed"), public.of(i)
        asked = Strategy(question.strategies[i].directions[:, terms], knows.mean)
        _, spread = told(knows, asked, np.zeros(len(asked.directions)), noise, n, 0.0)
        variance, likely = np.diag(knows.unsure), knows.mean >= _LIKELY
        before.append(np.sqrt(variance[likely]).mean())
        after.append(np.sqrt(1 / (1 / variance + 1 / spread))[likely].mean())
    return Forecast(float(np.mean(before)), float(np.mean(after)), n)
