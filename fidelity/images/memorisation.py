"""Memorisation: is a synthetic picture a training picture, or nearly?

Attack: how near the nearest training picture is. Control: how near the nearest holdout picture is. After Carlini et al. 2023
(Extracting training data from diffusion models, section 4.2), a distance is read relative to how near pictures lie to each
other around there: here to the holdout, in whose pictures the generator cannot have had a part. The score of a picture is

    s(x) = log d(x, holdout) - log d(x, training),

and what is too high is learnt from the holdout's own pictures (each against the other holdout patients): they were not made
from training pictures, whatever the disease makes alike. Beyond their largest scores an exponential tail is assumed (Hill
1975; Weissman 1978), put where a cohort of as many independent pictures is flagged at all once in `1 / ERROR` cohorts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.images.features import Floats
from fidelity.images.nearness import SPACES, Nearness, nearness
from fidelity.images.sets import Pictures, Sets
from privacy.rates import Rate, clopper_pearson
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag

ERROR = 0.01
"""The chance that a cohort of independent pictures is flagged at all, shared out between the two spaces."""
TAIL = 0.1
"""Share of the holdout's scores from which the tail is learnt, `FEWEST_IN_TAIL` at least."""
FEWEST_IN_TAIL = 8


class ImageMemorisation:
    """`memorised`: synthetic pictures that are a training picture or lie far nearer to one than independent pictures do, in
    pixels (shifted by up to one) or in features (principal components of descriptors, learnt on training and holdout alike).
    Any one fails the cohort, unless real patients repeat each other as often. `nearest_is_trained`: share of synthetic
    pictures whose nearest real one was trained on, beside the share expected (the floor). Flags each patient with a memorised
    picture; the flags read real patients."""

    name = "image-memorisation"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sets = Sets.of(evidence)
        if sets is None:
            return []
        found = memorised(sets.train, sets.holdout, sets.synthetic, evidence.rng)
        return [_memorised(found), _nearest(found)]

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        """One for each patient with a memorised picture."""
        sets = Sets.of(evidence)
        whole = Pictures.of(evidence.synthetic, evidence.dictionary)
        if sets is None or whole is None:
            return []
        found = memorised(sets.train, sets.holdout, whole, evidence.rng)
        patients = {str(whole.patients[row]): bool(found.exact[row]) for row in np.flatnonzero(found.flagged)}
        return [_flag(patient, exact) for patient, exact in patients.items()]


@dataclass(frozen=True)
class Memorised:
    """[pictures] of the synthetic cohort."""

    flagged: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    """Equal to a training picture, and to no holdout picture, in every pixel that is looked at (but for the shift)."""
    control: Rate
    """Real pictures that would be flagged, being so near to another patient's: what the cohort itself makes alike."""
    to_trained: NDArray[np.bool_]
    """Whether the nearest real picture was trained on (in pixels)."""
    chance: tuple[float, float, float]
    """Share of `to_trained` that chance makes: expected, and the middle 95%."""
    p_value: float


def memorised(train: Pictures, holdout: Pictures, synthetic: Pictures, rng: np.random.Generator) -> Memorised:
    """Looks for copies of training pictures."""
    flagged = np.zeros(len(synthetic), dtype=bool)
    repeated = np.zeros(len(train) + len(holdout), dtype=bool)
    spaces = {space: nearness(space, train, holdout, synthetic) for space in SPACES}
    for near in spaces.values():
        null = score(near.holdout_to_holdout, near.holdout_to_train)
        threshold = tail_threshold(null, ERROR / len(SPACES) / len(synthetic))
        flagged |= score(near.to_holdout, near.to_train) > threshold
        repeated |= np.concatenate([score(near.train_to_holdout, near.train_to_train), null]) > threshold
    exact = (spaces["pixels"].to_train == 0) & (spaces["pixels"].to_holdout > 0)
    patients = np.concatenate([train.patients, holdout.patients])
    sides, chance, p_value = _sides(spaces["pixels"], patients, len(train), rng)
    control = clopper_pearson(int(repeated.sum()), len(repeated))
    return Memorised(flagged, exact, control, sides, chance, p_value)


