"""Findings about single patients -> the ranked queue, with the flags that need nothing but the patient's own record.

No function here is given a real patient, so none of its flags reads real data (DESIGN.md, rule 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthgen.conformance import numbers
from synthgen.flags import Flag
from synthgen.queue import TWINS, ranked, shown_once
from synthgen.screening.view import scaled
from synthgen.screening.words import amount, label, listed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.screening.usual import Tail, Usual

ALIKE = 0.01
"""Two patients are near duplicates when no value differs by more than this share of its column's public range."""
FEWEST_ON_A_BOUND = 3
"""One or two values on a limit are chance or a ceiling of the assay; several are a generator that was cut off."""
SHARE_ON_A_BOUND = 0.2
SHORTEST_FROZEN = 5
"""Fewest recorded values at which a measurement that never changes is odd."""
FEWEST_STEPS = 100
"""A column with fewer distinct values between its bounds may stand still, or on a bound, for good reason."""
FEWEST_DIGITS = 10
"""A value of fewer units of its column's resolution has one digit: rounding may well hold it still."""
PART = 5000
"""Patients that are looked at together."""
COMPARED = ("patients", "visits", "events", "phenotypes", "variants")
"""Tables in which near duplicates are looked for; notes and images vary from patient to patient whatever the record says."""


def flag(synthetic: Cohort, dictionary: Dictionary, raised: Iterable[Flag] = ()) -> list[Flag]:
    """The queue: `raised` by checks and attacks and what is raised here, ranked, near-duplicate patients shown once."""
    from synthgen.screening.usual import usual_of

    own, twin_of = screened(_parts(synthetic), dictionary, usual_of(synthetic, dictionary))
    told = list(raised)
    known = {(f.patient_id, f.reason) for f in told if not f.reads_real_data}  # the others never decide what is flagged
    return ranked(shown_once([*told, *(f for f in own if (f.patient_id, f.reason) not in known)], twin_of))


def screened(parts: Iterable[Cohort], dictionary: Dictionary, usual: Usual) -> tuple[list[Flag], dict[str, str]]:
    """(every flag that needs no real patient, near duplicates), part by part: memory holds one part, and a row of numbers for
    each patient.

    Args:
        parts: a cohort in parts of whole patients.
        usual: what is usual in that cohort (`screening.usual.usual_of`).
    """
    from synthgen.screening import detectors
    from synthgen.screening.usual import tails

    expected = tails(dictionary, detectors())
    lookalikes, flags = _Lookalikes(), list[Flag]()
    for part in parts:
        flags += _of_part(part, dictionary, usual, expected)
        lookalikes.add(part, dictionary)
    twin_of = lookalikes.twins()
    return [*duplicated(twin_of), *flags], twin_of


def _of_part(part: Cohort, dictionary: Dictionary, usual: Usual, expected: dict[str, Tail]) -> list[Flag]:
    from synthgen.screening import improbable, stillness
    from synthgen.screening.clinical import rule_flags
    from synthgen.screening.contract import breaches
    from synthgen.screening.view import View

    view = View(part.tables, dictionary)
    flags = [*breaches(view, usual), *rule_flags(part.tables, dictionary)]
    flags += [*on_bounds(part, dictionary), *frozen(part, dictionary), *stillness.repeated_visits(view)]
    flags += [*stillness.straight_lines(view, usual), *stillness.round_numbers(view, usual)]
    return [*flags, *improbable(view, usual, expected)]


def _parts(cohort: Cohort, size: int = PART) -> Iterator[Cohort]:
    if len(cohort) <= size:
        yield cohort
        return
    for start in range(0, len(cohort), size):
        yield cohort.of(cohort.ids[start : start + size])


def near_duplicates(cohort: Cohort, dictionary: Dictionary) -> dict[str, str]:
    """Patient -> the patient (the first of the cohort) it is a near duplicate of; patients without one are absent.

    Alike are patients with equal categories, equally many rows, the same cells missing, and numbers within `ALIKE`.
    """
    lookalikes = _Lookalikes()
    lookalikes.add(cohort, dictionary)
    return lookalikes.twins()


