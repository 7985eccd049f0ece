"""Whether each patient keeps to the dictionary itself: bounds, categories, decimals, gaps, order of days, end of follow-up.

`synthgen.conformance` says the same of a whole table without naming a patient; here the patients are synthetic and may be named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.conformance import numbers
from synthgen.flags import Flag
from synthgen.screening.words import amount, label, slip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.dictionary import Column
    from synthgen.screening.usual import Usual
    from synthgen.screening.view import View

    Mask = NDArray[np.bool_]


def breaches(view: View, usual: Usual) -> Iterator[Flag]:
    """One flag for each patient and kind of breach, by its first row. All are severe: no patient of the cohort can be so."""
    for table, frame in view.tables.items():
        if table not in view.dictionary.tables:
            continue
        for name, column in view.dictionary.tables[table].columns.items():
            if name in frame:
                yield from _of_column(view, usual, table, frame, name, column)
    yield from _of_ids(view)
    yield from _of_days(view)


def _of_column(view: View, usual: Usual, table: str, frame: pd.DataFrame, name: str, column: Column) -> Iterator[Flag]:
    cells = frame[name]
    if not column.missing and column.type not in ("id", "image", "file"):
        missing = cells.isna().to_numpy()
        text = f"{label(name, column)} is missing, which it must not be."
        yield from _flags(frame, missing, f"missing {table}.{name}", lambda _: text)
    if column.numeric:
        yield from _of_numbers(view, usual, table, frame, name, column)
    elif column.discrete:
        odd = (cells.notna() & ~cells.astype(object).isin(list(column.categories or ()))).to_numpy()
        known = ", ".join(column.categories or ())
        yield from _flags(
            frame,
            odd,
            f"unknown category {table}.{name}",
            lambda row: f"{label(name, column)} is {cells.iloc[row]!s}{_on(frame, row)}: no category of it ({known}).",
        )


def _of_numbers(view: View, usual: Usual, table: str, frame: pd.DataFrame, name: str, column: Column) -> Iterator[Flag]:
    assert column.bounds is not None
    raw = frame[name]
    values = numbers(raw).to_numpy(dtype=np.float64)
    low, high = column.bounds
    key = f"{table}.{name}"
    unreadable = raw.notna().to_numpy() & ~np.isfinite(values)
    yield from _flags(
        frame, unreadable, f"no number {key}", lambda row: f"{label(name, column)} holds no number{_on(frame, row)}."
    )
    with np.errstate(invalid="ignore"):
        outside = np.isfinite(values) & ((values < low) | (values > high))
    yield from _flags(
        frame,
        outside,
        f"out of bounds {key}",
        lambda row: (
            f"{label(name, column)} is {amount(float(values[row]), column)}{_on(frame, row)}: outside {low:g} to {high:g}, what "
            f"is possible{slip(column, float(values[row]), _expected(view, usual, name))}."
        ),
    )
    digits = 0 if column.type == "integer" else column.decimals
    if digits is not None:
        with np.errstate(invalid="ignore"):
            shifted = values * 10.0**digits
            finer = np.isfinite(values) & (np.abs(shifted - np.round(shifted)) > 1e-6 * np.maximum(1, np.abs(shifted)))
        what = "a whole number" if digits == 0 else f"given to {digits} decimals"
        yield from _flags(
            frame,
            finer,
            f"decimals {key}",
            lambda row: (
                f"{label(name, column)} is {values[row]:.10g}{_on(frame, row)}: it is {what}; more digits than the assay has."
            ),
        )


def _expected(view: View, usual: Usual, name: str) -> float:
    """What patients mostly have, in the column's unit; 0 where that is not known."""
    from synthgen.screening.view import unscaled

    if name not in usual.level:
        return 0.0
    column = view.columns.get(name) or view.dictionary.static[name]
    return unscaled(column, usual.level[name][0])


def _of_ids(view: View) -> Iterator[Flag]:
    patients = view.tables["patients"]
    again = patients["patient_id"].duplicated().to_numpy()
    yield from _flags(
        patients, again, "id twice", lambda _: "Two patients share this id: one of them is not this patient."
    )
    known = set(patients["patient_id"])
    for table, frame in view.tables.items():
        if table != "patients" and "patient_id" in frame:
            strange = ~frame["patient_id"].isin(known).to_numpy()
            text = f"There are {table} of a patient who does not exist: no row of patients has this id."
            yield from _flags(frame, strange, f"stranger {table}", lambda _, text=text: text)
    if "visits" in view.tables and len(view.tables["visits"]):
        unseen = ~patients["patient_id"].isin(set(view.tables["visits"]["patient_id"])).to_numpy()
        yield from _flags(patients, unseen, "no visit", lambda _: "This patient was never seen: there is no visit.")


