"""What stands between a run and its release, read off its claim, findings and flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from synthgen.queue import patients_of

if TYPE_CHECKING:
    from synthgen.findings import Finding
    from synthgen.report.context import ReportContext


def objections(context: ReportContext, accepted: Mapping[str, str]) -> list[str]:
    """All reasons against a release, one sentence each; none means that the gate is open.

    Args:
        accepted: names of inconclusive findings, or patterns of `by_name` -> the person who accepts them.
    """
    accepted = by_name(context.findings, accepted)
    return [*_of_claim(context), *_of_cohort(context), *_of_findings(context, accepted), *_of_flags(context)]


def by_name(findings: Iterable[Finding], accepted: Mapping[str, str]) -> dict[str, str]:
    """What was accepted, one by one: `membership/*` stands for every inconclusive finding of that check, and for no other.

    A pattern that names no check, or of which nothing is inconclusive, stays as it is, for the gate to refuse. So does `*`.
    """
    open_ = [f.name for f in findings if f.verdict == "inconclusive"]
    named: dict[str, str] = {}
    for pattern, person in accepted.items():
        check = pattern.removesuffix("/*")
        meant = [name for name in open_ if name.startswith(f"{check}/")] if pattern.endswith("/*") and check else []
        named |= dict.fromkeys(meant or [pattern], person)
    return named


def to_drop(context: ReportContext) -> frozenset[str]:
    """Synthetic patients that a release leaves out: with a severe flag that never looked at real data."""
    return frozenset(
        patient
        for flag in context.flags
        if flag.severity == "severe" and not flag.reads_real_data
        for patient in patients_of(flag)
    )


def _of_claim(context: ReportContext) -> list[str]:
    reasons = [f"there is no privacy guarantee: {reason}" for reason in context.claim.void]
    if context.claim.guarantee is None and not reasons:
        reasons.append("there is no privacy guarantee")
    if context.spending and context.spending.all_runs > context.spending.cap:
        reasons.append(
            f"all runs on these patients together spent epsilon {context.spending.all_runs:.2f}, above the cap of "
            f"{context.spending.cap:g} (`synthgen budget`)"
        )
    return reasons


def _of_cohort(context: ReportContext) -> list[str]:
    reasons = []
    ids = context.synthetic.ids
    if context.synthetic.origin != "synthetic" or not ids.str.startswith("SYN-").all():
        reasons.append("the cohort is not marked as synthetic: its origin or its ids (SYN-...) say otherwise")
    if to_drop(context).issuperset(ids):
        reasons.append("every synthetic patient has a severe flag, so nothing would be left to release")
    if context.dictionary.unreviewed:
        reasons.append(
            f"{len(context.dictionary.unreviewed)} columns of the dictionary are unreviewed: their bounds were read from the data"
        )
    return reasons


def _of_findings(context: ReportContext, accepted: Mapping[str, str]) -> list[str]:
    open_ = {f.name: f for f in context.findings if f.verdict == "inconclusive"}
    reasons = [f"{f.name} failed: {f.text}" for f in context.findings if f.verdict == "fail"]
    reasons += [
        f"{name} is inconclusive: accept it by name (`--accept {name} --by PERSON`) or run with more patients. {finding.text}"
        for name, finding in open_.items()
        if not accepted.get(name, "").strip()
    ]
    reasons += [
        f"{name} cannot be accepted: no inconclusive finding has this name"
        + (" (`CHECK/*` accepts all that are inconclusive of one check)" if "*" in name else "")
        for name in accepted
        if name not in open_
    ]
    return reasons


def _of_flags(context: ReportContext) -> list[str]:
    severe = [f for f in context.flags if f.severity == "severe" and f.reads_real_data]
    return [
        f"{flag.patient_id} has an open severe flag that read real patients ({flag.reason}): leaving the patient out would void "
        "the guarantee, so a new, charged run is needed"
        for flag in severe
    ]
