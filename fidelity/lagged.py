"""Lagged cross-dependence: what does one measurement tell of another at the next visit?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.correlation import correlations, ranks
from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.findings import Evidence, Finding

Floats = NDArray[np.float64]


class Lagged:
    """Rank correlations between one measurement and every *other* at the patient's next visit; mean absolute difference over
    pairs. `cross`: as they are. `cross_given_own`: given the other's own value at the visit before, which is what Granger (1969)
    asks. 0 is the same."""

    name = "lagged"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How far measurements' say in others at the next visit is off"
        given = f"{text}, given the others' own past"
        return [
            *judged(self.name, "cross", text, cross, views, "lower"),
            *judged(self.name, "cross_given_own", given, cross_given_own, views, "lower"),
        ]


def cross(real: View, other: View) -> float:
    """0 is the same. NaN for fewer than two measurements."""
    return _off_diagonal(real, other, lambda view: _lags(view)[0])


def cross_given_own(real: View, other: View) -> float:
    """0 is the same. NaN for fewer than two measurements."""
    return _off_diagonal(real, other, _given_own)


def _off_diagonal(real: View, other: View, table: object) -> float:
    if real.visits is None or other.visits is None or len(real.dictionary.measurements) < 2:
        return float("nan")
    assert callable(table)
    apart = np.abs(table(real) - table(other))
    return float(apart[~np.eye(len(apart), dtype=bool)].mean()) if len(apart) > 1 else float("nan")


@once
def _given_own(view: View) -> Floats:
    """[before, next] correlation of x before with y next, given y before: (r_xy - r_xz r_zy) / sqrt((1 - r_xz^2)(1 - r_zy^2))."""
    lagged, same = _lags(view)  # [before, next], [before, before]
    own = np.diag(lagged)[None, :]
    rest = np.sqrt(np.maximum((1 - same**2) * (1 - own**2), 1e-6))
    return np.asarray(np.clip((lagged - same * own) / rest, -1, 1), dtype=np.float64)


@once
def _lags(view: View) -> tuple[Floats, Floats]:
    """[before, next] correlations of each measurement with each at the next visit, and [before, before] within one visit."""
    assert view.visits is not None
    now = ranks(view.ordered(view.visits[list(view.dictionary.measurements)]))
    patient = view.visits["patient_id"].to_numpy()
    follows = patient[1:] == patient[:-1]
    before, after = now[:-1][follows], now[1:][follows]
    return correlations(before, after), correlations(before, before)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Lagged()
