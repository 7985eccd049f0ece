"""Utility: does a model that learnt from synthetic patients predict real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.verdict import Views
from fidelity.view import View
from privacy.rates import auc_interval
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.values import to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Task

FEWEST = 5
"""Events, and patients without one, below which nothing is trained or tested."""
MODELS = ("logistic", "boosting")
SEEDS = 5
"""Boosted models that are averaged: with so few patients one alone moves by .03 with its seed."""
LOSS = 0.05
"""An AUC this much below that of real training data is tolerated."""


class Utility:
    """Train on synthetic, test on real (TSTR), for each task of the dictionary: the AUC on holdout patients of a model that
    learnt from synthetic ones, with an interval over holdout patients, beside that of the same model trained on real patients
    (TRTR, the `ceiling`) and on independent columns (the `floor`). Predictors are the static columns and, of the visits up to
    the landmark, each measurement's first and last value and its change; patients censored before the horizon are left out."""

    name = "utility"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            finding
            for task in evidence.dictionary.tasks
            if task.kind == "event"
            for model in MODELS
            for finding in _findings(task, model, views, evidence.rng)
        ]


def tstr(task: Task, model: str, train: View, test: View) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """(scores of the test patients, whether each had the event); None where either side has too few events."""
    known, tested = labels(task, train), labels(task, test)
    if min(_fewest(known), _fewest(tested)) < FEWEST:
        return None
    fitted = _model(model).fit(predictors(task, train).loc[known.index], known)
    scores = fitted.predict_proba(predictors(task, test).loc[tested.index])[:, 1]
    return scores, tested.to_numpy()


def labels(task: Task, view: View) -> pd.Series[Any]:
    """Whether each patient at risk at the landmark has the event by the horizon; who is censored before it is left out."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    categories = view.dictionary.tables["patients"].columns[outcome.status].categories or ()
    time, status = view.patients[outcome.time], view.patients[outcome.status]
    event = status.isin([categories.index(e) for e in task.event]) & (time <= task.horizon_days)
    return event[(time > task.landmark_days) & (event | (time > task.horizon_days))]


def predictors(task: Task, view: View) -> pd.DataFrame:
    """[patients, predictors] what is known at the landmark."""
    statics = view.patients[list(view.dictionary.static)]
    if view.visits is None:
        return statics
    if task.landmark_days == 0:  # the first visit is all there is, so first and last are one and nothing has changed
        return statics.join(_scaled(view, view.baseline))
    seen = view.visits[view.visits["day"] <= task.landmark_days]
    numbers = _scaled(view, seen)
    patients = numbers.groupby(seen["patient_id"])
    first, last = patients.first(), patients.last()
    return statics.join([first.add_suffix(" first"), last.add_suffix(" last"), (last - first).add_suffix(" change")])


def _scaled(view: View, rows: pd.DataFrame) -> pd.DataFrame:
    """The measurements of these rows, numbers on their declared scale."""
    columns = view.dictionary.measurements.items()
    return pd.DataFrame(
        {n: to_scale(c, rows[n].to_numpy()) if c.numeric else rows[n] for n, c in columns}, index=rows.index
    )


def _findings(task: Task, model: str, views: Views, rng: np.random.Generator) -> list[Finding]:
    trained = {name: tstr(task, model, view, views.holdout) for name, view in
               (("synthetic", views.synthetic), ("real", views.train), ("floor", views.floor))}  # fmt: skip
    real, synthetic = trained["real"], trained["synthetic"]
    if real is None:
        return []
    ceiling = _auc(*real)
    floor = 0.5 if trained["floor"] is None else max(0.5, _auc(*trained["floor"]))
    what = f"{task.name.replace('_', ' ')} by {model}"
    if synthetic is None:
        text = f"{what}: the synthetic cohort has too few events to learn from ({FEWEST} are needed)."
        return [
            Finding("utility", f"tstr_{task.name}_{model}", 0.5, "fail", text, "utility", ceiling=ceiling, floor=floor)
        ]
    scores, event = synthetic
    rate = auc_interval(scores[event], scores[~event], rng)
    verdict: Verdict = (
        "pass" if rate.value >= ceiling - LOSS else "fail" if rate.high < ceiling - LOSS else "inconclusive"
    )
    if rate.high <= floor:
        verdict = "fail"
    text = (
        f"Predicting {what}: a model that learnt from synthetic patients reaches an AUC of {rate.value:.2f} on {len(event)} real "
        f"patients with {int(event.sum())} events; learnt from real patients it reaches {ceiling:.2f}."
    )
    found = [
        Finding(
            "utility",
            f"tstr_{task.name}_{model}",
            rate.value,
            verdict,
            text,
            "utility",
            low=rate.low,
            high=rate.high,
            n=len(event),
            ceiling=ceiling,
            floor=floor,
            bound=ceiling - LOSS,
        )
    ]
    before = None if views.prior is None else tstr(task, model, views.prior, views.holdout)
    if before is None:
        return found
    scores, event = before
    rate = auc_interval(scores[event], scores[~event], rng)
    return [f.beside(rate.value, rate.low, rate.high) for f in found]


def _auc(scores: NDArray[np.float64], event: NDArray[np.bool_]) -> float:
    from privacy.rates import auc

    return auc(scores[event], scores[~event])


def _fewest(known: pd.Series[Any]) -> int:
    return int(min(known.sum(), (~known).sum()))


def _model(name: str) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    if name == "logistic":
        return make_pipeline(filled, StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    trees = [
        (str(seed), GradientBoostingClassifier(n_estimators=200, learning_rate=0.05, subsample=0.7, random_state=seed))
        for seed in range(SEEDS)
    ]
    return make_pipeline(filled, VotingClassifier(trees, voting="soft"))


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Utility()