def _of_days(view: View) -> Iterator[Flag]:
    outcome = view.dictionary.outcome
    ended: dict[Any, tuple[float, str]] = {}
    if outcome is not None and outcome.time in view.tables["patients"]:
        patients = view.tables["patients"]
        days = numbers(patients[outcome.time]).to_numpy(dtype=np.float64)
        ended = dict(
            zip(patients["patient_id"], zip(days, patients[outcome.status].astype(str), strict=True), strict=True)
        )
    for table, frame in view.tables.items():
        if table == "patients" or "day" not in frame:
            continue
        day = numbers(frame["day"]).to_numpy(dtype=np.float64)
        noun = {"visits": "visit", "events": "event"}.get(table, "row")
        stops = [n for n, c in view.dictionary.tables[table].columns.items() if c.role == "stop" and n in frame]
        yield from _after_the_end(view, frame, noun, {"day": day} | {s: _stop(frame, s) for s in stops}, ended)
        for stop in stops:
            with np.errstate(invalid="ignore"):
                early = _stop(frame, stop) < day
            yield from _flags(
                frame, early, f"stop before start {table}",
                lambda row, frame=frame: f"{_what(view, frame, row)} stops before it starts{_on(frame, row)}.",
            )  # fmt: skip
        if table == "visits":
            yield from _of_visits(frame, day)


def _stop(frame: pd.DataFrame, name: str) -> Any:
    return numbers(frame[name]).to_numpy(dtype=np.float64)


def _after_the_end(
    view: View, frame: pd.DataFrame, noun: str, days: dict[str, Any], ended: dict[Any, tuple[float, str]]
) -> Iterator[Flag]:
    if not ended:
        return
    last = frame["patient_id"].map({p: end for p, (end, _) in ended.items()}).to_numpy(dtype=np.float64)
    assert view.dictionary.outcome is not None
    for name, day in days.items():
        with np.errstate(invalid="ignore"):
            late = day > last

        def said(row: int, name: str = name, day: Any = day) -> str:
            end, status = ended[frame["patient_id"].iloc[row]]
            how = "the end of follow-up" if status == view.dictionary.outcome.censored else f"the patient was {status}"  # type: ignore[union-attr]
            what = f"A {noun}" if name == "day" else f"The {name} of an event"
            return f"{what} lies on day {int(day[row])}, after day {int(end)}, {how}: nothing is recorded after it."

        yield from _flags(frame, late, f"{noun} {name} after the end", said)


def _of_visits(frame: pd.DataFrame, day: Any) -> Iterator[Flag]:
    ids = frame["patient_id"].to_numpy()
    same = np.append(False, ids[1:] == ids[:-1])
    step = np.diff(day, prepend=np.nan)
    with np.errstate(invalid="ignore"):
        back = same & (step < 0)
        again = pd.DataFrame({"p": ids, "d": day}).duplicated().to_numpy() & np.isfinite(day)
    yield from _flags(
        frame,
        back,
        "visits out of order",
        lambda row: (
            f"The visit of day {day[row]:.0f} stands after that of day {day[row - 1]:.0f}: the visits are out of order."
        ),
    )
    yield from _flags(
        frame,
        again,
        "day twice",
        lambda row: f"Two visits stand on the same day ({day[row]:.0f}): one visit, told twice.",
    )
    first = pd.Series(day).groupby(ids, sort=False).transform("min").to_numpy()
    late = (first > 0) & (day == first)
    yield from _flags(
        frame,
        late,
        "no first visit",
        lambda row: f"The first visit lies on day {day[row]:.0f}: days count from the first visit, which is missing.",
    )


def _what(view: View, frame: pd.DataFrame, row: int) -> str:
    from synthgen.population import code_column

    code = code_column(view.dictionary)
    return str(frame[code].iloc[row]).replace("_", " ") if code in frame else "An event"


def _on(frame: pd.DataFrame, row: int) -> str:
    """When, where the table says it."""
    if "day" not in frame or pd.isna(frame["day"].iloc[row]):
        return ""
    return f" on day {float(frame['day'].iloc[row]):.0f}"


def _flags(frame: pd.DataFrame, where: Mask, reason: str, said: Any) -> Iterator[Flag]:
    """One flag a patient, by the first of the rows; it says how many more there are."""
    rows = np.flatnonzero(where)
    if not len(rows):
        return
    ids = frame["patient_id"].to_numpy()[rows]
    counts = pd.Series(ids).value_counts(sort=False)
    for patient, first in zip(*np.unique(ids.astype(str), return_index=True), strict=True):
        count = int(counts.loc[ids[first]])
        more = f" So at {count - 1} more {'row' if count == 2 else 'rows'}." if count > 1 else ""
        yield Flag(str(patient), reason, "severe", said(int(rows[first])) + more, False, {"rows": count}, 1.0)
