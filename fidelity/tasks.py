"""Declared prediction tasks: who takes part, what is known at the landmark, and what is to be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.view import View, once
from synthgen.values import to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Task

FEWEST = 5
"""Events, and patients without one, below which nothing is trained or tested; of other targets twice as many patients."""


def problem(task: Task, view: View) -> tuple[pd.DataFrame, pd.DataFrame]:
    """([patients, predictors], truth by patient): `event` (bool) of an event; `time` from the landmark, `event` of survival;
    `value` of a measurement, on its declared scale or as the category's place."""
    return _problem(view, task)


@once
def _problem(view: View, task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    truth = _truth(task, view)
    return predictors(task, view).loc[truth.index], truth


def enough(task: Task, truth: pd.DataFrame) -> bool:
    """Whether there is anything to learn from, or to test on."""
    if task.kind == "event":
        return int(min(truth["event"].sum(), (~truth["event"]).sum())) >= FEWEST
    if task.kind == "survival":
        return int(truth["event"].sum()) >= FEWEST
    if task.kind == "classification":
        return int((truth["value"].value_counts() >= FEWEST).sum()) >= 2
    return len(truth) >= 2 * FEWEST and float(truth["value"].std()) > 0


def labels(task: Task, view: View) -> pd.Series[Any]:
    """Whether each patient at risk at the landmark has the event by the horizon; who is censored before it is left out."""
    time, event = _followed(task, view)
    early = event & (time <= task.horizon_days)
    return early[(time > task.landmark_days) & (early | (time > task.horizon_days))]


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


def _truth(task: Task, view: View) -> pd.DataFrame:
    if task.kind == "event":
        return labels(task, view).to_frame("event").astype(bool)
    if task.kind == "survival":
        time, event = _followed(task, view)
        rest = pd.DataFrame(
            {
                "time": time.clip(upper=task.horizon_days) - task.landmark_days,
                "event": event & (time <= task.horizon_days),
            }
        )
        return rest[rest["time"] > 0]
    assert task.target is not None
    assert view.visits is not None
    later = view.visits.loc[view.visits["day"] >= task.horizon_days, ["patient_id", task.target]].dropna()
    value = later.drop_duplicates("patient_id").set_index("patient_id")[task.target]
    column = view.columns[task.target]
    return pd.DataFrame({"value": to_scale(column, value.to_numpy()) if column.numeric else value}, index=value.index)


def _followed(task: Task, view: View) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """(days to the end of follow-up, whether the task's event ended it)."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    categories = view.dictionary.tables["patients"].columns[outcome.status].categories or ()
    status = view.patients[outcome.status]
    return view.patients[outcome.time], status.isin([categories.index(e) for e in task.event])


def _scaled(view: View, rows: pd.DataFrame) -> pd.DataFrame:
    """The measurements of these rows, numbers on their declared scale."""
    columns = view.dictionary.measurements.items()
    return pd.DataFrame(
        {n: to_scale(c, rows[n].to_numpy()) if c.numeric else rows[n] for n, c in columns}, index=rows.index
    )


def joined(parts: list[tuple[pd.DataFrame, pd.DataFrame]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Several cohorts as one to learn from; ids may repeat."""
    x, truth = (pd.concat([part[i] for part in parts], ignore_index=True) for i in range(2))
    return x, truth


def weights(task: Task, truth: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """([patients] event by the horizon, weight in a Brier score): inverse probability of censoring (Graf et al. 1999); who is
    censored before the horizon weighs nothing."""
    event = truth["event"].to_numpy(dtype=bool)
    if task.kind == "event":
        return event, np.ones(len(truth))
    time, horizon = truth["time"].to_numpy(dtype=np.float64), task.horizon_days - task.landmark_days
    left = ~event & (time < horizon)
    moments, gone = np.unique(time[left], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), moments, side="left")
    stays = np.concatenate([[1.0], np.cumprod(1 - gone / np.maximum(at_risk, 1))])
    before = stays[np.searchsorted(moments, np.minimum(time, horizon), side="left")]
    return event, np.where(left, 0.0, 1 / np.maximum(before, 1e-3))
