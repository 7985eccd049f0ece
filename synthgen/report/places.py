"""Where a measure lies on its own scale: between floor (independent columns) and ceiling (a second real sample), or beyond.

Only measures whose floor is worse than their ceiling have a scale: independent columns beat a second sample on every marginal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from synthgen.findings import Finding

Where = Literal["between", "beyond the ceiling", "beyond the floor", "no scale"]
ORDER: tuple[Where, ...] = ("beyond the floor", "between", "beyond the ceiling", "no scale")
TOO_NEAR = 0.02
"""A floor within this of the ceiling is no yardstick (`fidelity.verdict.APART`)."""


@dataclass(frozen=True)
class Place:
    """`share` is 0 at the floor and 1 at the ceiling; None without a scale. `reason` says in words why it lies there."""

    name: str
    where: Where
    share: float | None
    reason: str


def places(findings: Iterable[Finding]) -> list[Place]:
    """Of every finding that has both a floor and a ceiling and is not a part of another; the worst first."""
    known = [f for f in findings if f.column is None and f.better != "target" and None not in (f.floor, f.ceiling)]
    found = [place(f) for f in known]
    return sorted(found, key=lambda p: (ORDER.index(p.where), p.share if p.share is not None else 0.0))


def place(finding: Finding) -> Place:
    """Of one finding with floor and ceiling."""
    assert finding.floor is not None
    assert finding.ceiling is not None
    gap = finding.ceiling - finding.floor
    if (gap if finding.better == "higher" else -gap) <= TOO_NEAR:
        return Place(finding.name, "no scale", None, "independent columns score as well as a second real sample")
    share, *ends = (
        None if value is None else (value - finding.floor) / gap for value in (finding.value, finding.low, finding.high)
    )
    assert share is not None
    known = [end for end in ends if end is not None] or [share]
    if share > 1:
        if min(known) <= 1:
            return Place(
                finding.name, "beyond the ceiling", share, "as good as a second real sample: the interval reaches it"
            )
        reason = (
            "surely nearer than a second real sample, as a model that repeats its training patients is: read the audit"
        )
        return Place(finding.name, "beyond the ceiling", share, reason)
    if share < 0:
        if max(known) >= 0:
            return Place(
                finding.name, "beyond the floor", share, "no better than independent columns: the interval reaches them"
            )
        return Place(finding.name, "beyond the floor", share, "surely worse than independent columns")
    return Place(finding.name, "between", share, "")
