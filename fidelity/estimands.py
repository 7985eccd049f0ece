"""Estimands: does a trialist who only has the synthetic cohort come to the same estimate, and with an honest interval?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.cox import cox
from fidelity.verdict import Views
from fidelity.view import View
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.values import to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Estimand

Floats = NDArray[np.float64]
Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """An estimate, its variance, and how many patients it comes from."""

    value: float
    variance: float
    patients: int

    @property
    def interval(self) -> tuple[float, float]:
        """95%, normal."""
        half = Z * self.variance**0.5
        return self.value - half, self.value + half


class Estimands:
    """For each estimand of the dictionary (log hazard ratio or mean difference) the estimate from the synthetic cohort and its
    replicates, combined (Raab, Nowok & Dibben 2016), beside the training patients' (`bound`), the holdout's (`ceiling`) and
    that of independent columns (`floor`). It fails when the difference to the training patients' lies beyond 1.96 of its
    standard errors, passes when both see the same effect or none, and is inconclusive when only one sees an effect. Where
    independent columns would pass too, it is information."""

    name = "estimands"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if not evidence.dictionary.estimands:
            return []
        views = Views.of(evidence)
        drawn = [views.synthetic, *(View.of(c, evidence.dictionary) for c in evidence.replicates)]
        return [f for estimand in evidence.dictionary.estimands for f in _finding(estimand, views, drawn)]


def estimate(estimand: Estimand, view: View) -> Estimate | None:
    """The estimand in one cohort, of the patients in whom everything it needs is known; None where it cannot be estimated."""
    x = design(estimand, view)
    known = ~np.isnan(x).any(axis=1)
    if estimand.kind == "hazard_ratio":
        time, event = ends(estimand, view)
        known &= ~np.isnan(time)
        if event[known].sum() <= x.shape[1] or _flat(x[known]):
            return None
        fit = cox(x[known], time[known], event[known])
        return Estimate(float(fit.coefficients[0]), float(fit.covariance[0, 0]), int(known.sum()))
    y = response(estimand, view)
    known &= ~np.isnan(y)
    if known.sum() <= x.shape[1] + 2 or _flat(x[known]):
        return None
    return _least_squares(x[known], y[known])


def combined(estimates: Sequence[Estimate], real_patients: int) -> Estimate:
    """One estimate from m synthetic cohorts of one fitted model: the mean, with variance T_s = v (k/n + 1/m) of Raab, Nowok and
    Dibben (2016, J Priv Confid 7:67), v the mean variance, k the synthetic and n the real patients. It holds for a model that
    was fitted to the real patients without noise; noise and shrinking to public knowledge come on top (docs/fidelity.md)."""
    values = np.array([e.value for e in estimates])
    variance = float(np.mean([e.variance for e in estimates]))
    size = float(np.mean([e.patients for e in estimates]))
    return Estimate(float(values.mean()), variance * (size / max(real_patients, 1) + 1 / len(estimates)), int(size))


def design(estimand: Estimand, view: View) -> Floats:
    """[patients, 1 + adjusted] the exposure in its declared units, then what is adjusted for; NaN where missing."""
    exposure = at_first_visit(view, estimand.exposure) / estimand.per
    return np.stack([exposure, *(at_first_visit(view, name) for name in estimand.adjust)], axis=1)


def at_first_visit(view: View, name: str) -> Floats:
    """[patients] numbers on their declared scale, categories by their place; NaN where missing."""
    column, values = view.columns[name], view.baseline[name].to_numpy(dtype=np.float64)
    return to_scale(column, values) if column.numeric else values


def ends(estimand: Estimand, view: View) -> tuple[Floats, NDArray[np.bool_]]:
    """([patients] days to the end of follow-up, whether a counted event ended it)."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    categories = view.dictionary.tables["patients"].columns[outcome.status].categories or ()
    counted = [categories.index(e) for e in estimand.event or view.dictionary.outcome_events]
    return view.patients[outcome.time].to_numpy(), view.patients[outcome.status].isin(counted).to_numpy()


def response(estimand: Estimand, view: View) -> Floats:
    """[patients] first recorded value on the day asked for or later; NaN where there is none."""
    assert view.visits is not None
    assert estimand.response is not None
    later = view.visits[view.visits["day"] >= estimand.at_days]
    first = later.groupby("patient_id")[estimand.response].first().reindex(view.patients.index)
    return to_scale(view.columns[estimand.response], first.to_numpy(dtype=np.float64))


def _least_squares(x: Floats, y: Floats) -> Estimate:
    full = np.column_stack([x, np.ones(len(x))])
    inverse = np.linalg.pinv(full.T @ full, hermitian=True)
    beta = inverse @ full.T @ y
    variance = float(((y - full @ beta) ** 2).sum() / (len(y) - full.shape[1])) * inverse[0, 0]
    return Estimate(float(beta[0]), float(variance), len(y))


def _flat(x: Floats) -> bool:
    return len(x) == 0 or float(x[:, 0].std()) < 1e-9


def _finding(estimand: Estimand, views: Views, drawn: Sequence[View]) -> list[Finding]:
    real = estimate(estimand, views.train)
    if real is None:
        return []
    found = [e for view in drawn if (e := estimate(estimand, view)) is not None]
    name = estimand.name.replace("_", " ")
    if not found:
        text = (
            f"{name}: cannot be estimated from the synthetic cohort (too few events or an exposure that never varies)."
        )
        return [Finding("estimands", estimand.name, 0.0, "fail", text, "utility", better="target", bound=real.value)]
    made = combined(found, real.patients)
    (low, high), around = made.interval, real.interval
    holdout, floor = estimate(estimand, views.holdout), estimate(estimand, views.floor)
    judgement = agreement(made, real)
    if judgement == "pass" and floor is not None and agreement(floor, real) == "pass":
        judgement = "information"
    what = "log hazard ratio" if estimand.kind == "hazard_ratio" else "difference"
    text = (
        f"{name}: {what} {made.value:.2f} ({low:.2f} to {high:.2f}) from {len(found)} synthetic "
        f"cohort{'s' if len(found) > 1 else ''}, {real.value:.2f} ({around[0]:.2f} to {around[1]:.2f}) from the real patients."
    )
    return [
        Finding(
            "estimands",
            estimand.name,
            made.value,
            judgement,
            text,
            "utility",
            low=low,
            high=high,
            n=made.patients,
            ceiling=None if holdout is None else holdout.value,
            floor=None if floor is None else floor.value,
            bound=real.value,
            better="target",
        )
    ]


def agreement(made: Estimate, real: Estimate) -> Verdict:
    """See `Estimands`. Where neither sees an effect and they agree, it passes too."""
    apart = abs(made.value - real.value) > Z * (made.variance + real.variance) ** 0.5
    if apart:
        return "fail"
    return "pass" if _effect(made) == _effect(real) else "inconclusive"


def _effect(e: Estimate) -> int:
    """The sign of an effect that its interval tells from none; 0 for none."""
    low, high = e.interval
    return 1 if low > 0 else -1 if high < 0 else 0


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Estimands()
