"""Cox regression (Cox 1972, JRSS B 34:187) of a few covariates, small enough to be checked by hand.

Ties by Efron (1977, JASA 72:557); maximised by Newton's method with the step halved until the likelihood does not fall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 40
LARGEST_STEP = 2.0
"""In log hazard per unit; where covariates part the events, the estimate walks off and its variance says so."""


@dataclass(frozen=True)
class CoxFit:
    """Log hazard ratios [covariates], their covariance, and the cumulative baseline hazard at the event `times` (Breslow), at
    covariates of 0."""

    coefficients: Floats
    covariance: Floats
    times: Floats
    hazard: Floats

    def risk(self, x: Floats) -> Floats:
        """[patients] log relative hazard."""
        return np.asarray(x @ self.coefficients, dtype=np.float64)

    def event_by(self, x: Floats, day: float) -> Floats:
        """[patients] probability of the event by `day`."""
        index = int(np.searchsorted(self.times, day, side="right"))
        hazard = float(self.hazard[index - 1]) if index else 0.0
        return 1 - np.exp(-hazard * np.exp(np.clip(self.risk(x), -30, 30)))


def cox(x: Floats, time: Floats, event: NDArray[np.bool_], penalty: float = 0.0) -> CoxFit:
    """Maximum (penalised) partial likelihood.

    Args:
        x: [patients, covariates], nothing missing.
        time: [patients] to the event or the end of follow-up.
        event: [patients] whether the event ended it.
        penalty: subtracts penalty / 2 times the squared coefficients (ridge); 0 for estimates, more for prediction.
    """
    data = _Sorted.of(x, time, event)
    beta = np.zeros(x.shape[1])
    value, score, information = data.likelihood(beta, penalty)
    for _ in range(STEPS):
        step = np.clip(np.linalg.pinv(information, hermitian=True) @ score, -LARGEST_STEP, LARGEST_STEP)
        while (trial := data.likelihood(beta + step, penalty))[0] < value - 1e-12 and np.abs(step).max() > 1e-9:
            step = step / 2
        beta = beta + step
        value, score, information = trial
        if np.abs(step).max(initial=0) < 1e-8:
            break
    covariance = np.asarray(np.linalg.inv(information + 1e-9 * np.eye(len(beta))), dtype=np.float64)
    return CoxFit(beta, covariance, *data.baseline(beta))


@dataclass(frozen=True)
class _Sorted:
    """Patients from the longest to the shortest time. For each event: `last`, the last patient still at risk then; `tied`, which
    patients share its moment; `gone`, the share of tied events that Efron counts as gone already."""

    x: Floats
    centre: Floats
    time: Floats
    event: NDArray[np.bool_]
    last: NDArray[np.intp]
    first: NDArray[np.intp]
    gone: Floats

    @classmethod
    def of(cls, x: Floats, time: Floats, event: NDArray[np.bool_]) -> _Sorted:
        order = np.lexsort((~event, -time))  # at one moment events first
        centre = x.mean(axis=0)
        x, time, event = x[order] - centre, time[order], event[order]
        moments = time[event]
        last = np.searchsorted(-time, -moments, side="right") - 1
        first = np.searchsorted(-time, -moments, side="left")  # first patient of this moment, an event
        rank = np.flatnonzero(event) - first
        tied = np.searchsorted(-moments, -moments, side="right") - np.searchsorted(-moments, -moments, side="left")
        return cls(x, centre, time, event, last, first, rank / np.maximum(tied, 1))

    def sums(self, beta: Floats) -> tuple[Floats, Floats, Floats]:
        """At each event over those at risk, in Efron's way: [events] weights, [events, p] times x, [events, p, p] times x x'."""
        weight = np.exp(np.clip(self.x @ beta, -50, 50))
        terms = (weight, weight[:, None] * self.x, weight[:, None, None] * self.x[:, :, None] * self.x[:, None, :])
        return tuple(self._at_risk(term) for term in terms)  # type: ignore[return-value]

    def _at_risk(self, term: Floats) -> Floats:
        shape = (-1,) + (1,) * (term.ndim - 1)
        running = np.cumsum(term, axis=0)
        of_events = np.concatenate([np.zeros_like(running[:1]), np.cumsum(term * self.event.reshape(shape), axis=0)])
        tied = of_events[self.last + 1] - of_events[self.first]
        return np.asarray(running[self.last] - self.gone.reshape(shape) * tied, dtype=np.float64)

    def likelihood(self, beta: Floats, penalty: float) -> tuple[float, Floats, Floats]:
        """(log partial likelihood, its gradient, minus its second derivative)."""
        s0, s1, s2 = self.sums(beta)
        s0 = np.maximum(s0, 1e-300)
        mean = s1 / s0[:, None]
        of = self.x[self.event]
        value = float((of @ beta).sum() - np.log(s0).sum() - penalty / 2 * beta @ beta)
        score = (of - mean).sum(axis=0) - penalty * beta
        information = (s2 / s0[:, None, None]).sum(axis=0) - mean.T @ mean + penalty * np.eye(len(beta))
        return value, score, information

    def baseline(self, beta: Floats) -> tuple[Floats, Floats]:
        """(event times ascending, cumulative hazard at covariates of 0)."""
        weight = np.exp(np.clip(self.x @ beta, -50, 50))
        steps = 1 / np.maximum(np.cumsum(weight)[self.last], 1e-300) * np.exp(-float(self.centre @ beta))
        return self.time[self.event][::-1], np.cumsum(steps[::-1]).astype(np.float64)