class _Lookalikes:
    """Patients by what has to be equal, with their numbers."""

    def __init__(self) -> None:
        self._alike: dict[bytes, tuple[list[str], list[NDArray[np.float32]]]] = {}

    def add(self, part: Cohort, dictionary: Dictionary) -> None:
        for patient, exact, vector in _records(part, dictionary):
            ids, vectors = self._alike.setdefault(blake2b(exact, digest_size=16).digest(), ([], []))
            ids.append(patient)
            vectors.append(vector.astype(np.float32))

    def twins(self) -> dict[str, str]:
        twins: dict[str, str] = {}
        for ids, vectors in self._alike.values():
            if len(ids) > 1:
                first = _first_within(np.stack(vectors).astype(np.float64), ALIKE)
                twins |= {ids[i]: ids[j] for i, j in enumerate(first) if i != j}
        return twins


def duplicated(twin_of: dict[str, str]) -> list[Flag]:
    """One flag for each group of near-duplicate patients."""
    groups: dict[str, list[str]] = {}
    for twin, patient in twin_of.items():
        groups.setdefault(patient, []).append(twin)
    return [_duplicated(sorted([patient, *twins])) for patient, twins in groups.items()]


def on_bounds(cohort: Cohort, dictionary: Dictionary) -> list[Flag]:
    """Patients several of whose measurements lie exactly on a limit of what the dictionary allows."""
    if cohort.visits is None:
        return []
    columns = {name: c for name, c in dictionary.measurements.items() if _fine(c)}
    values = cohort.visits[list(columns)].astype("float64")
    limits = np.array([c.bounds for c in columns.values()]).reshape(-1, 2)
    hit = (values == limits[:, 0]) | (values == limits[:, 1])
    patients = cohort.visits.groupby("patient_id", sort=False)
    totals = pd.DataFrame({"hit": hit.sum(axis=1), "recorded": values.notna().sum(axis=1)})
    totals = totals.groupby(cohort.visits["patient_id"], sort=False).sum()
    odd = totals[(totals["hit"] >= FEWEST_ON_A_BOUND) & (totals["hit"] >= SHARE_ON_A_BOUND * totals["recorded"])]
    at_limit = values.where(hit)
    flags = []
    for patient, hits, recorded in odd.itertuples():
        limited = at_limit.iloc[patients.indices[patient]]
        found = {name: sorted(limited[name].dropna().unique().tolist()) for name in columns}
        flags.append(_on_bounds(patient, int(hits), int(recorded), found, columns))
    return flags


def frozen(cohort: Cohort, dictionary: Dictionary) -> list[Flag]:
    """Patients with a measurement that never changes from visit to visit."""
    if cohort.visits is None:
        return []
    columns = {name: c for name, c in dictionary.measurements.items() if _fine(c)}
    patients = cohort.visits.groupby("patient_id", sort=False)
    long = patients[list(columns)].count() >= SHORTEST_FROZEN
    still = long & (patients[list(columns)].nunique() == 1)
    flags = []
    for patient in still.index[still.any(axis=1)].tolist():
        rows = patients.get_group(patient)
        held = {n: float(rows[n].dropna().iloc[0]) for n in still.columns[still.loc[patient]]}
        held = {n: value for n, value in held.items() if not _coarse(value, columns[n])}
        if held:
            flags.append(_frozen(patient, rows, columns, held, int(long.loc[patient].sum())))
    return flags


def _duplicated(patients: list[str]) -> Flag:
    others = len(patients) - 1
    return Flag(
        patient_id=patients[0],
        reason="duplicate",
        severity="moderate",
        text=f"This patient appears {others + 1} times: {'another record is' if others == 1 else f'{others} other records are'} "
        "the same in every value, or nearly so. The copies add no new patient, and make an analysis look surer than it is.",
        reads_real_data=False,
        evidence={TWINS: patients[1:]},
        score=1 - 1 / len(patients),
    )


def _on_bounds(
    patient: str, count: int, recorded: int, found: dict[str, list[float]], columns: dict[str, Column]
) -> Flag:
    named = [f"{label(n, columns[n])} at {amount(v, columns[n])}" for n, values in found.items() for v in values]
    return Flag(
        patient_id=patient,
        reason="on_bound",
        severity="moderate" if count >= recorded / 2 else "mild",
        text=f"{count} of {recorded} measurements lie exactly on the limit of what is allowed ({listed(named)}): they look cut "
        "off rather than measured.",
        reads_real_data=False,
        evidence={name: values for name, values in found.items() if values},
        score=count / recorded,
    )


