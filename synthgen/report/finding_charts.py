"""Charts of numbers that stand in the report anyway: what was spent and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.ticker import MaxNLocator

from synthgen.report.drawing import INK, MUTED, PAPER, REAL, SYNTHETIC, as_svg, one_panel, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthgen.findings import Finding
    from synthgen.report.context import Spending

VERDICTS = {
    "pass": ("#1a7f5a", "o"),
    "fail": ("#b3261e", "X"),
    "inconclusive": ("#946200", "D"),
    "information": ("#5b6673", "s"),
}
"""Colour and shape of each verdict."""
BEYOND = (-0.3, 1.3)
"""How far beyond floor and ceiling a finding is drawn; what lies further sits on the edge."""


@styled
def budget(spending: Spending) -> str:
    """One bar: this run, the other runs on these patients, and the cap."""
    figure, axes = one_panel(0.95)
    others = max(spending.all_runs - spending.run, 0.0)
    widest = 1.06 * max(spending.cap, spending.all_runs)
    axes.barh(0, spending.cap, height=0.5, color="#eef1f4")
    axes.barh(0, spending.run, height=0.5, color=SYNTHETIC)
    axes.barh(0, others, left=spending.run, height=0.5, color="#8fb9c9")
    over = spending.all_runs > spending.cap
    axes.axvline(spending.cap, ymin=0.1, ymax=0.9, color=VERDICTS["fail"][0] if over else INK, linewidth=1.6)
    axes.annotate(f"cap {spending.cap:g} ", (spending.cap, 0.42), ha="right", va="bottom", color=INK)
    axes.annotate("this run", (0, -0.34), va="top", color=SYNTHETIC, weight="bold")
    if others > 0.01 * widest:
        axes.annotate("other runs", (spending.run, -0.34), va="top", color=MUTED)
    axes.set(xlim=(0, widest), ylim=(-0.75, 0.75), yticks=[], xlabel=f"epsilon at delta {spending.delta:g}")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    return as_svg(
        figure, f"This run spent {spending.run:.2f}, all runs {spending.all_runs:.2f}, the cap is {spending.cap:g}"
    )


@styled
def scale(findings: Sequence[Finding]) -> str:
    """Findings between their floor (independent columns) and their ceiling (another real sample)."""
    placed = [(f, *_placed(f)) for f in findings if f.verdict != "information" and _spans(f)]
    if not placed:
        return ""
    figure, axes = one_panel(0.7 + 0.27 * len(placed))
    axes.axvspan(0, 1, color="#f3f6f8", zorder=0)
    for row, (finding, value, low, high) in enumerate(placed):
        _row(axes, row, finding, value, low, high)
        if finding.prior is not None:
            _hollow(axes, row, _place(finding, finding.prior))
    axes.set(xlim=(BEYOND[0] - 0.04, BEYOND[1] + 0.04))
    axes.set_xticks([0, 0.5, 1], ["independent columns", "half way", "another real sample"])
    _rows(axes, findings=[f for f, *_ in placed])
    return as_svg(figure, f"{len(placed)} findings between independent columns and another real sample")


@styled
def forest(
    findings: Sequence[Finding],
    label: str,
    reference: str = "",
    even: float | None = None,
    against: Literal["ceiling", "bound"] = "ceiling",
    by_column: bool = False,
) -> str:
    """Values with their intervals, one a row, beside what they are read against.

    Args:
        label: of the axis.
        reference: what a finding's `ceiling` (or what else it stands `against`) is called; without it none is drawn.
        even: the value that means nothing was learnt (0.5 of an AUC), or no effect.
        against: what the reference is.
        by_column: whether a row is named by the finding's column alone.
    """
    if not findings:
        return ""
    figure, axes = one_panel(0.75 + 0.34 * len(findings))
    if even is not None:
        axes.axvline(even, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for row, finding in enumerate(findings):
        mark = getattr(finding, against)
        if reference and mark is not None:
            axes.plot(mark, row, marker="d", markersize=8, color=PAPER, markeredgecolor=REAL, markeredgewidth=1.4)
        _row(axes, row, finding, finding.value, finding.low, finding.high)
        if finding.prior is not None:
            _hollow(axes, row, finding.prior)
    axes.set_xlabel(label)
    axes.margins(x=0.06)
    _rows(axes, findings, reference if any(getattr(f, against) is not None for f in findings) else "", by_column)
    return as_svg(figure, f"{label}: {len(findings)} values with their intervals")


def words(finding: Finding) -> str:
    """A finding's name as it is read."""
    return " · ".join(part.replace("_", " ") for part in finding.name.split("/"))


def _spans(finding: Finding) -> bool:
    """Whether its floor is worse than its ceiling, so that there is a scale to place it on."""
    if finding.floor is None or finding.ceiling is None or finding.better == "target":
        return False
    gap = finding.ceiling - finding.floor
    return (gap if finding.better == "higher" else -gap) > 0


def _placed(finding: Finding) -> tuple[float, float | None, float | None]:
    """Value and interval with the floor at 0 and the ceiling at 1."""
    ends = (None if end is None else _place(finding, end) for end in (finding.low, finding.high))
    return (_place(finding, finding.value), *ends)  # type: ignore[return-value]


def _place(finding: Finding, value: float) -> float:
    floor, span = finding.floor or 0.0, (finding.ceiling or 0.0) - (finding.floor or 0.0)
    return float(np.clip((value - floor) / span, *BEYOND))


def _hollow(axes: Axes, row: int, value: float) -> None:
    """What public knowledge alone scores."""
    axes.plot(
        value, row, marker="o", markersize=7.5, color="none", markeredgecolor=MUTED, markeredgewidth=1.2, zorder=4
    )


def _row(axes: Axes, row: int, finding: Finding, value: float, low: float | None, high: float | None) -> None:
    colour, marker = VERDICTS[finding.verdict]
    if low is not None and high is not None:
        axes.plot([low, high], [row, row], color=colour, linewidth=2.2, alpha=0.5, solid_capstyle="round")
    axes.plot(
        value, row, marker=marker, markersize=7.5, color=colour, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=5
    )


def _rows(axes: Axes, findings: Sequence[Finding], reference: str = "", by_column: bool = False) -> None:
    """Names on the left, first finding on top, and what the marks mean above."""
    names = [(f.column or f.metric).replace("_", " ") if by_column else words(f) for f in findings]
    axes.set_yticks(range(len(findings)), names, color=INK)
    axes.set_ylim(len(findings) - 0.4, -0.6)
    axes.grid(axis="x")
    axes.spines[["left", "bottom"]].set_visible(False)
    for verdict, (colour, marker) in VERDICTS.items():
        if any(f.verdict == verdict for f in findings):
            axes.plot([], [], marker=marker, linestyle="", color=colour, markeredgecolor=PAPER, label=verdict)
    if reference:
        axes.plot([], [], marker="d", linestyle="", color=PAPER, markeredgecolor=REAL, label=reference)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, handletextpad=0.2, columnspacing=1.4, borderpad=0.1)
