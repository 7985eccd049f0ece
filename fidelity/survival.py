"""Survival: do events come as often and as early as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.marginals import tv_similarity
from fidelity.verdict import Views, judged
from fidelity.view import View
from synthgen.findings import Evidence, Finding

POINTS = 200


class Survival:
    """`kaplan_meier`: mean distance between two Kaplan-Meier curves of the time to the first event, over the time that both
    cohorts cover. `ends`: 1 - total variation of what ended follow-up. `informative`: absolute difference of the concordance
    between baseline numbers and time to the first event, mean over numbers."""

    name = "survival"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            *judged(self.name, "kaplan_meier", "How far survival curves lie apart", kaplan_meier, views, "lower"),
            *judged(self.name, "ends", "How alike the ends of follow-up are", ends, views, "higher"),
            *judged(
                self.name,
                "informative",
                "How far baseline numbers' say in survival is off",
                informative,
                views,
                "lower",
            ),
        ]


def kaplan_meier(real: View, other: View) -> float:
    """0 is the same. NaN without an outcome."""
    if real.dictionary.outcome is None:
        return float("nan")
    sides = [_times(v) for v in (real, other)]
    if any(len(times) == 0 for times, _ in sides):
        return float("nan")
    grid = np.linspace(0, min(times.max() for times, _ in sides), POINTS)
    curves = [survival_curve(times, event, grid) for times, event in sides]
    return float(np.abs(curves[0] - curves[1]).mean())


def ends(real: View, other: View) -> float:
    """1 is the same. NaN without an outcome."""
    outcome = real.dictionary.outcome
    return (
        float("nan")
        if outcome is None
        else tv_similarity(real.patients[outcome.status], other.patients[outcome.status])
    )


def informative(real: View, other: View) -> float:
    """0 is the same. NaN without an outcome."""
    outcome = real.dictionary.outcome
    if outcome is None:
        return float("nan")
    names = [n for n, c in real.columns.items() if c.numeric and n != outcome.time and n in real.baseline]
    differences = [abs(_concordance(real, n) - _concordance(other, n)) for n in names]
    return float(np.mean(differences)) if differences else float("nan")


def survival_curve(
    times: NDArray[np.float64], event: NDArray[np.bool_], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[grid] share still without an event (Kaplan & Meier 1958)."""
    days = np.unique(times[event])
    at_risk = (times[:, None] >= days).sum(axis=0)
    happened = ((times[:, None] == days) & event[:, None]).sum(axis=0)
    steps = np.concatenate([[1.0], np.cumprod(1 - happened / np.maximum(at_risk, 1))])
    curve: NDArray[np.float64] = steps[np.searchsorted(days, grid, side="right")]
    return curve


def _times(view: View) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(days to the end of follow-up, whether an event ended it)."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    categories = view.dictionary.tables["patients"].columns[outcome.status].categories or ()
    known = view.patients[[outcome.time, outcome.status]].dropna()
    censored = known[outcome.status].to_numpy() == categories.index(outcome.censored)
    return known[outcome.time].to_numpy(), ~censored


def _concordance(view: View, name: str) -> float:
    """Harrell's C of a number for the time to the first event: the share of comparable pairs in which the patient with the larger
    number has the event first, a tie counting half; 0.5 where no pair is comparable."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    known = view.baseline[name].notna() & view.patients[outcome.time].notna()
    times, event = _times(View(view.dictionary, view.patients[known], None))
    risk = view.baseline[name][known].to_numpy()
    comparable = (times[:, None] < times[None, :]) & event[:, None]
    if not comparable.any():
        return 0.5
    wins = (risk[:, None] > risk[None, :]) + 0.5 * (risk[:, None] == risk[None, :])
    return float(wins[comparable].mean())


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Survival()
