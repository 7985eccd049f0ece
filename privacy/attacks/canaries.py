"""Audit of the one door with canaries: does it clip, add noise and sample as the plan says? (Nasr et al. 2023)

A canary is a made-up patient whose statistic, or gradient, is far above the clip and points in a direction of its own. Half the
directions have their canary in the session, half have none. From the same answers that a generator would get, an attacker
says of each direction whether its canary took part. How often that succeeds bounds the noise there can have been: at error
rates a and b, mu >= Phi^-1(1 - a) - Phi^-1(b) (Dong et al. 2022), whatever the program says of itself. The cut-off is fixed
beforehand, half way to where the canaries must lie. No real patient takes part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privacy.accounting import epsilon, gaussian_epsilon, parts
from privacy.charges import Charge
from privacy.gradients import Records
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.rates import Rate, clopper_pearson
from privacy.session import Session
from privacy.tradeoff import tpr_at

Floats = NDArray[np.float64]

BLOCK = 128
"""Canaries of one session; it has as many directions again without a canary."""
VISITS = 4
"""Rows of one canary. All point the same way: clipped one by one, they would count as so many patients."""
CLIP_NORM = 0.7
FAR = 1e3
"""Norm of each of a canary's rows in clip norms."""
CROWD = 1024
"""Patients whose statistics all point one way: their sum tells how many were sampled."""
DOOR = 0.99999
"""Confidence of each limit on noise, clip and sampling: there are many charges, and the answers are many enough."""
MOST_STEPS = 40
"""Steps of one charge that are looked at one by one; the attack itself uses all."""


@dataclass(frozen=True)
class ChargeAudit:
    """What the answers of one charge show. Each is measured over declared: 1 is as planned."""

    charge: str
    noise: Rate
    """Standard deviation of the noise; below 1 there is too little."""
    contribution: Rate
    """How much a patient counts whose statistic is far above the clip; above 1 it was not clipped, or not as one patient."""
    sampling: Rate | None
    """Variance of the number of patients sampled; not 1 where they were not drawn independently. None for full batches."""


@dataclass(frozen=True)
class CanaryAudit:
    """`convicted` names what cannot be so if the plan's charges are true; empty for an honest door."""

    tpr: Rate
    fpr: Rate
    mu_low: float
    """Lower bound on mu of all charges together (exact for full batches; where patients are sampled, of this operating point)."""
    epsilon_low: float
    """Lower bound on epsilon at the plan's delta."""
    ceiling: float
    """The largest `epsilon_low` that this many canaries could prove."""
    charges: tuple[ChargeAudit, ...]
    convicted: tuple[str, ...]
    canaries: int


