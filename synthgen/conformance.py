"""Raw tables against their dictionary: typed tables, and every breach at once.

A breach is one sentence that names the place (`table.column`), how many rows, and the fix. It never holds a value or a
patient id, and a count below `SMALL_CELL` is only said to be small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from privacy.identity import spelled

if TYPE_CHECKING:
    from synthgen.cohort import Origin
    from synthgen.dictionary import Column, Dictionary

SMALL_CELL = 11
"""Counts below this are not said (DESIGN.md, rule 7)."""

_DATE = r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?\s*$"
_DECIMAL_COMMA = r"^\s*[-+]?\d+,\d+\s*$"
_NOT_FINITE = r"(?i)^\s*[-+]?(?:nan|inf|infinity)\s*$"


def conform(
    tables: Mapping[str, pd.DataFrame], dictionary: Dictionary, origin: Origin = "real"
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Tables in the dictionary's names (strings or typed values) -> tables in its types, and all breaches.

    The typed tables are as `Cohort` describes them, numbers rounded to the decimals that their column declares; they are
    of use only when there is no breach. A synthetic cohort may be smaller than a real one: it may have one patient, and
    longitudinal tables without rows.
    """
    breaches = [f"{name}: the table is missing; add its file, or take the table out of the dictionary."
                for name in dictionary.tables if name not in tables]  # fmt: skip
    breaches += [f"{name}: the dictionary does not declare this table; declare it, or leave it out."
                 for name in sorted(set(tables) - set(dictionary.tables))]  # fmt: skip
    typed: dict[str, pd.DataFrame] = {}
    for name in dictionary.tables:
        if name in tables:
            typed[name], found = _table(name, tables[name], dictionary)
            breaches += found + _size(name, len(tables[name]), origin)
    if "patient_id" in typed.get("patients", ()):
        breaches += _relations(typed, dictionary)
        typed = {name: _in_order(frame, typed["patients"]) for name, frame in typed.items()}
    return typed, breaches


def rows(count: int, noun: str = "rows") -> str:
    """`count` as it may be said: small counts are not told apart."""
    return f"fewer than {SMALL_CELL} {noun}" if count < SMALL_CELL else f"{count} {noun}"


def place(table: str, name: str, column: Column) -> str:
    """`table.column`, and what the file calls it where that differs."""
    return f"{table}.{name} ({column.source} in the file)" if column.source else f"{table}.{name}"


def _size(name: str, length: int, origin: Origin) -> list[str]:
    if length == 0 and (origin == "real" or name == "patients"):
        return [f"{name}: the table has no rows; add them, or take the table out of the dictionary."]
    if name == "patients" and length == 1 and origin == "real":
        return ["patients: there is one patient; a cohort needs at least 2."]
    return []


def _table(name: str, frame: pd.DataFrame, dictionary: Dictionary) -> tuple[pd.DataFrame, list[str]]:
    columns = dictionary.tables[name].columns
    breaches = _headings(name, frame, columns)
    frame = frame.loc[:, ~frame.columns.duplicated()].reset_index(drop=True)
    typed: dict[str, pd.Series[Any]] = {}
    for key, column in columns.items():
        if key in frame:
            typed[key], faults = _typed(frame[key], column)
            breaches += [f"{place(name, key, column)}: {fault}" for fault in faults]
    return pd.DataFrame(typed, index=frame.index), breaches


