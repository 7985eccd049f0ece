"""Whole patients: do a patient's picture and note tell the same story, and is everything told in the order in which it happened?

Note against record is `factuality`, picture against record `image_agreement`; here are the pairs that are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fidelity.images.agreement import agreement
from fidelity.images.reader import shown
from fidelity.images.sets import Pictures, Sets, condition_columns
from fidelity.verdict import Z, verdict
from privacy.rates import wilson
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag
from synthgen.notes.claims import ClaimExtractor
from synthgen.notes.support import notes_of, text_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fidelity.images.reader import Reader
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

FEWEST = 20
"""Pairs of picture and note below which nothing is said of them."""
APART = 183
"""Days that may lie between a picture and the note that it is compared with, where what is told changes over time."""
TOLERATED = 0.01
"""Share of pictures and notes on impossible days that may lie above the real patients'."""
DRAWS = 300
PERMUTED = 50


class CrossModal:
    """`image_note`: balanced accuracy with which a reader trained on real pictures finds in a synthetic picture the category
    that the same patient's nearest note claims, for each condition that real pictures show; the ceiling is the holdout's, the
    floor the same pictures beside other patients' notes. `order`: share of notes and pictures that lie before the patient's
    first day or after the end of follow-up; each is flagged, without any real data. Nothing without notes or pictures."""

    name = "cross-modal"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        return [*_images_and_notes(evidence), *_order(evidence)]

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        """One flag a patient with a note or a picture on an impossible day."""
        found = out_of_order(evidence.synthetic, evidence.dictionary)
        return [_flag(str(patient), rows) for patient, rows in found[found["wrong"]].groupby("patient_id", sort=False)]


def claimed(cohort: Cohort, dictionary: Dictionary) -> dict[str, pd.DataFrame]:
    """Column -> one row a claim of a category: `patient_id`, `day` and `code`, its number. What is told of an earlier day, or
    only that a graded sign is there, is left out."""
    extractor = ClaimExtractor(dictionary)
    columns = condition_columns(dictionary)
    rows: dict[str, list[tuple[str, float, int]]] = {name: [] for name in columns}
    for patient, _, day, text in notes_of(cohort, dictionary):
        for claim in extractor.claims(text):
            categories = columns[claim.column].categories if claim.column in columns else None
            if not categories or claim.when == "earlier" or claim.kind == "outcome" or claim.value not in categories:
                continue
            if not claim.negated or claim.kind in ("sign", "grade"):
                rows[claim.column].append(
                    (patient, float("nan") if day is None else day, categories.index(str(claim.value)))
                )
    return {name: pd.DataFrame(r, columns=["patient_id", "day", "code"]) for name, r in rows.items() if r}


def pairs(pictures: pd.DataFrame, claims: pd.DataFrame, apart: float = APART) -> pd.DataFrame:
    """[pictures that have one] `row`, the picture's number, and `code`, of the claim nearest in time, at most `apart` days away.

    Args:
        pictures: `patient_id` and `day` (NaN without one) of each.
        claims: one column of `claimed`.
    """
    both = pictures.assign(row=np.arange(len(pictures))).merge(claims, on="patient_id", suffixes=("", "_note"))
    away = (both["day"] - both["day_note"]).abs().fillna(0)
    near = both.assign(away=away)[away <= apart].sort_values(["row", "away"], kind="stable")
    return near.drop_duplicates("row")[["row", "code", "patient_id"]]


def out_of_order(cohort: Cohort, dictionary: Dictionary) -> pd.DataFrame:
    """One row a dated note or picture: `patient_id`, `table`, `day`, `end` of follow-up, whether it is `wrong`."""
    ends = _ends(cohort, dictionary)
    parts = []
    for table in ("notes", "images"):
        frame = cohort.tables.get(table)
        if frame is not None and "day" in frame:
            day = frame["day"].astype("float64")
            parts.append(pd.DataFrame({"patient_id": frame["patient_id"].astype(str), "table": table, "day": day}))
    if not parts:
        return pd.DataFrame({"patient_id": [], "table": [], "day": [], "end": [], "wrong": np.array([], dtype=bool)})
    rows = pd.concat(parts, ignore_index=True)
    end = rows["patient_id"].map(ends).astype("float64")
    return rows.assign(end=end, wrong=(rows["day"] < 0) | (rows["day"] > end))


def _ends(cohort: Cohort, dictionary: Dictionary) -> dict[str, float]:
    if dictionary.outcome is None:
        return {}
    time = cohort.patients[dictionary.outcome.time].astype("float64")
    return dict(zip(cohort.patients["patient_id"].astype(str), time, strict=True))


def _images_and_notes(evidence: Evidence) -> Iterator[Finding]:
    sets = Sets.of(evidence)
    if sets is None or text_column(evidence.dictionary) is None:
        return
    columns = condition_columns(evidence.dictionary)
    made, real = (claimed(c, evidence.dictionary) for c in (evidence.synthetic, evidence.holdout))
    for name, reader in shown(sets.train, sets.holdout).items():
        if name in made and name in real:
            beside = (
                _paired(sets.synthetic, evidence.synthetic, made[name], evidence.dictionary, name),
                _paired(sets.holdout, evidence.holdout, real[name], evidence.dictionary, name),
            )
            if min(len(pairs_) for pairs_ in beside) >= FEWEST:
                yield _image_note(name, columns[name], reader, sets, beside, evidence.rng)


