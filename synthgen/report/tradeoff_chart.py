"""The claim and the attacks on one curve: how many members may be named at which rate of false alarms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthgen.report.drawing import INK, MUTED, PAPER, SYNTHETIC, as_svg, one_panel, styled
from synthgen.report.finding_charts import VERDICTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from privacy.charges import Charge
    from synthgen.findings import Finding

MEASURED = re.compile(r"tpr_at_(\d+)_percent_fpr_(.+)")
LOWEST = 1e-3
"""Rates below are not drawn: no cohort of this size resolves them."""
MARKERS = "osD^vP*"


@styled
def tradeoff(charges: Sequence[Charge], findings: Sequence[Finding]) -> str:
    """True-positive against false-positive rate on log axes: the largest that `charges` allow anybody, guessing, and what each
    attack of the audit reached with its 95% interval. Empty without a claim or without a measured attack."""
    measured = [
        (m, f) for f in findings if (m := MEASURED.fullmatch(f.metric)) and f.low is not None and f.high is not None
    ]
    if not charges or not measured:
        return ""
    from privacy.tradeoff import curve

    figure, axes = one_panel(3.4)
    fpr, tpr = curve(charges)
    axes.plot(fpr[1:], tpr[1:], color=SYNTHETIC, linewidth=2, label="the most that the claim allows anybody")
    axes.plot([LOWEST, 1], [LOWEST, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="guessing")
    names = list(dict.fromkeys(m[2] for m, _ in measured))
    for match, finding in measured:
        _point(axes, match, finding, names)
    axes.set(xscale="log", yscale="log", xlim=(LOWEST, 1), ylim=(LOWEST, 1.1))
    axes.set(xlabel="false alarms: strangers who are accused", ylabel="true members who are named")
    ticks = [0.001, 0.01, 0.1, 1]
    axes.set_xticks(ticks, [f"{t:.1%}" if t < 0.01 else f"{t:.0%}" for t in ticks], color=INK)
    axes.set_yticks(ticks, [f"{t:.1%}" if t < 0.01 else f"{t:.0%}" for t in ticks], color=INK)
    axes.grid()
    axes.legend(loc="lower right")
    return as_svg(figure, f"Trade-off of the claim and of {len(names)} attacks")


def _point(axes: Axes, match: re.Match[str], finding: Finding, names: list[str]) -> None:
    """Attacks side by side at one rate of false alarms; what was not found at all sits on the lower edge."""
    index = names.index(match[2])
    x = int(match[1]) / 100 * 1.12 ** (index - (len(names) - 1) / 2)
    assert finding.low is not None
    assert finding.high is not None
    low, value, high = (float(np.clip(v, LOWEST, 1)) for v in (finding.low, finding.value, finding.high))
    colour = VERDICTS["information"][0]
    axes.plot([x, x], [low, high], color=colour, linewidth=1.6, alpha=0.5)
    label = match[2].replace("_", " ") if match[1] == "1" else None
    marker = MARKERS[index % len(MARKERS)]
    axes.plot(x, value, marker=marker, linestyle="", markersize=7, color=colour, markeredgecolor=PAPER, label=label)
