"""What a living patient's measurements never do: lie on one line, end in the same digit, repeat a whole visit, stand still.

No scale and no chance is needed here: each is a matter of counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.flags import Flag
from synthgen.screening.scales import resolution
from synthgen.screening.view import Course, Floats, View, unscaled
from synthgen.screening.words import amount, label, listed

if TYPE_CHECKING:
    from synthgen.dictionary import Column
    from synthgen.screening.usual import Usual

SHORTEST = 5
"""Fewest recorded values at which a straight line is odd."""
LONGEST_BY_CHANCE = 6
"""Fewest values whose last digits are all 0: a chance of one in a million."""
FEWEST_REPEATED = 4
"""Fewest measurements that a repeated visit must repeat."""


def straight_lines(view: View, usual: Usual) -> list[Flag]:
    """Courses that change and lie on one line, closer than rounding and scatter allow."""
    found: dict[int, list[str]] = {}
    for name, course in view.courses.items():
        column = view.columns[name]
        if usual.step[name] < 5 * resolution(view, name) or not len(course.values):
            continue
        for values in (course.values, np.exp(course.values)) if column.scale == "log" else (course.values,):
            for patient in np.flatnonzero(_on_a_line(view, course, values, column, usual.step[name])):
                found.setdefault(int(patient), []).append(name)
    return [_straight(view, patient, list(dict.fromkeys(names))) for patient, names in found.items()]


def _on_a_line(view: View, course: Course, values: Floats, column: Column, step: float) -> Any:
    """[patients] whether no value lies further from the line than rounding, or a fiftieth of the usual change."""
    n = len(view)
    count = np.maximum(view.counts(course.of), 1)
    t = course.years - (np.bincount(course.of, course.years, n) / count)[course.of]
    v = values - (np.bincount(course.of, values, n) / count)[course.of]
    moment = np.bincount(course.of, t * t, n)
    slope = np.bincount(course.of, t * v, n) / np.where(moment > 0, moment, 1.0)
    away = np.abs(v - slope[course.of] * t)
    decimals = 0 if column.type == "integer" else column.decimals
    rounding = np.full(len(v), 0.0 if decimals is None else 0.6 * 10.0**-decimals)
    scatter = np.full(len(v), 0.02 * step)
    if column.scale == "log" and values is course.values:
        rounding /= np.exp(course.values)
    elif column.scale == "log":
        scatter *= values
    allowed = np.maximum(rounding, scatter)
    within = away <= allowed
    moved, wide = np.zeros(n), np.zeros(n)
    np.maximum.at(moved, course.of, np.abs(v))
    np.maximum.at(wide, course.of, allowed)
    fine = step * (values if column.scale == "log" and values is not course.values else 1.0) >= 8 * rounding
    told = (count >= SHORTEST) & (np.bincount(course.of, ~fine, n) == 0)
    return told & (np.bincount(course.of, ~within, n) == 0) & (moved > 4 * wide)


def _straight(view: View, patient: int, names: list[str]) -> Flag:
    said = listed([label(n, view.columns[n]) for n in names])
    visits = int((view.courses[names[0]].of == patient).sum())
    text = f"{said} changes along a straight line over {visits} visits, without any scatter: drawn, not measured."
    return Flag(str(view.ids[patient]), "straight line", "moderate", text, False, {"columns": names}, 0.9)


def round_numbers(view: View, usual: Usual) -> list[Flag]:
    """Courses whose values are all multiples of ten steps of their column's rounding."""
    found: dict[int, list[str]] = {}
    for name, course in view.courses.items():
        column = view.columns[name]
        decimals = 0 if column.type == "integer" else column.decimals
        if decimals is None or not len(course.values) or usual.step[name] < 5 * resolution(view, name):
            continue
        natural = np.exp(course.values) if column.scale == "log" else course.values
        steps = np.round(natural * 10.0**decimals)
        ends_in_zero = steps % 10 == 0
        count, zeros = view.counts(course.of), np.bincount(course.of, ends_in_zero, len(view))
        median = np.bincount(course.of, steps, len(view)) / np.maximum(count, 1)
        for patient in np.flatnonzero((count >= LONGEST_BY_CHANCE) & (zeros == count) & (median >= 20)):
            found.setdefault(int(patient), []).append(name)
    return [_round(view, patient, names) for patient, names in found.items()]


def _round(view: View, patient: int, names: list[str]) -> Flag:
    course, column = view.courses[names[0]], view.columns[names[0]]
    values = [amount(unscaled(column, v), column) for v in course.values[course.of == patient]]
    said = listed([label(n, view.columns[n]) for n in names])
    text = f"Every value of {said} is a round number ({listed(values)}): estimated or rounded, not measured."
    return Flag(str(view.ids[patient]), "round numbers", "mild", text, False, {"columns": names}, 0.9)


def repeated_visits(view: View) -> list[Flag]:
    """Visits that repeat the one before in every measurement that has many possible values."""
    fine = [n for n in view.columns if resolution(view, n) == 0 or _many(view, n)]
    if view.visits is None or not len(view.visits) or len(fine) < FEWEST_REPEATED:
        return []
    values = np.stack([view.values[n] for n in fine], axis=1)  # [visits, columns]
    same_patient = (view.of[1:] == view.of[:-1]) & (view.of[1:] >= 0)
    both = ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
    equal = (values[1:] == values[:-1]) | ~both
    again = np.append(False, same_patient & equal.all(axis=1) & (both.sum(axis=1) >= FEWEST_REPEATED))
    flags = []
    for patient in np.unique(view.of[again]):
        days = [int(d) for d in view.day[again & (view.of == patient)]]
        text = (
            f"All measurements of day {listed([str(d) for d in days])} repeat those of the visit before: copied forward, not "
            "measured again. The record stands still."
        )
        flags.append(
            Flag(str(view.ids[patient]), "repeated visit", "moderate", text, False, {"days": days}, 1 - 0.5 / len(days))
        )
    return flags


def _many(view: View, name: str) -> bool:
    """Whether a column can take a hundred values."""
    column = view.columns[name]
    assert column.bounds is not None
    decimals = 0 if column.type == "integer" else (column.decimals or 0)
    return bool((column.bounds[1] - column.bounds[0]) * 10.0**decimals >= 100)