def _frozen(patient: str, rows: pd.DataFrame, columns: dict[str, Column], held: dict[str, float], long: int) -> Flag:
    years = (float(rows["day"].max()) - float(rows["day"].min())) / 365.25
    always = [f"{label(n, columns[n])} always {amount(v, columns[n])}" for n, v in held.items()]
    return Flag(
        patient_id=patient,
        reason="frozen",
        severity="moderate" if len(held) == long > 1 else "mild",
        text=f"Over {len(rows)} visits in {years:.1f} years nothing moves: {listed(always)}. Repeated measurements of a living "
        "patient scatter.",
        reads_real_data=False,
        evidence=dict(held),
        score=len(held) / long,
    )


def _records(cohort: Cohort, dictionary: Dictionary) -> Iterator[tuple[str, bytes, NDArray[np.float64]]]:
    """(patient, what has to be equal, numbers on the scale of their public range) for each patient."""
    parts = [
        _table_parts(frame, dictionary.tables[name].columns)
        for name, frame in cohort.tables.items()
        if name in COMPARED
    ]
    for patient in cohort.ids:
        mine = [(exact[rows], numbers[rows]) for of, exact, numbers in parts for rows in [of.get(patient, _NO_ROWS)]]
        key = b"|".join(exact.tobytes() for exact, _ in mine)
        yield patient, key, np.concatenate([numbers.ravel() for _, numbers in mine])


_NO_ROWS = np.empty(0, dtype=np.intp)


def _table_parts(
    frame: pd.DataFrame, columns: dict[str, Column]
) -> tuple[dict[Any, NDArray[np.intp]], NDArray[np.int64], NDArray[np.float64]]:
    """Rows of each patient; [rows, columns] missing numbers and codes of words; [rows, numeric] positions."""
    numeric = {name: c for name, c in columns.items() if c.numeric}
    words = [name for name, c in columns.items() if not c.numeric and c.type != "id"]
    values = (
        np.stack([_position(frame[n], c) for n, c in numeric.items()], axis=1) if numeric else np.empty((len(frame), 0))
    )
    codes = [pd.factorize(frame[name])[0] for name in words]
    exact = np.column_stack([np.isnan(values), *codes]).astype(np.int64)
    rows = {patient: np.asarray(where) for patient, where in frame.groupby("patient_id", sort=False).indices.items()}
    return rows, exact, np.nan_to_num(values)


def _position(values: pd.Series[Any], column: Column) -> NDArray[np.float64]:
    """Where values lie between the public bounds: 0 to 1, on the column's scale; a breach of them may lie outside."""
    assert column.bounds is not None
    low, high = scaled(column, np.array(column.bounds, dtype=np.float64))
    return np.asarray((scaled(column, numbers(values).to_numpy(dtype=np.float64)) - low) / (high - low))


def _first_within(vectors: NDArray[np.float64], radius: float) -> list[int]:
    """[vectors] -> for each the first vector that stands for it: no coordinate of the two differs by more than `radius`."""
    if vectors.shape[1] == 0:
        return [0] * len(vectors)
    from scipy.spatial import cKDTree

    distinct, where = np.unique(vectors, axis=0, return_inverse=True)
    tree = cKDTree(distinct)
    first: dict[int, int] = {}
    for i, row in enumerate(where.ravel().tolist()):
        if row not in first:
            for near in tree.query_ball_point(distinct[row], radius, p=np.inf):
                first.setdefault(near, i)
    return [first[row] for row in where.ravel().tolist()]


def _fine(column: Column) -> bool:
    """Whether a column can take so many values that standing still, or on a bound, is no matter of course."""
    if not column.numeric or column.bounds is None:
        return False
    decimals = 0 if column.type == "integer" else column.decimals
    return decimals is None or (column.bounds[1] - column.bounds[0]) * 10**decimals >= FEWEST_STEPS


def _coarse(value: float, column: Column) -> bool:
    """Whether a value lies so near its column's resolution that rounding alone may hold it still: 0.2 where 0.1 is a step."""
    decimals = 0 if column.type == "integer" else column.decimals
    return decimals is not None and abs(value) * 10**decimals < FEWEST_DIGITS
