"""Whose combinations of phenotype terms are rare: the patients whom a copy of their record would give away first.

Almost every patient of a rare disease has some pair of terms that nobody else has, so "has a rare pair" singles nobody out. What
does is how many of a patient's pairs are theirs alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from synthgen.cohort import Cohort

SHARE = 0.25
"""Of all real patients, the quarter with the most pairs of their own is the group."""


def rarest(cohorts: Sequence[Cohort], share: float = SHARE) -> frozenset[str]:
    """Ids of the patients with the most pairs of observed terms that nobody else of all these has; empty where nobody has any."""
    alone = pairs_alone(cohorts)
    numbers = np.array(list(alone.values()))
    if not numbers.any():
        return frozenset()
    least = max(1, np.quantile(numbers, 1 - share))
    return frozenset(patient for patient, number in alone.items() if number >= least)


def pairs_alone(cohorts: Sequence[Cohort]) -> dict[str, int]:
    """Of every patient, how many pairs of observed terms nobody else has."""
    pairs: dict[str, list[tuple[str, str]]] = {str(i): [] for cohort in cohorts for i in cohort.ids}
    for cohort in cohorts:
        if cohort.phenotypes is not None:
            observed = cohort.phenotypes[cohort.phenotypes["status"].astype(str) == "observed"]
            for patient, terms in observed.groupby("patient_id", sort=False)["term"]:
                pairs[str(patient)] = list(combinations(sorted(set(terms.dropna().astype(str))), 2))
    count = Counter(pair for mine in pairs.values() for pair in mine)
    return {patient: sum(count[pair] == 1 for pair in mine) for patient, mine in pairs.items()}