def _headings(name: str, frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[str]:
    """Columns that are missing, stand twice, or are extra."""
    if not set(columns) & set(frame.columns):
        return [f"{name}: none of the declared columns is there; check that the first line of the file is its header."]
    missing = [
        f"{place(name, key, column)}: the column is missing; add it, or name the file's column in `source`."
        for key, column in columns.items()
        if key not in frame
    ]
    twice = (
        [f"{name}: a column name stands more than once; rename or remove one."] if frame.columns.has_duplicates else []
    )
    return missing + twice + undeclared(name, frame, set(columns), "patient_id")


def undeclared(name: str, frame: pd.DataFrame, declared: set[str], id_column: str) -> list[str]:
    """Breaches for extra columns. Without the id column the header may be no header but a patient, or its columns may be
    patients: they are then told by position."""
    named = id_column in frame
    return [
        f"{name}: column {key if named else f'number {position}'} is not declared in the dictionary; "
        "declare it, list it under `ignore`, or remove it."
        for position, key in enumerate(frame.columns, start=1)
        if key not in declared
    ]


def _typed(raw: pd.Series[Any], column: Column) -> tuple[pd.Series[Any], list[str]]:
    """One column in its type (what cannot be read is missing), and its faults as half sentences."""
    raw = _without_blanks(raw)
    read = _numbers if column.numeric else _pictures if column.type == "image" else _words
    values, faults = read(raw, column)
    missing = int(raw.isna().sum())
    if missing and column.type == "id":
        faults.append(f"{rows(missing)} have no id; every row needs one.")
    elif missing and not column.missing:
        faults.append(f"{rows(missing)} have no value; fill them, or write `missing: true` in the dictionary.")
    return values, faults


def _without_blanks(raw: pd.Series[Any]) -> pd.Series[Any]:
    if raw.dtype != object:
        return raw
    return raw.mask(
        pd.Series([isinstance(cell, str) and not cell.strip() for cell in raw], index=raw.index, dtype=bool)
    )


def _numbers(raw: pd.Series[Any], column: Column) -> tuple[pd.Series[Any], list[str]]:
    values, faults = numbers(raw), []
    for count, fault in _unreadable(raw, values, column):
        if count:
            faults.append(f"{rows(count)} {fault}")
    values = values.where(np.isfinite(values))
    if column.decimals is not None:
        values = values.round(column.decimals)
    if column.type == "integer":
        fractional = values.notna() & (values % 1 != 0)
        if fractional.any():
            faults.append(
                f"{rows(int(fractional.sum()))} hold no whole number; round them, or declare `type: continuous`."
            )
            values = values.mask(fractional)
    assert column.bounds is not None
    low, high = column.bounds
    outside = values.notna() & ~values.between(low, high)
    if outside.any():
        faults.append(
            f"{rows(int(outside.sum()))} lie outside the bounds [{low:g}, {high:g}]; correct them (is the unit right?), "
            "or widen the bounds from public knowledge."
        )
        values = values.mask(outside)
    return (values.astype("Int64") if column.type == "integer" else values), faults


def _unreadable(raw: pd.Series[Any], values: pd.Series[Any], column: Column) -> list[tuple[int, str]]:
    """(rows, fault) for each way in which a cell is not a finite number."""
    lost = raw.notna() & values.isna()
    infinite = int(np.isinf(values).sum())
    if not lost.any() and not infinite:
        return []
    cells = raw[lost].astype(str)
    date, comma, nan = (cells.str.contains(pattern) for pattern in (_DATE, _DECIMAL_COMMA, _NOT_FINITE))
    fix = "days since the patient's first visit" if column.type == "integer" else "a number"
    return [
        (int(date.sum()), f"hold a date; write {fix} instead, dates identify patients."),
        (int((comma & ~date).sum()), "have a decimal comma; write a decimal point."),
        (int(nan.sum()) + infinite, "are NaN or infinite; leave the cell empty where nothing was measured."),
        (int((~date & ~comma & ~nan).sum()), f"hold no number; the column is declared {column.type}."),
    ]


def numbers(raw: pd.Series[Any]) -> pd.Series[Any]:
    """float64; NaN where a cell is missing or no number (dates, durations and truth values are none)."""
    if raw.dtype.kind in "mMbc" or isinstance(raw.dtype, pd.DatetimeTZDtype | pd.BooleanDtype):
        return pd.Series(np.nan, index=raw.index, dtype="float64")
    values = pd.to_numeric(raw.astype(object), errors="coerce")
    return pd.Series(values.to_numpy(dtype="float64", na_value=np.nan), index=raw.index)


def _words(raw: pd.Series[Any], column: Column) -> tuple[pd.Series[Any], list[str]]:
    values = words(raw)
    if not column.discrete:
        return values, []
    unknown = values.notna() & ~values.isin(column.categories or ())
    faults = []
    if unknown.any():
        faults.append(
            f"{rows(int(unknown.sum()))} hold no declared category; correct the spelling, map it under `recode`, "
            "or declare the category."
        )
    kind = pd.CategoricalDtype(list(column.categories or ()), ordered=column.type == "ordinal")
    return values.mask(unknown).astype(kind), faults


def _pictures(raw: pd.Series[Any], column: Column) -> tuple[pd.Series[Any], list[str]]:
    assert column.size is not None
    shape = (column.size, column.size) if column.channels == 1 else (column.size, column.size, column.channels)
    fits = [isinstance(cell, np.ndarray) and cell.dtype == np.uint8 and cell.shape == shape for cell in raw]
    odd = int((raw.notna() & ~np.array(fits, dtype=bool)).sum())
    faults = [f"{rows(odd)} hold no picture of {' x '.join(map(str, shape))} bytes."] if odd else []
    return pd.Series(
        [cell if fit else None for cell, fit in zip(raw, fits, strict=True)], index=raw.index, dtype=object
    ), faults


def words(raw: pd.Series[Any]) -> pd.Series[Any]:
    """Object of str, None where missing; whole numbers without a point, truth values as yes and no."""
    return pd.Series([_word(cell) for cell in raw.astype(object)], index=raw.index, dtype=object)


def _word(cell: Any) -> str | None:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_):
        return "yes" if cell else "no"
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if isinstance(cell, float | np.floating):
        return None if np.isnan(cell) else f"{cell:.0f}" if cell == np.floor(cell) else repr(float(cell))
    return str(cell)


