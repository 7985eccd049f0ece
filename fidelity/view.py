"""A cohort as numbers, the way measures want it: categories by their place in the dictionary, missing as NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.values import codes, to_scale

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

DAYS_PER_YEAR = 365.25
Arguments = ParamSpec("Arguments")
Summary = TypeVar("Summary")


@dataclass(frozen=True)
class View:
    """Numbers of one cohort.

    `patients` is indexed by patient id; `visits` has `patient_id`, `day` and the measurements, sorted by patient and day (None
    for a cohort without visits). Values are in their units; `scaled` puts them on the column's declared scale.
    """

    dictionary: Dictionary
    patients: pd.DataFrame
    visits: pd.DataFrame | None

    @classmethod
    def of(cls, cohort: Cohort, dictionary: Dictionary) -> View:
        """The numbers of a cohort."""
        patients = _numbers(cohort.patients, dictionary.tables["patients"].columns).set_axis(cohort.ids)
        if cohort.visits is None:
            return cls(dictionary, patients, None)
        measured = _numbers(cohort.visits, dictionary.measurements)
        keys = cohort.visits[["patient_id", "day"]].astype({"day": "float64"})
        visits = pd.concat([keys, measured], axis=1).sort_values(
            ["patient_id", "day"], kind="stable", ignore_index=True
        )
        return cls(dictionary, patients, visits)

    def without(self, ids: pd.Index[Any]) -> View:
        """The same cohort with these patients left out."""
        visits = None if self.visits is None else self.visits[~self.visits["patient_id"].isin(ids)]
        return View(self.dictionary, self.patients.drop(ids), visits)

    def where(self, chosen: NDArray[np.bool_]) -> View:
        """The patients where [patients] is true."""
        return self.without(self.patients.index[~chosen])

    @cached_property
    def baseline(self) -> pd.DataFrame:
        """One row a patient: the columns of `patients`, outcome included, and the first visit's measurements."""
        if self.visits is None:
            return self.patients
        first = self.visits.drop_duplicates("patient_id").set_index("patient_id")[list(self.dictionary.measurements)]
        return self.patients.join(first)

    @cached_property
    def kept(self) -> dict[Any, Any]:
        """Summaries of this cohort that were worked out already (`once`)."""
        return {}

    def ordered(self, rows: pd.DataFrame) -> pd.DataFrame:
        """[rows, columns] the columns of these rows that have an order: numbers, ordinals and two-way categories as they are, and
        for any other category one column of 0 and 1 a word, named `column word`."""
        parts: dict[str, Any] = {}
        for name in (n for n in self.columns if n in rows):
            column, values = self.columns[name], rows[name]
            words = column.categories or ()
            if column.numeric or column.type == "ordinal" or len(words) == 2:
                parts[name] = values
            else:
                parts |= {
                    f"{name} {w}": (values == i).astype("float64").where(values.notna()) for i, w in enumerate(words)
                }
        return pd.DataFrame(parts, index=rows.index)

    @property
    def columns(self) -> dict[str, Column]:
        """Every column that has numbers, of patients and visits."""
        return self.dictionary.tables["patients"].columns | self.dictionary.measurements

    def scaled(self, name: str) -> pd.Series[Any]:
        """A measurement on its declared scale, in the order of `visits`."""
        assert self.visits is not None
        values = to_scale(self.dictionary.measurements[name], self.visits[name].to_numpy())
        return pd.Series(values, index=self.visits.index)


def once(
    summary: Callable[Concatenate[View, Arguments], Summary],
) -> Callable[Concatenate[View, Arguments], Summary]:
    """A summary of a cohort that is worked out once for each cohort and each set of (hashable) arguments: a measure against the
    same real patients is taken dozens of times."""

    @wraps(summary)
    def found(view: View, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Summary:
        key = (summary, args, tuple(kwargs.items()))
        if key not in view.kept:
            view.kept[key] = summary(view, *args, **kwargs)
        kept: Summary = view.kept[key]
        return kept

    return found


def numeric(view: View) -> list[str]:
    """The measurements that are numbers."""
    return [name for name, column in view.dictionary.measurements.items() if column.numeric]


def _numbers(frame: pd.DataFrame, columns: dict[str, Column]) -> pd.DataFrame:
    parts: dict[str, NDArray[np.float64]] = {}
    for name, column in columns.items():
        if column.numeric:
            parts[name] = frame[name].to_numpy(dtype="float64", na_value=np.nan)
        elif column.discrete:
            code = codes(column, frame[name]).astype("float64")
            parts[name] = np.where(code < 0, np.nan, code)
    return pd.DataFrame(parts, index=frame.index)
