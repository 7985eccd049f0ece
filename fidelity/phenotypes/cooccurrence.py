"""Which terms of a disease go together in its patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fidelity.phenotypes.profiles import COMMON, Profiles, judged, pictures, told
from synthgen.findings import Check, Evidence, Finding

Floats = NDArray[np.float64]


def cooccurrence_error(real: Profiles, other: Profiles, disease: str, most: int = 40) -> float:
    """Mean absolute difference of the correlations between the disease's most varied common terms."""
    prevalence = real.prevalence(disease)
    common = np.flatnonzero((prevalence >= COMMON) & (prevalence <= 1 - COMMON))
    chosen = np.sort(common[np.argsort(-(prevalence * (1 - prevalence))[common], kind="stable")[:most]])
    if len(chosen) < 2:
        return 0.0
    pairs = np.triu_indices(len(chosen), 1)
    both = [_correlations(p.observed[p.rows[disease]][:, chosen].toarray())[pairs] for p in (real, other)]
    return float(np.abs(both[0] - both[1]).mean())


def _correlations(x: Floats) -> Floats:
    """[terms, terms] phi coefficients; 0 where a term does not vary."""
    centred = x - x.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return np.asarray(scaled.T @ scaled)


class TermCooccurrence:
    """Correlations between a disease's common terms: mean absolute difference to the holdout's. Ceiling: training patients.
    Floor: each term drawn on its own."""

    name: str = "phenotype-cooccurrence"
    section: Literal["fidelity", "utility", "rules"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = pictures(evidence)
        if found is None or not (diseases := told(found[:3])):
            return []
        train, holdout, synthetic, _ = found
        value, ceiling, floor = (
            np.array([cooccurrence_error(holdout, other, d) for d in diseases])
            for other in (synthetic, train, _independent(train, evidence.rng))
        )
        text = f"Over {len(diseases)} diseases, correlations between terms are off by {value.mean():.3f}."
        return [judged(self.name, "error", value, ceiling, floor, evidence.rng, text)]


def _independent(profiles: Profiles, rng: np.random.Generator) -> Profiles:
    """The same prevalences, each term shuffled over the patients of its disease."""
    columns = sparse.csc_array(profiles.observed)
    rows = np.array(columns.indices)
    for j in np.flatnonzero(np.diff(columns.indptr)):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        labels, counts = np.unique(profiles.disease[rows[part]], return_counts=True)
        rows[part] = np.concatenate(
            [rng.choice(profiles.rows[str(d)], size=c, replace=False) for d, c in zip(labels, counts, strict=True)]
        )
    shuffled = sparse.csc_array((columns.data, rows, columns.indptr), shape=columns.shape).tocsr()
    return Profiles(profiles.disease, shuffled, profiles.excluded, profiles.stated, profiles.terms)


if TYPE_CHECKING:
    _: Check = TermCooccurrence()
