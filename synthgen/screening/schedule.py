"""When a patient is seen, what is never recorded, and signs that come and go."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.screening.courses import years_of
from synthgen.screening.scales import visit_rate
from synthgen.screening.usual import Scores, Usual
from synthgen.screening.view import Floats, View
from synthgen.screening.words import label, listed

if TYPE_CHECKING:
    from synthgen.screening.usual import Detector


class Crowded:
    """Far more visits in the time than anybody's schedule has."""

    reason = "crowded visits"

    def scores(self, view: View, usual: Usual) -> Scores:
        centre, spread = usual.visits
        score = (visit_rate(view) - centre) / spread
        return Scores(np.where(np.isnan(score), -np.inf, score), np.zeros(len(view), dtype=np.int64))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        days = view.day[view.of == patient]
        text = (
            f"{len(days)} visits within {years_of(float(np.nanmax(days)))}: nobody is seen so often. The days of the visits look "
            "crowded together."
        )
        return text, {"visits": len(days), "days": float(np.nanmax(days))}


class NeverRecorded:
    """Measurements that others have and this patient never has."""

    reason = "never recorded"

    def scores(self, view: View, usual: Usual) -> Scores:
        """How improbable the gaps of a patient are, were they independent: sum over measurements of n log(1 / share)."""
        gaps = self._gaps(view, usual)
        score = np.sum(list(gaps.values()), axis=0) if gaps else np.full(len(view), -np.inf)
        return Scores(np.where(score > 0, score, -np.inf), np.zeros(len(view), dtype=np.int64))

    def _gaps(self, view: View, usual: Usual) -> dict[str, Floats]:
        if view.visits is None:
            return {}
        seen = view.counts(view.of)
        found = {}
        for name in view.dictionary.measurements:
            known = view.counts(view.of[view.visits[name].notna().to_numpy()])
            surprise = seen * -np.log(np.clip(usual.missing[name], 1e-3, 1.0))
            found[name] = np.where((seen >= 2) & (known == 0), surprise, 0.0)
        return found

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        missing = [n for n, surprise in self._gaps(view, usual).items() if surprise[patient] > 0]
        visits = int((view.of == patient).sum())
        said = listed([label(n, view.dictionary.measurements[n]) for n in missing])
        text = f"{said}: never recorded in {visits} visits, which others are. The record looks incomplete."
        return text, {"columns": missing, "visits": visits}


class Flicker:
    """A sign or stage that comes and goes as in nobody else (surprise of a Markov chain's steps)."""

    reason = "flicker"

    def scores(self, view: View, usual: Usual) -> Scores:
        names = list(usual.transitions)
        if not names or view.visits is None:
            return Scores(np.full(len(view), -np.inf), np.full(len(view), -1))
        scores = np.stack([self._surprise(view, usual.transitions[n], view.categories(n)) for n in names])
        return Scores(scores.max(axis=0), scores.argmax(axis=0))

    def _surprise(self, view: View, share: Floats, codes: Any) -> Floats:
        known = np.flatnonzero((codes >= 0) & (view.of >= 0))
        of, code = view.of[known], codes[known]
        same = of[1:] == of[:-1]
        start, end, owner = code[:-1][same], code[1:][same], of[1:][same]
        odd = -np.log(share[start, end]) + (share * np.log(share)).sum(axis=1)[start]
        total = np.bincount(owner, odd, len(view))
        count = np.bincount(owner, minlength=len(view))
        return np.where(count >= 2, total / np.sqrt(np.maximum(count, 1)), -np.inf)

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        name = list(usual.transitions)[int(place)]
        column = view.dictionary.measurements[name]
        codes = view.categories(name)[view.of == patient]
        words = [(column.categories or ())[c] for c in codes if c >= 0]
        changes = sum(a != b for a, b in pairwise(words))
        text = (
            f"{label(name, column)} changes {changes} times in {len(words)} visits ({', '.join(words[:7])}"
            f"{', ...' if len(words) > 7 else ''}): it comes and goes as in no other patient."
        )
        return text, {"column": name, name: words}


class EmptyVisits:
    """Visits at which nothing at all was recorded."""

    reason = "empty visits"

    def scores(self, view: View, usual: Usual) -> Scores:
        if view.visits is None or not view.dictionary.measurements:
            return Scores(np.full(len(view), -np.inf), np.zeros(len(view), dtype=np.int64))
        empty = view.visits[list(view.dictionary.measurements)].isna().all(axis=1).to_numpy()
        count = view.counts(view.of[empty])
        return Scores(np.where(count > 0, count.astype(np.float64), -np.inf), np.zeros(len(view), dtype=np.int64))

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        assert view.visits is not None
        mine = view.of == patient
        empty = view.visits[list(view.dictionary.measurements)].isna().all(axis=1).to_numpy() & mine
        days = [int(d) for d in view.day[empty]]
        text = f"Nothing at all was recorded at {len(days)} of {int(mine.sum())} visits (day {listed([str(d) for d in days])})."
        return text, {"days": days}


if TYPE_CHECKING:
    _: tuple[Detector, ...] = (Crowded(), NeverRecorded(), Flicker(), EmptyVisits())
