"""One row of numbers a patient, for attacks: static columns, first and last values, means, slopes, counts, outcome.

A row depends on that patient, the dictionary and the list of words that stand in the cohorts together; scales come from
public bounds. What is missing is 0 in its column and 1 in a column of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.values import codes, scale_bounds, to_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

    Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365.25


def summaries(cohorts: Sequence[Cohort], dictionary: Dictionary) -> list[pd.DataFrame]:
    """For each cohort [patients, features], index patient ids, the same columns for all, no NaN."""
    words = _words(cohorts, dictionary)
    return [_filled(_summary(cohort, dictionary, words)) for cohort in cohorts]


def standardised(tables: Sequence[pd.DataFrame], real: Sequence[pd.DataFrame]) -> list[Floats]:
    """Features divided by their spread over the `real` patients together (who is a member plays no part); those that do not
    vary there keep their public scale."""
    together = pd.concat(real)
    centre, spread = together.mean(), together.std(ddof=0)
    spread = spread.where(spread > 1e-6, 1.0)
    return [((table - centre) / spread).to_numpy(dtype=np.float64) for table in tables]


@dataclass(frozen=True)
class Records:
    """What stands in one row of `patients` joined with the first visit: [patients, columns] for each cohort, numbers as shares of
    their public range, category numbers, NaN where missing."""

    names: tuple[str, ...]
    discrete: NDArray[np.bool_]
    tables: tuple[Floats, ...]


def first_records(cohorts: Sequence[Cohort], dictionary: Dictionary) -> Records:
    """Static columns, outcome, and each measurement's first recorded value."""
    statics = {n: c for n, c in dictionary.tables["patients"].columns.items() if c.numeric or c.discrete}
    measured = {n: c for n, c in dictionary.measurements.items() if n not in statics}
    tables = []
    for cohort in cohorts:
        columns = [_number(c, cohort.patients[n]) for n, c in statics.items()]
        if cohort.visits is not None:
            first = cohort.visits.groupby("patient_id").first().reindex(cohort.ids)
            columns += [_number(c, first[n]) for n, c in measured.items()]
        tables.append(np.stack(columns, axis=1) if columns else np.empty((len(cohort), 0)))
    known = {**statics, **measured}
    return Records(tuple(known), np.array([c.discrete for c in known.values()], dtype=bool), tuple(tables))


def _number(column: Column, values: pd.Series[Any]) -> Floats:
    if column.numeric:
        return _position(column, values).to_numpy(dtype=np.float64)
    code = codes(column, values).astype(np.float64)
    return np.where(code < 0, np.nan, code)


def _summary(cohort: Cohort, dictionary: Dictionary, words: dict[str, list[str]]) -> pd.DataFrame:
    ids = cohort.ids
    columns: dict[str, Any] = {}
    statics = cohort.patients.set_index("patient_id", drop=False)
    for name, column in dictionary.tables["patients"].columns.items():
        for part, values in _parts(column, statics[name]).items():
            columns[f"{name}{part}"] = values
    if cohort.visits is not None:
        columns |= _visits(cohort.visits, dictionary, ids)
    for table, frame in cohort.tables.items():
        if table not in ("patients", "visits"):
            columns |= _counts(table, frame, dictionary.tables[table].columns, words, ids)
    return pd.DataFrame(columns, index=ids).astype("float64") if columns else pd.DataFrame(index=ids)


def _visits(visits: pd.DataFrame, dictionary: Dictionary, ids: pd.Index[Any]) -> dict[str, Any]:
    """Counts and span of visits; of each measurement the first, last and mean value, slope and how often it is recorded."""
    of = visits["patient_id"]
    years = visits["day"].astype("float64") / DAYS_PER_YEAR
    number = of.groupby(of).size().reindex(ids, fill_value=0)
    columns: dict[str, Any] = {
        "visits": np.log1p(number),
        "span": np.log1p(years.groupby(of).max().reindex(ids).fillna(0)),
    }
    for name, column in dictionary.measurements.items():
        for part, values in _parts(column, visits[name]).items():
            patients = values.groupby(of)
            key = f"{name}{part}"
            columns[f"{key} first"], columns[f"{key} last"] = (
                patients.first().reindex(ids),
                patients.last().reindex(ids),
            )
            columns[f"{key} mean"] = patients.mean().reindex(ids)
            if column.numeric:
                columns[f"{key} slope"] = _slopes(values, years, of).reindex(ids)
        columns[f"{name} recorded"] = visits[name].notna().groupby(of).mean().reindex(ids)
    return columns


def _slopes(values: pd.Series[Any], years: pd.Series[Any], of: pd.Series[Any]) -> pd.Series[Any]:
    """Least-squares slope of each patient's recorded values, shrunk as by half a year's variance of visit times."""
    years = years.where(values.notna())
    dx, dy = years - years.groupby(of).transform("mean"), values - values.groupby(of).transform("mean")
    slopes: pd.Series[Any] = (dx * dy).groupby(of).sum() / ((dx**2).groupby(of).sum() + 0.25)
    return slopes


def _counts(
    table: str, frame: pd.DataFrame, declared: dict[str, Column], words: dict[str, list[str]], ids: pd.Index[Any]
) -> dict[str, Any]:
    """Rows in all, rows with each word of each column, and means of numbers."""
    of = frame["patient_id"]
    columns: dict[str, Any] = {f"{table} rows": np.log1p(of.groupby(of).size().reindex(ids, fill_value=0))}
    for name, column in declared.items():
        if column.numeric and name in frame:
            columns[f"{table} {name}"] = _position(column, frame[name]).groupby(of).mean().reindex(ids)
        elif known := words.get(f"{table}.{name}"):
            table_of_counts = pd.crosstab(of, frame[name].astype(str)).reindex(index=ids, columns=known, fill_value=0)
            columns |= {f"{table} {name} {word}": np.log1p(table_of_counts[word]) for word in known}
    return columns


def _words(cohorts: Sequence[Cohort], dictionary: Dictionary) -> dict[str, list[str]]:
    """`table.column` -> the words of coded columns outside patients and visits that stand in any of the cohorts."""
    found: dict[str, set[str]] = {}
    for cohort in cohorts:
        for table, frame in cohort.tables.items():
            if table in ("patients", "visits"):
                continue
            for name, column in dictionary.tables[table].columns.items():
                if (column.discrete or (column.type == "text" and column.role)) and name in frame:
                    found.setdefault(f"{table}.{name}", set()).update(frame[name].dropna().astype(str).unique())
    return {key: sorted(words) for key, words in found.items()}


def _parts(column: Column, values: pd.Series[Any]) -> dict[str, pd.Series[Any]]:
    """A number or an ordinal is one column, a category one for each word but the first; nothing for ids and text."""
    if column.numeric:
        return {"": _position(column, values)}
    if not column.discrete:
        return {}
    code = pd.Series(codes(column, values), index=values.index, dtype="float64").where(values.notna())
    categories = column.categories or ()
    if column.type == "ordinal" or len(categories) == 2:
        return {"": code / (len(categories) - 1)}
    return {f" {word}": (code == i).astype("float64").where(code.notna()) for i, word in enumerate(categories)}


def _position(column: Column, values: pd.Series[Any]) -> pd.Series[Any]:
    """Where values lie between the public bounds, 0 to 1 on the column's scale."""
    low, high = scale_bounds(column)
    scaled = to_scale(column, values.to_numpy(dtype="float64", na_value=np.nan))
    return pd.Series((scaled - low) / (high - low), index=values.index)


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    missing = table.isna().astype("float64").add_suffix(" missing")
    return pd.concat([table.fillna(0.0), missing], axis=1)
