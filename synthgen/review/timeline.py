"""A patient's course as a drawing: one row a measurement with its reference range, strips for findings, bars for events.

Only numbers and words are worked out here; `pages/timeline.svg` draws them with classes, so that no style stands inline.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary
    from synthgen.review.records import Record, Row

WIDTH, LEFT, RIGHT, TOP = 860.0, 214.0, 20.0, 26.0
ROW, STRIP, BAR, GAP = 56.0, 24.0, 20.0, 6.0
LINE, FITS = 14.0, 27
"""Height of a line of a label, and how many characters fit into it."""


@dataclass(frozen=True)
class Point:
    """One value. `where` says in, above or below the reference range (or `plain`, where there is none)."""

    x: float
    y: float
    where: str
    text: str
    shown: bool


@dataclass(frozen=True)
class Panel:
    """A numeric measurement over time. `band` is the reference range as (y, height)."""

    label: tuple[str, ...]
    unit: str
    reference: str
    y: float
    band: tuple[float, float] | None
    line: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Strip:
    """A finding with categories: (x, level from 0 to 3, its word, whether the word is written)."""

    label: tuple[str, ...]
    y: float
    cells: tuple[tuple[float, int, str, bool], ...]


@dataclass(frozen=True)
class Bar:
    """A coded event from start to stop."""

    label: tuple[str, ...]
    y: float
    x: float
    width: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """The whole drawing; `end` is where and how follow-up ended."""

    width: float
    height: float
    unit: str
    ticks: tuple[tuple[float, str], ...]
    panels: tuple[Panel, ...]
    strips: tuple[Strip, ...]
    bars: tuple[Bar, ...]
    end: tuple[float, str] | None
    left: float = LEFT
    top: float = TOP
    row: float = ROW
    line: float = LINE


def timeline(record: Record, dictionary: Dictionary) -> Timeline | None:
    """The drawing of a patient; None for one without visits and events."""
    visits, events = record.rows("visits"), record.rows("events")
    if not visits and not events:
        return None
    end = _end(record, dictionary)
    days = [row["day"] for row in (*visits, *events)] + [row["stop"] for row in events if row.get("stop") is not None]
    axis = _Axis(max([*days, end[0] if end else 0, 1]))
    y = TOP
    panels: list[Panel] = []
    strips: list[Strip] = []
    for name, column in dictionary.measurements.items():
        values = [(row["day"], row[name]) for row in visits if row.get(name) is not None]
        if not values:
            continue
        if column.numeric:
            panels.append(_panel(column.label or _words(name), column, values, axis, y))
            y += ROW + GAP
    for name, column in dictionary.measurements.items():
        if column.discrete and any(row.get(name) is not None for row in visits):
            strips.append(_strip(column.label or _words(name), column, visits, name, axis, y))
            y += STRIP + GAP + LINE * (len(strips[-1].label) - 1)
    bars = []
    for event in events:
        bars.append(_bar(event, axis, y))
        y += BAR + GAP / 2 + LINE * (len(bars[-1].label) - 1)
    marker = (axis.x(end[0]), end[1]) if end else None
    return Timeline(
        WIDTH, y + 30, axis.unit, tuple(axis.ticks()), tuple(panels), tuple(strips), tuple(bars), marker
    )  # fmt: skip


class _Axis:
    """Days -> x, and round ticks in years, months or days."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self.unit, self._per = (
            ("years", 365.25) if longest > 730 else ("months", 30.4375) if longest > 60 else ("days", 1.0)
        )

    def x(self, day: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * day / self._longest, 1)

    def ticks(self) -> list[tuple[float, str]]:
        most = self._longest / self._per
        step = next(s for s in (1, 2, 3, 6, 12, 24, 60, 120, 600, 10**9) if most / s <= 12)
        return [(self.x(i * step * self._per), f"{i * step}") for i in range(int(most // step) + 1)]


def _panel(label: str, column: Column, values: list[tuple[float, float]], axis: _Axis, y: float) -> Panel:
    scale = math.log if column.scale == "log" else float
    seen = [v for _, v in values] + list(column.reference or ())
    if column.scale == "log":
        seen = [max(v, (column.bounds or (1e-9, 0))[0]) for v in seen]
    low, high = min(map(scale, seen)), max(map(scale, seen))
    spread = (high - low) or 1.0

    def up(value: float) -> float:
        floor = (column.bounds or (1e-9, 0))[0] if column.scale == "log" else value
        return round(y + ROW - 9 - (ROW - 22) * (scale(max(value, floor)) - low) / spread, 1)

    highest = max(range(len(values)), key=lambda i: values[i][1])
    lowest = min(range(len(values)), key=lambda i: values[i][1])
    named = {0, len(values) - 1, highest, lowest} if len(values) > 8 else set(range(len(values)))
    points = tuple(
        Point(axis.x(day), up(value), _where(value, column), f"{value:g}", i in _apart(named, values, axis))
        for i, (day, value) in enumerate(values)
    )
    band = (
        (up(column.reference[1]), round(up(column.reference[0]) - up(column.reference[1]), 1))
        if column.reference
        else None
    )
    reference = f"{column.reference[0]:g} to {column.reference[1]:g}" if column.reference else ""
    line = " ".join(f"{p.x},{p.y}" for p in points)
    return Panel(_lines(label), column.unit or "", reference, y, band, line, points)


def _apart(named: set[int], values: list[tuple[float, float]], axis: _Axis) -> set[int]:
    """Those of the named values whose labels do not run into each other."""
    kept: list[int] = []
    for i in sorted(named):
        if not kept or axis.x(values[i][0]) - axis.x(values[kept[-1]][0]) > 34:
            kept.append(i)
    return set(kept)


def _where(value: float, column: Column) -> str:
    if column.reference is None:
        return "plain"
    low, high = column.reference
    return "above" if value > high else "below" if value < low else "in"


def _strip(label: str, column: Column, visits: list[Row], name: str, axis: _Axis, y: float) -> Strip:
    categories = column.categories or ()
    said = [(axis.x(row["day"]), str(row[name])) for row in visits if row.get(name) is not None]
    nexts = [x for x, _ in said[1:]] + [WIDTH + 6]
    cells = []
    named = ""  # each category is written once a run, at its first cell that leaves room for the word
    for (x, word), following in zip(said, nexts, strict=True):
        fits = following - x > 16 + 6.4 * len(word)
        level = round(3 * categories.index(word) / (len(categories) - 1)) if word in categories else 0
        cells.append((x, level, _words(word), fits and word != named))
        named = word if fits or word == named else ""
    return Strip(_lines(label), y, tuple(cells))


def _bar(event: Row, axis: _Axis, y: float) -> Bar:
    stop = event.get("stop")
    start, length = axis.x(event["day"]), 0.0 if stop is None else axis.x(stop) - axis.x(event["day"])
    code = next((str(event[k]) for k in ("code", "name") if event.get(k) is not None), "event")
    dose = f", {event['dose']:g}" if isinstance(event.get("dose"), int | float) else ""
    until = f" to {stop}" if stop is not None else ""
    return Bar(
        _lines(_words(code)), y, start, round(max(length, 6.0), 1), f"{_words(code)}{dose}, day {event['day']}{until}"
    )


def _end(record: Record, dictionary: Dictionary) -> tuple[float, str] | None:
    outcome = dictionary.outcome
    if outcome is None or record.patient.get(outcome.time) is None:
        return None
    status = record.patient[outcome.status]
    word = "end of follow-up" if status == outcome.censored else _words(str(status))
    return float(record.patient[outcome.time]), word


def _lines(label: str) -> tuple[str, ...]:
    """A label in one or two lines; what does not fit into two is cut, and stands in full in the table below."""
    lines = textwrap.wrap(label, FITS) or [""]
    return (lines[0],) if len(lines) == 1 else (lines[0], lines[1] + ("…" if len(lines) > 2 else ""))


def _words(name: Any) -> str:
    return str(name).replace("_", " ")
