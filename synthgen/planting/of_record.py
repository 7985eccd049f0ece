"""Faults of whole records: copies, halves of two patients, visits, gaps, contradictions, noise; and broken clinical rules."""

from __future__ import annotations

import numpy as np
import pandas as pd

from synthgen.dictionary import Rule
from synthgen.planting.record import Kind, Record, rounded, spread, typical
from synthgen.rules import broken, names_in
from synthgen.values import from_scale, scale_bounds

Rng = np.random.Generator
TRIES = 15


def frozen_record(record: Record, rng: Rng) -> Record | None:  # noqa: ARG001
    """Every visit repeats the first."""
    if len(record.tables.get("visits", ())) < 5:
        return None
    for name in record.dictionary.measurements:
        record.visits[name] = record.visits[name].iloc[0]
    full = [n for n in record.measured if record.visits[n].notna().all()]
    return record if len(full) >= 4 or len(full) == len(record.measured) else None


def repeated_visit(record: Record, rng: Rng) -> Record | None:
    """One visit repeats the one before."""
    if len(record.tables.get("visits", ())) < 3:
        return None
    row = int(rng.integers(1, len(record.visits)))
    names = list(record.dictionary.measurements)
    if sum(bool(pd.notna(record.visits[n].iloc[row - 1])) for n in record.measured) < 4:
        return None
    record.visits.loc[record.visits.index[row], names] = record.visits[names].iloc[row - 1].to_numpy()
    return record


def _duplicate(record: Record, rng: Rng, jitter: float) -> Record | None:
    """A second patient, alike to a share of every column's public range."""
    if sum(len(t) for t in record.tables.values()) < 3:
        return None
    twin = record.copy()
    twin.patient["patient_id"] = f"{record.patient['patient_id']}-TWIN"
    for frame in twin.tables.values():
        frame["patient_id"] = twin.patient["patient_id"]
    if jitter and "visits" in twin.tables:
        for name, column in twin.measured.items():
            low, high = scale_bounds(column)
            for row, value in zip(twin.rows(name), twin.values(name), strict=True):
                moved = value + jitter * (high - low) * rng.uniform(-1, 1)
                twin.visits.loc[twin.visits.index[row], name] = float(from_scale(column, np.array([moved]))[0])
    record.extra = (twin,)
    return record


def duplicated(record: Record, rng: Rng) -> Record | None:
    return _duplicate(record, rng, 0.0)


def nearly_duplicated(record: Record, rng: Rng) -> Record | None:
    return _duplicate(record, rng, 0.003)


def pasted_halves(record: Record, rng: Rng) -> Record | None:
    """From some visit on, another patient's measurements."""
    if len(record.tables.get("visits", ())) < 6:
        return None
    long = [o for o in record.others if len(o.visits) >= len(record.visits)]
    if not long:
        return None
    other, half = long[int(rng.integers(len(long)))], len(record.visits) // 2
    names = list(record.dictionary.measurements)
    rows = record.visits.index[half:]
    record.visits.loc[rows, names] = other.visits[names].iloc[half : len(record.visits)].to_numpy()
    return record


def crowded(record: Record, rng: Rng) -> Record | None:
    """Thirty visits within sixty days."""
    if not len(record.tables.get("visits", ())):
        return None
    days = np.sort(rng.choice(np.arange(1, 61), size=30, replace=False)).astype(np.float64)
    outcome = record.dictionary.outcome
    if outcome is not None and float(record.patient[outcome.time]) < 61:
        return None
    one = record.visits.iloc[[0]]
    more = pd.concat([one.assign(day=d) for d in days], ignore_index=True)
    for name, column in record.measured.items():
        values = more[name].to_numpy(dtype=np.float64) * rng.uniform(0.9, 1.1, len(more))
        more[name] = [rounded(column, float(np.clip(v, *column.bounds))) if v == v else v for v in values]  # type: ignore[misc]
    record.tables["visits"] = pd.concat([one, more], ignore_index=True)
    return record


def flicker(record: Record, rng: Rng) -> Record | None:
    """A sign of two words, or the two ends of a stage, alternate from visit to visit."""
    names = [n for n, c in record.dictionary.measurements.items() if c.discrete]
    if len(record.tables.get("visits", ())) < 6 or not names:
        return None
    record.about = str(rng.choice(names))
    ends = record.dictionary.measurements[record.about].categories or ()
    record.visits[record.about] = [ends[0] if i % 2 else ends[-1] for i in range(len(record.visits))]
    return record


def never_recorded(record: Record, rng: Rng) -> Record | None:
    """Measurements that are seldom missing, missing at every visit."""
    names = [n for n, c in record.dictionary.measurements.items() if c.missing]
    names = [n for n in names if (k := record.dictionary.measurements[n].knowledge) and (k.missing or 0) <= 0.1]
    if len(record.tables.get("visits", ())) < 4 or not names:
        return None
    record.about = str(rng.choice(names))
    record.visits[record.about] = np.nan
    return record


