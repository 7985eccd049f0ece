"""The seven C's (Zamzmi et al. 2025, npj Digital Medicine 8): one judgement a criterion, and the evidence behind each.

Congruence, coverage, constraint, completeness, compliance, comprehension, consistency. A criterion is as good as the worst of
its findings; the scorecard measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthgen.dictionary import Dictionary
    from synthgen.findings import Audience, Finding, Verdict
    from synthgen.report.context import ReportContext

QUESTIONS = {
    "Congruence": "Is it distributed as real patients are, alone and together?",
    "Coverage": "Are rare patients, extremes and every declared subgroup there?",
    "Constraint": "Does it keep the rules of the body, of time and of the record?",
    "Completeness": "Does it hold what its users need: values where patients have them, and what predicts?",
    "Compliance": "Does it keep its promise of privacy, and to its plan?",
    "Comprehension": "Can a reader know what every column means and where it comes from?",
    "Consistency": "Does it tell the same story from visit to visit, from drawing to drawing, and between modalities?",
}
OF_CHECK = {
    "tails": "Coverage",
    "subgroups": "Coverage",
    "phenotype-prevalence": "Coverage",
    "missingness": "Completeness",
    "phenotype-terms-per-patient": "Completeness",
    "trajectories": "Consistency",
    "functional": "Consistency",
    "transitions": "Consistency",
    "lagged": "Consistency",
    "estimands": "Consistency",
    "model-ranking": "Consistency",
    "cross-modal": "Consistency",
}
"""Check -> criterion; any other stands where its section does."""
OF_SECTION = {"fidelity": "Congruence", "rules": "Constraint", "utility": "Completeness", "audit": "Compliance"}
WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "pass")
MOST_EVIDENCE = 3
WITHIN = "Judged inside the hospital; what was measured there reads real patients and does not leave it."


@dataclass(frozen=True)
class Criterion:
    """One of the seven C's. `verdict` is None where nothing was measured, or where it stays inside."""

    name: str
    question: str
    verdict: Verdict | None
    counts: dict[str, int]
    evidence: tuple[str, ...]
    more: int = 0
    """How many further findings there are, in the tables."""


def scorecard(context: ReportContext, audience: Audience) -> list[Criterion]:
    """All seven. For a release, `context` is `ReportContext.for_release()`, and only what never read a real patient speaks."""
    found: list[Criterion] = []
    for name, question in QUESTIONS.items():
        findings = [f for f in context.findings if _criterion(f) == name]
        own = {"Comprehension": _comprehension, "Compliance": _compliance}.get(name)
        said, sentences = own(context) if own else (None, ())
        found.append(_judged(name, question, findings, said, sentences, audience))
    return found


def _judged(
    name: str,
    question: str,
    findings: Sequence[Finding],
    own: Verdict | None,
    sentences: Sequence[str],
    audience: Audience,
) -> Criterion:
    counts: dict[str, int] = {v: sum(f.verdict == v for f in findings) for v in (*WORST_FIRST, "information")}
    present = [v for v in WORST_FIRST if counts[v] or own == v]
    ordered = sorted((f for f in findings if f.verdict in WORST_FIRST), key=lambda f: WORST_FIRST.index(f.verdict))
    evidence = [*sentences, *(f"{f.name.replace('_', ' ')}: {f.text}" for f in ordered)]
    shown = evidence[: MOST_EVIDENCE + len(sentences)]
    inside = audience == "release" and name not in ("Comprehension", "Compliance") and not findings
    if inside or (audience == "release" and name == "Compliance"):
        shown = [*shown, WITHIN]
    if not shown:
        shown = ["Nothing was measured that would say."]
    verdict = None if inside or not present else present[0]
    return Criterion(name, question, verdict, counts, tuple(shown), max(len(evidence) - len(shown), 0))


def _criterion(finding: Finding) -> str:
    return OF_CHECK.get(finding.check) or OF_SECTION[finding.section]


def _compliance(context: ReportContext) -> tuple[Verdict | None, tuple[str, ...]]:
    return ("pass" if context.claim.guarantee else "fail"), (f"{context.claim.headline}.",)


def _comprehension(context: ReportContext) -> tuple[Verdict | None, tuple[str, ...]]:
    """What the data dictionary explains: it is public, so that this may be told to anybody."""
    documented = _documented(context.dictionary)
    words = ", ".join(f"{what} {have} of {of}" for what, (have, of) in documented.items() if of)
    complete = all(
        have == of for what, (have, of) in documented.items() if what in ("columns with a label", "numbers with a unit")
    )
    return ("pass" if complete else "inconclusive"), (
        f"The data dictionary that goes with it: {words}.",
        f"{len(context.claim.sentences)} sentences say what is promised, and {len(context.claim.outside)} what is not.",
    )


def _documented(dictionary: Dictionary) -> dict[str, tuple[int, int]]:
    """What -> (columns that have it, columns that should)."""
    columns = [c for t in dictionary.tables.values() for c in t.columns.values() if c.type != "id"]
    numbers = [c for c in columns if c.numeric]
    measured = list(dictionary.measurements.values())
    return {
        "columns with a label": (sum(bool(c.label) for c in columns), len(columns)),
        "numbers with a unit": (sum(bool(c.unit) for c in numbers), len(numbers)),
        "measurements with a code (LOINC, HPO)": (sum(bool(c.code) for c in measured), len(measured)),
        "rules in words": (sum(bool(r.text) for r in dictionary.rules), len(dictionary.rules)),
    }
