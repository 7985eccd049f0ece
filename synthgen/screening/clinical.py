"""Flags of the dictionary's clinical rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthgen.flags import Flag, Severity
from synthgen.rules import broken_in

if TYPE_CHECKING:
    from synthgen.dictionary import Dictionary, Rule

SEVERITIES: dict[str, Severity] = {"hard": "severe", "severe": "severe", "moderate": "moderate", "mild": "mild"}


def rule_flags(tables: Mapping[str, pd.DataFrame], dictionary: Dictionary) -> Iterator[Flag]:
    """One flag a patient and broken rule; the synthetic tables and the dictionary are all that is read."""
    for rule, rows in broken_in(dictionary.rules, tables, dictionary):
        if rows is not None and rows["broken"].any():
            yield from _flags(rule, rows[rows["broken"]], len(tables["patients"]))


def _flags(rule: Rule, rows: pd.DataFrame, patients: int) -> Iterator[Flag]:
    shown = [str(c) for c in rows if c not in ("patient_id", "day", "broken")]
    first = rows.drop_duplicates("patient_id")
    counts = rows.groupby("patient_id", sort=False).size().to_dict()
    share = len(first) / max(patients, 1)
    for cells in first.to_dict("records"):
        patient, count = cells["patient_id"], counts[cells["patient_id"]]
        when = f" at day {int(cells['day'])}" if "day" in cells and not pd.isna(cells["day"]) else ""
        values = {name: _plain(cells[name]) for name in shown}
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        more = f", and at {count - 1} other visit{'s' if count > 2 else ''}" if count > 1 else ""
        yield Flag(
            str(patient),
            f"rule {rule.name}",
            SEVERITIES[rule.severity],
            f"{rule.text} Broken{when} ({said}){more}.",
            reads_real_data=False,
            evidence=values | {"rows": count, "category": rule.category, "share": round(share, 6)},
            score=float(count),
        )


def _plain(value: Any) -> str | float | None:
    if pd.isna(value):
        return None
    return str(value) if isinstance(value, str) else float(value)
