"""Utility of pictures: does a classifier that learnt from synthetic ones work on real ones, and do synthetic cases help where
real ones are rare?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.images.features import Bytes, Floats
from fidelity.images.network import Network
from fidelity.images.reader import FEWEST, Reader, area, shown
from fidelity.images.sets import UNKNOWN, Pictures, Sets, condition_columns
from privacy.rates import Rate
from synthgen.findings import Evidence, Finding, Verdict

if TYPE_CHECKING:
    from synthgen.dictionary import Column

Codes = NDArray[np.int64]

LOSS = 0.05
"""An AUC this much below that of real training pictures is tolerated (as in `fidelity.utility`)."""
RARE = (20, 50, 100)
"""Real cases of the rare category that are there to learn from."""
REPEATS = 5
"""Draws of the rare cases."""
DRAWS = 500
MODELS = ("svm", "network")


class ImageUtility:
    """`tstr_..._svm`, `tstr_..._network`: AUC on holdout pictures of a classifier that learnt a condition from synthetic
    pictures (mean over categories, one against the rest), with an interval over holdout patients, beside that of the same
    classifier trained on as many real pictures (TRTR, the `ceiling`) and 0.5 (the `floor`); for the condition that real
    pictures show best. `augmented_...`: what synthetic cases of the rarest category add to that AUC where 20, 50 or 100 real
    ones are known and every other picture is real; information."""

    name = "image-utility"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sets = Sets.of(evidence)
        name = next(iter(shown(sets.train, sets.holdout)), None) if sets else None
        if sets is None or name is None:
            return []
        column = condition_columns(evidence.dictionary)[name]
        found = [finding for model in MODELS for finding in _transferred(name, column, model, sets)]
        return [*found, *_augmented(name, column, sets)]


def scores(model: str, train: Pictures, name: str, test: Bytes) -> tuple[Floats, Codes] | None:
    """([test pictures, categories] scores, categories) of a classifier trained on pictures; None where they have fewer than two
    categories of five pictures."""
    codes = train.conditions[name]
    if model == "svm":
        reader = Reader.trained(train.pixels, codes)
        return None if reader is None else (reader.scores(test), reader.categories)
    categories = np.array([c for c in np.unique(codes) if c != UNKNOWN and (codes == c).sum() >= FEWEST])
    if len(categories) < 2:
        return None
    known = train.where(np.isin(codes, categories))
    network = Network.trained(known.pixels, {name: known.conditions[name]})
    return network.scores(test, name)[:, categories], categories


def _transferred(name: str, column: Column, model: str, sets: Sets) -> list[Finding]:
    count = min(len(sets.train), len(sets.synthetic))
    rng = np.random.default_rng(0)
    train, synthetic = (p.where(rng.permutation(len(p))[:count]) for p in (sets.train, sets.synthetic))
    real = scores(model, train, name, sets.holdout.pixels)
    if real is None:
        return []
    ceiling = area(*real, sets.holdout.conditions[name])
    label, metric = column.label or name.replace("_", " "), f"tstr_{name}_{model}"
    found = scores(model, synthetic, name, sets.holdout.pixels)
    if found is None:
        text = (
            f"{label}: synthetic pictures show fewer than two categories to learn from ({FEWEST} of each are needed)."
        )
        return [Finding("image-utility", metric, 0.5, "fail", text, "utility", ceiling=ceiling, floor=0.5)]
    rate = _area_interval(*found, sets.holdout, name)
    verdict: Verdict = (
        "fail" if rate.high <= 0.5
        else "pass" if rate.value >= ceiling - LOSS
        else "fail" if rate.high < ceiling - LOSS
        else "inconclusive"
    )  # fmt: skip
    text = (
        f"Telling {label} by {model}: learnt from synthetic pictures it reaches an AUC of {rate.value:.2f} on {rate.n} real "
        f"pictures; learnt from as many real ones {ceiling:.2f}."
    )
    finding = Finding(
        "image-utility", metric, rate.value, verdict, text, "utility", low=rate.low, high=rate.high, n=rate.n,
        ceiling=ceiling, floor=0.5, bound=ceiling - LOSS,
    )  # fmt: skip
    before = None if sets.prior is None else scores(model, sets.prior, name, sets.holdout.pixels)
    if before is None:
        return [finding]
    public = _area_interval(*before, sets.holdout, name)
    return [finding.beside(public.value, public.low, public.high)]


def _augmented(name: str, column: Column, sets: Sets) -> list[Finding]:
    codes = sets.train.conditions[name]
    counts = {c: int((codes == c).sum()) for c in np.unique(codes[codes != UNKNOWN])}
    rare = min(counts, key=lambda c: (counts[c], -c))
    usual = float(np.mean([n for c, n in counts.items() if c != rare]))
    made = np.flatnonzero(sets.synthetic.conditions[name] == rare)
    if not len(made):
        return []
    word = (column.categories or ())[rare]
    found = []
    for known in (k for k in RARE if k <= counts[rare]):
        alone, gain = _gains(name, rare, known, min(len(made), max(0, round(usual) - known)), sets)
        low, high = float(np.quantile(gain, 0.025)), float(np.quantile(gain, 0.975))
        middle = float(gain.mean())
        outcome = "they help" if low > 0 else "they harm" if high < 0 else "that may be chance"
        text = (
            f"With {known} real pictures of {column.label or name} {word}, a classifier reaches an AUC of {alone:.3f}; synthetic "
            f"cases beside them change it by {middle:+.3f}: {outcome}."
        )
        found.append(
            Finding(
                "image-utility", f"augmented_{name}_{known}", middle, "information", text, "utility", low=low, high=high,
                n=len(sets.holdout), floor=0.0,
            )
        )  # fmt: skip
    return found


def _gains(name: str, rare: int, known: int, added: int, sets: Sets) -> tuple[float, Floats]:
    """(mean AUC on real cases alone, [REPEATS * DRAWS] gains): over draws of the known cases and, for each, bootstrap draws
    of the holdout patients."""
    codes, test = sets.train.conditions[name], sets.holdout
    alone, gains = [], []
    for repeat in range(REPEATS):
        rng = np.random.default_rng(repeat)
        cases, made = (
            rng.permutation(np.flatnonzero(p.conditions[name] == rare)) for p in (sets.train, sets.synthetic)
        )
        few = sets.train.where(np.concatenate([np.flatnonzero((codes != rare) & (codes != UNKNOWN)), cases[:known]]))
        more = _joined(few, sets.synthetic.where(made[:added]), name)
        before, after = (scores("svm", p, name, test.pixels) for p in (few, more))
        if before is None or after is None:
            continue
        alone.append(area(*before, test.conditions[name]))
        gains.append(_resampled(*after, test, name, repeat) - _resampled(*before, test, name, repeat))
    return (float(np.mean(alone)), np.concatenate(gains)) if gains else (float("nan"), np.zeros(1))


def _joined(first: Pictures, second: Pictures, name: str) -> Pictures:
    return Pictures(
        np.concatenate([first.pixels, second.pixels]),
        np.concatenate([first.patients, second.patients]),
        {name: np.concatenate([first.conditions[name], second.conditions[name]])},
    )


def _area_interval(found: Floats, categories: Codes, test: Pictures, name: str) -> Rate:
    """AUC with a 95% bootstrap interval over patients."""
    codes = test.conditions[name]
    low, high = np.quantile(_resampled(found, categories, test, name, 0), [0.025, 0.975])
    return Rate(area(found, categories, codes), float(low), float(high), int((codes != UNKNOWN).sum()))


def _resampled(found: Floats, categories: Codes, test: Pictures, name: str, seed: int) -> Floats:
    """[DRAWS] AUC of bootstrap draws of patients; draws without two categories take the mean of the others."""
    codes = test.conditions[name]
    ids, of = np.unique(test.patients.astype(str), return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(ids), np.full(len(ids), 1 / len(ids)), DRAWS)[:, of]
    areas = []
    for k, c in enumerate(categories):
        case, other = codes == c, (codes != c) & (codes != UNKNOWN)
        if case.any() and other.any():
            wins = (found[case, k][:, None] > found[other, k]) + 0.5 * (found[case, k][:, None] == found[other, k])
            a, b = drawn[:, case].astype(np.float64), drawn[:, other].astype(np.float64)
            with np.errstate(invalid="ignore"):
                areas.append(np.einsum("dm,dm->d", a @ wins, b) / (a.sum(axis=1) * b.sum(axis=1)))
    values = np.mean(areas, axis=0)
    return np.asarray(np.where(np.isfinite(values), values, np.nanmean(values)))


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = ImageUtility()
