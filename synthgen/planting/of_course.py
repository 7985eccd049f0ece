"""Faults in single measurements that keep to every bound, and for which no rule is written."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from synthgen.planting.record import VISIBLE, Kind, Record, chosen, farther, spread, typical, within
from synthgen.screening.words import CONVERSIONS
from synthgen.values import to_scale

Rng = np.random.Generator
LONG = 5


def _moved(record: Record, name: str, row: int, factor: float) -> float | None:
    """How far a factor moves a value, in public spreads within a patient; None where it leaves the bounds."""
    column = record.measured[name]
    assert column.bounds is not None
    old = float(record.visits[name].iloc[row])
    new = old * factor
    if not column.bounds[0] <= np.round(new, column.decimals or 3) <= column.bounds[1]:
        return None
    before, after = to_scale(column, np.array([old, new]))
    return float(abs(after - before)) / within(column)


def _farther(record: Record, name: str, row: int, factor: float) -> bool:
    values = record.visits[name].to_numpy(dtype=np.float64)
    others = [values[r] for r in record.rows(name) if r != row]
    return farther(record.measured[name], values[row], values[row] * factor, others)


def _slip(record: Record, rng: Rng, factors: tuple[float, ...] | None, inner: bool = False) -> Record | None:
    """One value times a factor; `inner`: neither the first nor the last."""

    def places(name: str) -> list[tuple[int, float]]:
        rows = record.rows(name)[1:-1] if inner else record.rows(name)
        code = record.measured[name].code or ""
        mine = factors or tuple(f for c in [CONVERSIONS.get(code)] if c for f in (c, 1 / c))
        moved = [(r, f) for r in rows for f in mine if (_moved(record, name, r, f) or 0) >= VISIBLE]
        return [(r, f) for r, f in moved if _farther(record, name, r, f)]

    name = chosen(record, rng, 4, lambda n: bool(places(n)))
    if name is None:
        return None
    found = places(name)
    row, factor = found[int(rng.integers(len(found)))]
    record.put(name, int(row), float(record.visits[name].iloc[row]) * factor)
    record.about = name
    return record


def slip_up(record: Record, rng: Rng) -> Record | None:
    return _slip(record, rng, (10.0,))


def slip_down(record: Record, rng: Rng) -> Record | None:
    return _slip(record, rng, (0.1,))


def slip_hundred(record: Record, rng: Rng) -> Record | None:
    return _slip(record, rng, (100.0, 0.01))


def other_unit(record: Record, rng: Rng) -> Record | None:
    """One value in the other system of units."""
    return _slip(record, rng, None)


def spike(record: Record, rng: Rng) -> Record | None:
    """One value in the middle, nine public spreads away."""
    name = chosen(record, rng, LONG)
    if name is None:
        return None
    row = int(rng.choice(record.rows(name)[1:-1]))
    column, old = record.measured[name], record.visits[name].to_numpy(dtype=np.float64)
    base = float(to_scale(column, old[[row]])[0])
    record.put_scaled(name, row, base + 9 * within(column) * _away(record, name, base))
    record.about = name
    return record if _distance(record, name, row, base) >= VISIBLE else None


def _away(record: Record, name: str, base: float) -> int:
    """The direction in which there is more room."""
    low, high = to_scale(record.measured[name], np.array(record.measured[name].bounds, dtype=np.float64))
    return 1 if high - base >= base - low else -1


def _distance(record: Record, name: str, row: int, base: float) -> float:
    column = record.measured[name]
    return float(
        abs(to_scale(column, record.visits[name].to_numpy(dtype=np.float64)[[row]])[0] - base) / within(column)
    )


def record_slip(record: Record, rng: Rng) -> Record | None:
    """One measurement in a wrong unit at every visit, where that is far from what anybody has."""

    def factor(name: str) -> float | None:
        column = record.measured[name]
        for f in (10.0, 0.1):
            if all(_moved(record, name, r, f) is not None for r in record.rows(name)):
                values = to_scale(column, f * record.visits[name].dropna().to_numpy(dtype=np.float64))
                if abs(float(np.median(values)) - typical(column)) >= 5 * spread(column):
                    return f
        return None

    name = chosen(record, rng, 2, lambda n: factor(n) is not None)
    if name is None:
        return None
    times = factor(name) or 1.0
    for row in record.rows(name):
        record.put(name, int(row), float(record.visits[name].iloc[row]) * times)
    record.about = name
    return record


def absurd_level(record: Record, rng: Rng) -> Record | None:
    """One measurement seven public spreads away at every visit."""

    def way(name: str) -> int:
        column = record.measured[name]
        low, high = to_scale(column, np.array(column.bounds, dtype=np.float64))
        middle, far = typical(column), 7 * spread(column)
        return 1 if middle + far < high else -1 if middle - far > low else 0

    name = chosen(record, rng, 2, lambda n: way(n) != 0)
    if name is None:
        return None
    for row, value in zip(record.rows(name), record.values(name), strict=True):
        record.put_scaled(name, int(row), value + way(name) * 7 * spread(record.measured[name]))
    record.about = name
    return record


def _pair(record: Record, rng: Rng) -> tuple[str, str] | None:
    """Two measurements, each of whose typical values is far from typical for the other, and within its bounds."""

    def apart(a: str, b: str) -> bool:
        here, there = record.measured[a], record.measured[b]
        value = typical(there) if there.scale == "linear" else float(np.exp(typical(there)))
        assert here.bounds is not None
        if not here.bounds[0] < value < here.bounds[1]:
            return False
        return bool(abs(to_scale(here, np.array([value]))[0] - typical(here)) >= 4 * spread(here))

    pairs = [
        (a, b)
        for a, b in permutations(record.measured, 2)
        if a < b and apart(a, b) and apart(b, a) and (record.visits[a].notna() & record.visits[b].notna()).sum() >= 3
    ]
    return pairs[int(rng.integers(len(pairs)))] if pairs else None


def _swap(record: Record, rng: Rng, everywhere: bool) -> Record | None:
    pair = _pair(record, rng) if "visits" in record.tables else None
    if pair is None:
        return None
    both = np.flatnonzero((record.visits[pair[0]].notna() & record.visits[pair[1]].notna()).to_numpy())
    for row in both if everywhere else [int(rng.choice(both))]:
        first, second = (float(record.visits[n].iloc[row]) for n in pair)
        record.put(pair[0], int(row), second)
        record.put(pair[1], int(row), first)
    record.about = pair[0]
    return record


def swapped_once(record: Record, rng: Rng) -> Record | None:
    return _swap(record, rng, everywhere=False)


def swapped_always(record: Record, rng: Rng) -> Record | None:
    return _swap(record, rng, everywhere=True)


def _fine(record: Record, name: str) -> bool:
    """Whether rounding is far finer than the scatter of one patient's values."""
    column = record.measured[name]
    if column.decimals is None and column.type != "integer":
        return True
    step = 10.0 ** -(column.decimals or 0)
    values = record.visits[name].dropna().to_numpy(dtype=np.float64)
    scatter = within(column) * (values.min() if column.scale == "log" else 1.0)
    return bool(scatter > 8 * step and values.min() > 20 * step)


