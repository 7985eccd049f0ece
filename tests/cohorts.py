"""Small simulated cohorts and their dictionaries. None of these patients exists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, parse, read_dictionary
from synthgen.simulation import simulate

REPOSITORY = Path(__file__).parent.parent


def pbc() -> Dictionary:
    """The dictionary that ships with the project; not its patients."""
    return read_dictionary(REPOSITORY / "configs" / "pbc" / "cohort.yaml")


def registry() -> Dictionary:
    """Recurrent coded events (drugs with dose, procedures, diagnoses), death, missing values, an unordered category."""
    return read_dictionary(REPOSITORY / "configs" / "simulated" / "cohort.yaml")


def two_labs() -> Dictionary:
    """Two labs, nothing else at visits, death; no public knowledge at all."""
    return _dictionary(
        "simulated-two-labs",
        patients={
            "age": {"type": "continuous", "bounds": [0, 90], "decimals": 1},
            "days": {"type": "integer", "role": "outcome", "bounds": [0, 2000]},
            "status": {"type": "categorical", "role": "outcome", "categories": ["alive", "dead"]},
        },
        visits={
            "ferritin": {"type": "continuous", "bounds": [1, 20000], "scale": "log", "decimals": 0},
            "haemoglobin": {"type": "continuous", "bounds": [2, 22], "decimals": 1, "missing": True},
        },
        outcome={"time": "days", "status": "status", "censored": "alive"},
    )


def no_outcome() -> Dictionary:
    """Visits without any end that is written down."""
    return _dictionary(
        "simulated-no-outcome",
        patients={"sex": {"type": "categorical", "categories": ["f", "m"]}},
        visits={
            "score": {"type": "integer", "bounds": [0, 40]},
            "pain": {"type": "ordinal", "categories": ["none", "some", "much"], "missing": True},
        },
    )


def events_only() -> Dictionary:
    """Recurrent events without visits, and no static column."""
    return _dictionary(
        "simulated-events-only",
        patients={},
        events={
            "code": {"type": "categorical", "role": "code", "categories": ["attack", "transfusion"]},
            "stop": {"type": "integer", "role": "stop", "bounds": [0, 2000]},
            "units": {"type": "integer", "role": "dose", "bounds": [1, 12]},
        },
    )


DICTIONARIES = {f.__name__: f for f in (pbc, registry, two_labs, no_outcome, events_only)}


def simulated(dictionary: Dictionary, patients: int = 60, seed: int = 0) -> Cohort:
    """Simulated patients of one population."""
    return simulate(dictionary, patients, np.random.default_rng(seed))


def _dictionary(
    name: str, patients: Mapping[str, Any], outcome: Any = None, **longitudinal: Mapping[str, Any]
) -> Dictionary:
    """A dictionary with ids and days filled in."""
    day = {"type": "integer", "role": "time", "bounds": [0, 2000]}
    tables = {"patients": {"columns": {"patient_id": {"type": "id"}, **patients}}}
    for table, columns in longitudinal.items():
        tables[table] = {"columns": {"patient_id": {"type": "id"}, "day": day, **columns}}
    content = {"name": name, "title": name, "declared_patients": 60, "tables": tables, "outcome": outcome}
    return parse(Dictionary, content, name)
