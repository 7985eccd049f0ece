"""Coded events: a dose unlike all others of its drug, one event told over and over, the same event twice on one day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.population import code_column, dose_column
from synthgen.screening.courses import WEIGHT, worst
from synthgen.screening.scales import own_dose
from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import Floats, Ints, View, scaled, unscaled
from synthgen.screening.words import amount, slip

if TYPE_CHECKING:
    from synthgen.screening.usual import Detector


class Dose:
    """A dose far from what others get of the drug, and from what the patient gets at other times."""

    reason = "dose"

    def scores(self, view: View, usual: Usual) -> Scores:
        events, code, dose = view.events, code_column(view.dictionary), dose_column(view.dictionary)
        if events is None or code is None or dose is None or not len(events):
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        values = scaled(_column(view, dose), events[dose].to_numpy(dtype=np.float64, na_value=np.nan))
        words = events[code].astype(object)
        centre, spread, own_spread = (
            words.map({w: known[i] for w, known in usual.doses.items()}).to_numpy(dtype=np.float64) for i in range(3)
        )
        own = own_dose(events, words.to_numpy(), values)
        own_spread = _moderated(events["of"].to_numpy(), words.to_numpy(), values - own, own_spread)
        z = np.fmax(np.abs(values - centre) / spread, np.abs(values - own) / own_spread)
        return Scores(*worst(events["of"].to_numpy(), z, len(view)))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        events, code, dose = view.events, code_column(view.dictionary), dose_column(view.dictionary)
        assert events is not None
        assert code is not None
        assert dose is not None
        row, column = events.iloc[int(place)], _column(view, dose)
        same = (events["of"] == patient) & (events[code] == row[code])
        mine = events.loc[same, dose].dropna()
        own = len(mine) >= 3
        typical = float(mine.median()) if own else unscaled(column, usual.doses[str(row[code])][0])
        text = (
            f"{_plain(row[code])} on day {int(row['day'])} has a dose of {amount(float(row[dose]), column)}, far "
            f"{'above' if row[dose] > typical else 'below'} what {'the patient has at other times' if own else 'others get'} "
            f"(mostly about {amount(typical, column)}){slip(column, float(row[dose]), typical)}."
        )
        return text, {"code": str(row[code]), "day": int(row["day"]), dose: float(row[dose])}


def _moderated(of: Ints, words: Any, away: Any, spread: Any) -> Floats:
    """[events] spread of the same patient's other doses of the drug, moderated by everybody's as in `courses`."""
    squares = pd.Series(away**2)
    groups = squares.groupby([of, words], sort=False, dropna=False)
    others = np.maximum(groups.transform("sum").to_numpy() - away**2, 0.0)
    count = groups.transform("count").to_numpy() - 1.0
    return np.asarray(np.sqrt((WEIGHT * spread**2 + others) / (WEIGHT + count)))


class Repeated:
    """One event told far more often than anybody has it."""

    reason = "repeated event"

    def scores(self, view: View, usual: Usual) -> Scores:
        events, code = view.events, code_column(view.dictionary)
        if events is None or code is None or not len(events):
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        words = events[code].astype(object)
        times = events.groupby([events["of"], words], sort=False)["day"].transform("size").to_numpy(dtype=np.float64)
        mean = words.map({w: m for w, (m, _) in usual.repeats.items()}).to_numpy(dtype=np.float64)
        spread = words.map({w: s for w, (_, s) in usual.repeats.items()}).to_numpy(dtype=np.float64)
        return Scores(*worst(events["of"].to_numpy(), (times - mean) / spread, len(view)))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        events, code = view.events, code_column(view.dictionary)
        assert events is not None
        assert code is not None
        word = str(events.iloc[int(place)][code])
        times = int(((events["of"] == patient) & (events[code].astype(object) == word)).sum())
        text = (
            f"{_plain(word)} is recorded {times} times in one patient; those who have it have it about "
            f"{usual.repeats[word][0]:.0f} times. It looks repeated by mistake."
        )
        return text, {"code": word, "times": times}


class Twice:
    """The same event twice on one day, with the same dose."""

    reason = "event twice"

    def scores(self, view: View, usual: Usual) -> Scores:
        events, code = view.events, code_column(view.dictionary)
        if events is None or code is None or not len(events):
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        keys = [n for n in events if n != "patient_id"]
        score = np.where(events.duplicated(keys), 1.0, np.nan)
        return Scores(*worst(events["of"].to_numpy(), score, len(view)))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        events, code = view.events, code_column(view.dictionary)
        assert events is not None
        assert code is not None
        row = events.iloc[int(place)]
        text = f"{_plain(row[code])} is recorded twice on day {int(row['day'])}, the same in every detail: one event, told twice."
        return text, {"code": str(row[code]), "day": int(row["day"])}


def _column(view: View, name: str) -> Any:
    return view.dictionary.tables["events"].columns[name]


def _plain(word: Any) -> str:
    return str(word).replace("_", " ")


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Dose(), Repeated(), Twice())
