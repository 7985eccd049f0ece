"""Dependence: do columns go together as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fidelity.verdict import Views, judged
from fidelity.view import View, numeric
from synthgen.findings import Evidence, Finding


class Dependence:
    """Mean absolute difference of Spearman correlations over all pairs of numeric columns: `visit_correlation` over visits,
    `baseline_correlation` over one row a patient. 0 is the same."""

    name = "dependence"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How far correlations of pairs of columns are off, mean over pairs {}"
        return [
            *judged(self.name, "visit_correlation", text.format("at visits"), visit_correlation, views, "lower"),
            *judged(
                self.name,
                "baseline_correlation",
                text.format("at the first visit"),
                baseline_correlation,
                views,
                "lower",
            ),
        ]


def visit_correlation(real: View, other: View) -> float:
    """NaN for fewer than two numeric columns, `day` among them."""
    if real.visits is None or other.visits is None:
        return float("nan")
    return _difference(real.visits, other.visits, ["day", *numeric(real)])


def baseline_correlation(real: View, other: View) -> float:
    """NaN for fewer than two numeric columns."""
    columns = [n for n, c in real.columns.items() if c.numeric and n in real.baseline]
    return _difference(real.baseline, other.baseline, columns)


def _difference(real: pd.DataFrame, other: pd.DataFrame, columns: list[str]) -> float:
    """A correlation that cannot be worked out (a constant column) counts as 0."""
    if len(columns) < 2:
        return float("nan")
    correlations = [np.nan_to_num(x[columns].corr(method="spearman").to_numpy()) for x in (real, other)]
    return float(np.abs(correlations[0] - correlations[1])[np.triu_indices(len(columns), 1)].mean())


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Dependence()
