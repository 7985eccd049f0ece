"""A decimal point or a unit that slipped at one visit: the value itself hardly fits the patient's others, divided by ten it does.

Two hypotheses about each recorded value, x on the column's scale, and for each factor f of a slip:

1. The patient's other values say what to expect. They are weighed by how far a patient drifts in the time between, and the
   cohort's own level stands beside them as one more value with the spread between patients (a normal prior): a patient with
   two values is judged mostly as one of the cohort and a patient with ten mostly as themself.
2. log L(no slip) and log L(slip by f) are Student's, of `FREEDOM` degrees: a patient who is wild at one visit is no slip for it.
3. The digits speak too: a value that was multiplied by ten ends in a nought. How often values of this column do so anyhow is
   counted in the cohort; where doses are always round, a nought says nothing.

The score is the best log L(slip by f) - log L(no slip), of slips after which the value is as usual as most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.population import code_column, dose_column
from synthgen.screening.courses import WEIGHT, moderated, neighbour, over_columns, worst
from synthgen.screening.scales import noughts
from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import Course, Floats, Ints, View, scaled, unscaled
from synthgen.screening.words import CONVERSIONS, SLIPS, amount, label

if TYPE_CHECKING:
    from synthgen.dictionary import Column
    from synthgen.screening.usual import Detector

FREEDOM = 5.0
REACH = 4
"""Values on either side that an expectation is taken from."""
FITS = 2.5
"""Spreads from the expectation within which a value must lie once the slip is taken back."""


class Slip:
    """One measurement's value is off by a power of ten, or by the other system of units."""

    reason = "slip"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            expected, spread = self._expected(view, usual, name, course)
            score, _ = _against(view.columns[name], course.values, expected, spread, usual.noughts.get(name))
            found[name] = worst(course.of, score, len(view))
        return over_columns(view, found)

    def _expected(self, view: View, usual: Usual, name: str, course: Course) -> tuple[Floats, Floats]:
        """[recorded] (what the patient's other values say, its spread)."""
        up, down = course.steps, -neighbour(course, course.steps, -1)
        spent, used = np.nan_to_num(up) ** 2 + np.nan_to_num(down) ** 2, (~np.isnan(up)) * 1.0 + ~np.isnan(down)
        within = moderated(course, len(view), usual.step[name], spent, used) / np.sqrt(2)
        centre, between = usual.level[name]
        drift = max(abs(usual.slope[name][0]), usual.slope[name][1])
        weight = 1 / (between**2 + within**2)
        total, weights = weight * centre, weight.copy()
        for k in (*range(1, REACH + 1), *range(-REACH, 0)):
            value, years = neighbour(course, course.values, k), neighbour(course, course.years, k)
            mine = 1 / (within**2 + (drift * (course.years - years)) ** 2)
            known = ~np.isnan(value)
            total += np.where(known, mine * value, 0.0)
            weights += np.where(known, mine, 0.0)
        return total / weights, np.sqrt(within**2 + 1 / weights)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(view.courses)[int(place[0])]
        column, course, at = view.columns[name], view.courses[name], int(place[1])
        expected, spread = self._expected(view, usual, name, course)
        one = slice(at, at + 1)
        _, factor = _against(column, course.values[one], expected[one], spread[one], usual.noughts.get(name))
        value, day = unscaled(column, course.values[at]), int(view.day[course.row[at]])
        text = (
            f"{label(name, column)} is {amount(value, column)} on day {day}, where the other visits let one expect about "
            f"{amount(unscaled(column, expected[at]), column)}: {_said(column, value, float(factor[0]))}."
        )
        return text, {"column": name, "day": day, name: value, "would_fit": float(f"{value / factor[0]:.4g}")}


