"""Hazards: does every baseline covariate raise or lower the risk of the event as much as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.findings import Evidence, Finding
from synthgen.values import to_scale

Floats = NDArray[np.float64]
STEPS = 12
LARGEST = 3.0
"""Log hazard ratio per standard deviation at which an estimate is cut: a covariate that parts the events has none."""


class Hazards:
    """Cox regression of time to the first event on each baseline covariate alone, per real standard deviation on its declared
    scale. `log_hazard`: mean absolute difference of log hazard ratios. Then one line a covariate, for information: the synthetic
    log hazard ratio with its interval, beside the training patients' (`bound`), the holdout's and that of independent
    columns."""

    name = "hazards"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        text = "How far covariates' log hazard ratios are off"
        return [*judged(self.name, "log_hazard", text, log_hazard, views, "lower"), *_covariates(views.alike())]


def log_hazard(real: View, other: View) -> float:
    """0 is the same. NaN without an outcome or covariates."""
    if real.dictionary.outcome is None or not covariates(real):
        return float("nan")
    scale = spreads(real)
    return float(np.abs(ratios(real, scale)[0] - ratios(other, scale)[0]).mean())


def covariates(view: View) -> list[str]:
    """Columns at the first visit that have an order, but for the outcome."""
    outcome = view.dictionary.outcome
    names = [] if outcome is None else [outcome.time, outcome.status]
    return list(view.ordered(view.baseline.drop(columns=names, errors="ignore")).columns)


@once
def spreads(view: View) -> tuple[float, ...]:
    """Standard deviation of each covariate; 1 for one that does not vary, or that nobody has."""
    design = _design(view)
    found = np.nanstd(np.where(np.isnan(design).all(axis=0), 0.0, design), axis=0)
    return tuple(np.where(found > 1e-9, found, 1.0))


@once
def ratios(view: View, scale: tuple[float, ...]) -> tuple[Floats, Floats]:
    """[covariates] log hazard ratios per `scale`, each covariate alone, and their standard errors."""
    outcome = view.dictionary.outcome
    assert outcome is not None
    categories = view.dictionary.tables["patients"].columns[outcome.status].categories or ()
    time, status = view.patients[outcome.time].to_numpy(), view.patients[outcome.status].to_numpy()
    known = ~np.isnan(time) & ~np.isnan(status)
    event = status[known] != categories.index(outcome.censored)
    return univariate(_design(view)[known] / np.array(scale), time[known], event)


def univariate(x: Floats, time: Floats, event: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Every covariate alone, all at once: Breslow's partial likelihood, Newton's method.

    Args:
        x: [patients, covariates]; who lacks a value takes no part in that covariate's regression.

    Returns:
        ([covariates] log hazard ratios, 0 where nothing can be told and at most `LARGEST` in size, their standard errors).
    """
    order = np.argsort(-time, kind="stable")
    x, time, event = x[order], time[order], event[order]
    if not event.any():
        return np.zeros(x.shape[1]), np.full(x.shape[1], np.inf)
    here = ~np.isnan(x)
    x = np.where(here, x - np.where(here, x, 0).sum(axis=0) / np.maximum(here.sum(axis=0), 1), 0.0)
    last = np.searchsorted(-time, -time[event], side="right") - 1
    of, counted = x[event], here[event]
    beta, information = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for _ in range(STEPS):
        weight = np.exp(np.clip(x * beta, -30, 30)) * here
        s0, s1, s2 = (np.cumsum(weight * x**k, axis=0)[last] for k in range(3))
        mean = s1 / np.maximum(s0, 1e-300)
        score = ((of - mean) * counted).sum(axis=0)
        information = ((s2 / np.maximum(s0, 1e-300) - mean**2) * counted).sum(axis=0)
        step = np.where(information > 1e-9, score / np.maximum(information, 1e-9), 0.0)
        beta = np.clip(beta + np.clip(step, -1, 1), -LARGEST, LARGEST)
        if np.abs(step).max(initial=0) < 1e-6:
            break
    error = np.where(information > 1e-9, 1 / np.sqrt(np.maximum(information, 1e-9)), np.inf)
    return beta, error


@once
def _design(view: View) -> Floats:
    """[patients, covariates] numbers on their declared scale."""
    rows = view.ordered(view.baseline)[covariates(view)]
    columns = [
        to_scale(view.columns[n], rows[n].to_numpy(dtype=np.float64))
        if n in view.columns and view.columns[n].numeric
        else rows[n].to_numpy(dtype=np.float64)
        for n in rows
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))


def _covariates(views: Views) -> list[Finding]:
    if views.train.dictionary.outcome is None:
        return []
    scale = spreads(views.train)
    made, real, second, floor = (ratios(v, scale) for v in (views.synthetic, views.train, views.holdout, views.floor))
    found = []
    for i, name in enumerate(covariates(views.train)):
        value, error = float(made[0][i]), float(made[1][i])
        if not (np.isfinite(error) and np.isfinite(real[1][i])):
            continue
        text = f"Log hazard ratio per standard deviation of {name}: {value:.2f} in synthetic, {real[0][i]:.2f} in real patients."
        found.append(
            Finding(
                "hazards", "log_hazard_ratio", value, "information", text, low=value - 1.96 * error, high=value + 1.96 * error,
                n=len(views.synthetic.patients), ceiling=float(second[0][i]), floor=float(floor[0][i]),
                bound=float(real[0][i]), better="target", column=name,
            )
        )  # fmt: skip
    return found


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Hazards()
