"""Faults in coded events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.planting.record import VISIBLE, Kind, Record, farther, rounded
from synthgen.population import code_column, dose_column, stop_column
from synthgen.values import to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Column

Rng = np.random.Generator


def _row(record: Record, rng: Rng, column: str | None = None) -> int | None:
    """A row of events at which a column is recorded."""
    if not len(record.tables.get("events", ())):
        return None
    known = record.events[column].notna().to_numpy() if column else np.ones(len(record.events), dtype=bool)
    return int(rng.choice(np.flatnonzero(known))) if known.any() else None


def _put(record: Record, row: int, name: str, value: Any) -> Record:
    record.events.loc[record.events.index[row], name] = value
    return record


def event_after_the_end(record: Record, rng: Rng) -> Record | None:
    row = _row(record, rng)
    outcome = record.dictionary.outcome
    if row is None or outcome is None:
        return None
    later = float(record.patient[outcome.time]) + float(rng.integers(20, 300))
    bounds = record.dictionary.tables["events"].columns["day"].bounds
    if bounds is not None and later > bounds[1]:
        return None
    stop = stop_column(record.dictionary)
    return _put(_put(record, row, stop, np.nan) if stop else record, row, "day", later)


def stop_before_start(record: Record, rng: Rng) -> Record | None:
    stop = stop_column(record.dictionary)
    row = _row(record, rng, stop) if stop else None
    if stop is None or row is None or float(record.events["day"].iloc[row]) < 20:
        return None
    return _put(record, row, stop, float(record.events["day"].iloc[row]) - float(rng.integers(5, 20)))


def _dose(record: Record, rng: Rng, factors: tuple[float, ...]) -> Record | None:
    """Of a drug whose dose the patient has four times or more, where it moves the dose by `VISIBLE` spreads of the others: what
    they show is that one is off."""
    dose, code = dose_column(record.dictionary), code_column(record.dictionary)
    if dose is None or code is None or not len(record.tables.get("events", ())):
        return None
    known = record.events.dropna(subset=[dose])
    often = known[known.groupby(code)[dose].transform("count") >= 4] if len(known) else known
    if not len(often):
        return None
    row = int(np.flatnonzero(record.events.index == rng.choice(often.index))[0])
    column = record.dictionary.tables["events"].columns[dose]
    assert column.bounds is not None
    old = float(record.events[dose].iloc[row])
    others = often.loc[(often[code] == record.events[code].iloc[row]) & (often.index != record.events.index[row]), dose]
    scatter = float(to_scale(column, others.to_numpy(dtype=np.float64)).std())
    inside = [
        f
        for f in factors
        if column.bounds[0] <= old * f <= column.bounds[1]
        and _moved(column, old, f) >= VISIBLE * scatter
        and farther(column, old, old * f, others)
    ]
    if not inside:
        return None
    return _put(record, row, dose, rounded(column, old * float(rng.choice(inside))))


def _moved(column: Column, dose: float, factor: float) -> float:
    """How far a factor moves a dose on its column's scale."""
    before, after = to_scale(column, np.array([dose, dose * factor]))
    return float(abs(after - before))


def dose_slip(record: Record, rng: Rng) -> Record | None:
    return _dose(record, rng, (100.0, 0.01))


def dose_tenfold(record: Record, rng: Rng) -> Record | None:
    return _dose(record, rng, (10.0, 0.1))


def impossible_dose(record: Record, rng: Rng) -> Record | None:
    dose = dose_column(record.dictionary)
    row = _row(record, rng, dose) if dose else None
    if dose is None or row is None:
        return None
    bounds = record.dictionary.tables["events"].columns[dose].bounds
    assert bounds is not None
    return _put(record, row, dose, float(np.round(bounds[1] * rng.uniform(2, 20))))


def event_twice(record: Record, rng: Rng) -> Record | None:
    row = _row(record, rng)
    if row is None:
        return None
    record.tables["events"] = pd.concat([record.events, record.events.iloc[[row]]], ignore_index=True)
    return record


def endless(record: Record, rng: Rng) -> Record | None:
    """One event forty times, on forty days."""
    row, outcome = _row(record, rng), record.dictionary.outcome
    if row is None:
        return None
    end = int(record.patient[outcome.time]) if outcome else 1000
    if end < 100:
        return None
    stop = stop_column(record.dictionary)
    one = record.events.iloc[[row]]
    days = rng.choice(np.arange(1, end), size=40, replace=False)
    parts = [one.assign(day=float(day), **({stop: np.nan} if stop else {})) for day in days]
    record.tables["events"] = pd.concat([record.events, *parts], ignore_index=True).sort_values("day", kind="stable")
    return record


def unknown_code(record: Record, rng: Rng) -> Record | None:
    row, code = _row(record, rng), code_column(record.dictionary)
    return None if row is None or code is None else _put(record, row, code, "X99")


def event_before_the_first(record: Record, rng: Rng) -> Record | None:
    row = _row(record, rng)
    return None if row is None else _put(record, row, "day", -float(rng.integers(10, 300)))


KINDS = (
    Kind("event after death or follow-up", "severe", "dictionary", ("after",), event_after_the_end),
    Kind("stop before start", "severe", "dictionary", ("stops before",), stop_before_start),
    Kind("impossible dose", "severe", "dictionary", ("outside",), impossible_dose),
    Kind("unknown code", "severe", "dictionary", ("no category",), unknown_code),
    Kind("event before the first visit", "severe", "dictionary", ("outside",), event_before_the_first),
    Kind("dose off by a hundred", "severe", "evidence", ("dose of",), dose_slip),
    Kind("dose off by ten", "moderate", "evidence", ("dose of",), dose_tenfold),
    Kind("event told twice", "mild", "evidence", ("twice",), event_twice),
    Kind("one event forty times", "severe", "evidence", ("repeated by mistake",), endless),
)
