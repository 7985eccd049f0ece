"""A cohort as one wide table, a row a patient, the first visits side by side: how tabular synthesizers get trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.cohort import Cohort
from synthgen.values import codes, fold, table

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

Floats = NDArray[np.float64]


def columns(dictionary: Dictionary, visits: int) -> list[str]:
    """Names of the wide table: the columns of `patients`, then each visit's day and measurements."""
    patients = [n for n, c in dictionary.tables["patients"].columns.items() if c.numeric or c.discrete]
    seen = ["day", *dictionary.measurements] if "visits" in dictionary.tables else []
    return patients + [f"{name} {k}" for k in range(visits if seen else 0) for name in seen]


def widened(cohort: Cohort, dictionary: Dictionary, visits: int) -> Floats:
    """[patients, columns] numbers, categories by place, NaN where there is none; row i from patient i alone."""
    declared = dictionary.tables["patients"].columns
    parts = {n: _numbers(c, cohort.patients[n]) for n, c in declared.items() if c.numeric or c.discrete}
    wide = pd.DataFrame(parts, index=cohort.ids)
    if cohort.visits is not None:
        seen = pd.DataFrame({n: _numbers(c, cohort.visits[n]) for n, c in _seen(dictionary).items()})
        place = cohort.visits.groupby("patient_id", sort=False).cumcount()
        for k in range(visits):
            rows = place == k
            mine = seen[rows].set_index(cohort.visits.loc[rows, "patient_id"]).reindex(cohort.ids)
            wide = wide.join(mine.add_suffix(f" {k}"))
    return wide[columns(dictionary, visits)].to_numpy(dtype=np.float64)


def narrowed(values: Floats, dictionary: Dictionary, visits: int, ids: list[str]) -> Cohort:
    """The cohort that a wide table says, repaired until it keeps to its dictionary: values within bounds, days in order, the
    first visit at day 0, none after the end of follow-up."""
    wide = pd.DataFrame(values, columns=columns(dictionary, visits))
    declared = dictionary.tables["patients"].columns
    patients: dict[str, Any] = {n: _within(c, wide[n].to_numpy(), c.missing) for n, c in declared.items() if n in wide}
    tables = {"patients": table(declared, patients | {"patient_id": np.array(ids, dtype=object)}, len(ids))}
    if "visits" in dictionary.tables:
        end = patients[dictionary.outcome.time] if dictionary.outcome else np.full(len(ids), np.inf)
        tables["visits"] = _visits(wide, dictionary, visits, np.array(ids, dtype=object), end)
    return Cohort.checked(tables, dictionary, "synthetic")


def _visits(wide: pd.DataFrame, dictionary: Dictionary, visits: int, ids: NDArray[Any], end: Floats) -> pd.DataFrame:
    seen = _seen(dictionary)
    days = np.stack([wide[f"day {k}"].to_numpy() for k in range(visits)], axis=1)  # [patients, visits]
    days[:, 0] = 0
    days = np.round(np.where(days > end[:, None], np.nan, days))
    order = np.argsort(np.where(np.isnan(days), np.inf, days), axis=1, kind="stable")
    sorted_days = np.take_along_axis(days, order, axis=1)
    kept = ~np.isnan(sorted_days) & np.diff(sorted_days, axis=1, prepend=-1).astype(bool) & (sorted_days >= 0)
    row, column = np.nonzero(kept)
    stacked = {
        name: np.stack([wide[f"{name} {k}"].to_numpy() for k in range(visits)], axis=1)
        for name in dictionary.measurements
    }
    values: dict[str, Any] = {
        n: _within(seen[n], v[row, order[row, column]], seen[n].missing) for n, v in stacked.items()
    }
    values |= {"patient_id": ids[row], "day": sorted_days[row, column]}
    return table(dictionary.tables["visits"].columns, values, len(row))


def _within(column: Column, values: Floats, missing: bool) -> Floats:
    """Numbers folded into the bounds and rounded, categories to the nearest; a gap that may not be is filled by the median."""
    if not missing:
        known = values[~np.isnan(values)]
        values = np.where(np.isnan(values), np.median(known) if len(known) else 0.0, values)
    if column.discrete:
        places = np.clip(np.round(values), 0, len(column.categories or ()) - 1)
        return np.where(np.isnan(places), -1, places)
    assert column.bounds is not None
    decimals = 0 if column.type == "integer" else column.decimals
    inside = fold(values, *column.bounds)
    return inside if decimals is None else np.clip(np.round(inside, decimals), *column.bounds)


def _seen(dictionary: Dictionary) -> dict[str, Column]:
    return {"day": dictionary.tables["visits"].columns["day"]} | dictionary.measurements


def _numbers(column: Column, values: pd.Series[Any]) -> Floats:
    if column.numeric:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    code = codes(column, values).astype(np.float64)
    return np.where(code < 0, np.nan, code)
