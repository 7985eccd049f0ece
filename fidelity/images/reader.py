"""A reader: tells a condition of the record from a picture's descriptor, by a support vector machine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fidelity.images.features import Bytes, Floats, descriptors
from fidelity.images.sets import UNKNOWN
from privacy.rates import auc

if TYPE_CHECKING:
    from fidelity.images.sets import Pictures

Codes = NDArray[np.int64]

FEWEST = 5
"""Pictures of a category below which it is neither learnt nor asked for."""
COMPONENTS = 100
SHOWN = 0.6
"""An AUC below which pictures do not show a condition."""
ABOVE_CHANCE = 0.1
"""How much of the way from chance to certainty a reader has to go for pictures to show a condition."""


@dataclass(frozen=True)
class Reader:
    """Learnt categories and the machine that tells them apart.

    Args:
        scale: of ordered categories, a machine that reads where on their scale a picture lies.
    """

    categories: Codes
    machine: Any
    scale: Any = None

    @classmethod
    def trained(cls, pixels: Bytes, codes: Codes, ordered: bool = False) -> Reader | None:
        """None with fewer than two categories of `FEWEST` pictures each."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC, SVR

        categories = np.array([c for c in np.unique(codes) if c != UNKNOWN and (codes == c).sum() >= FEWEST])
        known = np.isin(codes, categories)
        if len(categories) < 2:
            return None
        rows = _numbers(pixels[known])
        components = min(COMPONENTS, len(rows) - 1, rows.shape[1])

        def learnt(last: Any) -> Any:
            pipeline = make_pipeline(StandardScaler(), PCA(components, svd_solver="full"), last)
            return pipeline.fit(rows, codes[known])

        machine = learnt(SVC(C=3, class_weight="balanced", decision_function_shape="ovr"))
        return cls(categories, machine, learnt(SVR(C=3)) if ordered else None)

    def scores(self, pixels: Bytes) -> Floats:
        """[n, categories] how much a picture looks like each learnt category."""
        decided = self.machine.decision_function(_numbers(pixels))
        return np.stack([-decided, decided], axis=1) if decided.ndim == 1 else np.asarray(decided)

    def read(self, pixels: Bytes) -> Codes:
        """[n] the category that it looks most like."""
        return np.asarray(self.categories[self.scores(pixels).argmax(axis=1)])

    def margins(self, pixels: Bytes, codes: Codes) -> Floats:
        """[n] how much more a picture looks like its recorded category than like any other, or, of ordered categories, minus how
        far from it on their scale: a picture between two neighbours is a poor one of either, and no odd one. NaN for a category
        that was not learnt."""
        place = np.searchsorted(self.categories, codes).clip(0, len(self.categories) - 1)
        known = self.categories[place] == codes
        if self.scale is not None:
            return np.where(known, -np.abs(self.scale.predict(_numbers(pixels)) - codes), np.nan)
        scores = self.scores(pixels)
        own = scores[np.arange(len(scores)), place]
        others = scores.copy()
        others[np.arange(len(scores)), place] = -np.inf
        return np.where(known, own - others.max(axis=1), np.nan)


def area(scores: Floats, categories: Codes, codes: Codes) -> float:
    """Mean over categories of the area under the curve, category against the rest (Hand & Till 2001, one against all); NaN
    where no category is in `codes` beside another."""
    areas = [
        auc(scores[codes == c, k], scores[(codes != c) & (codes != UNKNOWN), k])
        for k, c in enumerate(categories)
        if 0 < (codes == c).sum() < (codes != UNKNOWN).sum()
    ]
    return float(np.mean(areas)) if areas else float("nan")


def agreement(read: Codes, recorded: Codes, categories: Codes) -> float:
    """Balanced accuracy: mean over recorded categories of the share read rightly. NaN where none is recorded."""
    shares = [(read[recorded == c] == c).mean() for c in categories if (recorded == c).any()]
    return float(np.mean(shares)) if shares else float("nan")


def shown(train: Pictures, holdout: Pictures, ordered: Collection[str] = ()) -> dict[str, Reader]:
    """Readers of the conditions that real pictures show, learnt on training pictures and proved on the holdout's, the best
    first; those of conditions in `ordered` know a scale too."""
    found: list[tuple[float, str, Reader]] = []
    for name, codes in train.conditions.items():
        reader = Reader.trained(train.pixels, codes, name in ordered)
        if reader is not None and name in holdout.conditions:
            recorded, chance = holdout.conditions[name], 1 / len(reader.categories)
            reached = area(reader.scores(holdout.pixels), reader.categories, recorded)
            rightly = agreement(reader.read(holdout.pixels), recorded, reader.categories)
            if reached >= SHOWN and rightly >= chance + ABOVE_CHANCE * (1 - chance):
                found.append((reached, name, reader))
    return {name: reader for _, name, reader in sorted(found, key=lambda f: -f[0])}


def _numbers(pixels: Bytes) -> Floats:
    return np.concatenate(descriptors(pixels), axis=1)
