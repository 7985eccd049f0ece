"""Real patients handed on as synthetic ones. These kinds alone are given real patients, and only by whoever may read them."""

from __future__ import annotations

import numpy as np

from synthgen.planting.record import Kind, Record
from synthgen.values import from_scale, scale_bounds

Rng = np.random.Generator
NEARLY = 0.003
"""How far a near copy strays, as a share of each measurement's public range."""


def copied(record: Record, rng: Rng) -> Record | None:
    """Another one of the real patients under this patient's id."""
    if not record.real:
        return None
    found = record.real[int(rng.integers(len(record.real)))].copy()
    found.patient["patient_id"] = record.patient["patient_id"]
    for frame in found.tables.values():
        frame["patient_id"] = record.patient["patient_id"]
    return found


def nearly_copied(record: Record, rng: Rng) -> Record | None:
    """The same with every measurement moved a little."""
    found = copied(record, rng)
    if found is None or "visits" not in found.tables:
        return None
    for name, column in found.measured.items():
        low, high = scale_bounds(column)
        for row, value in zip(found.rows(name), found.values(name), strict=True):
            moved = np.clip(value + NEARLY * (high - low) * rng.uniform(-1, 1), low, high)
            found.put(name, int(row), float(from_scale(column, np.array([moved]))[0]))
    return found


KINDS = (
    Kind("copied real patient", "severe", "real patients", ("Copy of a training patient",), copied),
    Kind("nearly copied real patient", "severe", "real patients", ("Copy of a training patient",), nearly_copied),
)