def score(to_holdout: Floats, to_train: Floats) -> Floats:
    """[pictures] s(x): inf for a copy of a training picture, 0 where a picture equals one of either kind."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(to_holdout) - np.log(to_train)
    return np.asarray(np.nan_to_num(found, nan=0.0, posinf=np.inf, neginf=-np.inf))


def tail_threshold(null: Floats, share: float) -> float:
    """The score that independent pictures exceed with probability `share`, however small: Weissman's estimator for an
    exponential tail, whose scale is Hill's: the mean excess of the k largest scores over the next one. Never below the
    largest score seen."""
    ordered = np.sort(null[np.isfinite(null)])[::-1]
    k = min(len(ordered) - 1, max(FEWEST_IN_TAIL, int(TAIL * len(ordered))))
    if k < 1:
        return float("inf")
    scale = float((ordered[:k] - ordered[k]).mean())
    return max(float(ordered[0]), float(ordered[k]) + scale * float(np.log(k / (len(ordered) * share))))


def _sides(
    near: Nearness, patients: NDArray[np.object_], trained: int, rng: np.random.Generator, draws: int = 4000
) -> tuple[NDArray[np.bool_], tuple[float, float, float], float]:  # fmt: skip
    """Whose side the nearest real picture is on, what chance makes of it, and how often chance makes as much: by exchanging
    the real *patients* between the sides, for a patient's pictures lie together."""
    ids, of = np.unique(patients.astype(str), return_inverse=True)
    neighbours = np.bincount(of[near.nearest_real], minlength=len(ids))
    members = len(np.unique(of[:trained]))
    sides = near.nearest_real < trained
    chance = np.array([rng.permutation(neighbours)[:members].sum() for _ in range(draws)]) / len(sides)
    low, high = np.quantile(chance, [0.025, 0.975])
    p_value = (1 + int((chance >= sides.mean() - 1e-12).sum())) / (1 + draws)
    return sides, (members / len(ids), float(low), float(high)), p_value


def _memorised(found: Memorised) -> Finding:
    count, n = int(found.flagged.sum()), len(found.flagged)
    rate = clopper_pearson(count, n)
    by_chance = found.control.value > 0 and rate.value <= found.control.high
    verdict: Verdict = "pass" if count == 0 else "inconclusive" if by_chance else "fail"
    outcome = {
        "pass": "No picture was handed on.",
        "inconclusive": "Real patients of this cohort repeat each other as often, so that this may be chance: look at them.",
        "fail": "Independent pictures do not repeat training pictures so: suspect a generator that memorises, or copies.",
    }[verdict]
    text = (
        f"{count} of {n} synthetic pictures are (nearly) a training patient's picture, {int(found.exact.sum())} of them in every "
        f"pixel. {outcome}"
    )
    return Finding(
        "image-memorisation", "memorised", rate.value, verdict, text, low=rate.low, high=rate.high, n=n,
        ceiling=found.control.value, bound=0.0, better="lower",
    )  # fmt: skip


def _nearest(found: Memorised) -> Finding:
    value, (expected, low, high) = float(found.to_trained.mean()), found.chance
    verdict: Verdict = "inconclusive" if found.p_value <= ERROR else "pass"
    outcome = (
        "Chance does not do that: synthetic pictures are drawn towards those trained on."
        if verdict == "inconclusive"
        else "That is what chance does."
    )
    text = (
        f"Of the synthetic pictures, {value:.0%} have a training picture as their nearest real one; chance puts it at "
        f"{expected:.0%} (95% of the time between {low:.0%} and {high:.0%}, p = {found.p_value:.2g}). {outcome}"
    )
    return Finding(
        "image-memorisation", "nearest_is_trained", value, verdict, text, n=len(found.to_trained), floor=expected, bound=high,
        better="lower",
    )  # fmt: skip


def _flag(patient: str, exact: bool) -> Flag:
    how = "is a training picture in every pixel" if exact else "is nearly a training picture"
    return Flag(
        patient,
        "memorised image",
        "severe",
        f"This patient's picture {how}: independent pictures never lie so near to one. It may show a real person.",
        reads_real_data=True,
        score=1.0 if exact else 0.5,
    )


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = ImageMemorisation()
