"""Missingness: is as much missing as in real patients, and of the same kind of patient?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    tables = [_rank_correlations(v[["day", *numeric(real)]], v[columns].isna()) for v in (real.visits, other.visits)]
    return float(np.abs(tables[0] - tables[1]).mean())


def _rank_correlations(numbers: pd.DataFrame, gone: pd.DataFrame) -> NDArray[np.float64]:
    """[numbers, gone] Spearman correlations over the rows where the number is known; 0 where one side is constant."""
    known = numbers.notna().to_numpy().astype(float)  # [rows, numbers]
    missing = gone.to_numpy().astype(float)  # [rows, gone]
    ranks = np.nan_to_num(numbers.rank().to_numpy())
    count = np.maximum(known.sum(axis=0), 1)[:, None]
    mean, share = ranks.sum(axis=0)[:, None] / count, known.T @ missing / count
    covariance = ranks.T @ missing / count - mean * share
    spread = (ranks**2).sum(axis=0)[:, None] / count - mean**2
    scale = np.sqrt(np.maximum(spread, 0) * share * (1 - share))
    return np.where(scale > 1e-9, covariance / np.maximum(scale, 1e-9), 0.0)


def _may_be_missing(view: View) -> list[str]:
    return [name for name, column in view.dictionary.measurements.items() if column.missing]


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Missingness()
