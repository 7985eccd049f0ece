"""Robust scales of some patients: what `usual.Usual` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.conformance import numbers
from synthgen.population import code_column, dose_column
from synthgen.screening.usual import Usual
from synthgen.screening.view import DAYS_PER_YEAR, Course, Floats, View, scaled
from synthgen.values import scale_bounds

if TYPE_CHECKING:
    from synthgen.dictionary import Column

MAD = 1.4826
"""Median absolute deviation -> standard deviation of a normal."""
SHRINK = 0.05
"""Ridge of the correlation matrix."""


def measured(view: View) -> Usual:
    """The scales of these patients. A scale is never below a small share of its column's public range."""
    level = {name: _robust(values, floor_of(view, name)) for name, values in view.levels.items()}
    step = {name: max(_step(c), floor_of(view, name)) for name, c in view.courses.items()}
    slope = {name: _robust(slopes(view, c), 1e-3 * step[name]) for name, c in view.courses.items()}
    return Usual(
        level=level,
        step=step,
        slope=slope,
        precision=_precision(standard(view.levels, level)),
        transitions={n: _transitions(view, n) for n, c in view.dictionary.measurements.items() if c.discrete},
        visits=_robust(visit_rate(view), 0.1),
        missing=_missing(view),
        doses=_doses(view),
        repeats=_repeats(view),
        noughts=_noughts(view),
    )


def floor_of(view: View, name: str) -> float:
    """The least scale of a column: its rounding, or a thousandth of its public range."""
    column = view.columns.get(name) or view.dictionary.static[name]
    low, high = scale_bounds(column)
    return max((high - low) * 1e-3, 0.5 * resolution(view, name))


def resolution(view: View, name: str) -> float:
    """How far apart two neighbouring values lie, on the column's scale, at the middle of its range; 0 if it is not rounded."""
    column = view.columns.get(name) or view.dictionary.static[name]
    decimals = 0 if column.type == "integer" else column.decimals
    if decimals is None:
        return 0.0
    if column.scale == "log":
        middle = float(np.exp(np.mean(scale_bounds(column))))
        return float(10.0**-decimals / middle)
    return float(10.0**-decimals)


def noughts(column: Column, values: Floats) -> Floats:
    """[recorded] how many noughts a value ends in, as its column is rounded (3 at most); 0 where it is not rounded."""
    decimals = 0 if column.type == "integer" else column.decimals
    if decimals is None:
        return np.zeros(len(values))
    units = np.round(np.nan_to_num(values) * 10.0**decimals)
    return np.asarray(sum((units != 0) & (units % 10.0**k == 0) for k in (1, 2, 3)), dtype=np.float64)


def _noughts(view: View) -> dict[str, tuple[float, ...]]:
    """What chance alone gives (a tenth, a hundredth, ...) is the least."""
    columns = {n: (c, view.tables["visits"][n]) for n, c in view.columns.items() if "visits" in view.tables}
    if (dose := dose_column(view.dictionary)) and "events" in view.tables:
        columns[dose] = view.dictionary.tables["events"].columns[dose], view.tables["events"][dose]
    found = {}
    for name, (column, cells) in columns.items():
        values = numbers(cells).to_numpy(dtype=np.float64)
        ends = noughts(column, values[np.isfinite(values)])
        found[name] = tuple((float((ends >= k).sum()) + 1) / (len(ends) + 10.0**k) for k in (1, 2, 3))
    return found


def standard(levels: dict[str, Floats], usual: dict[str, tuple[float, float]]) -> Floats:
    """[patients, columns] levels in spreads from the centre."""
    if not levels:
        return np.empty((0, 0))
    return np.stack([(levels[n] - centre) / spread for n, (centre, spread) in usual.items()], axis=1)


def slopes(view: View, course: Course) -> Floats:
    """[patients] change per year of those with three values over a year or more, else NaN."""
    n = len(view)
    count = np.maximum(view.counts(course.of), 1)
    mean_t = np.bincount(course.of, course.years, n) / count
    mean_v = np.bincount(course.of, course.values, n) / count
    t, v = course.years - mean_t[course.of], course.values - mean_v[course.of]
    moment = np.bincount(course.of, t * t, n)
    span = np.zeros(n)
    np.maximum.at(span, course.of, np.abs(t))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((count >= 3) & (span >= 0.5), np.bincount(course.of, t * v, n) / moment, np.nan)