def _relations(typed: Mapping[str, pd.DataFrame], dictionary: Dictionary) -> list[str]:
    """Breaches between rows and tables: ids, days, the end of follow-up."""
    patients = typed["patients"]
    ids = patients["patient_id"]
    breaches = []
    if twice := int(ids.dropna().map(spelled).duplicated().sum()):
        breaches.append(
            f"patients.patient_id: {rows(twice)} repeat an id (case, Unicode form and spaces at its ends do not count); keep "
            "one row per patient."
        )
    end = _end_of_follow_up(patients, dictionary)
    for name, frame in typed.items():
        if name == "patients" or "patient_id" not in frame:
            continue
        strangers = frame["patient_id"].notna() & ~frame["patient_id"].isin(ids)
        if strangers.any():
            breaches.append(
                f"{name}.patient_id: {rows(int(strangers.sum()))} belong to no row of patients; "
                "add the patients, or remove these rows."
            )
        if "day" in frame:
            breaches += _days(name, frame, dictionary, end)
    return breaches


def _end_of_follow_up(patients: pd.DataFrame, dictionary: Dictionary) -> pd.Series[Any]:
    """Days by patient id; empty without an outcome."""
    if dictionary.outcome is None or dictionary.outcome.time not in patients:
        return pd.Series(dtype="float64")
    known = patients.dropna(subset=["patient_id"]).drop_duplicates("patient_id").set_index("patient_id")
    return numbers(known[dictionary.outcome.time])


def _days(name: str, frame: pd.DataFrame, dictionary: Dictionary, end: pd.Series[Any]) -> list[str]:
    day = numbers(frame["day"])
    last = frame["patient_id"].map(end).astype("float64")
    stops = [key for key, column in dictionary.tables[name].columns.items() if column.role == "stop" and key in frame]
    time = dictionary.outcome.time if dictionary.outcome else ""
    breaches = [
        f"{name}.{key}: {rows(late)} lie after the patient's end of follow-up (patients.{time}); "
        "nothing is recorded after it."
        for key in ("day", *stops)
        if (late := int((numbers(frame[key]) > last).sum()))
    ] + [
        f"{name}.{key}: {rows(early)} stop before they start (day); correct one of the two."
        for key in stops
        if (early := int((numbers(frame[key]) < day).sum()))
    ]
    return breaches + (_visit_days(frame["patient_id"], day) if name == "visits" else [])


def _visit_days(patient: pd.Series[Any], day: pd.Series[Any]) -> list[str]:
    """Visits stand in the order in which they happened: only then is the order of two equal files the same."""
    step = day.groupby(patient).diff()
    first = day.groupby(patient).min()
    found = [
        (int((step < 0).sum()), "rows", "come before the row above them of the same patient; sort the file by day."),
        (int((step == 0).sum()), "rows", "repeat a day of the same patient; merge the rows of one day."),
        (int((first > 0).sum()), "patients", "have no visit at day 0; count days from each patient's first visit."),
    ]
    return [f"visits.day: {rows(count, noun)} {fault}" for count, noun, fault in found if count]


def _in_order(frame: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Sorted by patient, in the order of `patients`, and day; rows of one day stay in file order."""
    if frame is patients or "patient_id" not in frame:
        return frame
    rank = {patient: position for position, patient in enumerate(patients["patient_id"])}
    keys = {"patient": frame["patient_id"].map(rank)} | ({"day": frame["day"]} if "day" in frame else {})
    order = pd.DataFrame(keys, index=frame.index).sort_values(list(keys), kind="stable").index
    return frame.loc[order].reset_index(drop=True)
