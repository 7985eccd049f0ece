"""Single synthetic patients unlike every real one: in one number (an outlier), or in all of them together (off the manifold).

Both are told by conformal p-values (Bates et al. 2023, Ann Stat 51:149): a patient's score is ranked among those of the holdout,
from whom neither scales nor neighbours were learnt, p = (1 + holdout patients with such a score) / (1 + holdout patients). Of
the patients of an honest cohort `CHANCE` are flagged, whatever the disease. The flags read real patients; no sentence holds a
number of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri

from synthgen.flags import Flag, Severity
from synthgen.screening.view import View, unscaled
from synthgen.screening.words import amount, label
from synthgen.summaries import summaries

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.findings import Evidence

Floats = NDArray[np.float64]
CHANCE = 0.01
"""Share of an honest cohort's patients that is flagged; of few holdout patients, beyond all of them."""
FEWEST = 20
"""Holdout patients below which nothing is told."""
NEIGHBOURS = 5
"""A patient is as far off as its fifth nearest training patient, so that one odd real patient makes no neighbourhood."""
FINER = (" first", " last", " missing", " recorded")
"""Features that repeat what levels and slopes say; the more there are, the less each one tells."""
VARIES = 0.05
"""Least spread of a feature's normal scores."""
FAR = 1.5
"""Times the farthest holdout patient's score from which on a flag is moderate."""


def outliers(evidence: Evidence) -> Iterator[Flag]:
    """Patients with a number (an age, the median of a measurement) farther out than a real patient's farthest number."""
    cohorts = (evidence.train, evidence.holdout, evidence.synthetic)
    if len(evidence.holdout) < FEWEST:
        return
    train, holdout, synthetic = (_levels(c, evidence.dictionary) for c in cohorts)
    if not train.shape[1]:
        return
    centre = train.median()
    spread = (train - centre).abs().quantile(0.9).clip(lower=1e-9)
    score, expected = ((t - centre).abs() / spread for t in (synthetic, holdout))
    worst = score.max(axis=1).fillna(0.0).to_numpy(dtype=np.float64)
    for row, p, severity in _rare(worst, expected.max(axis=1).fillna(0.0).to_numpy(dtype=np.float64)):
        name = str(score.iloc[row].idxmax())
        column, value = _column(evidence.dictionary, name), float(synthetic.iloc[row][name])
        own = unscaled(column, value)
        when = "is" if name in evidence.dictionary.static else "is, at most visits,"
        side = "above" if value > centre[name] else "below"
        text = f"{label(name, column)} {when} {amount(own, column)}, {side} nearly every real patient's."
        yield Flag(
            str(synthetic.index[row]),
            "outlier",
            severity,
            text,
            True,
            {"column": name, name: own, "chance": p},
            _score(p),
        )


def off_manifold(evidence: Evidence) -> Iterator[Flag]:
    """Patients whose whole record (levels, slopes, counts, outcome) lies farther from the training patients than the holdout's.

    1. Each feature becomes the normal score of its rank among the training patients: tails, the outliers' own, count no more.
    2. Features are whitened by the training patients' shrunk covariance (Ledoit & Wolf 2004), so that going against the way that
       they go together is far.
    3. The score is the distance to the fifth nearest training patient (as in Kynkäänniemi et al. 2019, improved precision).
    """
    cohorts = [evidence.train, evidence.holdout, evidence.synthetic]
    if len(evidence.holdout) < FEWEST or len(evidence.train) <= NEIGHBOURS:
        return
    tables = summaries(cohorts, evidence.dictionary)
    kept = [name for name in tables[0].columns if not name.endswith(FINER)]
    train, holdout, synthetic = _whitened([table[kept].to_numpy(dtype=np.float64) for table in tables])
    if not train.shape[1]:
        return
    nearest = cKDTree(train)
    away, expected = (np.asarray(nearest.query(rows, NEIGHBOURS)[0])[:, -1] for rows in (synthetic, holdout))
    text = "The record as a whole is unlike every real patient's, although no single value need be odd."
    for row, p, severity in _rare(away, expected):
        yield Flag(str(tables[2].index[row]), "off manifold", severity, text, True, {"chance": p}, _score(p))


def _whitened(tables: list[Floats]) -> list[Floats]:
    """[patients, features] of (train, others) as uncorrelated normal scores; features that do not vary are left out."""
    from sklearn.covariance import LedoitWolf

    ranked = np.sort(tables[0], axis=0)
    scores = [np.stack([_normal(ranked[:, j], x[:, j]) for j in range(x.shape[1])], axis=1) for x in tables if x.size]
    if len(scores) < len(tables):
        return [np.empty((len(x), 0)) for x in tables]
    spread = scores[0].std(axis=0)
    varies = spread > VARIES
    scores = [x[:, varies] / spread[varies] for x in scores]
    if not varies.any():
        return scores
    values, vectors = np.linalg.eigh(LedoitWolf().fit(scores[0]).covariance_)
    return [np.asarray(x @ (vectors / np.sqrt(values)), dtype=np.float64) for x in scores]


def _normal(ranked: Floats, values: Floats) -> Floats:
    """Normal score of the middle of a value's places among the ranked ones."""
    places = np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")
    return np.asarray(ndtri((places / 2 + 0.5) / (len(ranked) + 1)), dtype=np.float64)


def _rare(score: Floats, expected: Floats) -> Iterator[tuple[int, float, Severity]]:
    """(row, conformal p-value, severity) of the scores that so few of the expected ones reach."""
    count = len(expected)
    ranked = np.sort(expected)
    p = (1 + count - np.searchsorted(ranked, score, side="left")) / (1 + count)
    for row in np.flatnonzero(p <= max(CHANCE, 1 / (1 + count))):
        yield int(row), float(np.round(p[row], 4)), "moderate" if score[row] > FAR * ranked[-1] else "mild"


def _levels(cohort: Cohort, dictionary: Dictionary) -> pd.DataFrame:
    view = View(cohort.tables, dictionary)
    return pd.DataFrame(view.levels, index=view.ids)


def _column(dictionary: Dictionary, name: str) -> Column:
    return dictionary.static.get(name) or dictionary.measurements[name]


def _score(p: float) -> float:
    return float(np.round(1 - p, 4))
