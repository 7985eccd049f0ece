"""How a measurement moves as a whole: swings, a curve too calm, a drift too fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.screening.courses import following, over_columns, squares
from synthgen.screening.scales import moments, resolution, slopes
from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import View, unscaled
from synthgen.screening.words import amount, label

if TYPE_CHECKING:
    from synthgen.screening.usual import Detector


class Swings:
    """A course that goes up and down at every visit."""

    reason = "swings"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            step, after = course.steps, following(course, course.steps)
            with np.errstate(invalid="ignore"):
                turns = np.where(np.sign(step) == -np.sign(after), np.minimum(np.abs(step), np.abs(after)), 0.0)
            inner = ~np.isnan(step) & ~np.isnan(after)
            total = np.bincount(course.of[inner], turns[inner], len(view))
            count = np.bincount(course.of[inner], minlength=len(view))
            score = np.where(count >= 2, total / usual.step[name] / np.sqrt(np.maximum(count, 1)), -np.inf)
            found[name] = score, np.where(count >= 2, 0, -1)
        return over_columns(view, found)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(view.courses)[place[0]]
        column, course = view.columns[name], view.courses[name]
        mine = [unscaled(column, v) for v in course.values[course.of == patient]]
        times = np.median(np.abs(course.steps[(course.of == patient) & ~np.isnan(course.steps)])) / usual.step[name]
        said = ", ".join(amount(v, column) for v in mine[:6])
        text = (
            f"{label(name, column)} swings up and down from visit to visit ({said}{', ...' if len(mine) > 6 else ''}), "
            f"{times:.1f} times as widely as is usual: it is no course that a patient takes."
        )
        return text, {"column": name, name: mine}


class Calm:
    """A course that hardly moves."""

    reason = "calm"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            total, count = squares(course, len(view))
            spread = np.sqrt(total / np.maximum(count, 1))
            told = (count >= 4) & (spread > 0) & (usual.step[name] >= 3 * resolution(view, name))
            with np.errstate(divide="ignore", invalid="ignore"):
                score = np.where(told, -np.log(spread / usual.step[name]) * np.sqrt(count), -np.inf)
            found[name] = score, np.where(told, 0, -1)
        return over_columns(view, found)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(view.courses)[place[0]]
        column, course = view.columns[name], view.courses[name]
        mine = course.values[course.of == patient]
        low, high = (unscaled(column, v) for v in (mine.min(), mine.max()))
        spread = float(np.sqrt(np.nanmean(course.steps[course.of == patient] ** 2)))
        text = (
            f"{label(name, column)} hardly moves over {len(mine)} visits ({amount(low, column)} to {amount(high, column)}): it "
            f"scatters {usual.step[name] / spread:.0f} times less than is usual, and looks frozen. Repeated measurements scatter."
        )
        return text, {"column": name, "low": low, "high": high}


class Drift:
    """A change per year that no course of this disease has."""

    reason = "drift"

    def scores(self, view: View, usual: Usual) -> Scores:
        found = {}
        for name, course in view.courses.items():
            centre, spread = usual.slope[name]
            error = usual.step[name] / np.sqrt(2 * np.maximum(moments(view, course), 1e-9))
            score = np.abs(slopes(view, course) - centre) / np.hypot(spread, error)
            found[name] = np.where(np.isnan(score), -np.inf, score), np.where(np.isnan(score), -1, 0)
        return over_columns(view, found)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(view.courses)[place[0]]
        column, course = view.columns[name], view.courses[name]
        rows = np.flatnonzero(course.of == patient)
        first, last = (unscaled(column, course.values[rows[i]]) for i in (0, -1))
        years = float(course.years[rows[-1]] - course.years[rows[0]])
        text = (
            f"{label(name, column)} drifts from {amount(first, column)} to {amount(last, column)} within {years:.1f} years: "
            "faster than the course of this disease."
        )
        return text, {"column": name, "first": first, "last": last, "years": round(years, 2)}


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Swings(), Calm(), Drift())
