"""Declared subgroups side by side: how near each is to its real patients, and how well a model works for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from synthgen.report.drawing import FAINT, INK, MUTED, PAPER, REAL, SYNTHETIC, WIDTH, as_svg, styled
from synthgen.report.finding_charts import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from synthgen.findings import Finding


@styled
def subgroups(findings: Sequence[Finding]) -> str:
    """Left: distance from the real patients of the group; right: concordance of the first task's model there."""
    profile = {
        f.column: f
        for f in findings
        if f.check == "subgroups" and f.metric == "profile" and f.low is not None and f.column
    }
    served = [f for f in findings if f.check == "utility" and f.metric.startswith("tstr_") and f.column]
    metric = served[0].metric if served else ""
    utility = {f.column: f for f in served if f.metric == metric and f.column}
    groups = [g for g in dict.fromkeys([*profile, *utility]) if g]
    if not groups:
        return ""
    sides = [("distance from real patients of the group", profile)] if profile else []
    if utility:
        sides.append((f"{metric.removeprefix('tstr_').replace('_', ' ')}: concordance in real patients", utility))
    figure = Figure(figsize=(WIDTH, 1.0 + 0.34 * len(groups)), layout="constrained")
    panels = figure.subplots(1, len(sides), squeeze=False, sharey=True).ravel()
    for panel, (label, found) in zip(panels, sides, strict=True):
        for row, group in enumerate(groups):
            if group in found:
                _row(panel, row, found[group])
        panel.set_xlabel(label)
        panel.grid(axis="x")
        panel.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_yticks(range(len(groups)), groups, color=INK)
    panels[0].set_ylim(len(groups) - 0.4, -0.6)
    if utility:
        panels[-1].axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    _legend(panels[0])
    return as_svg(figure, f"{len(groups)} declared subgroups")


def _row(panel: Axes, row: int, finding: Finding) -> None:
    colour = VERDICTS["fail"][0] if finding.verdict == "fail" else SYNTHETIC
    panel.plot(
        [finding.low or 0, finding.high or 0],
        [row, row],
        color=colour,
        linewidth=2.2,
        alpha=0.5,
        solid_capstyle="round",
    )
    if finding.ceiling is not None:
        panel.plot(
            finding.ceiling, row, marker="d", markersize=8, color=PAPER, markeredgecolor=REAL, markeredgewidth=1.4
        )
    if finding.check == "subgroups" and finding.floor is not None:
        panel.plot(
            finding.floor, row, marker="|", markersize=11, color=FAINT, markeredgecolor=MUTED, markeredgewidth=1.6
        )
    panel.plot(finding.value, row, marker="o", markersize=7, color=colour, markeredgecolor=PAPER, zorder=5)


def _legend(panel: Axes) -> None:
    panel.plot([], [], marker="o", linestyle="", color=SYNTHETIC, markeredgecolor=PAPER, label="synthetic")
    panel.plot([], [], marker="d", linestyle="", color=PAPER, markeredgecolor=REAL, label="real")
    panel.plot([], [], marker="|", linestyle="", color=MUTED, label="independent columns")
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handletextpad=0.2, columnspacing=1.4, borderpad=0.1)
