"""A cohort as numbers, the way measures want it: categories by their place in the dictionary, missing as NaN."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.values import codes, to_scale

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

DAYS_PER_YEAR = 365.25


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

    @cached_property
    def baseline(self) -> pd.DataFrame:
        """One row a patient: the columns of `patients`, outcome included, and the first visit's measurements."""
        if self.visits is None:
            return self.patients
        first = self.visits.drop_duplicates("patient_id").set_index("patient_id")[list(self.dictionary.measurements)]
        return self.patients.join(first)

    @property
    def columns(self) -> dict[str, Column]:
        """Every column that has numbers, of patients and visits."""
        return self.dictionary.tables["patients"].columns | self.dictionary.measurements

    def scaled(self, name: str) -> pd.Series[Any]:
        """A measurement on its declared scale, in the order of `visits`."""
        assert self.visits is not None
        values = to_scale(self.dictionary.measurements[name], self.visits[name].to_numpy())
        return pd.Series(values, index=self.visits.index)


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