def audit_canaries(
    charges: Sequence[Charge],
    delta: float,
    claim_epsilon: float,
    canaries: int = 4096,
    confidence: float = 0.999,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> CanaryAudit:
    """Runs every charge of a plan on canaries, through `Session.sum` and `Session.gradient` in turn.

    Args:
        charges: the plan's, calibrated.
        delta: of the claim.
        claim_epsilon: convicted when the lower bound lies above it.
        confidence: of the bound on epsilon; the other tests have `DOOR`.
    """
    blocks = max(2, canaries // BLOCK)
    present: list[Floats] = []
    absent: list[Floats] = []
    answers: dict[str, list[Floats]] = {c.name: [] for c in charges}
    for block in range(blocks):
        progress(block, blocks)
        session = Session(_canaries(), charges, declared_patients=BLOCK, noise=Noise(), journal=Journal())
        ask = _gradient if block % 2 else _sum
        score = np.zeros(2 * BLOCK)
        for charge in charges:
            seen = np.stack([ask(session, charge.name) for _ in range(charge.steps)]) / CLIP_NORM  # [steps, directions]
            score += seen.sum(axis=0) * charge.sampling_rate / charge.noise_multiplier**2
            answers[charge.name].append(seen[:MOST_STEPS])
        present.append(score[:BLOCK])
        absent.append(score[BLOCK:])
    cut = sum(c.steps * (c.sampling_rate / c.noise_multiplier) ** 2 for c in charges) / 2
    tpr = _rate(np.concatenate(present) > cut, confidence)  # two-sided: either limit errs half as often
    fpr = _rate(np.concatenate(absent) > cut, confidence)
    audited = tuple(_charge_audit(c, np.stack(answers[c.name])) for c in charges)
    mu_low, epsilon_low = _lower_bounds(charges, delta, tpr.low, fpr.high)
    most = clopper_pearson(tpr.n, tpr.n, confidence).low, clopper_pearson(0, fpr.n, confidence).high
    convicted = _convicted(audited, epsilon_low, claim_epsilon, answers)
    ceiling = gaussian_epsilon(_mu(*most), delta)
    return CanaryAudit(tpr, fpr, mu_low, epsilon_low, ceiling, audited, convicted, tpr.n)


# What is asked ------------------------------------------------------------------------------------------------------------
def _canaries() -> dict[str, Tensor]:
    return {"direction": torch.arange(BLOCK), "rows": torch.full((BLOCK, VISITS), FAR * CLIP_NORM, dtype=torch.float64)}


def _vectors(rows: Records) -> Tensor:
    """[canaries, directions]: all of a canary's rows along its own direction; the second half of the directions stays empty."""
    vectors = torch.zeros(len(rows["direction"]), 2 * BLOCK, dtype=rows["rows"].dtype)
    return vectors.scatter(1, rows["direction"][:, None], rows["rows"].sum(dim=1, keepdim=True))


def _sum(session: Session, charge: str) -> Floats:
    return np.asarray(session.sum(_vectors, CLIP_NORM, charge).numpy(), dtype=np.float64)


def _gradient(session: Session, charge: str) -> Floats:
    """The same through a DP-SGD step: the gradient of a linear loss is the canary itself."""
    model = nn.Linear(2 * BLOCK, 1, bias=False)
    session.gradient(model, lambda m, rows: m(_vectors(rows).float().requires_grad_()).squeeze(1), CLIP_NORM, charge)
    assert model.weight.grad is not None
    return np.asarray(model.weight.grad.numpy().ravel() * session.expected(charge), dtype=np.float64)


# What the answers show ----------------------------------------------------------------------------------------------------
def _charge_audit(charge: Charge, seen: Floats) -> ChargeAudit:
    """[blocks, steps, directions] answers in clip norms."""
    from scipy.stats import norm

    present, absent = seen[..., :BLOCK], seen[..., BLOCK:]
    mean, error = present.mean() / charge.sampling_rate, present.std() / np.sqrt(present.size) / charge.sampling_rate
    half = norm.isf(1 - DOOR) * error
    contribution = Rate(float(mean), float(mean - half), float(mean + half), present.size)
    return ChargeAudit(
        charge.name,
        _spread(absent.ravel(), charge.noise_multiplier),
        contribution,
        _sampled(charge),
    )


def _spread(noise: Floats, declared: float) -> Rate:
    """Standard deviation over the declared one, with one-sided chi-square limits."""
    low, high = _variance_limits(float((noise**2).sum()) / declared**2, noise.size, DOOR)
    return Rate(float(np.sqrt((noise**2).mean()) / declared), low**0.5, high**0.5, noise.size)


def _sampled(charge: Charge) -> Rate | None:
    """Variance of the number of sampled patients over that of independent draws, from the sums of a crowd."""
    if charge.sampling_rate >= 1:
        return None
    counts: list[float] = []
    for _ in range(max(1, 4 * MOST_STEPS // charge.steps)):
        session = Session({"one": torch.ones(CROWD, 1)}, [charge], CROWD, Noise(), Journal())
        steps = min(charge.steps, 4 * MOST_STEPS)
        counts += [float(session.sum(lambda rows: rows["one"], 1.0, charge.name)) for _ in range(steps)]
    rate, sigma = charge.sampling_rate, charge.noise_multiplier
    declared = CROWD * rate * (1 - rate) + sigma**2
    off = np.array(counts) - CROWD * rate
    low, high = _variance_limits(float((off**2).sum()) / declared, len(counts), 1 - (1 - DOOR) / 2)
    return Rate(float((off**2).mean() / declared), low, high, len(counts))


def _variance_limits(sum_of_squares: float, n: int, confidence: float) -> tuple[float, float]:
    from scipy.stats import chi2

    tail = 1 - confidence
    return sum_of_squares / float(chi2.isf(tail, n)), sum_of_squares / float(chi2.ppf(tail, n))


def _lower_bounds(charges: Sequence[Charge], delta: float, tpr: float, fpr: float) -> tuple[float, float]:
    """(mu, epsilon). Where patients are sampled, epsilon is that of the same charges with as little noise as the attack's
    success needs."""
    mu = _mu(tpr, fpr)
    if mu <= 0 or not parts(charges)[1]:
        return mu, gaussian_epsilon(mu, delta)
    least, most = 0.1, 10.0  # shares of the declared noise
    for _ in range(12):
        factor = (least * most) ** 0.5
        if tpr_at([c.scaled(factor) for c in charges], fpr) >= tpr:
            least = factor
        else:
            most = factor
    return mu, epsilon([c.scaled(most) for c in charges], delta)


def _mu(tpr: float, fpr: float) -> float:
    from scipy.special import ndtri

    return max(0.0, float(ndtri(tpr) - ndtri(fpr)))


def _convicted(
    audited: Sequence[ChargeAudit], epsilon_low: float, claim: float, answers: dict[str, list[Floats]]
) -> tuple[str, ...]:
    found = ["epsilon"] if epsilon_low > claim else []
    found += [f"noise of {c.charge}" for c in audited if c.noise.high < 1]
    found += [f"clipping of {c.charge}" for c in audited if c.contribution.low > 1]
    found += [f"sampling of {c.charge}" for c in audited if c.sampling and not c.sampling.low <= 1 <= c.sampling.high]
    if _repeats([block[:, BLOCK:] for blocks in answers.values() for block in blocks]):
        found.append("fresh noise")
    if not fresh_after_resume():
        found.append("fresh noise after a resume")
    return tuple(found)


def _repeats(noise: Sequence[Floats]) -> bool:
    """Whether any answer's noise stands twice: then whoever has both can subtract it."""
    starts = np.concatenate([block[:5, :4] for block in noise])  # [answers, 4]
    directions = np.round(starts[:, 1:] / starts[:, :1], 3)  # the same noise at another scale is the same noise
    return len(np.unique(directions, axis=0)) < 0.99 * len(directions)


def fresh_after_resume() -> bool:
    """Whether an answer that was drawn but lost in a crash is drawn again with other noise."""
    charge = Charge("canary/resume", 1.0, steps=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lost = _asked(folder, charge)
        sorted(folder.glob("*.safetensors"))[-1].unlink()
        return not np.allclose(lost, _asked(folder, charge))


def _asked(folder: Path, charge: Charge) -> Floats:
    """The last of three answers of a session on this journal, opened as a run opens it."""
    session = Session({"none": torch.zeros(2, 8)}, [charge], 2, Noise(), Journal(folder))
    return np.asarray([session.sum(lambda rows: rows["none"], 1.0, charge.name).numpy() for _ in range(3)][-1])


def _rate(hits: NDArray[np.bool_], confidence: float) -> Rate:
    return clopper_pearson(int(hits.sum()), hits.size, confidence)
