"""Tails and rare categories: are the patients at the edge there, as many and with as much at once?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.correlation import ranks
from fidelity.outliers import outliers
from fidelity.verdict import Views, judged
from fidelity.view import View, numeric, once
from synthgen.findings import Evidence, Finding
from synthgen.flags import Flag

Floats = NDArray[np.float64]
TAIL = 0.05
"""Share of real values on each side that counts as tail."""
EXTREME = 0.1
"""Share of a cohort's own values on each side that counts as extreme together."""
RARE = 0.1
"""Real share below which a category is rare."""


class Tails:
    """`beyond`: how far the share of values beyond the real 5% and 95% quantiles is off, in shares of those 5%, mean over numbers
    and sides. `together`: how often two measurements are in their own cohort's extreme tenths at one visit, mean absolute
    difference over pairs of sides, in shares of a tenth. `rare_categories`: |p - q| / (p + q) of the shares of categories that
    fewer than a tenth of real patients or visits have; 1 where they are never drawn. 0 is the same. Flags each synthetic patient
    with a number farther out than nearly every real patient's."""

    name = "tails"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        return [
            *judged(self.name, "beyond", "How far shares of extreme values are off", beyond, views, "lower"),
            *judged(
                self.name,
                "together",
                "How far measurements are off in being extreme together",
                together,
                views,
                "lower",
            ),
            *judged(
                self.name,
                "rare_categories",
                "How far shares of rare categories are off",
                rare_categories,
                views,
                "lower",
            ),
        ]

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        return list(outliers(evidence))


def beyond(real: View, other: View) -> float:
    """0 is the same. NaN without numbers."""
    found = []
    for rows in ("patients", "visits"):
        a, b = getattr(real, rows), getattr(other, rows)
        if a is None or b is None:
            continue
        columns = [n for n in real.columns if real.columns[n].numeric and n in a]
        for name in columns:
            low, high = _quantiles(real, rows, name)
            values = b[name].to_numpy(dtype=np.float64)
            values = values[~np.isnan(values)]
            ours = a[name].to_numpy(dtype=np.float64)
            for side, ref in ((values < low, ours < low), (values > high, ours > high)):
                share = float(np.sum(ref)) / max(int((~np.isnan(ours)).sum()), 1)
                found.append((abs(float(side.mean()) - share) if len(values) else share) / TAIL)
    return float(np.mean(found)) if found else float("nan")


def together(real: View, other: View) -> float:
    """0 is the same. NaN for fewer than two numeric measurements."""
    if real.visits is None or other.visits is None or len(numeric(real)) < 2:
        return float("nan")
    apart = np.abs(_extreme(real) - _extreme(other))
    p = len(apart) // 2
    pairs = np.triu_indices(p, 1)
    blocks = [apart[i : i + p, j : j + p] for i in (0, p) for j in (0, p)]
    return float(np.mean([block[pairs].mean() for block in blocks]) / EXTREME)


def rare_categories(real: View, other: View) -> float:
    """0 is the same, 1 is never drawn. NaN where no category is rare."""
    ours, theirs = _shares(real), _shares(other)
    rare = (ours > 0) & (ours < RARE)
    if not rare.any():
        return float("nan")
    a, b = ours[rare], theirs.reindex(ours.index)[rare].fillna(0.0)
    return float(((a - b).abs() / (a + b)).mean())


@once
def _quantiles(view: View, rows: str, name: str) -> tuple[float, float]:
    values = getattr(view, rows)[name].dropna()
    if values.empty:
        return -np.inf, np.inf
    low, high = values.quantile([TAIL, 1 - TAIL])
    return float(low), float(high)


@once
def _extreme(view: View) -> Floats:
    """[2p, 2p] share of visits at which two measurements are both in their lowest (first p) or highest (last p) tenths."""
    assert view.visits is not None
    place = ranks(view.visits[numeric(view)])
    place = place / np.maximum((~np.isnan(place)).sum(axis=0), 1)
    sides = np.concatenate([place <= EXTREME, place > 1 - EXTREME], axis=1).astype(np.float64)
    return np.asarray(sides.T @ sides / max(len(sides), 1), dtype=np.float64)


@once
def _shares(view: View) -> pd.Series[Any]:
    """(column, category) -> its share of the rows where the column is known."""
    found: dict[str, float] = {}
    for frame in (view.patients, view.visits):
        for name in [n for n, c in view.columns.items() if c.discrete and frame is not None and n in frame]:
            assert frame is not None
            values = frame[name].dropna().to_numpy()
            words = view.columns[name].categories or ()
            of = np.bincount(values.astype(int), minlength=len(words)) / max(len(values), 1)
            found |= {f"{name} {word}": share for word, share in zip(words, of, strict=True)}
    return pd.Series(found, dtype="float64")


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Tails()
