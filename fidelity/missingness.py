"""Missingness: is as much missing as in real patients, and of the same kind of patient?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fidelity.verdict import Views, judged
from fidelity.view import View, numeric
from synthgen.findings import Evidence, Finding


class Missingness:
    """`rate`: mean absolute difference of the share of missing values over columns of visits that may be missing. `pattern`:
    mean absolute difference of the rank correlation of being missing with day and with every number of the same visit (0 where a
    correlation cannot be worked out)."""

    name = "missingness"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            *judged(self.name, "rate", "How far shares of missing values are off", rate, views, "lower"),
            *judged(self.name, "pattern", "How far the dependence of missing values is off", pattern, views, "lower"),
        ]


def rate(real: View, other: View) -> float:
    """0 is the same. NaN where nothing may be missing."""
    columns = _may_be_missing(real)
    if real.visits is None or other.visits is None or not columns:
        return float("nan")
    return float((real.visits[columns].isna().mean() - other.visits[columns].isna().mean()).abs().mean())


def pattern(real: View, other: View) -> float:
    """0 is the same. NaN where nothing may be missing."""
    columns = _may_be_missing(real)
    if real.visits is None or other.visits is None or not columns:
        return float("nan")
    tables = []
    for visits in (real.visits, other.visits):
        numbers = visits[["day", *numeric(real)]]
        gone = visits[columns].isna().astype("float64")
        tables.append(np.array([numbers.corrwith(gone[c], method="spearman").fillna(0.0) for c in columns]))
    return float(np.abs(tables[0] - tables[1]).mean())


def _may_be_missing(view: View) -> list[str]:
    return [name for name, column in view.dictionary.measurements.items() if column.missing]


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Missingness()
