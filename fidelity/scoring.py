"""How good predictions are: discrimination as concordance, accuracy as explained loss, calibration as slope and intercept.

Everything is resampled over patients at once: a bootstrap draw is a vector of weights, and every score a ratio of sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.cox import cox
from fidelity.tasks import FEWEST, weights
from privacy.rates import Rate, clopper_pearson

if TYPE_CHECKING:
    from synthgen.dictionary import Task

Floats = NDArray[np.float64]
DRAWS = 400


@dataclass(frozen=True)
class Pairs:
    """Comparable pairs of patients: `wins` [n, n] is 1 where the one with more risk has the event first (or the higher value),
    1/2 for equal predictions, and `comparable` [n, n] which pairs count."""

    wins: Floats
    comparable: Floats

    @classmethod
    def of(cls, prediction: Floats, comparable: NDArray[np.bool_]) -> Pairs:
        """`comparable[i, j]`: patient i should be predicted higher than patient j."""
        higher = (prediction[:, None] > prediction) + 0.5 * (prediction[:, None] == prediction)
        return cls(higher * comparable, comparable.astype(np.float64))

    def of_draws(self, draws: Floats) -> Floats:
        """[draws] concordance with patients weighted [draws, n]; NaN where no pair is comparable."""
        total = np.einsum("dn,dn->d", draws @ self.comparable, draws)
        found = np.einsum("dn,dn->d", draws @ self.wins, draws) / np.where(total > 0, total, np.nan)
        return np.asarray(found, dtype=np.float64)


def pairs(task: Task, truth: pd.DataFrame, prediction: Floats) -> list[Pairs]:
    """One set for AUC, Harrell's C or concordance with a measurement; one a category, against all others, of a classification
    (categories that fewer than 5 patients have are left out)."""
    if task.kind == "event":
        event = truth["event"].to_numpy(dtype=bool)
        return [Pairs.of(prediction, event[:, None] & ~event)]
    if task.kind == "survival":
        time, event = truth["time"].to_numpy(dtype=np.float64), truth["event"].to_numpy(dtype=bool)
        longer = (time[:, None] < time) | ((time[:, None] == time) & ~event)
        return [Pairs.of(prediction, event[:, None] & longer)]
    value = truth["value"].to_numpy(dtype=np.float64)
    if task.kind == "regression":
        return [Pairs.of(prediction, value[:, None] > value)]
    found = []
    for category in np.unique(value).astype(int):
        own = value == category
        if min(own.sum(), (~own).sum()) >= FEWEST:
            score = prediction[:, category] if category < prediction.shape[1] else np.zeros(len(value))
            found.append(Pairs.of(score, own[:, None] & ~own))
    return found


def discrimination(task: Task, truth: pd.DataFrame, prediction: Floats, rng: np.random.Generator) -> Rate:
    """Concordance with its bootstrap interval over patients; the mean over categories of a classification."""
    return _rate(pairs(task, truth, prediction), len(truth), rng)


def most_gained(
    task: Task, truth: pd.DataFrame, prediction: Floats, other: Floats, rng: np.random.Generator, tail: float
) -> float:
    """The upper end of the interval of what `prediction` gains in concordance over `other` in the same patients."""
    draws = _draws(len(truth), rng)
    values = [np.mean([p.of_draws(draws) for p in pairs(task, truth, guess)], axis=0) for guess in (prediction, other)]
    return float(np.nanquantile(values[0] - values[1], 1 - tail))


def concordance(task: Task, truth: pd.DataFrame, prediction: Floats) -> float:
    """The same without an interval."""
    found = [p.of_draws(np.ones((1, len(truth))))[0] for p in pairs(task, truth, prediction)]
    return float(np.mean(found)) if found else float("nan")


def explained(task: Task, truth: pd.DataFrame, prediction: Floats, rng: np.random.Generator) -> Rate:
    """1 - loss / loss of knowing only the mean of the tested patients, with its bootstrap interval: R squared of a measurement,
    the index of prediction accuracy (scaled Brier score, Kattan & Gerds 2018) else; survival is weighted for censoring."""
    loss, null, weight = _losses(task, truth, prediction)
    draws = np.concatenate([np.ones((1, len(truth))), _draws(len(truth), rng)]) * weight
    mean = (draws @ null) / np.maximum(draws.sum(axis=1), 1e-12)[:, None]  # [draws, targets]
    spread = (draws @ null**2).sum(axis=1) - draws.sum(axis=1) * (mean**2).sum(axis=1)
    found = 1 - (draws @ loss) / np.where(spread > 1e-12, spread, np.nan)
    if not np.isfinite(found[0]):
        return Rate(0.0, 0.0, 1.0, len(truth))
    low, high = np.nanquantile(found[1:], [0.025, 0.975])
    return Rate(float(found[0]), float(low), float(high), len(truth))


def calibration(task: Task, truth: pd.DataFrame, prediction: Floats) -> tuple[Rate, Rate] | None:
    """(slope, intercept) of what happened on what was predicted, with 95% intervals: 1 and 0 for a calibrated model; a slope
    below 1 is overconfident (Cox 1958; Van Calster et al. 2019). By logistic regression on the log odds of an event, by Cox
    regression on the log cumulative hazard of survival (slope alone), by least squares of a measurement; None for categories."""
    if task.kind == "classification":
        return None
    n = len(truth)
    if task.kind == "survival":
        risk = np.log(-np.log1p(-np.clip(prediction, 1e-6, 1 - 1e-6)))[:, None]
        fit = cox(risk, truth["time"].to_numpy(dtype=np.float64), truth["event"].to_numpy(dtype=bool))
        slope = _normal(float(fit.coefficients[0]), float(fit.covariance[0, 0]), n)
        return slope, Rate(0.0, 0.0, 0.0, 0)
    if task.kind == "event":
        p = np.clip(prediction, 1e-6, 1 - 1e-6)
        beta, covariance = _logistic(np.log(p / (1 - p)), truth["event"].to_numpy(dtype=np.float64))
    else:
        beta, covariance = _line(prediction, truth["value"].to_numpy(dtype=np.float64))
    return tuple(_normal(float(beta[i]), float(covariance[i, i]), n) for i in (1, 0))  # type: ignore[return-value]


def in_the_large(task: Task, truth: pd.DataFrame, prediction: Floats, rng: np.random.Generator) -> Rate | None:
    """What happened less what was predicted, on average: 0 for patients who are predicted neither too high nor too low as a whole
    (calibration in the large). Censored patients weigh as in the Brier score; 95% bootstrap interval; None for categories."""
    if task.kind == "classification":
        return None
    if task.kind == "regression":
        target, weight = truth["value"].to_numpy(dtype=np.float64), np.ones(len(truth))
    else:
        event, weight = weights(task, truth)
        target = event.astype(np.float64)
    draws = np.concatenate([np.ones((1, len(truth))), _draws(len(truth), rng)]) * weight
    total = draws.sum(axis=1)
    means = (draws @ (target - prediction)) / np.where(total > 0, total, np.nan)
    if not np.isfinite(means[0]):
        return None
    low, high = np.nanquantile(means[1:], [0.025, 0.975])
    return Rate(float(means[0]), float(low), float(high), len(truth))


def calibration_groups(truth: pd.DataFrame, prediction: Floats, groups: int) -> list[tuple[float, Rate]]:
    """(mean prediction, share with the event) of equal groups by prediction."""
    order = np.array_split(np.argsort(prediction, kind="stable"), groups)
    event = truth["event"].to_numpy(dtype=bool)
    return [(float(prediction[g].mean()), clopper_pearson(int(event[g].sum()), len(g))) for g in order if len(g)]


def _rate(found: list[Pairs], patients: int, rng: np.random.Generator) -> Rate:
    if not found:
        return Rate(0.5, 0.0, 1.0, patients)
    draws = np.concatenate([np.ones((1, patients)), _draws(patients, rng)])
    values = np.mean([p.of_draws(draws) for p in found], axis=0)
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    if values[0] >= 1:  # the bootstrap of a perfect ranking has no width
        fewest = min(int((p.comparable.sum(axis=axis) > 0).sum()) for p in found for axis in (0, 1))
        low = clopper_pearson(fewest, fewest).low
    if not np.isfinite([values[0], low, high]).all():
        return Rate(0.5, 0.0, 1.0, patients)
    return Rate(float(values[0]), float(low), float(high), patients)


def _draws(patients: int, rng: np.random.Generator) -> Floats:
    return rng.multinomial(patients, np.full(patients, 1 / patients), DRAWS).astype(np.float64)


def _losses(task: Task, truth: pd.DataFrame, prediction: Floats) -> tuple[Floats, Floats, Floats]:
    """([n] squared error, [n, targets] what is predicted, [n] weight)."""
    if task.kind in ("event", "survival"):
        event, weight = weights(task, truth)
        target = event.astype(np.float64)[:, None]
        return ((prediction - target[:, 0]) ** 2), target, weight
    value = truth["value"].to_numpy(dtype=np.float64)
    if task.kind == "regression":
        return (prediction - value) ** 2, value[:, None], np.ones(len(value))
    categories = max(prediction.shape[1], int(value.max()) + 1)
    target = (value[:, None] == np.arange(categories)).astype(np.float64)
    full = np.zeros_like(target)
    full[:, : prediction.shape[1]] = prediction
    return ((full - target) ** 2).sum(axis=1), target, np.ones(len(value))


def _logistic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """([intercept, slope], covariance) by Newton's method, with a trace of a penalty so that parted classes have an answer."""
    design, beta = np.column_stack([np.ones(len(x)), x]), np.zeros(2)
    ridge = 1e-3 * np.eye(2)
    information = ridge
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        information = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.clip(np.linalg.solve(information, design.T @ (y - p) - ridge @ beta), -1, 1)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return beta, np.asarray(np.linalg.inv(information), dtype=np.float64)


def _line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    design = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    beta = inverse @ design.T @ y
    return beta, inverse * float(((y - design @ beta) ** 2).sum() / max(len(y) - 2, 1))


def _normal(value: float, variance: float, n: int) -> Rate:
    half = 1.959964 * variance**0.5
    return Rate(value, value - half, value + half, n)
