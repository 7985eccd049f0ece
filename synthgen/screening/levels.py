"""Levels: a patient unlike all others in one number, numbers that do not go together, and two measurements swapped."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.screening.courses import worst
from synthgen.screening.scales import standard
from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import Floats, View, scaled, unscaled
from synthgen.screening.words import amount, label, slip

if TYPE_CHECKING:
    from synthgen.dictionary import Column
    from synthgen.screening.usual import Detector

CAP = 50.0
"""Squared spreads beyond which a value is simply impossible in its column."""


class Level:
    """One of the patient's numbers (an age, the median of a measurement) lies far from everybody's."""

    reason = "level"

    def scores(self, view: View, usual: Usual) -> Scores:
        z = np.nan_to_num(np.abs(standard(view.levels, usual.level)), nan=-np.inf)
        if not z.size:
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        return Scores(z.max(axis=1), z.argmax(axis=1))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(usual.level)[int(place)]
        column, centre = _column(view, name), usual.level[name][0]
        value = view.levels[name][patient]
        own, typical = unscaled(column, value), unscaled(column, centre)
        what = "is" if name in view.dictionary.static else "is, at most visits,"
        text = (
            f"{label(name, column)} {what} {amount(own, column)}, far {'above' if value > centre else 'below'} what patients of "
            f"this disease have (mostly about {amount(typical, column)}){slip(column, own, typical)}."
        )
        return text, {"column": name, name: own, "typical": typical}


class Combination:
    """A number that the patient's other numbers contradict (conditional residual of a Gaussian)."""

    reason = "combination"

    def scores(self, view: View, usual: Usual) -> Scores:
        residual = self._residuals(view, usual)
        if not residual.size or residual.shape[1] < 2:
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        away = np.nan_to_num(np.abs(residual), nan=-np.inf)
        return Scores(away.max(axis=1), away.argmax(axis=1))

    def _residuals(self, view: View, usual: Usual) -> Floats:
        """[patients, columns] (P z)_j / sqrt(P_jj); a missing number stands at its expectation without the others."""
        z = np.clip(standard(view.levels, usual.level), -6, 6)
        if not z.size:
            return z
        return np.where(np.isnan(z), np.nan, np.nan_to_num(z) @ usual.precision / np.sqrt(np.diag(usual.precision)))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        names, j = list(usual.level), int(place)
        z = np.nan_to_num(np.clip(standard({n: v[[patient]] for n, v in view.levels.items()}, usual.level), -6, 6))[0]
        pull = usual.precision[j] * z * np.sign((usual.precision @ z)[j])
        pull[j] = -np.inf
        against = [k for k in np.argsort(-pull)[:2] if pull[k] > 0]
        said = [self._said(view, usual, names[k], patient) for k in (j, *against)]
        evidence = {names[k]: unscaled(_column(view, names[k]), view.levels[names[k]][patient]) for k in (j, *against)}
        with_what = f" beside {' and '.join(said[1:])}" if against else ""
        return f"{said[0]}{with_what}: the values do not fit each other in one patient.", {
            "column": names[j],
            **evidence,
        }

    def _said(self, view: View, usual: Usual, name: str, patient: int) -> str:
        column, value = _column(view, name), view.levels[name][patient]
        z = (value - usual.level[name][0]) / usual.level[name][1]
        words = ("very low", "low", "usual", "high", "very high")
        return (
            f"{label(name, column)} {words[int(np.digitize(z, [-2, -0.7, 0.7, 2]))]} "
            f"({amount(unscaled(column, value), column)})"
        )


class Swapped:
    """Two measurements that would fit better in each other's place: at one visit, or at all (log likelihood ratio)."""

    reason = "swapped"

    def scores(self, view: View, usual: Usual) -> Scores:
        """A place is (first column, second column, row of visits or -1 for all)."""
        best, place = np.full(len(view), -np.inf), np.full((len(view), 3), -1)
        names = list(view.raw)
        own = {n: view.raw_levels[n] for n in names}
        for a, b in combinations(range(len(names)), 2):
            pair = names[a], names[b]
            whole = self._gain(view, pair, own[pair[0]], own[pair[1]], *(usual.level[n] for n in pair))
            _keep(best, place, np.where(np.isnan(whole), -np.inf, whole), np.array([a, b, -1]))
            if view.visits is None or not len(view.of):
                continue
            single = self._at_visits(view, usual, pair)
            score, row = worst(view.of, single, len(view))
            here = np.stack([np.full(len(row), a), np.full(len(row), b), row], axis=1)
            _keep(best, place, score, here)
        return Scores(best, place)

    def _at_visits(self, view: View, usual: Usual, pair: tuple[str, str]) -> Floats:
        """[visits] gain of a swap at one visit, of patients with three values or more of both."""
        of = np.maximum(view.of, 0)
        places = [(view.raw_levels[n][of], usual.step[n]) for n in pair]
        enough = [np.bincount(of, ~np.isnan(view.raw[n]), len(view))[of] >= 3 for n in pair]
        gain = self._gain(view, pair, view.raw[pair[0]], view.raw[pair[1]], *places)
        return np.where(enough[0] & enough[1] & (view.of >= 0), gain, np.nan)

    def _gain(self, view: View, pair: tuple[str, str], first: Floats, second: Floats, *places: Any) -> Floats:
        """Half the squared distance that swapping saves; each distance is capped, and a swap must fit both."""
        columns = [view.columns[n] for n in pair]
        swapped = _as(columns[1], columns[0], second), _as(columns[0], columns[1], first)
        now, then = np.zeros(len(first)), np.zeros(len(first))
        worst_then = np.zeros(len(first))
        for value, other, (centre, spread) in zip((first, second), swapped, places, strict=True):
            now += np.minimum(((value - centre) / spread) ** 2, CAP)
            away = np.nan_to_num(((other - centre) / spread) ** 2, nan=CAP)
            then += np.minimum(away, CAP)
            worst_then = np.maximum(worst_then, away)
        return np.where(worst_then <= 9.0, (now - then) / 2, np.nan)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        a, b, row = (int(p) for p in place)
        names = list(view.raw)
        pair = names[a], names[b]
        columns = [view.columns[n] for n in pair]
        found = [view.raw_levels[n][patient] if row < 0 else view.raw[n][row] for n in pair]
        values = [unscaled(c, v) for c, v in zip(columns, found, strict=True)]
        said = [f"{label(n, c)} {amount(v, c)}" for n, c, v in zip(pair, columns, values, strict=True)]
        when = "At all visits" if row < 0 else f"On day {int(view.day[row])}"
        text = f"{when} {said[0]} and {said[1]} look swapped: each would fit in the other's place."
        evidence = {"columns": list(pair), pair[0]: values[0], pair[1]: values[1]}
        return text, evidence if row < 0 else evidence | {"day": int(view.day[row])}


def _keep(best: Floats, place: Any, score: Floats, here: Any) -> None:
    better = score > best
    best[better] = score[better]
    place[better] = here[better] if here.ndim == 2 else here


def _as(source: Column, target: Column, values: Floats) -> Floats:
    """Values on one column's scale -> the same numbers on another's."""
    return scaled(target, np.exp(values) if source.scale == "log" else values)


def _column(view: View, name: str) -> Column:
    return view.columns.get(name) or view.dictionary.static[name]


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Level(), Combination(), Swapped())