def moments(view: View, course: Course) -> Floats:
    """[patients] sum of squared years from their mean."""
    count = np.maximum(view.counts(course.of), 1)
    mean = np.bincount(course.of, course.years, len(view)) / count
    return np.bincount(course.of, (course.years - mean[course.of]) ** 2, len(view)).astype(np.float64)


def visit_rate(view: View) -> Floats:
    """[patients] log of visits per year, a year being added to their span; NaN without visits."""
    if view.visits is None:
        return np.full(len(view), np.nan)
    known = (view.of >= 0) & np.isfinite(view.day)
    last = np.zeros(len(view))
    np.maximum.at(last, view.of[known], view.day[known])
    count = view.counts(view.of)
    return np.where(count > 0, np.log(np.maximum(count, 1)) - np.log(last / DAYS_PER_YEAR + 1), np.nan)


def _step(course: Course) -> float:
    steps = np.abs(course.steps[~np.isnan(course.steps)])
    return MAD * float(np.median(steps)) if len(steps) >= 20 else 0.0


def _robust(values: Floats, floor: float) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, max(floor, 1e-9)
    centre = float(np.median(known))
    return centre, max(MAD * float(np.median(np.abs(known - centre))), floor, 1e-9)


def _precision(z: Floats) -> Floats:
    """Of normal scores, pairwise complete, shrunk to be positive."""
    columns = z.shape[1]
    if columns == 0 or len(z) < 20:
        return np.eye(columns)
    clipped = pd.DataFrame(np.clip(z, -4, 4))
    correlation = clipped.corr(min_periods=20).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh((1 - SHRINK) * correlation + SHRINK * np.eye(columns))
    return np.asarray((vectors / np.maximum(values, SHRINK)) @ vectors.T)


def _transitions(view: View, name: str) -> Floats:
    """[from, to] share of steps, with half a step of each kind added."""
    codes = view.categories(name) if view.visits is not None else np.empty(0, dtype=np.int64)
    kinds = len(view.dictionary.measurements[name].categories or ())
    counts = np.full((kinds, kinds), 0.5)
    known = np.flatnonzero((codes >= 0) & (view.of >= 0)) if len(codes) else np.empty(0, dtype=np.int64)
    same = view.of[known][1:] == view.of[known][:-1]
    np.add.at(counts, (codes[known][:-1][same], codes[known][1:][same]), 1)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _missing(view: View) -> dict[str, float]:
    if view.visits is None or not len(view.visits):
        return dict.fromkeys(view.dictionary.measurements, 0.0)
    return {name: float(view.visits[name].isna().mean()) for name in view.dictionary.measurements}


def _doses(view: View) -> dict[str, tuple[float, float, float]]:
    events, code, dose = view.events, code_column(view.dictionary), dose_column(view.dictionary)
    if events is None or code is None or dose is None:
        return {}
    column = view.dictionary.tables["events"].columns[dose]
    amounts = scaled(column, events[dose].to_numpy(dtype=np.float64, na_value=np.nan))
    low, high = scale_bounds(column)
    floor, found = 0.01 * (high - low), {}
    words = events[code].astype(object).to_numpy()
    away = amounts - own_dose(events, words, amounts)
    for word in pd.unique(words):
        if isinstance(word, str):
            centre, spread = _robust(amounts[words == word], floor)
            found[word] = centre, spread, min(_robust(away[words == word], floor)[1], spread)
    return found


def own_dose(events: pd.DataFrame, words: Any, amounts: Floats) -> Floats:
    """[events] the median dose of the same patient and code; NaN where there are fewer than three."""
    groups = pd.Series(amounts).groupby([events["of"].to_numpy(), words], sort=False, dropna=False)
    return np.asarray(groups.transform("median").where(groups.transform("count") >= 3), dtype=np.float64)


def _repeats(view: View) -> dict[str, tuple[float, float]]:
    events, code = view.events, code_column(view.dictionary)
    if events is None or code is None:
        return {}
    counts = events.groupby([events[code].astype(object), "of"], sort=False).size()
    found = {}
    for word, times in counts.groupby(level=0):
        found[str(word)] = (float(times.mean()), max(float(times.std(ddof=0)), 1.0))
    return found
