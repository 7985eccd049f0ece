"""What the drawn pictures are good for and what they give away: few real cases helped by synthetic ones, and copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from image_scores import Labels, Pictures, scores
from image_systems import Data, System
from numpy.typing import NDArray

from fidelity.images import sets
from fidelity.images.memorisation import memorised
from privacy.rates import Rate, clopper_pearson

RARE = (20, 50, 100)
"""Real cases that are known of the class that stands for a rare one."""


def with_few_cases(data: Data, known: int, make: System, seed: int) -> dict[str, NDArray[np.float64]]:
    """Scores of test pictures by classifiers that learnt from all real pictures of class 0 and `known` of class 1, `alone` and
    with `more`, synthetic cases, from a generator that saw no other real pictures than these."""
    cases = np.random.default_rng(seed).permutation(np.flatnonzero(data.labels == 1))[:known]
    few = np.concatenate([np.flatnonzero(data.labels == 0), cases])
    train, labels = data.train[few], data.labels[few]
    made, of = make(replace(data, train=train, labels=labels, states=None), seed)
    more, both = np.concatenate([train, made[of == 1]]), np.concatenate([labels, of[of == 1]])
    alone, helped = scores(train, labels, data.test, seed), scores(more, both, data.test, seed)
    return {f"alone_{k}": v for k, v in alone.items()} | {f"more_{k}": v for k, v in helped.items()}


def handed_on(data: Data, pictures: Pictures, labels: Labels) -> Rate:
    """Share of the pictures that are (nearly) a training picture (`fidelity.images.memorisation`), beside test pictures."""
    found = memorised(
        _set("P", data.train, data.labels), _set("H", data.test, data.truth), _set("SYN", pictures, labels),
        np.random.default_rng(0),
    )  # fmt: skip
    return clopper_pearson(int(found.flagged.sum()), len(found.flagged))


def _set(prefix: str, pictures: Pictures, labels: Labels) -> sets.Pictures:
    ids = np.array([f"{prefix}-{i}" for i in range(len(pictures))], dtype=object)
    return sets.Pictures(pictures, ids, {"label": labels})
