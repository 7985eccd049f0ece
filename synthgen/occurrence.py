"""Who has an image or a note, how many, when, and of which kind: what a linked generator learns beside the content.

One noisy sum of one short vector a patient, charged like any other. Whether a patient has the modality at all depends on the
record: a logistic model with the released moments (maximum entropy; the noise shrinks it to the overall share).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privacy.charges import Charge
from synthgen.errors import ConfigError
from synthgen.maximum_entropy import logistic, nearest_distribution, sigmoid, tilted
from synthgen.simulation import simulate
from synthgen.summaries import first_records
from synthgen.values import codes

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from privacy.session import Session
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

Floats = NDArray[np.float64]

MOST = 8
"""Rows of one patient beyond these are not counted."""
FIFTHS = 5
PERIODS = FIFTHS + 2
"""The first day, fifths of the time to the last visit, and what comes after it: the end of follow-up."""
SIMULATED, POPULATIONS = 2000, 40
"""Simulated patients, and how many populations they come from: over these, features go together only as the dictionary says."""
BELIEVED = (0.75, 0.25)
"""Mean and standard deviation of the share of patients with any row, before any patient was asked."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of a patient's vector lie. Every part has norm at most 1 for every patient."""

    features: int
    periods: int
    kinds: tuple[tuple[str, int], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return (
            MOST + 1,
            self.features,
            self.features,
            self.periods,
            *(max(1, self.periods) * k for _, k in self.kinds),
        )

    @property
    def parts(self) -> int:
        return sum(size > 0 for size in self.sizes)

    def split(self, vector: Floats) -> list[Floats]:
        return np.split(vector, np.cumsum(self.sizes)[:-1])


class Occurrence:
    """The rows of one linked table, without their content.

    Args:
        dictionary: the cohort's.
        table: `images` or `notes`.
        modality: the charge is called `<modality>/occurrence`.

    Raises:
        ConfigError: when the dictionary does not declare the table.
    """

    def __init__(self, dictionary: Dictionary, table: str) -> None:
        if table not in dictionary.tables:
            raise ConfigError(
                f"{table}: the dictionary declares no such table; add it, or take the generator out of the job"
            )
        self.dictionary, self.table = dictionary, table
        columns = dictionary.tables[table].columns
        self.kinds: dict[str, Column] = {name: c for name, c in columns.items() if c.discrete}
        self.dated = "day" in columns
        shape = tuple((name, len(c.categories or ())) for name, c in self.kinds.items())
        self.layout = Layout(_features_of(dictionary), PERIODS if self.dated else 0, shape)
        self._moments: Floats | None = None
        self._error, self._patients = 0.0, 1

    @property
    def charge_name(self) -> str:
        return f"{self.table}/occurrence"

    @property
    def clip_norm(self) -> float:
        """sqrt(parts): no patient's vector is longer, so nothing is ever clipped."""
        return math.sqrt(self.layout.parts)

    def charge(self, noise_multiplier: float) -> Charge:
        """One full-batch noisy sum."""
        return Charge(self.charge_name, noise_multiplier)

    def encode(self, cohort: Cohort) -> Tensor:
        """[patients, numbers] float64: number of rows (one of 0 ... MOST), features of the record, the same where there is any
        row, share of the rows in each period, share of each kind in each period. Row i from patient i alone."""
        import torch

        rows = _rows(cohort, self.table)
        counts = rows["patient_id"].value_counts().reindex(cohort.ids, fill_value=0).to_numpy()
        features = _features(cohort, self.dictionary)
        parts = [np.eye(MOST + 1)[np.minimum(counts, MOST)], features, features * (counts > 0)[:, None]]
        period = _period(rows, cohort, self.dictionary) if self.dated else np.zeros(len(rows), dtype=np.int64)
        if self.dated:
            parts.append(_shares(rows["patient_id"], period, PERIODS, cohort.ids))
        for (name, column), size in zip(self.kinds.items(), self.layout.sizes[4:], strict=True):
            kind = codes(column, rows[name])
            joint = np.where(kind < 0, -1, period * len(column.categories or ()) + kind)
            parts.append(_shares(rows["patient_id"], joint, size, cohort.ids))
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def fit(self, session: Session, record: str = "occurrence") -> None:
        """Asks the one charge, or reveals where there is no privacy; `record` is the session's tensor that `encode` made."""
        self._patients = session.declared_patients
        if session.private:
            self._moments = session.mean(lambda rows: rows[record], self.clip_norm, self.charge_name).numpy()
            self._error = session.error(self.charge_name, self.clip_norm)
        else:
            self._moments = session.reveal()[record].mean(dim=0).numpy()
            self._error = 0.0

    def sample(self, record: Cohort, rng: np.random.Generator) -> pd.DataFrame:
        """Rows for the patients of a synthetic record: patient_id, day where the table has one, and its kinds; in the order of
        patients and days. Before `fit`: one row for every patient, at the first day, of any kind."""
        import pandas as pd

        count, _, _, period, *kinds = self.layout.split(self._known())
        share, odds = self._share(), self._odds()
        has = rng.random(len(record)) < sigmoid(odds[0] + _features(record, self.dictionary) @ odds[1:])
        number = rng.choice(MOST, size=len(record), p=nearest_distribution(count[1:] / share)) + 1
        numbers = np.where(has, number, 0)
        owner = np.repeat(np.arange(len(record)), numbers)
        columns: dict[str, Any] = {"patient_id": record.ids.to_numpy()[owner]}
        when = np.zeros(len(owner), dtype=np.int64)
        if self.dated:
            when = rng.choice(PERIODS, size=len(owner), p=nearest_distribution(period / share))
            columns["day"] = _days(owner, when, record, self.dictionary, rng)
        for (name, column), mass in zip(self.kinds.items(), kinds, strict=True):
            drawn = _kinds(nearest_distribution(mass / share), when, len(column.categories or ()), rng)
            kind = pd.CategoricalDtype(list(column.categories or ()), ordered=column.type == "ordinal")
            columns[name] = pd.Categorical.from_codes(drawn.tolist(), dtype=kind)
        table = pd.DataFrame(columns)
        if self.dated:
            table = table.assign(day=table["day"].astype("Int64"), _owner=owner)
            table = table.drop_duplicates([c for c in table if c != "_owner"]).sort_values(
                ["_owner", "day"], kind="stable"
            )
            table = table.drop(columns="_owner")
        return table.reset_index(drop=True)

    def state(self) -> dict[str, Tensor]:
        """For the generator's model file."""
        import torch

        return {
            "occurrence.moments": torch.from_numpy(self._known()),
            "occurrence.known": torch.tensor([self._error, self._patients], dtype=torch.float64),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """What `state` gave."""
        self._moments = state["occurrence.moments"].double().numpy()
        self._error, self._patients = float(state["occurrence.known"][0]), int(state["occurrence.known"][1])

    def _share(self) -> float:
        """Of patients with any row: the noisy one and what is believed beforehand, each weighed by how sure it is; above 0."""
        noisy = 1 - self.layout.split(self._known())[0][0]
        mean, spread = BELIEVED
        share = noisy + (mean - noisy) * self._error**2 / (self._error**2 + spread**2)
        return float(np.clip(share, max(self._error / 10, 0.5 / self._patients), 1.0))

    def _odds(self) -> Floats:
        """[1 + features] a and b of logistic(a + b . features), the chance of having any row. How features go together is taken
        from simulated patients, weighed so that their means are the released ones; what is released besides is how patients
        with rows differ from all."""
        _, everybody, owners, *_ = self.layout.split(self._known())
        share = self._share()
        if share > 1 - 0.5 / self._patients:
            everyone: Floats = np.concatenate([[30.0], np.zeros(self.layout.features)])
            return everyone
        simulated = simulate(self.dictionary, SIMULATED, np.random.default_rng(0), populations=POPULATIONS)
        features = _features(simulated, self.dictionary)
        weights = tilted(features, everybody, self._error)
        moments = np.r_[share, share * (weights @ features - everybody) + owners]
        design = np.column_stack([np.ones(SIMULATED), features])
        return logistic(design, weights, moments, self._error, self._patients)

    def _known(self) -> Floats:
        return self._before_any_patient() if self._moments is None else self._moments

    def _before_any_patient(self) -> Floats:
        one = np.eye(MOST + 1)[1]
        first = np.eye(PERIODS)[0] if self.dated else np.empty(0)
        kinds = [np.full(size, 1 / size) for size in self.layout.sizes[4:]]
        return np.concatenate([one, np.zeros(2 * self.layout.features), first, *kinds])


def _rows(cohort: Cohort, table: str) -> pd.DataFrame:
    frame = cohort.tables.get(table)
    return cohort.patients[["patient_id"]].iloc[:0] if frame is None else frame


def _features_of(dictionary: Dictionary) -> int:
    statics = [c for c in dictionary.tables["patients"].columns.values() if c.numeric or c.discrete]
    known = [*statics, *dictionary.measurements.values()]
    return sum(_width(c) for c in known)


def _width(column: Column) -> int:
    nominal = column.type == "categorical" and len(column.categories or ()) > 2
    return len(column.categories or ()) if nominal else 1


def _features(cohort: Cohort, dictionary: Dictionary) -> Floats:
    """[patients, features], norm at most 1: the record's statics and first values, each between -1 and 1, missing 0."""
    records = first_records([cohort], dictionary)
    columns = dictionary.tables["patients"].columns | dictionary.measurements
    parts = []
    for name, values in zip(records.names, records.tables[0].T, strict=True):
        column = columns[name]
        if _width(column) > 1:
            parts.append(2 * (values[:, None] == np.arange(_width(column))) - 1.0 * ~np.isnan(values)[:, None])
        else:
            top = 1 if column.numeric else len(column.categories or ()) - 1
            parts.append(np.nan_to_num(2 * values / top - 1)[:, None])
    stacked = np.concatenate(parts, axis=1) if parts else np.empty((len(cohort), 0))
    return stacked / math.sqrt(max(1, stacked.shape[1]))


def _last_days(cohort: Cohort, dictionary: Dictionary) -> Floats:
    """[patients] day of the last visit, else the end of follow-up, else 0."""
    if cohort.visits is not None:
        last = cohort.visits.groupby("patient_id")["day"].max().reindex(cohort.ids)
        return last.to_numpy(dtype="float64", na_value=0.0)
    if dictionary.outcome is not None:
        return cohort.patients[dictionary.outcome.time].to_numpy(dtype="float64", na_value=0.0)
    return np.zeros(len(cohort))


def _period(rows: pd.DataFrame, cohort: Cohort, dictionary: Dictionary) -> NDArray[np.int64]:
    """Of each row: 0 on the first day, else which fifth of the time to the patient's last visit, or after it."""
    import pandas as pd

    last = rows["patient_id"].map(pd.Series(_last_days(cohort, dictionary), index=cohort.ids)).to_numpy(dtype="float64")
    day = rows["day"].to_numpy(dtype="float64", na_value=0.0)
    share = np.divide(day, last, out=np.ones_like(day), where=last > 0)
    later = np.where(day > last, PERIODS - 1, np.clip(np.ceil(share * FIFTHS), 1, FIFTHS))
    return np.where(day <= 0, 0, later).astype(np.int64)


def _shares(owner: pd.Series[Any], code: NDArray[np.int64], size: int, ids: pd.Index[Any]) -> Floats:
    """[patients, size] share of each patient's rows with each code; rows without a code count for none."""
    import pandas as pd

    found = np.zeros((len(ids), size))
    place = ids.get_indexer(pd.Index(owner))
    known = code >= 0
    np.add.at(found, (place[known], code[known]), 1.0)
    shares: Floats = found / np.maximum(found.sum(axis=1, keepdims=True), 1.0)
    return shares


def _kinds(joint: Floats, when: NDArray[np.int64], kinds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A kind for each row, as usual in its period; where nothing is known of a period, as usual altogether."""
    table = joint.reshape(-1, kinds)  # [periods, kinds]
    known = table.sum(axis=1, keepdims=True)
    chances = np.where(known > 0, table / np.maximum(known, 1e-12), table.sum(axis=0) / table.sum())
    drawn = np.zeros(len(when), dtype=np.int64)
    for period in np.unique(when):
        rows = when == period
        drawn[rows] = rng.choice(kinds, size=int(rows.sum()), p=chances[period])
    return drawn


def _days(
    owner: NDArray[np.int64],
    period: NDArray[np.int64],
    record: Cohort,
    dictionary: Dictionary,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """A day of each row: in its period, on the nearest visit where there are visits; after them, the end of follow-up."""
    last = _last_days(record, dictionary)[owner]
    share = np.where(period == 0, 0.0, (period - rng.random(len(owner))) / FIFTHS)
    days = np.rint(np.minimum(share, 1) * last).astype(np.int64)
    ids = record.ids
    if record.visits is not None:
        of_patient = {p: frame.to_numpy(dtype="int64") for p, frame in record.visits.groupby("patient_id")["day"]}
        never = np.zeros(1, dtype=np.int64)
        near = [_nearest(of_patient.get(ids[i], never), day) for i, day in zip(owner, days, strict=True)]
        days = np.array(near, dtype=np.int64)
    if dictionary.outcome is not None:
        end = record.patients[dictionary.outcome.time].to_numpy(dtype="float64", na_value=0.0)[owner]
        days = np.where(period == PERIODS - 1, np.maximum(end, days), days)
    return days.astype(np.int64)


def _nearest(visits: NDArray[np.int64], day: int) -> int:
    return int(visits[np.argmin(np.abs(visits - day))])
