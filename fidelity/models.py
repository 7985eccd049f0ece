"""Families of prediction models, one linear and one of boosted trees for every kind of task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.cox import cox

if TYPE_CHECKING:
    from synthgen.dictionary import Task

Floats = NDArray[np.float64]
Predict = Callable[[pd.DataFrame], Floats]
"""[patients, predictors] -> [patients] probability of the event by the horizon, or predicted value; [patients, categories]
probabilities of a classification."""

FAMILIES = {
    "event": ("logistic", "boosting"),
    "survival": ("cox", "boosting"),
    "classification": ("logistic", "boosting"),
    "regression": ("ridge", "boosting"),
}
LINEAR = ("logistic", "cox", "ridge")
SEEDS = 5
"""Boosted models of an event that are averaged: with so few patients one alone moves by .03 with its seed."""
PENALTY = 20.0
"""Of Cox regression on standardised predictors, as a squared coefficient's weight in log likelihood."""
CELLS = 6
"""Equal cells of time in the discrete-time model of survival (Tutz & Schmid 2016)."""


def fitted(task: Task, family: str, x: pd.DataFrame, truth: pd.DataFrame, seeds: int = SEEDS) -> Predict:
    """A model that learnt the task from these patients."""
    if task.kind == "survival":
        return _cox(task, x, truth) if family == "cox" else _discrete_time(task, x, truth)
    if task.kind == "regression":
        return _regression(family, x, truth)
    return _classifier(task, family, x, truth, seeds)


def classifier(family: str, seeds: int = SEEDS, trees: int = 200) -> Any:
    """Logistic regression or boosted trees, with missing values filled in by the median."""
    from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if family == "logistic":
        return make_pipeline(_filled(), StandardScaler(), LogisticRegression(C=0.1, max_iter=5000))
    several = [(str(seed), GradientBoostingClassifier(**_trees(trees, seed))) for seed in range(seeds)]
    return make_pipeline(_filled(), VotingClassifier(several, voting="soft"))


def _classifier(task: Task, family: str, x: pd.DataFrame, truth: pd.DataFrame, seeds: int) -> Predict:
    if task.kind == "event":
        model = classifier(family, seeds).fit(x, truth["event"])
        return lambda rows: np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)
    several = classifier(family, 1, trees=60).fit(x, truth["value"].astype(int))

    def predict(rows: pd.DataFrame) -> Floats:
        categories = int(several.classes_.max()) + 1
        found = np.zeros((len(rows), categories))
        found[:, several.classes_] = several.predict_proba(rows)
        return found

    return predict


def _regression(family: str, x: pd.DataFrame, truth: pd.DataFrame) -> Predict:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model: Any
    if family == "ridge":
        model = make_pipeline(_filled(), StandardScaler(), Ridge(alpha=20.0))
    else:
        model = make_pipeline(_filled(), GradientBoostingRegressor(**_trees(100, 0)))
    model.fit(x, truth["value"])
    return lambda rows: np.asarray(model.predict(rows), dtype=np.float64)


def _cox(task: Task, x: pd.DataFrame, truth: pd.DataFrame) -> Predict:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    prepare: Any = make_pipeline(_filled(), StandardScaler()).fit(x)
    time, event = truth["time"].to_numpy(dtype=np.float64), truth["event"].to_numpy(dtype=bool)
    fit = cox(prepare.transform(x), time, event, PENALTY)
    return lambda rows: fit.event_by(prepare.transform(rows), task.horizon_days - task.landmark_days)


def _discrete_time(task: Task, x: pd.DataFrame, truth: pd.DataFrame) -> Predict:
    """One row a patient and cell of time in which the patient is still at risk; whether the event comes in it."""
    edges = np.linspace(0, task.horizon_days - task.landmark_days, CELLS + 1)[1:]
    time, event = truth["time"].to_numpy(dtype=np.float64), truth["event"].to_numpy(dtype=bool)
    last = np.minimum(np.searchsorted(edges, time, side="left"), CELLS - 1)
    whole = last + np.where(event | (time >= edges[last]), 1, 0)  # a cell that a patient leaves half way says nothing
    row = np.repeat(np.arange(len(x)), whole)
    cell = np.concatenate([np.arange(n) for n in whole]) if len(whole) else np.empty(0, dtype=int)
    happens = event[row] & (cell == last[row])
    if happens.all() or not happens.any():
        share = float(happens.mean()) if len(happens) else 0.0
        return lambda rows: np.full(len(rows), share)
    model = classifier("boosting", 1, trees=100).fit(x.iloc[row].assign(cell=cell).to_numpy(np.float64), happens)

    def predict(rows: pd.DataFrame) -> Floats:
        stays = np.ones(len(rows))
        for index in range(CELLS):
            stays *= 1 - model.predict_proba(rows.assign(cell=index).to_numpy(np.float64))[:, 1]
        return np.asarray(1 - stays, dtype=np.float64)

    return predict


def _filled() -> Any:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy="median", keep_empty_features=True)


def _trees(count: int, seed: int) -> dict[str, Any]:
    return {"n_estimators": count, "learning_rate": 10 / count, "subsample": 0.7, "random_state": seed}
