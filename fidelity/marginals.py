"""Marginals: is every column, by itself, distributed as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from fidelity.verdict import Views, judged
from fidelity.view import View
from synthgen.findings import Evidence, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.dictionary import Column


class Marginals:
    """Mean over columns of 1 - Kolmogorov-Smirnov distance (numbers) or 1 - total variation (categories), missing values left
    out: `visit_shape` over visits, `baseline_shape` over one row a patient. Independent columns score best of all."""

    name = "marginals"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How alike single columns are, mean over {}"
        return [
            *judged(self.name, "visit_shape", text.format("columns of visits"), visit_shape, views, "higher"),
            *judged(
                self.name, "baseline_shape", text.format("columns at the first visit"), baseline_shape, views, "higher"
            ),
        ]


def visit_shape(real: View, other: View) -> float:
    """1 is the same. NaN for a cohort without visits."""
    if real.visits is None or other.visits is None:
        return float("nan")
    scores = [ks_similarity(real.visits["day"], other.visits["day"])]
    scores += [_similarity(c, real.visits[n], other.visits[n]) for n, c in real.dictionary.measurements.items()]
    return float(np.mean(scores))


def baseline_shape(real: View, other: View) -> float:
    """1 is the same. NaN without columns."""
    columns = {n: c for n, c in real.columns.items() if n in real.baseline}
    scores = [_similarity(c, real.baseline[n], other.baseline[n]) for n, c in columns.items()]
    return float(np.mean(scores)) if scores else float("nan")


def ks_similarity(real: pd.Series[Any] | NDArray[Any], other: pd.Series[Any] | NDArray[Any]) -> float:
    """1 - the largest distance between two distribution functions; 0 where one side has no values."""
    a, b = (np.asarray(x, dtype="float64") for x in (real, other))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not (len(a) and len(b)):
        return 0.0
    with np.errstate(divide="ignore"):  # of the p-value of one value against one, which nobody asks for
        return 1 - float(ks_2samp(a, b, method="asymp").statistic)


def tv_similarity(real: pd.Series[Any], other: pd.Series[Any]) -> float:
    """1 - total variation distance between two distributions over categories; 0 where one side has no values."""
    if real.notna().sum() == 0 or other.notna().sum() == 0:
        return 0.0
    shares = pd.DataFrame({k: x.value_counts(normalize=True) for k, x in (("real", real), ("other", other))}).fillna(
        0.0
    )
    return 1 - 0.5 * float((shares["real"] - shares["other"]).abs().sum())


def _similarity(column: Column, real: pd.Series[Any], other: pd.Series[Any]) -> float:
    return ks_similarity(real, other) if column.numeric else tv_similarity(real, other)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Marginals()
