"""Rules: does every synthetic patient keep to what must hold of every patient?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from synthgen.findings import Evidence, Finding, Verdict
from synthgen.rules import broken_in, holds
from synthgen.values import table

if TYPE_CHECKING:
    from synthgen.dictionary import Dictionary, Rule

TOLERATED = 0.05
"""A rule that more real rows than this break says little; the report says so."""


class Rules:
    """`conformance`: rows that breach the dictionary itself (order of days, first visit at day 0, nothing after the end of
    follow-up, bounds, categories): none is allowed. Then each clinical rule of the dictionary: the share of rows that break it,
    with the same share of real patients as `ceiling`; broken hard rules fail, others fail when synthetic patients break them
    more often than real ones by more than chance. Each finding names the rule's category (Kahn et al. 2016, eGEMs 4:1244:
    conformance, completeness, plausibility) and severity; a rule that real patients break is a bad rule, and the text says so."""

    name = "rules"
    section: Literal["rules"] = "rules"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = [_conformance(evidence)]
        rules, dictionary = evidence.dictionary.rules, evidence.dictionary
        both = (broken_in(rules, cohort.tables, dictionary) for cohort in (evidence.synthetic, evidence.train))
        for (rule, synthetic), (_, real) in zip(*both, strict=True):
            if synthetic is not None and real is not None:
                found.append(_finding(rule, synthetic, real))
        return found

    def validate(self, dictionary: Dictionary) -> None:
        """Raises ConfigError for a rule that cannot be read, before any patient is."""
        for rule in dictionary.rules:
            columns = dictionary.tables["patients"].columns | dictionary.tables[rule.table].columns
            holds(rule, table(columns, {}, 0), columns)


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
    text = (
        f"{rule.text} ({rule.category.capitalize()}, {rule.severity}.) Broken in {share:.1%} of {len(synthetic)} synthetic rows; "
        f"of real rows in {expected:.1%}."
    )
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


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Rules()
