"""Conditional dependence: what does one column tell of another once all others are known?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.correlation import correlations, partial, ranks
from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.findings import Evidence, Finding

RIDGE = 0.1
"""How much correlations are shrunk before they are inverted."""


class Conditional:
    """Mean absolute difference of partial rank correlations, each pair of columns given all others: `visit_partial` over visits,
    `baseline_partial` over one row a patient, without the outcome. Ordinals and two-way categories take part, other categories
    as one column a word. 0 is the same."""

    name = "conditional"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How far pairs of columns are off once all others are known, {}"
        return [
            *judged(self.name, "visit_partial", text.format("at visits"), visit_partial, views, "lower"),
            *judged(self.name, "baseline_partial", text.format("at the first visit"), baseline_partial, views, "lower"),
        ]


def visit_partial(real: View, other: View) -> float:
    """NaN for fewer than three columns."""
    if real.visits is None or other.visits is None:
        return float("nan")
    return _difference(_at_visits(real), _at_visits(other))


def baseline_partial(real: View, other: View) -> float:
    """NaN for fewer than three columns."""
    return _difference(_at_baseline(real), _at_baseline(other))


def _difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b)[np.triu_indices(len(a), 1)].mean()) if len(a) > 2 else float("nan")


@once
def _at_visits(view: View) -> NDArray[np.float64]:
    assert view.visits is not None
    rows = ranks(view.ordered(view.visits).assign(day=view.visits["day"]))
    return partial(correlations(rows, rows), RIDGE)


@once
def _at_baseline(view: View) -> NDArray[np.float64]:
    outcome = view.dictionary.outcome
    ends = [] if outcome is None else [outcome.time, outcome.status]  # censored, so no number to condition on
    rows = ranks(view.ordered(view.baseline.drop(columns=ends, errors="ignore")))
    return partial(correlations(rows, rows), RIDGE)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Conditional()
