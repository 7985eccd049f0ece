"""How well patients fit their disease's profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.phenotypes.profiles import COMMON, Profiles, interval, pictures, told
from synthgen.findings import Check, Evidence, Finding

Floats = NDArray[np.float64]


def information(profiles: Profiles) -> Floats:
    """[terms] Resnik's information content: -log of how many of the diseases' profiles hold the term (a tenth of patients)."""
    share = np.mean([profiles.prevalence(d) >= COMMON for d in profiles.rows], axis=0)
    return np.asarray(-np.log(np.maximum(share, 1 / (2 * max(len(profiles.rows), 1)))))


def similarity(of: Profiles, rows: NDArray[np.int64], profile: Floats, weight: Floats) -> Floats:
    """[rows] how well each patient fits a disease's profile: the share of the patient's information that is the disease's, and
    back (a symmetric, weighted Jaccard form of Resnik's measure: Pesquita et al. 2009, simGIC)."""
    own = of.observed[rows]
    shared = np.asarray(own @ (weight * profile)).ravel()
    total = np.asarray(own @ weight).ravel() + float(weight @ profile) - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))


class SemanticSimilarity:
    """How well patients fit their disease's profile in the training patients: simGIC, the weighted Jaccard form of Resnik's
    measure. Reported as the synthetic mean, beside the holdout's (ceiling) and that of patients of other diseases (floor)."""

    name: str = "phenotype-similarity"
    section: Literal["fidelity", "utility", "rules"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = pictures(evidence)
        if found is None or len(diseases := told(found[:3])) < 2:
            return []
        train, holdout, synthetic, _ = found
        weight = information(train)
        mean = [_fit(p, train, diseases, diseases, weight) for p in (synthetic, holdout)]
        other = _fit(holdout, train, diseases, [*diseases[1:], diseases[0]], weight)
        low, high = interval(mean[0], evidence.rng)
        text = f"Synthetic patients fit their disease's profile at {mean[0].mean():.2f}, real ones at {mean[1].mean():.2f}."
        return [Finding(self.name, "similarity", float(mean[0].mean()), "information", text, low=low, high=high, n=len(diseases),
                        ceiling=float(mean[1].mean()), floor=float(other.mean()), better="target")]  # fmt: skip


def _fit(of: Profiles, train: Profiles, diseases: list[str], against: list[str], weight: Floats) -> Floats:
    """[diseases] mean similarity of each disease's patients to the profile of `against`."""
    pairs = zip(diseases, against, strict=True)
    return np.array([similarity(of, of.rows[d], train.prevalence(a), weight).mean() for d, a in pairs])


if TYPE_CHECKING:
    _: Check = SemanticSimilarity()