def frozen_measurement(record: Record, rng: Rng) -> Record | None:
    name = chosen(record, rng, LONG, lambda n: _fine(record, n))
    if name is None:
        return None
    value = float(record.visits[name].iloc[record.rows(name)[0]])
    for row in record.rows(name):
        record.put(name, int(row), value)
    record.about = name
    return record


def nearly_frozen(record: Record, rng: Rng) -> Record | None:
    """It moves, but fifty times less than a patient's values do."""
    name = chosen(record, rng, LONG + 1, lambda n: _fine(record, n))
    if name is None:
        return None
    start = float(record.values(name)[0])
    for row in record.rows(name):
        record.put_scaled(name, int(row), start + within(record.measured[name]) / 50 * rng.normal())
    record.about = name
    return record


def straight_line(record: Record, rng: Rng) -> Record | None:
    name = chosen(record, rng, LONG + 1, lambda n: _fine(record, n))
    if name is None:
        return None
    rows, values = record.rows(name), record.values(name)
    days = record.visits["day"].to_numpy(dtype=np.float64)[rows]
    rise = float(rng.choice([-1, 1])) * 4 * within(record.measured[name])
    for row, day in zip(rows, days, strict=True):
        record.put_scaled(name, int(row), float(np.median(values)) + rise * (day / max(days[-1], 1) - 0.5))
    record.about = name
    return record


