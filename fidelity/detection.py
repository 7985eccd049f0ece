"""Detection: can a classifier tell synthetic patients from real ones that the generator never saw?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.outliers import off_manifold
from fidelity.verdict import Views, verdict
from fidelity.view import View
from privacy.rates import auc_interval
from synthgen.findings import Evidence, Finding
from synthgen.flags import Flag

FOLDS = 5
UNKNOWN = -1e6
"""Stands for a missing value: far from every other, so that a tree can tell it apart."""


class Detection:
    """AUC of gradient boosting, cross-validated over patients, that tells holdout patients from synthetic ones: `baseline` from
    one row a patient, `patient` from a summary of each patient's trajectory (level, spread, change, missing values, visits).
    0.5 cannot be told; below 0.5 (identical patients on both sides) counts as 0.5. The floor is that of independent columns.
    A classifier finds the smallest difference and noise is one, so this alone never fails a cohort: it asks for a person.
    Flags each synthetic patient whose whole record lies farther from the training patients than the holdout's do."""

    name = "detection"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        if views.train.baseline.empty:
            return []
        found = [self._told(views, "baseline", "first-visit columns")]
        if views.train.visits is not None:
            found.append(self._told(views, "patient", "whole trajectories"))
        return found

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        return list(off_manifold(evidence))

    def _told(self, views: Views, metric: str, of: str) -> Finding:
        real, synthetic = scores(views.holdout, views.synthetic, metric)
        rate = auc_interval(synthetic, real, np.random.default_rng(0))
        ceiling, floor = auc(views.holdout, views.train, metric), auc(views.holdout, views.floor, metric)
        value, low, high = (max(0.5, x) for x in (rate.value, rate.low, rate.high))
        text = (
            f"A classifier that sees {of} ranks a synthetic patient above a real one {value:.0%} of the time (50%: it cannot "
            f"tell; independent columns: {floor:.0%})."
        )
        judgement = verdict(value, low, ceiling, floor, "lower")
        found = Finding(
            self.name,
            metric,
            value,
            "inconclusive" if judgement == "fail" else judgement,
            text,
            low=low,
            high=high,
            n=len(real) + len(synthetic),
            ceiling=ceiling,
            floor=floor,
            better="lower",
        )
        if views.prior is None:
            return found
        real, prior = scores(views.holdout, views.prior, metric)
        rate = auc_interval(prior, real, np.random.default_rng(0))
        return found.beside(*(max(0.5, x) for x in (rate.value, rate.low, rate.high)))


def auc(real: View, other: View, what: str) -> float:
    """At least 0.5."""
    from privacy.rates import auc as area

    a, b = scores(real, other, what)
    return max(0.5, area(b, a))


def scores(real: View, other: View, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Out-of-fold scores of ([real], [other]) patients for being of the other cohort."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    table = _summary if what == "patient" else _baseline
    features = pd.concat([table(real), table(other)]).fillna(UNKNOWN).to_numpy(dtype=np.float64)
    label = np.repeat([0, 1], [len(real.patients), len(other.patients)])
    model = GradientBoostingClassifier(subsample=0.8, random_state=0)
    folds = StratifiedKFold(min(FOLDS, int(np.bincount(label).min())), shuffle=True, random_state=0)
    score = cross_val_predict(model, features, label, cv=folds, method="predict_proba")[:, 1]
    return score[label == 0], score[label == 1]


def _baseline(view: View) -> pd.DataFrame:
    return view.baseline


def _summary(view: View) -> pd.DataFrame:
    """[patients, features]: of each measurement mean, spread, first, last, mean change and how often it is missing; of the visits
    how many, how far apart, and how long before the end of follow-up the last one was."""
    assert view.visits is not None
    of = view.visits["patient_id"]
    values = view.visits[list(view.dictionary.measurements)]
    patients, gaps = values.groupby(of), view.visits["day"].groupby(of).diff().groupby(of)
    parts: list[pd.DataFrame | pd.Series[Any]] = [patients.mean().add_suffix(" mean"), patients.std().add_suffix(" sd")]
    parts += [patients.first().add_suffix(" first"), patients.last().add_suffix(" last")]
    parts += [patients.diff().abs().groupby(of).mean().add_suffix(" change")]
    parts += [values.isna().groupby(of).mean().add_suffix(" missing")]
    parts += [of.groupby(of).size().rename("visits"), gaps.mean().rename("gap"), gaps.std().rename("gap sd")]
    joined = view.patients.join(parts)
    if view.dictionary.outcome:
        joined["after"] = view.patients[view.dictionary.outcome.time] - view.visits["day"].groupby(of).max()
    return joined


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Detection()
