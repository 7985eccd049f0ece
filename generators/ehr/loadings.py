"""Moves what the latent vector says of numbers and of the outcome until these go together as they do in the cohort.

The most probable change of the weights with which the latent vector enters numbers (their level, and its change with time) and
log hazards, and the nearness of the end enters numbers, given what is believed of the moments and how sure that is; found by
L-BFGS on simulated patients (indirect inference, Gouriéroux et al. 1993). One latent vector stands behind all of a patient's
record, so what a number foretells is kept; a linear map of the numbers themselves made them predict the outcome worse.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generators.ehr import moments
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.layout import BINS, Layout
from generators.ehr.model import RecordVAE
from generators.ehr.moments import AT_ONCE, Centre
from generators.ehr.network import LOG_HAZARD, NEAR, approach
from generators.ehr.process import Chance, records

LEVEL, TREND, SHIFT, NEARNESS, HAZARD = 0.25, 0.4, 0.3, 0.4, 0.5
"""Prior standard deviations of the change, for one standard deviation of the latent vector; of TREND over the horizon, of
NEARNESS on the day of an event that ends follow-up."""
FREER = 3.0
"""Times as much, where public knowledge says of no measurement how the severity of the disease shows in it."""
MISFIT = 0.03
"""How far moments may stay off beyond what is unsure of them, in patients' standard deviations."""
MATCHED = tuple(name for name in moments.BLOCKS if name not in ("present", "anchor"))
ROUNDS, ITERATIONS = 2, 30


@dataclass(frozen=True)
class Goal:
    """What is believed of the mean of `moments.moments` [numbers] around `centre`, and the covariance of that belief."""

    centre: Centre
    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Change:
    """Of the loadings: level, trend [numeric, latent], shift [numeric], near [numeric, events * NEAR], hazard [events,
    latent]."""

    level: Tensor
    trend: Tensor
    shift: Tensor
    near: Tensor
    hazard: Tensor

    @classmethod
    def sizes(cls, numeric: int, events: int, latent: int) -> list[int]:
        """How many numbers each has."""
        return [numeric * latent, numeric * latent, numeric, numeric * events * len(NEAR), events * latent]

    @classmethod
    def of(cls, flat: Tensor, numeric: int, events: int, latent: int) -> Change:
        level, trend, shift, near, hazard = flat.split(cls.sizes(numeric, events, latent))
        shape = (numeric, latent)
        near = near.reshape(numeric, events * len(NEAR))
        return cls(level.reshape(shape), trend.reshape(shape), shift, near, hazard.reshape(events, latent))


def match(fitted: Fitted, goal: Goal, patients: int, seed: int) -> Fitted:
    """The same model, its loadings moved; deterministic given `seed`.

    Args:
        patients: how many simulated ones stand for the model's own moments.
    """
    model = copy.deepcopy(fitted.model).requires_grad_(False)
    fitted = replace(fitted, model=model, transport=None)
    shape = len(model.layout.numeric), len(model.layout.causes) - 1, model.latent
    sizes = Change.sizes(*shape)
    if not sum(sizes) or not len(goal.mean):
        return fitted
    width = torch.cat(
        [torch.full((n,), s) for n, s in zip(sizes, (LEVEL, TREND, SHIFT, NEARNESS, HAZARD), strict=True)]
    )
    width = width * (1.0 if _severity_is_known(model.layout) else FREER)
    done = torch.zeros(sum(sizes))
    for _ in range(ROUNDS):
        simulated = _Simulated.of(fitted, goal, patients, Chance.seeded(seed))
        step = _most_probable(simulated, shape, done, width)
        done = done + step
        _take(fitted, Change.of(step, *shape))
    return fitted


def _severity_is_known(layout: Layout) -> bool:
    known = (c.knowledge for c in layout.dictionary.measurements.values())
    return any(k is not None and k.severity is not None for k in known)


