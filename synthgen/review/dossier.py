"""All that an officer decides on about one run: its report's context with the reviews' verdicts, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synthgen.gate import objections, to_drop
from synthgen.report.of_run import context_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthgen.findings import Finding
    from synthgen.flags import Flag
    from synthgen.report.context import ReportContext
    from synthgen.workspace import Run


@dataclass(frozen=True)
class Blocker:
    """One reason against a release, and who can take it away."""

    reason: str
    who: str


def context_with(run: Run, rejected: Sequence[Flag]) -> ReportContext:
    """What the run's report shows, and a severe flag for each patient that its reviews rejected."""
    context = context_of(run)
    return replace(context, flags=(*context.flags, *rejected))


def reviewed(run: Run) -> tuple[ReportContext, list[str]]:
    """What the command line releases: the run's context with what its reviews decided, and a sentence for each that is not
    settled."""
    from synthgen.review import outcome
    from synthgen.review.database import Database

    with Database(run.workspace).read() as connection:
        return context_with(run, outcome.rejected(connection, run.id)), outcome.unsettled(connection, run.id)


def blockers(context: ReportContext, accepted: Mapping[str, str], unsettled: Sequence[str]) -> list[Blocker]:
    """Everything in the way of a release; none means that an officer can sign."""
    by_name = {f"{f.name} ": f for f in context.findings}
    found = []
    for reason in objections(context, accepted):
        finding = next((f for name, f in by_name.items() if reason.startswith(name)), None)
        if finding is not None and finding.verdict == "inconclusive":
            reason = f"{finding.name} is inconclusive: accept it by its name, or run with more patients. {finding.text}"
        found.append(Blocker(reason, _who(reason, finding)))
    return found + [Blocker(reason, "scientist") for reason in unsettled]


def inconclusive(context: ReportContext) -> list[Finding]:
    """The findings that an officer may accept by name."""
    return [f for f in context.findings if f.verdict == "inconclusive"]


def worst_subgroup(context: ReportContext) -> Finding | None:
    """The finding of the audit about the group of patients that an attacker reaches best."""
    groups = [f for f in context.findings if f.section == "audit" and "subgroup" in f.name]
    return max(groups, key=lambda f: f.value, default=None)


def left_out(context: ReportContext) -> int:
    """Synthetic patients that the release leaves out."""
    return len(to_drop(context))


def _who(reason: str, finding: Finding | None) -> str:
    if finding is not None:
        return "officer" if finding.verdict == "inconclusive" else "scientist"
    return "officer" if "above the cap" in reason else "scientist"
