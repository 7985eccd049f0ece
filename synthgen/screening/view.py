"""Some synthetic patients as arrays: what every detector looks at.

Unlike a `Cohort`, a view may hold what breaches its dictionary: a value outside its bounds is kept in `raw` and missing in
`values`, so that `contract` alone speaks of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.conformance import numbers

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Course:
    """One measurement's recorded values, patient after patient in order of days."""

    values: Floats  # [recorded] on the column's own scale
    of: Ints  # [recorded] patient
    row: Ints  # [recorded] row of the view's visits
    years: Floats  # [recorded]

    @cached_property
    def starts(self) -> NDArray[np.bool_]:
        """[recorded] whether it is its patient's first value."""
        return np.concatenate([[True], self.of[1:] != self.of[:-1]]) if len(self.of) else np.empty(0, dtype=np.bool_)

    @cached_property
    def steps(self) -> Floats:
        """[recorded] change since the value before; NaN at a patient's first."""
        return np.where(self.starts, np.nan, np.diff(self.values, prepend=np.nan))


class View:
    """Arrays of some patients.

    Args:
        tables: a cohort's tables, or those of a part of it.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.tables = tables
        self.ids = pd.Index(tables["patients"]["patient_id"]).drop_duplicates()
        visits = tables.get("visits")
        self.visits = None if visits is None else _in_order(visits, self.ids)
        self.of = self._patient(self.visits)
        self.day = np.empty(0) if self.visits is None else _floats(self.visits["day"])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> dict[str, Column]:
        """Numeric measurements."""
        return {name: c for name, c in self.dictionary.measurements.items() if c.numeric}

    @cached_property
    def raw(self) -> dict[str, Floats]:
        """[visits] each numeric measurement on its own scale, whatever its bounds; NaN where missing or without a logarithm."""
        if self.visits is None:
            return {}
        return {name: scaled(c, _floats(self.visits[name])) for name, c in self.columns.items()}

    @cached_property
    def values(self) -> dict[str, Floats]:
        """[visits] the same within bounds."""
        return {name: _inside(self.columns[name], values) for name, values in self.raw.items()}

    @cached_property
    def courses(self) -> dict[str, Course]:
        """Every numeric measurement over time."""
        found = {}
        for name, values in self.values.items():
            row = np.flatnonzero(~np.isnan(values) & (self.of >= 0))
            found[name] = Course(values[row], self.of[row], row, self.day[row] / DAYS_PER_YEAR)
        return found

    @cached_property
    def levels(self) -> dict[str, Floats]:
        """[patients] each patient's own number: static columns, and the median of each measurement, on their scales."""
        found = {
            name: _inside(c, scaled(c, self._of_patient(name)))
            for name, c in self.dictionary.static.items()
            if c.numeric
        }
        return found | {name: self.median_of(course) for name, course in self.courses.items()}

    @cached_property
    def raw_levels(self) -> dict[str, Floats]:
        """[patients] medians of measurements, whatever their bounds."""
        return {name: self._median(values, self.of) for name, values in self.raw.items()}

    def median_of(self, course: Course) -> Floats:
        """[patients] NaN for those without a value."""
        return self._median(course.values, course.of)

    def _median(self, values: Floats, of: Ints) -> Floats:
        known = ~np.isnan(values) & (of >= 0)
        medians = pd.Series(values[known]).groupby(of[known]).median()
        return np.asarray(medians.reindex(range(len(self))), dtype=np.float64)

    def counts(self, of: Ints) -> Ints:
        """[patients] how many rows each has."""
        return np.bincount(of[of >= 0], minlength=len(self))

    def categories(self, name: str) -> Ints:
        """[visits] category numbers of a discrete measurement, -1 where missing or unknown."""
        assert self.visits is not None
        known = list(self.dictionary.measurements[name].categories or ())
        return np.asarray(pd.Categorical(self.visits[name].astype(object), known).codes, dtype=np.int64)

    def _of_patient(self, name: str) -> Floats:
        return _floats(self.tables["patients"].drop_duplicates("patient_id")[name])

    def _patient(self, frame: pd.DataFrame | None) -> Ints:
        """[rows] position of each row's patient, -1 for strangers."""
        return np.empty(0, dtype=np.int64) if frame is None else self.ids.get_indexer(pd.Index(frame["patient_id"]))

    @cached_property
    def events(self) -> pd.DataFrame | None:
        """The events of these patients, with `of`, the position of each one's patient."""
        events = self.tables.get("events")
        if events is None:
            return None
        frame = events.assign(of=self._patient(events))
        return frame[frame["of"] >= 0].sort_values(["of", "day"], kind="stable", ignore_index=True)


def scaled(column: Column, values: Floats) -> Floats:
    """Values -> the column's own scale, without regard to bounds."""
    if column.scale != "log":
        return np.where(np.isfinite(values), values, np.nan)
    return np.log(np.where(np.isfinite(values) & (values > 0), values, np.nan))


def unscaled(column: Column, value: float) -> float:
    """One number back in the column's unit."""
    return float(np.exp(value)) if column.scale == "log" else float(value)


def _inside(column: Column, values: Floats) -> Floats:
    assert column.bounds is not None
    low, high = scaled(column, np.array(column.bounds, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        return np.where((values >= low - 1e-9) & (values <= high + 1e-9), values, np.nan)


def _floats(series: pd.Series[Any]) -> Floats:
    return numbers(series).to_numpy(dtype=np.float64)


def _in_order(frame: pd.DataFrame, ids: pd.Index[Any]) -> pd.DataFrame:
    """Sorted by patient, as in `ids`, and day."""
    keys = pd.DataFrame({"of": ids.get_indexer(pd.Index(frame["patient_id"])), "day": _floats(frame["day"])})
    steps = np.diff(keys["of"].to_numpy())
    if (steps >= 0).all() and (np.diff(keys["day"].to_numpy())[steps == 0] >= 0).all():
        return frame.reset_index(drop=True)
    order = np.lexsort((keys["day"].to_numpy(), keys["of"].to_numpy()))
    return frame.iloc[order].reset_index(drop=True)
