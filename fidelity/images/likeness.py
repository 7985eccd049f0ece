"""Pictures: do synthetic ones look like the patients' pictures, as sharp, as varied, of the same texture?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fidelity.images import distances
from fidelity.images import texture as image_texture
from fidelity.images.features import Bytes, Floats, luma, shrunk
from fidelity.images.judging import Compared, Rows, judged
from fidelity.images.network import Network
from fidelity.images.pretrained import pretrained_features
from fidelity.images.reader import shown
from fidelity.images.sets import Pictures, Sets
from fidelity.images.similarity import within_class
from fidelity.marginals import ks_similarity
from fidelity.verdict import verdict
from synthgen.findings import Evidence, Finding

MOST_SIDE = 64
"""Similarity is looked at with at most so many pixels a side."""
MOST_PRETRAINED = 250
"""Pictures of a cohort that the pretrained network looks at: it takes most of the time."""


class Images:
    """`frechet` and `kernel`: distances between synthetic and training pictures in the features of a small network that
    learnt, on the training patients, to tell their conditions and spoilt pictures from whole ones; `frechet_pretrained`,
    `kernel_pretrained`: in those of EfficientNet-Lite0, where the extra `pretrained` is installed. `precision` and `density`:
    do synthetic pictures lie among real ones; `recall` and `coverage`: are there synthetic ones wherever there are real ones.
    `alike`: mean MS-SSIM of two patients' pictures of one class (1: always the same picture). `intensity` and `texture`: 1 -
    Kolmogorov-Smirnov distance of radiomic statistics, mean over statistics. The ceiling is as many holdout pictures, the
    floor pictures whose pixels are drawn independently of each other."""

    name = "images"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sets = Sets.of(evidence)
        if sets is None:
            return []
        floor = independent_pixels(sets.train, evidence.rng)
        network = Network.trained(sets.train.pixels, sets.train.conditions, spoil=True)
        found = _distances(self.name, _compared(sets, floor, network.features))
        found += _support(self.name, _compared(sets, floor, network.features))
        found += self._pretrained(sets, floor)
        found += self._alike(sets)
        return found + self._radiomics(sets, floor)

    def _pretrained(self, sets: Sets, floor: Pictures) -> list[Finding]:
        parts = (sets.train, sets.holdout, sets.synthetic, floor)
        rng = np.random.default_rng(0)
        fewer = [p.limited(MOST_PRETRAINED, rng) for p in parts]
        features = pretrained_features([p.pixels for p in fewer])
        if features is None:
            return []
        train, holdout, synthetic, independent = (Rows(f, p.patients) for f, p in zip(features, fewer, strict=True))
        return _distances(self.name, Compared.of(train, holdout, synthetic, independent, None), "_pretrained")

    def _alike(self, sets: Sets) -> list[Finding]:
        """Pictures that repeat each other more than real ones do; the floor is one picture over and over. Classes are those
        of the condition that real pictures show best."""
        condition = next(iter(shown(sets.train, sets.holdout)), None)
        value, ceiling = _sameness(sets.synthetic, condition), _sameness(sets.holdout, condition)
        if not np.isfinite([value, ceiling]).all():
            return []
        low, high = _sameness_interval(sets.synthetic, condition, value)
        judgement = verdict(value, low, ceiling, 1.0, "lower")
        reading = (
            "as varied as real ones, or nearly" if judgement == "pass" else "they repeat each other more than real ones"
        )
        text = f"How alike two patients' pictures of one class are (1: the same picture): {reading}."
        return [
            Finding(
                self.name, "alike", value, judgement, text, low=low, high=high, n=len(sets.synthetic), ceiling=ceiling,
                floor=1.0, better="lower",
            )
        ]  # fmt: skip

    def _radiomics(self, sets: Sets, floor: Pictures) -> list[Finding]:
        return [
            judged(
                self.name,
                metric,
                f"How alike radiomic statistics of {metric} are ({', '.join(names)})",
                _mean_similarity,
                _compared(sets, floor, lambda pixels, of=statistics: of(luma(pixels))),  # type: ignore[misc]
                "higher",
                most=1.0,
            )
            for metric, names, statistics in (
                ("intensity", image_texture.INTENSITY, image_texture.intensity),
                ("texture", image_texture.TEXTURE, image_texture.texture),
            )
        ]


def independent_pixels(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """The floor: every pixel drawn from another picture, which keeps each pixel's distribution and nothing of any picture."""
    flat = pictures.pixels.reshape(len(pictures), -1)
    torn = np.stack([column[rng.permutation(len(column))] for column in flat.T], axis=1)
    return Pictures(torn.reshape(pictures.pixels.shape), pictures.patients, pictures.conditions)


def _compared(sets: Sets, floor: Pictures, numbers: Callable[[Bytes], Floats]) -> Compared:
    train, holdout, synthetic, independent = (
        Rows(numbers(p.pixels), p.patients) for p in (sets.train, sets.holdout, sets.synthetic, floor)
    )
    prior = None if sets.prior is None else Rows(numbers(sets.prior.pixels), sets.prior.patients)
    return Compared.of(train, holdout, synthetic, independent, prior)


def _distances(check: str, compared: Compared, suffix: str = "") -> list[Finding]:
    by = " (EfficientNet-Lite0)" if suffix else ""
    return [
        judged(
            check, f"frechet{suffix}", f"Frechet distance of pictures{by}", distances.frechet, compared, "lower", True
        ),
        judged(check, f"kernel{suffix}", f"Kernel distance of pictures{by}", distances.kernel, compared, "lower", True),
    ]


def _support(check: str, compared: Compared) -> list[Finding]:
    measures = {
        "precision": ("Share of synthetic pictures that lie among real ones", distances.precision),
        "recall": ("Share of real pictures that lie among synthetic ones", distances.recall),
        "density": ("How densely real pictures lie around synthetic ones", distances.density),
        "coverage": ("Share of real pictures with a synthetic one near by", distances.coverage),
    }
    return [
        judged(check, metric, text, of, compared, "higher", most=float("inf") if metric == "density" else 1.0)
        for metric, (text, of) in measures.items()
    ]


def _mean_similarity(real: Floats, other: Floats) -> float:
    return float(np.mean([ks_similarity(a, b) for a, b in zip(real.T, other.T, strict=True)]))


def _sameness(pictures: Pictures, condition: str | None) -> float:
    classes = np.zeros(len(pictures), dtype=np.int64) if condition is None else pictures.conditions[condition]
    return within_class(luma(shrunk(pictures.pixels, MOST_SIDE)), classes, pictures.patients)


def _sameness_interval(pictures: Pictures, condition: str | None, value: float) -> tuple[float, float]:
    """95% interval over patients, by the delete-a-group jackknife (Kott 2001)."""
    ids = np.unique(pictures.patients.astype(str))
    groups = min(10, len(ids))
    left = [_sameness(pictures.of_patients(np.delete(ids, np.s_[g::groups])), condition) for g in range(groups)]
    spread = np.sqrt((groups - 1) / groups * np.nansum((np.array(left) - np.nanmean(left)) ** 2))
    return max(0.0, float(value - 1.96 * spread)), min(1.0, float(value + 1.96 * spread))


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Images()