class DoseSlip:
    """One dose is off by a power of ten."""

    reason = "dose slip"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = self._judged(view, usual)
        if found is None:
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        of, score, _, _ = found
        return Scores(*worst(of, score, len(view)))

    def _judged(self, view: View, usual: Usual) -> tuple[Ints, Floats, Floats, Floats] | None:
        """[events] patient, score, factor and expected dose on its scale."""
        events, code, dose = view.events, code_column(view.dictionary), dose_column(view.dictionary)
        if events is None or code is None or dose is None or not len(events):
            return None
        column = view.dictionary.tables["events"].columns[dose]
        values = scaled(column, events[dose].to_numpy(dtype=np.float64, na_value=np.nan))
        words = events[code].astype(object)
        centre, between, within = (
            words.map({w: known[i] for w, known in usual.doses.items()}).to_numpy(dtype=np.float64) for i in range(3)
        )
        groups = pd.Series(values).groupby([events["of"].to_numpy(), words.to_numpy()], sort=False, dropna=False)
        count, total = groups.transform("count").to_numpy(), groups.transform("sum").to_numpy()
        squares = pd.Series(values**2).groupby([events["of"].to_numpy(), words.to_numpy()], sort=False, dropna=False)
        others = np.maximum(count - 1.0, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (total - values) / others
            scatter = np.maximum(squares.transform("sum").to_numpy() - values**2 - others * mean**2, 0.0)
        scatter, mean = np.where(others > 0, scatter, 0.0), np.where(others > 0, mean, 0.0)
        within = np.sqrt((WEIGHT * within**2 + scatter) / (WEIGHT + np.maximum(others - 1, 0)))
        prior, mine = 1 / between**2, others / within**2
        expected = (prior * centre + mine * mean) / (prior + mine)
        spread = np.sqrt(within**2 + 1 / (prior + mine))
        score, factor = _against(column, values, expected, spread, usual.noughts.get(dose))
        return events["of"].to_numpy(), score, factor, expected

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        found, events = self._judged(view, usual), view.events
        code, dose = code_column(view.dictionary), dose_column(view.dictionary)
        assert found is not None
        assert events is not None
        assert code is not None
        assert dose is not None
        row, column = events.iloc[int(place)], view.dictionary.tables["events"].columns[dose]
        factor, expected = float(found[2][int(place)]), unscaled(column, float(found[3][int(place)]))
        value, word = float(row[dose]), str(row[code])
        text = (
            f"{word.replace('_', ' ')} on day {int(row['day'])} has a dose of {amount(value, column)}, where about "
            f"{amount(expected, column)} is expected: {_said(column, value, factor)}."
        )
        return text, {"code": word, "day": int(row["day"]), dose: value, "would_fit": float(f"{value / factor:.4g}")}


def _against(
    column: Column, values: Floats, expected: Floats, spread: Floats, usual_noughts: tuple[float, ...] | None
) -> tuple[Floats, Floats]:
    """[recorded] (best log likelihood ratio of a slip, -inf where none fits; its factor)."""
    raw = np.exp(values) if column.scale == "log" else values
    ends = noughts(column, raw)
    away = (values - expected) / spread
    best, factor = np.full(len(values), -np.inf), np.ones(len(values))
    for slip in _factors(column):
        for times in (slip, 1 / slip):
            back = (scaled(column, raw / times) - expected) / spread
            with np.errstate(invalid="ignore"):
                gain = (FREEDOM + 1) / 2 * (np.log1p(away**2 / FREEDOM) - np.log1p(back**2 / FREEDOM))
                fits = (np.abs(back) <= FITS) & _possible(column, raw / times)
            if usual_noughts is not None and times in SLIPS:
                places = SLIPS.index(times)
                gain = gain + np.where(ends > places, -np.log(usual_noughts[places]), 0.0)
            better = fits & (gain > best)
            best, factor = np.where(better, gain, best), np.where(better, times, factor)
    return best, factor


def _factors(column: Column) -> tuple[float, ...]:
    return (*SLIPS, *([CONVERSIONS[column.code]] if column.code in CONVERSIONS else []))


def _possible(column: Column, values: Floats) -> Any:
    assert column.bounds is not None
    return (values >= column.bounds[0]) & (values <= column.bounds[1])


def _said(column: Column, value: float, factor: float) -> str:
    times = f"{max(factor, 1 / factor):.4g}"
    way = f"{times} times too high" if factor > 1 else f"{times} times too low"
    return f"it looks {way}, as a slip of the decimal point or of the unit makes it ({amount(value / factor, column)} would fit)"


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Slip(), DoseSlip())
