"""Calibration: what models that learnt from synthetic patients foretold, and what befell real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from synthgen.report.drawing import INK, MUTED, PAPER, WIDTH, as_svg, styled

if TYPE_CHECKING:
    from synthgen.findings import Finding

METRIC, GROUP = "calibration_", "risk group "
"""How `fidelity.utility` names the metric and the columns of these findings; others of calibration are in the table."""
PANELS = 4


@styled
def calibration(findings: Sequence[Finding]) -> str:
    """One panel a model: predicted risk (`bound`) against the share of patients with the event, in groups of predicted risk."""
    series: dict[str, list[Finding]] = {}
    for f in findings:
        if f.metric.startswith(METRIC) and (f.column or "").startswith(GROUP) and f.bound is not None:
            series.setdefault(f.metric.removeprefix(METRIC).replace("_", " "), []).append(f)
    if not series:
        return ""
    shown = dict(list(series.items())[:PANELS])
    figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
    panels = figure.subplots(1, max(len(shown), 3), squeeze=False, sharey=True).ravel()
    for panel, (name, groups) in zip(panels, shown.items(), strict=False):
        panel.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for f in groups:
            assert f.bound is not None
            assert f.low is not None
            assert f.high is not None
            panel.plot([f.bound, f.bound], [f.low, f.high], color="#0a6c8e", linewidth=2.2, alpha=0.5)
            panel.plot(f.bound, f.value, marker="o", markersize=7, color="#0a6c8e", markeredgecolor=PAPER)
        panel.set_title(name, color=INK)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted")
        panel.set_box_aspect(1)
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_ticks([0, 0.5, 1])
            axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        panel.grid()
    panels[0].set_ylabel("happened")
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    return as_svg(figure, f"Calibration of {len(shown)} models that learnt from synthetic patients")
