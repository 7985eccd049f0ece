"""Dependence: do columns go together as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fidelity.correlation import correlations, ranks
from fidelity.verdict import Views, judged
from fidelity.view import View, numeric, once
from synthgen.findings import Evidence, Finding


class Dependence:
    """Mean absolute difference of Spearman correlations over all pairs of numeric columns: `visit_correlation` over visits,
    `baseline_correlation` over one row a patient. `visit_categories` and `baseline_categories`: the same over pairs with a
    category among them, ordinals by their order and unordered categories as one column a word. 0 is the same."""

    name = "dependence"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How far correlations of pairs of columns are off, mean over pairs {}"
        mixed = "How far associations of categories with each other and with numbers are off, mean over pairs {}"
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
            *judged(self.name, "visit_categories", mixed.format("at visits"), visit_categories, views, "lower"),
            *judged(
                self.name,
                "baseline_categories",
                mixed.format("at the first visit"),
                baseline_categories,
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


def visit_categories(real: View, other: View) -> float:
    """NaN where there is no pair with a category."""
    if real.visits is None or other.visits is None:
        return float("nan")
    return _mixed(real, _visit_ranks(real), _visit_ranks(other))


def baseline_categories(real: View, other: View) -> float:
    """NaN where there is no pair with a category."""
    return _mixed(real, _baseline_ranks(real), _baseline_ranks(other))


def _mixed(view: View, ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Pairs of two words of one category are left out: they exclude each other by definition."""
    names = list(ours.columns)
    of = [name if name in view.columns or name == "day" else name.rpartition(" ")[0] for name in names]
    number = np.array([name == "day" or view.columns[name].numeric for name in of], dtype=bool)
    same = np.array([[a == b for b in of] for a in of], dtype=bool).reshape(len(of), len(of))
    wanted = np.triu(~same & ~(number[:, None] & number), 1)
    if not wanted.any():
        return float("nan")
    return float(np.abs(ours.to_numpy() - theirs.to_numpy())[wanted].mean())


@once
def _visit_ranks(view: View) -> pd.DataFrame:
    assert view.visits is not None
    return _ranked(view.ordered(view.visits).assign(day=view.visits["day"]))


@once
def _baseline_ranks(view: View) -> pd.DataFrame:
    return _ranked(view.ordered(view.baseline))


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    rows = ranks(frame)
    return pd.DataFrame(correlations(rows, rows), index=frame.columns, columns=frame.columns)


def _difference(real: pd.DataFrame, other: pd.DataFrame, columns: list[str]) -> float:
    """A correlation that cannot be worked out (a constant column) counts as 0."""
    if len(columns) < 2:
        return float("nan")
    correlations = [np.nan_to_num(x[columns].corr(method="spearman").to_numpy()) for x in (real, other)]
    return float(np.abs(correlations[0] - correlations[1])[np.triu_indices(len(columns), 1)].mean())


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Dependence()
