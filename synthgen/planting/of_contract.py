"""Faults that break the dictionary itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from synthgen.planting.record import Kind, Record, chosen

Rng = np.random.Generator


def _at_one_visit(record: Record, rng: Rng, value: Any) -> Record | None:
    """Replaces one value of one measurement by what `value(column, old)` says; None there means no."""
    name = chosen(record, rng, 1, lambda n: value(record.measured[n], 1.0) is not None)
    if name is None:
        return None
    row = int(rng.choice(record.rows(name)))
    new = value(record.measured[name], float(record.visits[name].iloc[row]))
    if new is None:
        return None
    record.visits.loc[record.visits.index[row], name] = new
    record.about = name
    return record


def impossible_value(record: Record, rng: Rng) -> Record | None:
    return _at_one_visit(record, rng, lambda c, _: float(np.round(c.bounds[1] * rng.uniform(1.5, 4))))


def negative_value(record: Record, rng: Rng) -> Record | None:
    return _at_one_visit(record, rng, lambda c, old: -abs(old) - 1 if c.bounds[0] >= 0 else None)


def missing_code(record: Record, rng: Rng) -> Record | None:
    """999 or -9 for `not measured`."""

    def code(column: Any, _: float) -> float | None:
        outside = [v for v in (-9.0, 999.0, 9999.0, 99999.0) if not column.bounds[0] <= v <= column.bounds[1]]
        return outside[0] if outside else None

    return _at_one_visit(record, rng, code)


def slip_out_of_bounds(record: Record, rng: Rng) -> Record | None:
    """Potassium 45: the decimal point is lost, and the value lies beyond all bounds."""
    name = chosen(record, rng, 2, lambda n: bool((record.visits[n] * 10 > record.measured[n].bounds[1]).any()))  # type: ignore[index]
    if name is None:
        return None
    column = record.measured[name]
    rows = [r for r in record.rows(name) if record.visits[name].iloc[r] * 10 > column.bounds[1]]  # type: ignore[index]
    row = int(rng.choice(rows))
    record.put(name, row, 10 * float(record.visits[name].iloc[row]))
    record.about = name
    return record


def not_a_number(record: Record, rng: Rng) -> Record | None:
    return _at_one_visit(record, rng, lambda *_: np.inf)


def too_many_digits(record: Record, rng: Rng) -> Record | None:
    def finer(column: Any, old: float) -> float | None:
        if column.decimals is None or column.type == "integer":
            return None
        return float(old + (0.37 if old < np.mean(column.bounds) else -0.37) * 10.0**-column.decimals)

    return _at_one_visit(record, rng, finer)


def half_a_day(record: Record, rng: Rng) -> Record | None:
    if len(record.tables.get("visits", ())) < 2:
        return None
    row = record.visits.index[int(rng.integers(1, len(record.visits)))]
    record.visits.loc[row, "day"] -= 0.5
    return record


def required_missing(record: Record, rng: Rng) -> Record | None:
    names = [n for n, c in record.dictionary.measurements.items() if not c.missing]
    if "visits" not in record.tables or not names or not len(record.visits):
        return None
    record.about = str(rng.choice(names))
    record.visits.loc[record.visits.index[int(rng.integers(len(record.visits)))], record.about] = np.nan
    return record


def unknown_category(record: Record, rng: Rng) -> Record | None:
    names = [n for n, c in record.dictionary.measurements.items() if c.discrete]
    if "visits" not in record.tables or not names:
        return None
    record.about = str(rng.choice(names))
    record.visits.loc[record.visits.index[int(rng.integers(len(record.visits)))], record.about] = "Y"
    return record


def impossible_age(record: Record, rng: Rng) -> Record | None:
    names = [n for n, c in record.dictionary.static.items() if c.numeric]
    if not names:
        return None
    record.about = str(rng.choice(names))
    bounds = record.dictionary.static[record.about].bounds
    assert bounds is not None
    record.patient[record.about] = float(np.round(bounds[1] * rng.uniform(1.4, 3)))
    return record


def visit_after_the_end(record: Record, rng: Rng) -> Record | None:
    outcome = record.dictionary.outcome
    if outcome is None or "visits" not in record.tables or not len(record.visits):
        return None
    end = float(record.patient[outcome.time])
    later = end + rng.integers(30, 400)
    bounds = record.dictionary.tables["visits"].columns["day"].bounds
    if bounds is not None and later > bounds[1]:
        return None
    row = record.visits.iloc[[-1]].assign(day=later)
    record.tables["visits"] = pd.concat([record.visits, row], ignore_index=True)
    return record


def day_twice(record: Record, rng: Rng) -> Record | None:
    if len(record.tables.get("visits", ())) < 3:
        return None
    row = int(rng.integers(1, len(record.visits)))
    record.visits.loc[record.visits.index[row], "day"] = float(record.visits["day"].iloc[row - 1])
    return record


def out_of_order(record: Record, rng: Rng) -> Record | None:
    if len(record.tables.get("visits", ())) < 3:
        return None
    row = int(rng.integers(1, len(record.visits) - 1))
    order = list(range(len(record.visits)))
    order[row], order[row + 1] = order[row + 1], order[row]
    record.tables["visits"] = record.visits.iloc[order].reset_index(drop=True)
    return record


def negative_day(record: Record, rng: Rng) -> Record | None:
    if "visits" not in record.tables or not len(record.visits):
        return None
    record.visits.loc[record.visits.index[0], "day"] = -float(rng.integers(5, 400))
    return record


def no_first_visit(record: Record, rng: Rng) -> Record | None:
    if len(record.tables.get("visits", ())) < 3:
        return None
    record.tables["visits"] = record.visits.iloc[int(rng.integers(1, 3)) :].reset_index(drop=True)
    return record


def id_twice(record: Record, rng: Rng) -> Record | None:
    if not record.others:
        return None
    other = record.others[int(rng.integers(len(record.others)))].copy()
    other.patient["patient_id"] = record.patient["patient_id"]
    other.tables = {name: frame.iloc[:0] for name, frame in other.tables.items()}
    record.extra = (other,)
    return record


def never_seen(record: Record, rng: Rng) -> Record | None:  # noqa: ARG001
    if "visits" not in record.tables:
        return None
    record.tables["visits"] = record.visits.iloc[:0]
    return record


KINDS = (
    Kind("impossible value", "severe", "dictionary", ("outside",), impossible_value),
    Kind("negative value", "severe", "dictionary", ("outside",), negative_value),
    Kind("code for missing as a value", "severe", "dictionary", ("outside",), missing_code),
    Kind("potassium 45: slip out of bounds", "severe", "dictionary", ("decimal point", "outside"), slip_out_of_bounds),
    Kind("infinite value", "severe", "dictionary", ("no number",), not_a_number),
    Kind("more digits than the assay has", "mild", "dictionary", ("digits",), too_many_digits),
    Kind("half a day", "mild", "dictionary", ("whole number",), half_a_day),
    Kind("required value missing", "severe", "dictionary", ("missing",), required_missing),
    Kind("unknown category", "severe", "dictionary", ("no category",), unknown_category),
    Kind("impossible age", "severe", "dictionary", ("outside",), impossible_age),
    Kind("visit after death or follow-up", "severe", "dictionary", ("after",), visit_after_the_end),
    Kind("two visits on one day", "severe", "dictionary", ("same day",), day_twice),
    Kind("visits out of order", "severe", "dictionary", ("out of order",), out_of_order),
    Kind("negative day", "severe", "dictionary", ("outside",), negative_day),
    Kind("first visit lost", "moderate", "dictionary", ("first visit",), no_first_visit),
    Kind("one id, two patients", "severe", "dictionary", ("share this id",), id_twice),
    Kind("patient without a visit", "moderate", "dictionary", ("never seen",), never_seen),
)