def _paired(
    pictures: Pictures, cohort: Cohort, claims: pd.DataFrame, dictionary: Dictionary, column: str
) -> pd.DataFrame:
    """Pairs of the pictures that are looked at; what never changes may be told at any time."""
    dated = pd.DataFrame({"patient_id": pictures.patients.astype(str), "day": _days(pictures, cohort, dictionary)})
    return pairs(dated, claims, np.inf if column in dictionary.static else APART)


def _days(pictures: Pictures, cohort: Cohort, dictionary: Dictionary) -> NDArray[np.float64]:
    """[pictures] the day of each: patients keep their order, and each their pictures'."""
    from fidelity.images.sets import image_column

    assert cohort.images is not None
    key = image_column(dictionary)
    rows = cohort.images[cohort.images[key].notna() & cohort.images["patient_id"].isin(pictures.patients)]
    if "day" not in rows:
        return np.full(len(pictures), np.nan)
    return np.asarray(rows["day"].to_numpy(dtype="float64", na_value=np.nan))


def _image_note(
    name: str,
    column: Column,
    reader: Reader,
    sets: Sets,
    beside: tuple[pd.DataFrame, pd.DataFrame],
    rng: np.random.Generator,
) -> Finding:
    read = [
        reader.read(pictures.pixels)[found["row"]]
        for pictures, found in zip((sets.synthetic, sets.holdout), beside, strict=True)
    ]
    codes = [found["code"].to_numpy(dtype=np.int64) for found in beside]
    value, ceiling = (agreement(r, c, reader.categories) for r, c in zip(read, codes, strict=True))
    ids = beside[0]["patient_id"].to_numpy()
    torn = [agreement(read[0], rng.permutation(codes[0]), reader.categories) for _ in range(PERMUTED)]
    strangers = float(np.mean(torn))
    low, high = _interval(read[0], codes[0], reader.categories, ids, rng)
    expected = _interval(read[1], codes[1], reader.categories, beside[1]["patient_id"].to_numpy(), rng)
    apart = float(np.hypot((expected[1] - expected[0]) / (2 * Z), np.std(torn)))
    judgement = verdict(value, high, ceiling, strangers, "higher", apart)
    label = column.label or name.replace("_", " ")
    text = (
        f"A reader who learnt on real pictures reads {label} from a synthetic picture as the same patient's note says "
        f"{value:.0%} of the time, from real ones {ceiling:.0%}; beside other patients' notes, {strangers:.0%}."
    )
    return Finding(
        "cross-modal", "image_note", value, judgement, text, low=low, high=high, n=len(codes[0]), ceiling=ceiling,
        floor=strangers, column=name,
    )  # fmt: skip


def _interval(
    read: NDArray[np.int64],
    codes: NDArray[np.int64],
    categories: NDArray[np.int64],
    ids: NDArray[np.object_],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """95% bootstrap interval over patients."""
    patients = np.unique(ids)
    rows_of = {patient: np.flatnonzero(ids == patient) for patient in patients}
    drawn = []
    for _ in range(DRAWS):
        rows = np.concatenate([rows_of[p] for p in rng.choice(patients, len(patients))])
        drawn.append(agreement(read[rows], codes[rows], categories))
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _order(evidence: Evidence) -> list[Finding]:
    made, real = (out_of_order(c, evidence.dictionary) for c in (evidence.synthetic, evidence.holdout))
    if made.empty or real.empty:
        return []
    rate, expected = (wilson(int(rows["wrong"].sum()), len(rows)) for rows in (made, real))
    bound = expected.value + TOLERATED
    judgement: Verdict = "fail" if rate.value > bound else "pass"
    text = (
        f"{int(made['wrong'].sum())} of {len(made)} dated notes and pictures of synthetic patients lie before the first day or "
        f"after the end of follow-up; of real patients' {expected.value:.1%}."
    )
    return [
        Finding(
            "cross-modal", "order", rate.value, judgement, text, low=rate.low, high=rate.high, n=rate.n,
            ceiling=expected.value, bound=bound, better="lower",
        )
    ]  # fmt: skip


def _flag(patient: str, rows: pd.DataFrame) -> Flag:
    first = rows.iloc[0]
    what = "A note" if first["table"] == "notes" else "A picture"
    where = "before the first day" if first["day"] < 0 else f"after follow-up ended on day {first['end']:.0f}"
    return Flag(
        patient_id=patient,
        reason="out_of_order",
        severity="severe",
        text=f"{what} is of day {first['day']:.0f}, {where}.",
        reads_real_data=False,
        evidence={"table": first["table"], "days": [int(day) for day in rows["day"]]},
        score=1 - 1 / (1 + len(rows)),
    )


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = CrossModal()
