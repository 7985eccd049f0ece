"""Picture against record: does a reader who learnt on real patients read from a synthetic picture what its record says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.images.reader import Reader, shown
from fidelity.images.reader import agreement as agreement
from fidelity.images.sets import UNKNOWN, Pictures, Sets, condition_columns
from fidelity.verdict import verdict
from synthgen.findings import Evidence, Finding
from synthgen.flags import Flag

if TYPE_CHECKING:
    from synthgen.dictionary import Column

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

ODD = 0.01
"""A picture is flagged where fewer than this share of real ones of its recorded category look so little like it."""
FEWEST_TO_FLAG = 20
"""Real pictures of a category below which nobody can say what is odd."""
DRAWS = 1000


class ImageAgreement:
    """Balanced accuracy with which a reader trained on real pictures finds in synthetic ones what their record says, for each
    condition that real pictures show; the ceiling is the holdout's own agreement, the floor chance.
    Flags each synthetic patient whose picture looks less like its recorded category than 1 in 100 real ones do; the reader and
    the threshold read real patients."""

    name = "image-agreement"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        sets = Sets.of(evidence)
        if sets is None:
            return []
        columns = condition_columns(evidence.dictionary)
        return [
            finding
            for name, reader in shown(sets.train, sets.holdout).items()
            for finding in _finding(name, columns[name], reader, sets)
        ]

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        """At most one a patient and condition."""
        sets = Sets.of(evidence)
        if sets is None:
            return []
        columns = condition_columns(evidence.dictionary)
        whole = Pictures.of(evidence.synthetic, evidence.dictionary)
        assert whole is not None
        ordered = [name for name, column in columns.items() if column.type == "ordinal"]
        readers = shown(sets.train, sets.holdout, ordered).items()
        return [flag for name, reader in readers for flag in _flags(name, columns[name], reader, sets.holdout, whole)]


def _finding(name: str, column: Column, reader: Reader, sets: Sets) -> list[Finding]:
    read, recorded = reader.read(sets.synthetic.pixels), sets.synthetic.conditions[name]
    value = agreement(read, recorded, reader.categories)
    ceiling = agreement(reader.read(sets.holdout.pixels), sets.holdout.conditions[name], reader.categories)
    if not np.isfinite([value, ceiling]).all():
        return []
    low, high = _interval(sets.synthetic, read, name, reader.categories)
    floor = 1 / len(reader.categories)
    judgement = verdict(value, high, ceiling, floor, "higher")
    label = column.label or name.replace("_", " ")
    text = (
        f"A reader who learnt on real patients reads {label} from synthetic pictures as the record says {value:.0%} of the time, "
        f"from real ones {ceiling:.0%} (mean over categories; chance {floor:.0%})."
    )
    found = Finding(
        "image-agreement", "agreement", value, judgement, text, low=low, high=high, n=int((recorded != UNKNOWN).sum()),
        ceiling=ceiling, floor=floor, column=name,
    )  # fmt: skip
    if sets.prior is None:
        return [found]
    before = reader.read(sets.prior.pixels)
    scored = agreement(before, sets.prior.conditions[name], reader.categories)
    if not np.isfinite(scored):
        return [found]
    return [found.beside(scored, *_interval(sets.prior, before, name, reader.categories))]


def _interval(pictures: Pictures, read: Codes, name: str, categories: Codes) -> tuple[float, float]:
    """95% bootstrap interval over patients."""
    rng = np.random.default_rng(0)
    recorded = pictures.conditions[name]
    ids, of = np.unique(pictures.patients.astype(str), return_inverse=True)
    weights = rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), DRAWS)[:, of]  # [draws, pictures]
    shares = []
    for c in categories:
        mine = recorded == c
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append(weights[:, mine & (read == c)].sum(axis=1) / weights[:, mine].sum(axis=1))
    means = np.nanmean(np.stack([s for s in shares if np.isfinite(s).any()]), axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _flags(name: str, column: Column, reader: Reader, holdout: Pictures, synthetic: Pictures) -> list[Flag]:
    recorded, known = synthetic.conditions[name], holdout.conditions[name]
    margins, expected = reader.margins(synthetic.pixels, recorded), reader.margins(holdout.pixels, known)
    raised: dict[str, Flag] = {}
    for category in reader.categories:
        of_category = expected[known == category]
        if len(of_category) < FEWEST_TO_FLAG:
            continue
        threshold = np.quantile(of_category, ODD, method="lower")  # among fewer than 100, the least of them
        for row in np.flatnonzero((recorded == category) & (margins < threshold)):
            patient = str(synthetic.patients[row])
            flag = _flag(patient, name, column, int(category), float(threshold - margins[row]))
            if patient not in raised or raised[patient].score < flag.score:
                raised[patient] = flag
    return list(raised.values())


def _flag(patient: str, name: str, column: Column, category: int, score: float) -> Flag:
    word = (column.categories or ())[category]
    label = column.label or name.replace("_", " ")
    return Flag(
        patient,
        "image disagrees with record",
        "moderate",
        f"The record says {label} {word}; the picture does not look like it: of real pictures of it, 99 in 100 look more so.",
        reads_real_data=True,
        evidence={name: word},
        score=score,
    )


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = ImageAgreement()
