"""Functional principal components: do whole trajectories differ between patients in the same ways as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.verdict import Views, judged
from fidelity.view import View, numeric, once
from synthgen.findings import Evidence, Finding

Floats = NDArray[np.float64]
CELLS = 6
"""Cells of time, each with as many real visits."""
COMPONENTS = 3
FEWEST = 5
"""Patients below which a cell, or a pair of cells, counts as 0."""


class FunctionalComponents:
    """Each numeric measurement as a function of time: patients' means in six cells of time, the covariance between cells over the
    patients seen in both (Yao, Müller & Wang 2005, smoothed by cells), cut to its first three principal components.
    `covariance`: Hilbert-Schmidt distance of those operators as a share of the real one's size. `mean_curve`: root mean square
    distance of the mean functions in real standard deviations. Means over measurements; 0 is the same."""

    name = "functional"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            *judged(
                self.name,
                "covariance",
                "How far principal components of trajectories are off",
                covariance,
                views,
                "lower",
            ),
            *judged(self.name, "mean_curve", "How far mean trajectories are off", mean_curve, views, "lower"),
        ]


def covariance(real: View, other: View) -> float:
    """0 is the same. NaN without visits or numeric measurements."""
    pairs = _pairs(real, other)
    sizes = [(np.linalg.norm(a[1]), np.linalg.norm(a[1] - b[1])) for a, b in pairs]
    shares = [apart / size for size, apart in sizes if size > 0]
    return float(np.mean(shares)) if shares else float("nan")


def mean_curve(real: View, other: View) -> float:
    """0 is the same. NaN without visits or numeric measurements."""
    found = []
    for (mean, _, spread), (theirs, _, _) in _pairs(real, other):
        both = np.isfinite(mean) & np.isfinite(theirs)
        if both.any() and spread > 0:
            found.append(float(np.sqrt(((mean - theirs)[both] ** 2).mean())) / spread)
    return float(np.mean(found)) if found else float("nan")


def components(view: View, name: str, edges: tuple[float, ...]) -> tuple[Floats, Floats, float]:
    """([cells] mean function, [cells, cells] covariance of the leading components, standard deviation of the values)."""
    values = _cells(view, name, edges)  # [patients, cells]
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    mean = np.where(count >= FEWEST, total / np.maximum(count, 1), np.nan)
    centred = np.where(known, values - np.nan_to_num(mean), 0.0)
    pairs = known.astype(np.float64).T @ known
    raw = np.where(pairs >= FEWEST, centred.T @ centred / np.maximum(pairs, 1), 0.0)
    size, direction = np.linalg.eigh(raw)
    size = np.where(np.arange(len(size)) >= len(size) - COMPONENTS, np.maximum(size, 0), 0.0)
    return mean, (direction * size) @ direction.T, float(np.nanstd(values)) if known.any() else 0.0


def _pairs(real: View, other: View) -> list[tuple[tuple[Floats, Floats, float], tuple[Floats, Floats, float]]]:
    if real.visits is None or other.visits is None:
        return []
    edges = _edges(real)
    return [(_kept(real, name, edges), _kept(other, name, edges)) for name in numeric(real)]


_kept = once(components)


@once
def _edges(view: View) -> tuple[float, ...]:
    """Inner edges of the cells: quantiles of the days of visits."""
    assert view.visits is not None
    inner = np.quantile(view.visits["day"], np.arange(1, CELLS) / CELLS)
    return tuple(np.unique(inner))


def _cells(view: View, name: str, edges: tuple[float, ...]) -> Floats:
    """[patients, cells] mean of the recorded values, NaN where there are none."""
    assert view.visits is not None
    values = view.scaled(name).to_numpy()
    known = ~np.isnan(values)
    patient = view.patients.index.get_indexer(pd.Index(view.visits["patient_id"]))[known]
    cell = np.searchsorted(edges, view.visits["day"].to_numpy()[known], side="right")
    shape = (len(view.patients), len(edges) + 1)
    flat = np.ravel_multi_index((patient, cell), shape)
    count = np.bincount(flat, minlength=shape[0] * shape[1])
    total = np.bincount(flat, weights=values[known], minlength=shape[0] * shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = FunctionalComponents()
