"""Breaks in a course: a value that leaps out, a level that breaks, another patient's second half.

Changes are judged against the cohort's own spread of changes, moderated by the patient's other changes as by `WEIGHT`
observations (Smyth 2004, Stat Appl Genet Mol Biol 3:3): who always scatters widely may scatter widely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import DAYS_PER_YEAR, Course, Floats, Ints, View, unscaled
from synthgen.screening.words import amount, label, listed, slip

if TYPE_CHECKING:
    from synthgen.screening.usual import Detector

WEIGHT = 4.0
FEWEST = 4
"""Values below which nobody can tell a leap from a patient who scatters widely."""
CAP = 6.0
"""Spreads beyond which one measurement says no more about a break in all of them."""


def worst(of: Ints, score: Floats, patients: int) -> tuple[Floats, Ints]:
    """([patients] highest score, [patients] its position, -1 where there is none)."""
    known = np.flatnonzero(np.isfinite(score))
    order = known[np.argsort(score[known], kind="stable")]
    place = np.full(patients, -1, dtype=np.int64)
    place[of[order]] = order
    best: Floats = np.full(patients, -np.inf)
    best[place >= 0] = score[place[place >= 0]]
    return best, place


def over_columns(view: View, found: dict[str, tuple[Floats, Ints]]) -> Scores:
    """The worst of all columns; a place is (column's number, position)."""
    if not found:
        return Scores(np.full(len(view), -np.inf), np.full((len(view), 2), -1))
    values = np.stack([value for value, _ in found.values()])  # [columns, patients]
    places = np.stack([place for _, place in found.values()])
    column = values.argmax(axis=0)
    rows = np.arange(len(view))
    return Scores(values[column, rows], np.stack([column, places[column, rows]], axis=1))


def squares(course: Course, patients: int) -> tuple[Floats, Floats]:
    """([patients] sum of squared changes, [patients] how many)."""
    known = ~np.isnan(course.steps)
    squares: Floats = np.bincount(course.of[known], course.steps[known] ** 2, patients).astype(np.float64)
    return squares, np.bincount(course.of[known], minlength=patients).astype(np.float64)


def moderated(course: Course, patients: int, step: float, spent: Floats, used: Floats) -> Floats:
    """[recorded] spread of the patient's changes, those `used` (with the sum of squares `spent`) left out."""
    total, count = squares(course, patients)
    rest = np.maximum(total[course.of] - spent, 0.0)
    freedom = np.maximum(count[course.of] - used, 0.0)
    return np.asarray(np.sqrt((WEIGHT * step**2 + rest) / (WEIGHT + freedom)))


def neighbour(course: Course, values: Floats, back: int) -> Floats:
    """[recorded] the same patient's value so many places before (after, if negative); NaN where there is none."""
    place = np.arange(len(course.of)) - back
    inside = np.clip(place, 0, max(len(course.of) - 1, 0))
    same = (place == inside) & (course.of[inside] == course.of) if len(place) else np.empty(0, dtype=np.bool_)
    return np.where(same, values[inside], np.nan)


def following(course: Course, values: Floats) -> Floats:
    """[recorded] the same patient's next one, NaN at the last."""
    return neighbour(course, values, -1)


class Spike:
    """One value that its neighbours on both sides contradict."""

    reason = "spike"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            up, down = course.steps, -following(course, course.steps)
            with np.errstate(invalid="ignore"):
                same = np.sign(up) == np.sign(down)
                away = np.where(same, np.minimum(np.abs(up), np.abs(down)), np.nan)
            scale = moderated(course, len(view), usual.step[name], up**2 + down**2, np.full(len(up), 2.0))
            found[name] = worst(course.of, away / scale, len(view))
        return over_columns(view, found)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name, course, at = _at(view, place)
        column = view.columns[name]
        before, value, after = (unscaled(column, course.values[i]) for i in (at - 1, at, at + 1))
        day = int(view.day[course.row[at]])
        expected = unscaled(column, (course.values[at - 1] + course.values[at + 1]) / 2)
        text = (
            f"{label(name, column)} is {amount(value, column)} on day {day}, between {amount(before, column)} at the visit "
            f"before and {amount(after, column)} at the one after{slip(column, value, expected)}. One value leaps out and back."
        )
        return text, {"column": name, "day": day, name: value, "before": before, "after": after}


class Leap:
    """A level that breaks from one visit to the next and stays there, or a first or last value out of line."""

    reason = "leap"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            step = course.steps
            later = step + np.nan_to_num(following(course, step))
            earlier = step + np.nan_to_num(neighbour(course, step, 1))
            with np.errstate(invalid="ignore"):
                same = (np.sign(step) == np.sign(later)) & (np.sign(step) == np.sign(earlier))
                away = np.where(same, np.minimum(np.abs(step), np.minimum(np.abs(later), np.abs(earlier))), np.nan)
            scale = moderated(course, len(view), usual.step[name], step**2, np.ones(len(step)))
            gap = course.years - np.nan_to_num(neighbour(course, course.years, 1))
            away = away / np.hypot(scale, usual.slope[name][1] * gap)
            away[view.counts(course.of)[course.of] < FEWEST] = np.nan
            found[name] = worst(course.of, away, len(view))
        return over_columns(view, found)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name, course, at = _at(view, place)
        column = view.columns[name]
        before, value = (unscaled(column, course.values[i]) for i in (at - 1, at))
        day, gap = int(view.day[course.row[at]]), int(view.day[course.row[at]] - view.day[course.row[at - 1]])
        rest = course.of == patient
        rest[at] = False
        odd, expected = value, unscaled(column, float(np.median(course.values[rest])))
        if bool(course.starts[at - 1]) and rest.sum() > 1:  # the first value may be the odd one
            rest[at - 1] = False
            others = float(np.median(course.values[rest]))
            if abs(course.values[at - 1] - others) > abs(course.values[at] - others):
                odd, expected = before, unscaled(column, others)
        text = (
            f"{label(name, column)} leaps from {amount(before, column)} to {amount(value, column)} within {gap} days (day {day})"
            f"{slip(column, odd, expected)}. So large a change from one visit to the next does not happen to a patient."
        )
        return text, {"column": name, "day": day, name: value, "before": before}


class Break:
    """All measurements change their level at one visit: the record goes on as another patient."""

    reason = "break"
    REACH = 2
    """Values on either side that a level is taken from: more would see more of the drift of years."""

    def scores(self, view: View, usual: Usual) -> Scores:
        if view.visits is None or not view.courses:
            return Scores(np.full(len(view), -np.inf), np.full((len(view), 2), -1))
        total, count = np.zeros(len(view.visits)), np.zeros(len(view.visits))
        for name, course in view.courses.items():
            shift = np.minimum(self._shifts(course, usual, name) ** 2, CAP**2)
            known = ~np.isnan(shift)
            np.add.at(total, course.row[known], shift[known])
            np.add.at(count, course.row[known], 1)
        told = (count >= 2) & (view.of >= 0)
        score = np.where(told, (total - count) / np.sqrt(2 * np.maximum(count, 1)), np.nan)
        value, place = worst(view.of, score, len(view))
        return Scores(value, np.stack([place, place], axis=1))

    def _shifts(self, course: Course, usual: Usual, name: str) -> Floats:
        """[recorded] mean of up to REACH values from here on less that of those before, in spreads of such a difference (the
        scatter of means, and the usual drift over the time between them)."""
        before, after = np.zeros((2, len(course.of))), np.zeros((2, len(course.of)))
        n_before, n_after = np.zeros(len(course.of)), np.zeros(len(course.of))
        for k in range(self.REACH):
            for back, sums, counts in ((k + 1, before, n_before), (-k, after, n_after)):
                both = np.stack([neighbour(course, course.values, back), neighbour(course, course.years, back)])
                sums += np.nan_to_num(both)
                counts += ~np.isnan(both[0])
        centre, spread = usual.slope[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved, gap = after / n_after - before / n_before
            error = usual.step[name] * np.sqrt((1 / n_after + 1 / n_before) / 2)
            return np.asarray((moved - centre * gap) / np.hypot(error, spread * gap))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        row = int(place[0])
        day = int(view.day[row])
        moved: dict[str, tuple[float, str]] = {}
        for name, course in view.courses.items():
            at = np.flatnonzero((course.row == row) & (course.of == patient))
            if len(at) and not np.isnan(shift := self._shifts(course, usual, name)[at[0]]):
                moved[name] = abs(shift), f"{label(name, view.columns[name])} {'up' if shift > 0 else 'down'}"
        said = [text for _, text in sorted(moved.values(), reverse=True) if _ > 1.5]
        text = (
            f"From day {day} on the record reads like another patient's: {listed(said)}, all at the same visit. Perhaps two "
            "patients stand under one id."
        )
        return text, {"day": day, "columns": [n for n, (z, _) in moved.items() if z > 1.5]}


def _at(view: View, place: Any) -> tuple[str, Course, int]:
    name = list(view.courses)[int(place[0])]
    return name, view.courses[name], int(place[1])


def years_of(days: float) -> str:
    """A span as it is said."""
    return f"{days / DAYS_PER_YEAR:.1f} years" if days > 500 else f"{int(days)} days"


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Spike(), Leap(), Break())