def swings(record: Record, rng: Rng) -> Record | None:
    name = chosen(record, rng, LONG + 1)
    if name is None:
        return None
    middle, far = float(np.median(record.values(name))), 5 * within(record.measured[name])
    for i, row in enumerate(record.rows(name)):
        record.put_scaled(name, int(row), middle + far * (1 if i % 2 else -1))
    record.about = name
    return record


def on_the_bound(record: Record, rng: Rng) -> Record | None:
    """Two measurements lie on an end of what is allowed."""
    names = [n for n in record.measured if len(record.rows(n)) >= 4] if "visits" in record.tables else []
    if len(names) < 2:
        return None
    for name in rng.choice(names, size=2, replace=False):
        bounds = record.measured[name].bounds
        assert bounds is not None
        for row in record.rows(str(name)):
            record.visits.loc[record.visits.index[row], name] = float(bounds[int(rng.integers(2))])
    return record


def round_numbers(record: Record, rng: Rng) -> Record | None:
    def fits(name: str) -> bool:
        column = record.measured[name]
        known = column.decimals is not None or column.type == "integer"
        step = 10.0 ** -(column.decimals or 0)
        return known and _fine(record, name) and bool((record.visits[name].dropna() > 25 * step).all())

    name = chosen(record, rng, LONG + 2, fits)
    if name is None:
        return None
    step = 10.0 ** -(record.measured[name].decimals or 0)
    for row in record.rows(name):
        record.put(name, int(row), float(np.round(float(record.visits[name].iloc[row]) / (10 * step)) * 10 * step))
    record.about = name
    return record


def runaway(record: Record, rng: Rng) -> Record | None:
    """A drift of twelve public spreads of change per year, all along a course of which it stays within bounds."""
    name = chosen(record, rng, LONG)
    if name is None:
        return None
    column, rows = record.measured[name], record.rows(name)
    days = record.visits["day"].to_numpy(dtype=np.float64)[rows]
    known = column.knowledge.change_spread if column.knowledge else None
    per_year = 12 * (known or spread(column) / 5)
    values = record.values(name)
    way = _away(record, name, float(values[0]))
    low, high = to_scale(column, np.array(column.bounds, dtype=np.float64))
    reach = per_year * days[-1] / 365.25
    if days[-1] < 500 or not low < values[0] + way * reach < high:
        return None
    for row, value, day in zip(rows, values, days, strict=True):
        record.put_scaled(name, int(row), value + way * reach * day / days[-1])
    record.about = name
    return record


KINDS = (
    Kind("unit slip x10", "severe", "evidence", ("decimal point", "leaps", "swapped"), slip_up),
    Kind("unit slip /10", "severe", "evidence", ("decimal point", "leaps", "swapped"), slip_down),
    Kind("slip by a hundred", "severe", "evidence", ("decimal point", "leaps", "swapped"), slip_hundred),
    Kind("other system of units", "moderate", "evidence", ("decimal point", "leaps"), other_unit),
    Kind("wrong unit throughout", "severe", "evidence", ("unit", "far above", "far below"), record_slip),
    Kind("absurd level throughout", "severe", "evidence", ("far above", "far below", "do not fit"), absurd_level),
    Kind("spike", "moderate", "evidence", ("leaps",), spike),
    Kind("labs swapped at one visit", "severe", "evidence", ("swapped",), swapped_once),
    Kind("labs swapped throughout", "severe", "evidence", ("swapped",), swapped_always),
    Kind("frozen measurement", "moderate", "evidence", ("always", "frozen"), frozen_measurement),
    Kind("nearly frozen measurement", "moderate", "evidence", ("hardly moves",), nearly_frozen),
    Kind("straight line", "moderate", "evidence", ("straight line",), straight_line),
    Kind("swings", "moderate", "evidence", ("swings", "leaps"), swings),
    Kind("values on the bound", "moderate", "evidence", ("limit",), on_the_bound),
    Kind("round numbers", "mild", "evidence", ("round number",), round_numbers),
    Kind("runaway drift", "moderate", "evidence", ("drifts",), runaway),
)
