"""Does a classifier that learnt from synthetic patients find the disease of real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.phenotypes.profiles import Profiles, pictures
from synthgen.findings import Check, Evidence, Finding

Floats = NDArray[np.float64]


def rank(train: Profiles, test: Profiles, smoothing: float = 1.0) -> NDArray[np.int64]:
    """[test patients] place of the true disease (1 the best) by naive Bayes over terms, trained on `train`.

    A disease without training patients stands at the background's frequencies. Excluded and unassessed terms are not told
    apart: what counts is what was recorded.
    """
    diseases = sorted(set(test.rows) | set(train.rows))
    background = np.asarray(train.observed.mean(axis=0)).ravel()
    base = np.clip(background, 1e-4, 1 - 1e-4)
    frequencies = np.stack([_smoothed(train, d, base, smoothing) for d in diseases])
    seen = np.log(frequencies) - np.log1p(-frequencies)
    scores = np.asarray(test.observed @ seen.T) + np.log1p(-frequencies).sum(axis=1)
    truth = np.array([diseases.index(d) for d in test.disease])
    own = scores[np.arange(len(truth)), truth]
    return np.asarray(1 + (scores > own[:, None]).sum(axis=1))


def _smoothed(train: Profiles, disease: str, base: Floats, smoothing: float) -> Floats:
    rows = train.rows.get(disease, np.zeros(0, dtype=np.int64))
    counts = np.asarray(train.observed[rows].sum(axis=0)).ravel() if len(rows) else np.zeros(len(base))
    return np.asarray(np.clip((counts + smoothing * base) / (len(rows) + smoothing), 1e-4, 1 - 1e-4))


class DiagnosisRanking:
    """Rank the disease from the phenotype: naive Bayes over terms, trained on synthetic and tested on real patients. Share with
    the right disease first, and among the first ten. Ceiling: trained on real patients. Floor: guessing."""

    name: str = "diagnosis-ranking"
    section: Literal["fidelity", "utility", "rules"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        seen = pictures(evidence)
        if seen is None or len(seen[0].rows) < 2:
            return []
        train, holdout, synthetic, _ = seen
        places, best = rank(synthetic, holdout), rank(train, holdout)
        found = []
        for metric, first in (("top-1", 1), ("top-10", 10)):
            hits, ceiling = (places <= first).mean(), (best <= first).mean()
            half = 1.96 * float(np.sqrt(hits * (1 - hits) / len(places)))
            text = f"Trained on synthetic patients, the right disease is among the first {first} for {hits:.0%} of real ones."
            found.append(
                Finding(
                    self.name,
                    metric,
                    float(hits),
                    "information",
                    text,
                    section="utility",
                    low=max(0.0, hits - half),
                    high=min(1.0, hits + half),
                    n=len(places),
                    ceiling=float(ceiling),
                    floor=min(1.0, first / len(train.rows)),
                )
            )
        return found


if TYPE_CHECKING:
    _: Check = DiagnosisRanking()
