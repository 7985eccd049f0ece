"""Hard clinical rules on synthetic patients: whoever breaks one is drawn again. A rule looks at no real patient, so drawing
again costs nothing (DESIGN.md, rule 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthgen.rules import broken

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.dictionary import Dictionary


def breakers(tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> set[str]:
    """Ids of the patients who break a hard rule anywhere. Raises ConfigError for an expression that cannot be read."""
    found: set[str] = set()
    for rule in dictionary.rules:
        rows = broken(rule, tables, dictionary) if rule.severity == "hard" else None
        if rows is not None:
            found |= set(rows.loc[rows["broken"], "patient_id"])
    return found