def _most_probable(simulated: _Simulated, shape: tuple[int, int, int], done: Tensor, width: Tensor) -> Tensor:
    """[numbers] the step with the least squared distances from goal and prior."""
    step = torch.zeros_like(done, requires_grad=True)
    optimizer = torch.optim.LBFGS([step], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = simulated.missed(Change.of(step, *shape)) + (((done + step) / width) ** 2).sum()
        total.backward()
        return total

    optimizer.step(loss)
    found = step.detach()
    if not bool(found.isfinite().all()):  # a line search that ran away says nothing
        return torch.zeros_like(found)
    return found


@dataclass(frozen=True)
class _Simulated:
    """Simulated patients whose moments are a differentiable function of a change of the loadings."""

    model: RecordVAE
    made: Records
    z: Tensor  # [patients, latent]
    latent: Tensor  # the same around zero, of unit variance
    gain: Tensor
    near: Tensor  # [patients, visits, features]
    ends: Tensor  # [patients, outcomes] expected, before the change
    goal: Goal
    used: Tensor
    root: Tensor

    @classmethod
    def of(cls, fitted: Fitted, goal: Goal, patients: int, chance: Chance) -> _Simulated:
        model = fitted.model
        z, static = fitted.latents(patients, chance)
        made = records(model, fitted.calibration, z, static, chance)
        own = moments.moments(parts := moments.split(made, model.layout), goal.centre)
        places = moments.blocks(torch.arange(own.shape[1]), parts)
        used = torch.cat([places[name] for name in MATCHED])
        slack = torch.diag((MISFIT * own.std(dim=0)[used].clamp(min=1e-3)) ** 2)
        latent = (z - fitted.prior.mean) @ torch.linalg.inv(fitted.prior.factor).T
        gain = model.parameters_of()["x_gain"].exp()
        ends = expected_outcome(model, z, torch.zeros(len(z), len(model.layout.causes) - 1))
        near = approach(made["time"], made["end"], made["cause"], len(model.layout.causes))
        root = torch.linalg.cholesky(goal.covariance[used][:, used] + slack)
        return cls(model, made, z, latent, gain, near, ends, goal, used, root)

    def missed(self, change: Change) -> Tensor:
        """Squared distance from the goal, in units of what is unsure."""
        late = self.made["time"].unsqueeze(-1)
        level, trend = (self.latent @ part.T for part in (change.level, change.trend))
        move = level.unsqueeze(1) + trend.unsqueeze(1) * late + change.shift + self.near @ change.near.T
        parts = moments.split({**self.made, "x": self.made["x"] + self.gain * move}, self.model.layout)
        ends = expected_outcome(self.model, self.z, self.latent @ change.hazard.T)
        parts = replace(parts, outcome=parts.outcome + (ends - self.ends).double())
        now = moments.moments(parts, self.goal.centre).mean(dim=0)[self.used]
        missed = torch.linalg.solve_triangular(self.root, (now - self.goal.mean[self.used]).unsqueeze(1), upper=False)
        total: Tensor = missed.square().sum().float()
        return total


def expected_outcome(model: RecordVAE, z: Tensor, tilt: Tensor) -> Tensor:
    """[patients, outcomes] expected log end of follow-up and chance of each event, as `moments.Split.outcome` has them.

    Args:
        tilt: [patients, events] added to the hazards, before their gain.
    """
    theta = model.parameters_of()
    log_hazard = model.decoder.whole(z, theta).log_hazard  # [patients, BINS, causes]
    added = torch.cat([theta["hazard_gain"][:-1].exp() * tilt, torch.zeros(len(z), 1)], dim=1)
    hazard = (log_hazard + added.unsqueeze(1)).clamp(*LOG_HAZARD).exp()
    total = hazard.sum(dim=-1)
    left = torch.cat([torch.ones(len(z), 1), (-(total / BINS).cumsum(dim=1)).exp()], dim=1)
    ends = torch.cat([left[:, :-2] - left[:, 1:-1], left[:, -2:-1]], dim=1)  # the last bin is open
    middle = (torch.arange(BINS) + 0.5) / BINS
    causes = (ends.unsqueeze(-1) * hazard / total.unsqueeze(-1)).sum(dim=1)
    return torch.cat([(ends * (middle + AT_ONCE).log()).sum(dim=1, keepdim=True), causes[:, :-1]], dim=1)


def _take(fitted: Fitted, change: Change) -> None:
    """Into the decoder's weights, in place."""
    model, white, mean = fitted.model, torch.linalg.inv(fitted.prior.factor), fitted.prior.mean
    decoder, latent, numeric = model.decoder, model.latent, len(change.shift)
    hidden, events = decoder.middle.out_features, len(change.hazard)
    level, trend, hazard = change.level @ white, change.trend @ white, change.hazard @ white
    with torch.no_grad():
        visit = decoder.visit_out  # of hidden, z, z * time, features of time (the first is time), gap
        visit.weight[:numeric, hidden : hidden + latent] += level
        visit.weight[:numeric, hidden + latent : hidden + 2 * latent] += trend
        visit.weight[:numeric, hidden + 2 * latent] -= trend @ mean
        visit.weight[:numeric, visit.in_features - change.near.shape[1] :] += change.near
        visit.bias[:numeric] += change.shift - level @ mean
        if events:
            decoder.hazard_out.weight[:events, hidden : hidden + latent] += hazard
            decoder.hazard_out.bias[:events] -= hazard @ mean
