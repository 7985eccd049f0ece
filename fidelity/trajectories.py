"""Trajectories: are patients seen as often, and do their measurements move over time, as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from fidelity.marginals import ks_similarity
from fidelity.verdict import Views, judged
from fidelity.view import DAYS_PER_YEAR, View, numeric, once
from synthgen.findings import Evidence, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Trajectories:
    """`visit_count` and `visit_gap`: 1 - Kolmogorov-Smirnov distance of visits per patient and of days between visits.
    `lag_1` and `lag_1_within`: mean absolute error of the correlation between a measurement and the one before it, as it is and
    with each patient's mean taken off. `slope`: 1 - Kolmogorov-Smirnov distance of per-patient slopes over time. Numbers are
    taken on their declared scale, means are over numeric measurements."""

    name = "trajectories"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            *judged(
                self.name, "visit_count", "How alike numbers of visits per patient are", visit_count, views, "higher"
            ),
            *judged(self.name, "visit_gap", "How alike times between visits are", visit_gap, views, "higher"),
            *judged(
                self.name,
                "lag_1",
                "How far measurements' correlations with the visit before are off",
                lag_1,
                views,
                "lower",
            ),
            *judged(
                self.name,
                "lag_1_within",
                "How far they are off around each patient's own mean",
                lag_1_within,
                views,
                "lower",
            ),
            *judged(self.name, "slope", "How alike patients' slopes over time are", slope, views, "higher"),
        ]


def visit_count(real: View, other: View) -> float:
    """1 is the same. NaN for a cohort without visits."""
    if real.visits is None or other.visits is None:
        return float("nan")
    return ks_similarity(*(v.groupby("patient_id").size() for v in (real.visits, other.visits)))


def visit_gap(real: View, other: View) -> float:
    """1 is the same. NaN for a cohort without visits."""
    if real.visits is None or other.visits is None:
        return float("nan")
    return ks_similarity(*(v.groupby("patient_id")["day"].diff() for v in (real.visits, other.visits)))


def lag_1(real: View, other: View, columns: Sequence[str] | None = None) -> float:
    """0 is the same. `columns`: which measurements; all numeric ones by default."""
    return _mean_over(real, columns, lambda name: abs(_lag_1(real, name, False) - _lag_1(other, name, False)))


def lag_1_within(real: View, other: View, columns: Sequence[str] | None = None) -> float:
    """0 is the same; each patient's mean is taken off first."""
    return _mean_over(real, columns, lambda name: abs(_lag_1(real, name, True) - _lag_1(other, name, True)))


def slope(real: View, other: View, columns: Sequence[str] | None = None) -> float:
    """1 is the same. Patients with values on two days or more take part."""
    return _mean_over(real, columns, lambda name: ks_similarity(slopes(real, name), slopes(other, name)))


@once
def slopes(view: View, name: str) -> NDArray[np.float64]:
    """[patients with two days or more] least-squares change per year, on the column's scale."""
    years, values, of = _recorded(view, name)
    if values.empty:
        return np.empty(0)
    dx = years - years.groupby(of).transform("mean")
    dy = values - values.groupby(of).transform("mean")
    spread = (dx**2).groupby(of).sum()
    return ((dx * dy).groupby(of).sum() / spread)[spread > 0].to_numpy()


@once
def _lag_1(view: View, name: str, within: bool) -> float:
    """Correlation of recorded values with the same patient's recorded value before; 0 where there are fewer than three."""
    _, values, of = _recorded(view, name)
    if within:
        values = values - values.groupby(of).transform("mean")
    before = values.groupby(of).shift(1)
    pairs = before.notna()
    if pairs.sum() < 3 or values[pairs].std() == 0 or before[pairs].std() == 0:
        return 0.0
    return float(np.corrcoef(values[pairs], before[pairs])[0, 1])


@once
def _recorded(view: View, name: str) -> tuple[pd.Series[Any], pd.Series[Any], pd.Series[Any]]:
    """(years, values, patient) of the visits at which a measurement was recorded."""
    assert view.visits is not None
    values = view.scaled(name).dropna()
    rows = view.visits.loc[values.index]
    return rows["day"] / DAYS_PER_YEAR, values, rows["patient_id"]


def _mean_over(real: View, columns: Sequence[str] | None, score: Any) -> float:
    names = list(numeric(real) if columns is None else columns)
    if real.visits is None or not names:
        return float("nan")
    return float(np.mean([score(name) for name in names]))


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Trajectories()
