"""Rules: does every synthetic patient keep to what must hold of every patient?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from fidelity.expressions import holds, names_in
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag, Severity
from synthgen.values import table

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary, Rule

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
            synthetic, real = (broken(rule, c, evidence.dictionary) for c in (evidence.synthetic, evidence.train))
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


def broken(rule: Rule, cohort: Cohort, dictionary: Dictionary) -> pd.DataFrame | None:
    """The rows at which a rule can be told: `patient_id`, `day` (where the table has one) and whether it is broken.

    None where the cohort lacks the rule's table. Raises ConfigError for an expression that is not of the language.
    """
    if rule.table not in cohort.tables:
        return None
    frame, columns = joined(cohort, dictionary, rule.table)
    truth = holds(rule, frame, columns)
    keys = [k for k in ("patient_id", "day") if k in frame]
    return frame[keys].assign(broken=truth == 0)[~np.isnan(truth)]


def joined(cohort: Cohort, dictionary: Dictionary, table: str) -> tuple[pd.DataFrame, dict[str, Column]]:
    """A table in order of patient and day, with each patient's own row of `patients` beside it."""
    frame, columns = cohort.tables[table], dict(dictionary.tables[table].columns)
    if table == "patients":
        return frame, columns
    if "day" in frame:
        frame = frame.sort_values(["patient_id", "day"], kind="stable", ignore_index=True)
    statics = {n: c for n, c in dictionary.tables["patients"].columns.items() if n not in columns}
    return frame.merge(cohort.patients[["patient_id", *statics]], on="patient_id", how="left"), columns | statics


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
    rows = broken(rule, synthetic, dictionary)
    if rows is None or not rows["broken"].any():
        return
    frame, _ = joined(synthetic, dictionary, rule.table)
    shown = sorted(names_in(rule.expression) & set(frame))
    severity: Severity = (
        "severe" if rule.severity in ("hard", "severe") else "moderate" if rule.severity == "moderate" else "mild"
    )
    for patient, mine in rows[rows["broken"]].groupby("patient_id", sort=False):
        first = frame.loc[mine.index[0]]
        when = f" at day {int(first['day'])}" if "day" in frame else ""
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
