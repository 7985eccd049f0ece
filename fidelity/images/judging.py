"""How a measure of pictures is judged: as `fidelity.verdict` judges, between a second real sample and independent pixels.

All sets are brought to equal size first, for distances between samples depend on it. Distances span orders of magnitude, so
they are judged by their logarithm: a *pass* lies nearer, by ratio, to a second real sample than to independent pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.verdict import GROUPS, verdict
from synthgen.findings import Finding

Floats = NDArray[np.float64]
Measure = Callable[[Floats, Floats], float]
"""([n, d] real, [n, d] other) -> a number."""


@dataclass(frozen=True)
class Rows:
    """[n, d] numbers of pictures and [n] whose they are."""

    values: Floats
    patients: NDArray[np.object_]

    def trimmed(self, count: int) -> Rows:
        """So many of them, in an order that has nothing to do with the patients'."""
        chosen = np.random.default_rng(0).permutation(len(self.values))[:count]
        return Rows(self.values[chosen], self.patients[chosen])


@dataclass(frozen=True)
class Compared:
    """Numbers of the pictures of training, holdout and synthetic patients, of independent pixels, and of public knowledge
    alone; all of one size."""

    train: Rows
    holdout: Rows
    synthetic: Rows
    floor: Rows
    prior: Rows | None

    @classmethod
    def of(cls, train: Rows, holdout: Rows, synthetic: Rows, floor: Rows, prior: Rows | None) -> Compared:
        """Brings them to the size of the smallest."""
        sets = (train, holdout, synthetic, floor, *(() if prior is None else (prior,)))
        count = min(len(s.values) for s in sets)
        first, second, third, fourth = (s.trimmed(count) for s in sets[:4])
        return cls(first, second, third, fourth, None if prior is None else prior.trimmed(count))


def judged(
    check: str, metric: str, text: str, measure: Measure, compared: Compared, better: Literal["lower", "higher"],
    by_ratio: bool = False, most: float = float("inf"),
) -> Finding:  # fmt: skip
    """The synthetic pictures against the training patients', with interval, ceiling, floor and verdict.
    `most` is the largest value that the measure can take."""
    real = compared.train.values
    value, ceiling, floor = (measure(real, s.values) for s in (compared.synthetic, compared.holdout, compared.floor))
    low, high = _interval(measure, real, compared.synthetic, value, most)
    best = high if better == "higher" else low
    scale = np.log if by_ratio else np.asarray
    scaled = [float(scale(max(x, 1e-9))) for x in (value, best, ceiling, floor)]
    judgement = verdict(scaled[0], scaled[1], scaled[2], scaled[3], better)
    reading = {
        "pass": "nearer to a second real sample than to independent pixels",
        "fail": "hardly better than independent pixels",
        "inconclusive": "not yet like a second real sample",
        "information": "independent pixels score as well as a second real sample, so this alone tells nothing",
    }[judgement]
    found = Finding(
        check, metric, value, judgement, f"{text}: {reading}.", low=low, high=high, n=len(compared.synthetic.values),
        ceiling=ceiling, floor=floor, better=better,
    )  # fmt: skip
    if compared.prior is None:
        return found
    before = measure(real, compared.prior.values)
    return found.beside(before, *_interval(measure, real, compared.prior, before, most))


def _interval(measure: Measure, real: Floats, other: Rows, value: float, most: float) -> tuple[float, float]:
    """95% interval over the patients of the other set, by the delete-a-group jackknife (Kott 2001): whole patients go out.
    Both sets shrink alike, so that the bias by size stays the same."""
    ids = np.unique(other.patients.astype(str))
    groups = min(GROUPS, len(ids))
    if groups < 2:
        return value, value
    group = np.random.default_rng(0).permutation(len(ids)) % groups
    of = group[np.searchsorted(ids, other.patients.astype(str))]
    left = []
    for g in range(groups):
        kept = other.values[of != g]
        if len(kept) > 1:
            left.append(measure(real[: len(kept)], kept))
    spread = float(np.sqrt((groups - 1) / groups * ((np.array(left) - np.mean(left)) ** 2).sum()))
    return max(0.0, value - 1.96 * spread), min(most, value + 1.96 * spread)
