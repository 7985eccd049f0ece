"""Singling out: does a description that fits exactly one synthetic patient fit exactly one training patient? (Giomi et al. 2023)

Descriptions are taken from synthetic patients: of some columns at random, the patient's own category, and `at least` or `at
most` their number, whichever side of the median it lies on, give or take a little, so that a record that was changed a little
still fits; of one column alone, their very number. Control: the same descriptions on equally many holdout patients. Baseline:
the same, of patients whose columns were shuffled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.attacks.risk import Risk, risk

Floats = NDArray[np.float64]
SLACK = 0.05
"""Give or take, as a share of a number's public range."""


def singling_out(
    train: Floats,
    holdout: Floats,
    synthetic: Floats,
    discrete: NDArray[np.bool_],
    rng: np.random.Generator,
    columns: int = 3,
    confidence: float = 0.95,
) -> Risk:
    """[patients, columns] each. Makes as many descriptions as there are patients on the smaller real side, where so many can be
    found: more would repeat each other and feign certainty."""
    size = min(len(train), len(holdout))
    train, holdout = (real[rng.permutation(len(real))[:size]] for real in (train, holdout))
    columns = min(columns, synthetic.shape[1])
    shuffled = np.stack([rng.permutation(c) for c in synthetic.T], axis=1)
    found = _descriptions(synthetic, discrete, columns, size, rng)
    blind = _descriptions(shuffled, discrete, columns, size, rng)
    return risk(
        (_isolated(train, found), len(found)),
        (_isolated(holdout, found), len(found)),
        (_isolated(train, blind), len(blind)),
        confidence,
    )


Description = tuple[tuple[int, str, float], ...]
"""(column, sign, value) of each condition."""


def _descriptions(
    cohort: Floats, discrete: NDArray[np.bool_], columns: int, wanted: int, rng: np.random.Generator
) -> list[Description]:
    """Conjunctions that fit exactly one patient of the cohort."""
    present = ~np.isnan(cohort)
    median = np.array([np.median(c[p]) if p.any() else 0.0 for c, p in zip(cohort.T, present.T, strict=True)])
    alone = columns == 1
    found: dict[Description, None] = {}
    for _ in range(20 * wanted):
        if len(found) == wanted:
            break
        patient = cohort[rng.integers(len(cohort))]
        description = tuple(
            (int(c), "=" if discrete[c] or alone else ">" if patient[c] >= median[c] else "<", float(patient[c]))
            for c in rng.choice(cohort.shape[1], columns, replace=False)
            if not np.isnan(patient[c])
        )
        if description and _fits(cohort, description).sum() == 1:
            found[description] = None
    return list(found)


def _isolated(real: Floats, descriptions: list[Description]) -> int:
    return sum(int(_fits(real, d).sum() == 1) for d in descriptions)


def _fits(cohort: Floats, description: Description) -> NDArray[np.bool_]:
    fits = np.ones(len(cohort), dtype=bool)
    for column, sign, value in description:
        values = cohort[:, column]
        near = value - SLACK if sign == ">" else value + SLACK
        fits &= values == value if sign == "=" else values >= near if sign == ">" else values <= near
    return fits
