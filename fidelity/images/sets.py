"""A cohort's pictures as checks want them: one array, whose patient each is, and what the record says of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from synthgen.values import codes

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.findings import Evidence

UNKNOWN = -1
"""The code of a category that is not recorded."""
MOST = 2000
"""Pictures of one cohort that are looked at; of a larger one, as many, whole patients drawn at random."""


@dataclass(frozen=True)
class Pictures:
    """`pixels` [n, size, size] or [n, size, size, 3] uint8; `patients` [n] ids; `conditions` column -> [n] category numbers,
    `UNKNOWN` where not recorded."""

    pixels: NDArray[np.uint8]
    patients: NDArray[np.object_]
    conditions: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, cohort: Cohort, dictionary: Dictionary) -> Pictures | None:
        """None for a cohort without pictures."""
        key = image_column(dictionary)
        if key is None or cohort.images is None:
            return None
        rows = cohort.images[cohort.images[key].notna()].reset_index(drop=True)
        if rows.empty:
            return None
        return cls(
            np.stack(rows[key].to_list()),
            rows["patient_id"].to_numpy(dtype=object),
            _conditions(rows, cohort, dictionary),
        )

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pixels)

    def of_patients(self, patients: Iterable[Any]) -> Pictures:
        """Those of these patients."""
        return self.where(np.isin(self.patients, np.array(list(patients), dtype=object)))

    def where(self, chosen: NDArray[Any]) -> Pictures:
        """Those chosen by truth values or positions."""
        conditions = {name: code[chosen] for name, code in self.conditions.items()}
        return Pictures(self.pixels[chosen], self.patients[chosen], conditions)

    def limited(self, most: int, rng: np.random.Generator) -> Pictures:
        """At most so many pictures, whole patients drawn at random (the first patient always)."""
        if len(self) <= most:
            return self
        ids, sizes = np.unique(self.patients.astype(str), return_counts=True)
        order = rng.permutation(len(ids))
        fits = np.cumsum(sizes[order]) <= most
        fits[0] = True
        return self.where(np.isin(self.patients.astype(str), ids[order[fits]]))


@dataclass(frozen=True)
class Sets:
    """The pictures of the evidence, each at most `MOST`. `prior` is None where public knowledge alone made none."""

    train: Pictures
    holdout: Pictures
    synthetic: Pictures
    prior: Pictures | None

    @classmethod
    def of(cls, evidence: Evidence, most: int = MOST) -> Sets | None:
        """None where training, holdout or synthetic patients have too few pictures (fewer than 10) to be compared."""
        rng = np.random.default_rng(0)
        cohorts = (evidence.train, evidence.holdout, evidence.synthetic, evidence.prior)
        found = [None if c is None else Pictures.of(c, evidence.dictionary) for c in cohorts]
        train, holdout, synthetic, prior = (None if p is None else p.limited(most, rng) for p in found)
        if train is None or holdout is None or synthetic is None or min(map(len, (train, holdout, synthetic))) < 10:
            return None
        return cls(train, holdout, synthetic, prior if prior is not None and len(prior) >= 10 else None)


def image_column(dictionary: Dictionary) -> str | None:
    """The column that holds the pictures."""
    table = dictionary.tables.get("images")
    return next((name for name, c in table.columns.items() if c.type == "image"), None) if table else None


def condition_columns(dictionary: Dictionary) -> dict[str, Column]:
    """Every column of categories that a picture may show: of the picture itself, the patient's static ones, and what is
    measured at visits. Where two tables use one name, the one nearer to the picture counts."""
    own = dictionary.tables["images"].columns if "images" in dictionary.tables else {}
    known = dictionary.measurements | dictionary.static | own
    return {name: column for name, column in known.items() if column.discrete}


def _conditions(rows: pd.DataFrame, cohort: Cohort, dictionary: Dictionary) -> dict[str, NDArray[np.int64]]:
    patients = cohort.patients.set_index("patient_id")
    seen: pd.DataFrame | None = None
    found = {}
    for name, column in condition_columns(dictionary).items():
        if name in rows:
            values = rows[name]
        elif name in patients:
            values = patients[name].reindex(rows["patient_id"])
        elif cohort.visits is not None and name in cohort.visits:
            seen = _last_visit(rows, cohort.visits) if seen is None else seen
            values = seen[name]
        else:
            continue
        found[name] = codes(column, values).astype(np.int64)
    return found


def _last_visit(rows: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """[pictures] what was last recorded up to the day of each picture; up to the first visit for pictures without a day."""
    visits = visits.sort_values(["patient_id", "day"], kind="stable")
    filled = visits.groupby("patient_id", sort=False).ffill().assign(patient_id=visits["patient_id"])
    first = filled["day"].groupby(filled["patient_id"], sort=False).transform("min")
    first_day = first.groupby(filled["patient_id"], sort=False).first()
    day = rows["patient_id"].map(first_day).astype("float64")
    if "day" in rows:
        day = rows["day"].astype("float64").fillna(day)
    day = day.fillna(0.0)  # a patient without visits
    asked = pd.DataFrame({"patient_id": rows["patient_id"], "day": day, "row": np.arange(len(rows))})
    known = filled.assign(day=filled["day"].astype("float64"), patient_id=filled["patient_id"].astype(object))
    asked = asked.assign(patient_id=asked["patient_id"].astype(object)).sort_values("day", kind="stable")
    joined = pd.merge_asof(asked, known.sort_values("day", kind="stable"), on="day", by="patient_id")
    return joined.sort_values("row", kind="stable").reset_index(drop=True)
