"""Rules: does every synthetic patient keep to what must hold of every patient?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag, Severity
from synthgen.rules import broken, holds
from synthgen.values import table

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary, Rule

TOLERATED = 0.05
"""A rule that more real rows than this break says little; the report says so."""


class Rules:
    """`conformance`: rows that breach the dictionary itself (order of days, first visit at day 0, nothing after the end of
    follow-up, bounds, categories): none is allowed. Then each clinical rule of the dictionary: the share of rows that break it,
    with the same share of real patients as `ceiling`; broken hard rules fail, others fail when synthetic patients break them
    more often than real ones by more than chance. Raises a flag for each synthetic patient that breaks a rule, without any
    real data."""

    name = "rules"
    section: Literal["rules"] = "rules"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = [_conformance(evidence)]
        for rule in evidence.dictionary.rules:
            synthetic, real = (
                broken(rule, c.tables, evidence.dictionary) for c in (evidence.synthetic, evidence.train)
            )
            if synthetic is not None and real is not None:
                found.append(_finding(rule, synthetic, real))
        return found

    def validate(self, dictionary: Dictionary) -> None:
        """Raises ConfigError for a rule that cannot be read, before any patient is."""
        for rule in dictionary.rules:
            columns = dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns
            holds(rule, table(columns, {}, 0), columns)

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        """One flag a patient and broken rule; the synthetic cohort and the dictionary are all that is read."""
        return [
            flag for rule in evidence.dictionary.rules for flag in _flags(rule, evidence.synthetic, evidence.dictionary)
        ]


def _conformance(evidence: Evidence) -> Finding:
    from synthgen.conformance import conform

    _, breaches = conform(evidence.synthetic.tables, evidence.dictionary, "synthetic")
    text = (
        f"{len(breaches)} breaches of the dictionary: {'; '.join(breaches[:3])}"
        if breaches
        else "Every synthetic row keeps to the dictionary: order of days, end of follow-up, bounds, categories."
    )
    verdict: Verdict = "fail" if breaches else "pass"
    return Finding(
        "rules",
        "conformance",
        len(breaches),
        verdict,
        text,
        "rules",
        n=len(evidence.synthetic),
        ceiling=0.0,
        bound=0.0,
        better="lower",
        audience="release",
    )


def _finding(rule: Rule, synthetic: pd.DataFrame, real: pd.DataFrame) -> Finding:
    share, expected = (float(rows["broken"].mean()) if len(rows) else 0.0 for rows in (synthetic, real))
    low, high = _interval(synthetic)
    verdict: Verdict = "pass"
    if rule.severity == "hard":
        verdict = "fail" if share > 0 else "pass"
    elif low > max(expected * 2, TOLERATED):
        verdict = "fail"
    elif share > max(expected * 2, TOLERATED):
        verdict = "inconclusive"
    text = f"{rule.text} Broken in {share:.1%} of {len(synthetic)} synthetic rows; of real rows in {expected:.1%}."
    if expected > TOLERATED:
        text += " Real patients break it too often for it to be a good rule."
    return Finding(
        "rules",
        "broken",
        share,
        verdict,
        text,
        "rules",
        low=low,
        high=high,
        n=len(synthetic),
        ceiling=expected,
        bound=0.0 if rule.severity == "hard" else None,
        better="lower",
        column=rule.name,
    )


def _interval(rows: pd.DataFrame) -> tuple[float, float]:
    """95% interval of a share of rows, patients being the unit (linearised ratio: Cochran 1977, section 2.11)."""
    if rows.empty:
        return 0.0, 0.0
    of = rows.groupby("patient_id", sort=False)["broken"].agg(["sum", "size"])
    share = of["sum"].sum() / of["size"].sum()
    residual = of["sum"] - share * of["size"]
    error = float(np.sqrt((residual**2).sum() * len(of) / max(len(of) - 1, 1)) / of["size"].sum())
    return max(0.0, float(share - 1.96 * error)), min(1.0, float(share + 1.96 * error))


def _flags(rule: Rule, synthetic: Cohort, dictionary: Dictionary) -> Iterable[Flag]:
    rows = broken(rule, synthetic.tables, dictionary)
    if rows is None or not rows["broken"].any():
        return
    shown = [str(c) for c in rows if c not in ("patient_id", "day", "broken")]
    severity: Severity = (
        "severe" if rule.severity in ("hard", "severe") else "moderate" if rule.severity == "moderate" else "mild"
    )
    for patient, mine in rows[rows["broken"]].groupby("patient_id", sort=False):
        first = mine.iloc[0]
        when = f" at day {int(first['day'])}" if "day" in mine else ""
        values = {name: _plain(first[name]) for name in shown}
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        more = f", and at {len(mine) - 1} other visits" if len(mine) > 1 else ""
        yield Flag(
            str(patient),
            f"rule {rule.name}",
            severity,
            f"{rule.text} Broken{when} ({said}){more}.",
            reads_real_data=False,
            evidence=values | {"rows": len(mine)},
            score=float(len(mine)),
        )


def _plain(value: Any) -> str | float | None:
    if pd.isna(value):
        return None
    return str(value) if isinstance(value, str) else float(value)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Rules()
