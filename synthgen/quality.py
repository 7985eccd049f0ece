"""How likely a synthetic patient is clinically wrong, from its flags: before anybody has looked, and as decisions arrive.

Before: each flag has a chance of being right, from its severity and from how often chance alone raises it; a patient's flags
are joined as independent reasons (noisy or; Pearl 1988). A reason that many patients share says at first more of itself (a
mistaken limit, a habit of the generator) than of each of them: in the queue it is doubted until some were looked at. As decisions
arrive, a logistic regression on the same flags moves that judgement: a penalty holds it at what was thought before, so that ten
decisions move it a little and a thousand a lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.flags import RANK, Flag
from synthgen.queue import patients_of

if TYPE_CHECKING:
    Floats = NDArray[np.float64]

SURE: dict[str, float] = {"severe": 0.95, "moderate": 0.75, "mild": 0.35}
"""How likely a flag is right that says nothing of its chance."""
EXPECTED = 0.02
"""Share of patients expected to be wrong in some way that a detector looks for."""
LOOKED_FOR = 20
"""Roughly how many things are looked for in each patient: that many chances of a false alarm."""
UNFLAGGED = 0.005
"""How likely a patient without a flag is wrong, before anybody has looked."""
SHARED = 0.002
"""Share of patients up to which one reason may flag patients and be believed of each."""
LOOSE = np.array([1.5, 0.5])
"""Prior standard deviations of what decisions may move: all patients alike, and the weight of the first judgement."""
LOOSE_REASON = 1.5
"""The same for each reason."""


def suspicion(flag: Flag) -> float:
    """How likely one flag is right, before anybody has looked."""
    alone = flag.evidence.get("chance", flag.evidence.get("share"))
    if flag.severity == "severe" or alone is None:
        return SURE[flag.severity] * (1.0 if flag.severity == "severe" else min(1.0, 0.4 + 0.6 * flag.score))
    odds = EXPECTED / (LOOKED_FOR * max(float(alone), 1e-9))
    return min(odds / (1 + odds), 0.98) * (1.0 if flag.severity == "moderate" or "chance" in flag.evidence else 0.5)


def wrong(flags: Iterable[Flag]) -> float:
    """How likely a patient with these flags is wrong."""
    right = 1 - UNFLAGGED
    for flag in flags:
        right *= 1 - suspicion(flag)
    return 1 - right


def quality(patients: Iterable[str], flags: Iterable[Flag], real_data: bool = False) -> dict[str, float]:
    """Patient -> 0 (surely wrong) to 1. Flags that read real patients count only with `real_data` (DESIGN.md, rule 8). A near
    duplicate has the flags of the patient that stands for it."""
    of: dict[str, list[Flag]] = {}
    for flag in flags:
        if real_data or not flag.reads_real_data:
            for patient in patients_of(flag):
                of.setdefault(patient, []).append(flag)
    return {str(patient): round(1 - wrong(of.get(patient, ())), 6) for patient in patients}


def scores(patients: Iterable[str], flags: Sequence[Flag]) -> dict[str, dict[str, float]]:
    """What a run keeps of every patient: its quality by flags that read no real patient, and by all of them (which stays
    inside)."""
    ids = list(patients)
    return {"data_independent": quality(ids, flags), "with_real_data": quality(ids, flags, real_data=True)}


def flags_of(flags: Iterable[Flag], real_data: bool = False) -> dict[str, list[Flag]]:
    """Patient -> its flags, the worst first. Of near duplicates only the one that stands for them is named."""
    found: dict[str, list[Flag]] = {}
    for flag in flags:
        if real_data or not flag.reads_real_data:
            found.setdefault(flag.patient_id, []).append(flag)
    return {patient: sorted(mine, key=lambda f: (RANK[f.severity], -f.score)) for patient, mine in found.items()}


def family(reason: str) -> str:
    """What a reason has in common with others: `out of bounds` of `out of bounds visits.albumin`."""
    return reason if reason.startswith("rule ") else " ".join(w for w in reason.split() if "." not in w)


def doubts(flags: Iterable[Flag], patients: int) -> dict[str, float]:
    """Family of reasons -> what its logit is lowered by before anybody has looked: log(SHARED / the share of the other patients
    that it flags), where that is more than `SHARED`. Flags that tell their own chance are not doubted twice.

    Args:
        flags: near duplicates told once.
        patients: how many there are.
    """
    flagged: dict[str, set[str]] = {}
    for flag in flags:
        if "chance" not in flag.evidence:
            flagged.setdefault(flag.reason, set()).add(flag.patient_id)
    shares = {reason: (len(mine) - 1) / max(patients, 1) for reason, mine in flagged.items()}
    common = {reason: float(np.log(SHARED / share)) for reason, share in shares.items() if share > SHARED}
    return {family(reason): doubt for reason, doubt in sorted(common.items(), key=lambda item: -item[1])}


@dataclass(frozen=True)
class Judgement:
    """What decisions taught: logit(wrong) = a + b logit(before) + sum of the weights of a patient's reasons."""

    intercept: float = 0.0
    slope: float = 1.0
    reasons: Mapping[str, float] | None = None

    def __call__(self, flags: Sequence[Flag]) -> float:
        """How likely a patient with these flags is wrong."""
        reasons = {family(f.reason) for f in flags}
        weight = sum((self.reasons or {}).get(reason, 0.0) for reason in reasons)
        return float(1 / (1 + np.exp(-(self.intercept + self.slope * _logit(wrong(flags)) + weight))))


def learn(decided: Sequence[tuple[Sequence[Flag], bool]], doubted: Mapping[str, float] | None = None) -> Judgement:
    """The judgement after decisions (a patient's flags, whether it was wrong): maximum a posteriori, by Newton's method.

    Args:
        doubted: weights of reasons before any decision (`doubts`), which decisions move like all others.
    """
    doubted = doubted or {}
    if not decided:
        return Judgement(reasons=doubted)
    alike: dict[tuple[frozenset[str], float], list[bool]] = {}  # most patients have no flag: they are one row
    for flags, bad in decided:
        alike.setdefault((frozenset(family(f.reason) for f in flags), _logit(wrong(flags))), []).append(bad)
    names = sorted(set().union(*(reasons for reasons, _ in alike)))
    place = {name: 2 + i for i, name in enumerate(names)}
    x = np.zeros((len(alike), 2 + len(names)))  # [kinds of patients, features]
    x[:, 0] = 1
    for row, (reasons, before) in enumerate(alike):
        x[row, 1] = before
        x[row, [place[name] for name in reasons]] = 1
    looks, found = (np.array([how(answers) for answers in alike.values()], dtype=np.float64) for how in (len, sum))
    centre = np.array([0.0, 1.0, *(doubted.get(name, 0.0) for name in names)])
    penalty = 1 / np.concatenate([LOOSE, np.full(len(names), LOOSE_REASON)]) ** 2
    w = centre.copy()
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        gradient = x.T @ (looks * p - found) + penalty * (w - centre)
        curvature = (x * (looks * p * (1 - p))[:, None]).T @ x + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        w = w - step * min(1.0, 2.0 / float(np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return Judgement(float(w[0]), float(w[1]), {**doubted, **dict(zip(names, w[2:].tolist(), strict=True))})


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))