def contradiction(record: Record, rng: Rng) -> Record | None:  # noqa: ARG001
    """Of two measurements that follow severity, one says very ill and the other very well, at every visit."""
    follow = sorted(
        (
            (abs(c.knowledge.severity), n)
            for n, c in record.measured.items()
            if c.knowledge and c.knowledge.severity and abs(c.knowledge.severity) >= 0.5
        ),
        reverse=True,
    )
    if "visits" not in record.tables or len(follow) < 2:
        return None
    for (_, name), ill in zip(follow[:2], (1, -1), strict=True):
        column = record.measured[name]
        assert column.knowledge is not None
        sign = np.sign(column.knowledge.severity or 0) * ill
        target = typical(column) + 3 * sign * spread(column)
        values = record.values(name)
        for row, value in zip(record.rows(name), values, strict=True):
            record.put_scaled(name, int(row), target + value - float(np.median(values)))
    record.about = follow[0][1]
    return record


def noise(record: Record, rng: Rng) -> Record | None:
    """Every measurement anywhere between its bounds."""
    if len(record.tables.get("visits", ())) < 4:
        return None
    for name, column in record.measured.items():
        low, high = scale_bounds(column)
        for row in record.rows(name):
            record.put_scaled(name, int(row), float(rng.uniform(low, high)))
    return record


def _breaks(severity: str, over_time: bool) -> object:
    def plant(record: Record, rng: Rng) -> Record | None:
        rules = [
            r
            for r in record.dictionary.rules
            if r.severity == severity
            and ("previous(" in r.expression) == over_time
            and len(record.tables.get(r.table, ())) > (1 if over_time else 0)
        ]
        for i in rng.permutation(len(rules)):
            if (spoiled := _broken(record, rules[i], rng)) is not None:
                return spoiled
        return None

    return plant


def _broken(record: Record, rule: Rule, rng: Rng) -> Record | None:
    """Draws the columns that a rule names until the rule is broken at one row (in bounds, and nothing else is touched)."""
    columns = record.dictionary.tables[rule.table].columns
    mine = [n for n in sorted(names_in(rule)) if n in columns and columns[n].type != "id" and n != "day"]
    if not mine:
        return None
    for _ in range(TRIES):
        tried = record.copy()
        frame = tried.tables[rule.table]
        row = frame.index[int(rng.integers(1 if len(frame) > 1 else 0, len(frame)))]
        for name in mine:
            column = columns[name]
            if column.discrete:
                frame.loc[row, name] = str(rng.choice(column.categories or ()))
            elif column.numeric:
                anywhere, usual = (
                    rng.uniform(*scale_bounds(column)),
                    typical(column) + spread(column) * rng.uniform(-4, 4),
                )
                near = anywhere if rng.random() < 0.4 else usual
                frame.loc[row, name] = float(from_scale(column, np.array([near]))[0])
        found = broken(rule, tried.tables | {"patients": pd.DataFrame([tried.patient])}, record.dictionary)
        if found is not None and found["broken"].any():
            tried.about = f"rule {rule.name}"
            return tried
    return None


def sex_flip(record: Record, rng: Rng) -> Record | None:  # noqa: ARG001
    """The sex turned round in a patient of whom an event says otherwise."""
    name = next((n for n, c in record.dictionary.static.items() if c.code == "LOINC:46098-0"), None)
    if name is None:
        return None
    words = record.dictionary.static[name].categories or ()
    record.patient[name] = next(w for w in words if w != record.patient[name])
    patients = {"patients": pd.DataFrame([record.patient])}
    for rule in record.dictionary.rules:
        if name in names_in(rule) and rule.severity in ("hard", "severe"):
            found = broken(rule, record.tables | patients, record.dictionary)
            if found is not None and found["broken"].any():
                record.about = f"rule {rule.name}"
                return record
    return None


RULE = ("Broken",)
KINDS = (
    Kind("frozen record", "severe", "evidence", ("repeat", "nothing moves"), frozen_record),
    Kind("visit copied forward", "moderate", "evidence", ("repeat",), repeated_visit),
    Kind("duplicated patient", "severe", "evidence", ("appears",), duplicated),
    Kind("nearly duplicated patient", "severe", "evidence", ("appears",), nearly_duplicated),
    Kind("halves of two patients", "moderate", "evidence", ("another patient",), pasted_halves),
    Kind("thirty visits in sixty days", "severe", "evidence", ("crowded",), crowded),
    Kind("a sign that flickers", "moderate", "evidence", ("comes and goes",), flicker),
    Kind("never recorded", "mild", "evidence", ("never recorded",), never_recorded),
    Kind("contradiction of two measurements", "moderate", "evidence", ("do not fit", "far above", "far below"), contradiction),
    Kind("noise for measurements", "severe", "evidence", ("leaps", "swings", "another patient", "do not fit"), noise),
    Kind("severe rule broken", "severe", "rule", RULE, _breaks("severe", False)),  # type: ignore[arg-type]
    Kind("severe rule over time broken", "severe", "rule", RULE, _breaks("severe", True)),  # type: ignore[arg-type]
    Kind("moderate rule broken", "moderate", "rule", RULE, _breaks("moderate", False)),  # type: ignore[arg-type]
    Kind("moderate rule over time broken", "moderate", "rule", RULE, _breaks("moderate", True)),  # type: ignore[arg-type]
    Kind("mild rule over time broken", "mild", "rule", RULE, _breaks("mild", True)),  # type: ignore[arg-type]
    Kind("sex flip", "severe", "rule", RULE, sex_flip),
)  # fmt: skip
