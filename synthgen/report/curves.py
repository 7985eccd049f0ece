"""The aggregates behind the charts. None holds a patient's value, a minimum or a maximum: quantiles are averages over many
patients (Harrell & Davis 1982), curves are read on a grid of days, and what fewer than 11 patients carry is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.conformance import SMALL_CELL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary, Outcome

    Floats = NDArray[np.float64]

QUANTILES = (0.1, 0.5, 0.9)
STEPS_DAYS = (1, 7, 30, 91, 182.625, 365.25, 730.5, 1826.25, 3652.5)
"""Widths of the time grid, a day to ten years."""


@dataclass(frozen=True)
class Bands:
    """Quantiles of a measurement over time. `quantiles` is [times, 3], NaN where too few patients were seen."""

    days: Floats
    quantiles: Floats


@dataclass(frozen=True)
class Survival:
    """Kaplan-Meier estimate of being free of every event, with its pointwise 95% interval, on a grid of days; it ends where too
    few patients are at risk."""

    days: Floats
    free: Floats
    low: Floats
    high: Floats


def time_grid(synthetic: Cohort, cells: int = 12) -> Floats:
    """Days at which curves are read: edges of about `cells` equal steps over the follow-up of the synthetic cohort."""
    assert synthetic.visits is not None
    last = float(np.quantile(synthetic.visits.groupby("patient_id")["day"].max().astype("float64"), 0.95))
    step = next((s for s in STEPS_DAYS if s * cells >= last), STEPS_DAYS[-1])
    return np.arange(0, max(last, step) + step, step)


def bands(cohort: Cohort, column: str, edges: Floats) -> Bands:
    """Quantiles of a column of `visits` in the cells between `edges`, one value (the mean) for each patient and cell."""
    assert cohort.visits is not None
    visits = cohort.visits[["patient_id", "day", column]].dropna().astype({"day": "float64", column: "float64"})
    cell = np.digitize(visits["day"], edges) - 1
    means = visits[column].groupby([cell, visits["patient_id"]]).mean()
    quantiles = np.full((len(edges) - 1, len(QUANTILES)), np.nan)
    for index in range(len(edges) - 1):
        values = means[means.index.get_level_values(0) == index].to_numpy()
        if len(values) >= SMALL_CELL:
            quantiles[index] = _quantiles(values)
    return Bands((edges[:-1] + edges[1:]) / 2, quantiles)


def survival(cohort: Cohort, outcome: Outcome, days: Floats) -> Survival:
    """Kaplan-Meier on the grid `days`; any event counts. Intervals: Greenwood's variance on the log(-log) scale."""
    time = cohort.patients[outcome.time].astype("float64").to_numpy()
    event = (cohort.patients[outcome.status] != outcome.censored).to_numpy()[np.argsort(time, kind="stable")]
    time = np.sort(time)
    moments = np.unique(time[event])
    at_risk = len(time) - np.searchsorted(time, moments, side="left")
    died = np.searchsorted(time[event], moments, side="right") - np.searchsorted(time[event], moments, side="left")
    log_free = np.concatenate([[0.0], np.cumsum(np.log1p(-np.minimum(died / at_risk, 1 - 1e-12)))])
    variance = np.concatenate([[0.0], np.cumsum(died / (at_risk * np.maximum(at_risk - died, 1)))])
    days = days[len(time) - np.searchsorted(time, days, side="left") >= SMALL_CELL]
    index = np.searchsorted(moments, days, side="right")
    return Survival(days, np.exp(log_free[index]), *_interval(log_free[index], variance[index]))


def correlations(cohort: Cohort, dictionary: Dictionary) -> pd.DataFrame:
    """[columns, columns] Spearman correlations of numbers, ordered and two-way categories at the first visit; NaN where fewer
    than `SMALL_CELL` patients have both."""
    columns = {n: c for n, c in {**dictionary.static, **dictionary.measurements}.items() if _has_order(c)}
    table = cohort.patients.set_index("patient_id")
    if cohort.visits is not None:
        table = table.join(cohort.visits.groupby("patient_id").first(), rsuffix=" at the visit")
    values = {name: _ranks(table[name], column) for name, column in columns.items()}
    return pd.DataFrame(values).corr(method="spearman", min_periods=SMALL_CELL)


def _has_order(column: Column) -> bool:
    return column.numeric or column.type == "ordinal" or (column.discrete and len(column.categories or ()) == 2)


def _ranks(values: pd.Series[Any], column: Column) -> pd.Series[Any]:
    if column.numeric:
        return values.astype("float64")
    return values.cat.codes.astype("float64").where(values.notna())


def _quantiles(values: Floats) -> Floats:
    from scipy.stats.mstats import hdquantiles

    return np.asarray(hdquantiles(values, prob=QUANTILES), dtype=np.float64)


def _interval(log_free: Floats, variance: Floats) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        half = 1.96 * np.sqrt(variance) / np.abs(log_free)
        low, high = np.exp(log_free * np.exp(half)), np.exp(log_free * np.exp(-half))
    certain = log_free == 0
    return np.where(certain, 1.0, low), np.where(certain, 1.0, high)
