"""Charts of cohorts, synthetic over real, from the aggregates of `curves`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from synthgen.report.curves import bands, correlations, survival, time_grid
from synthgen.report.drawing import INK, MUTED, PAPER, REAL, SYNTHETIC, WIDTH, as_svg, one_panel, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.report.curves import Floats

MOST_PANELS = 12
MOST_CORRELATED = 16
LONGEST_LABEL = 28
WIDE = 8
"""Ratio between the ends of an axis from which ticks follow its logarithm."""


@styled
def trajectories(synthetic: Cohort, real: Cohort | None, dictionary: Dictionary) -> str:
    """Median and middle 80% of each numeric measurement over time."""
    columns = [(n, c) for n, c in dictionary.measurements.items() if c.numeric][:MOST_PANELS]
    if not columns or synthetic.visits is None or synthetic.visits.empty:
        return ""
    edges = time_grid(synthetic)
    unit, per = _time_unit(float(edges[-1]))
    across = min(3, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(WIDTH, 0.35 + 1.75 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, (name, column) in zip(panels, columns, strict=False):
        if real is not None:
            _band(panel, real, name, edges, per, REAL)
        _band(panel, synthetic, name, edges, per, SYNTHETIC)
        _measure_axes(panel, name, column, float(edges[-1]) / per)
    for panel in panels[len(columns) :]:
        panel.set_visible(False)
    figure.supxlabel(f"{unit} since the first visit", fontsize=8.5, color=MUTED)
    return as_svg(figure, f"{len(columns)} measurements over time, median and middle 80 percent")


@styled
def kaplan_meier(synthetic: Cohort, real: Cohort | None, dictionary: Dictionary) -> str:
    """Time to the first event of the outcome."""
    outcome = dictionary.outcome
    if outcome is None:
        return ""
    longest = float(np.quantile(synthetic.patients[outcome.time].astype("float64"), 0.98))
    unit, per = _time_unit(longest)
    figure, axes = one_panel(2.9)
    for cohort, colour, name in ((real, REAL, "real"), (synthetic, SYNTHETIC, "synthetic")):
        if cohort is not None:
            curve = survival(cohort, outcome, np.linspace(0, longest, 41))
            axes.fill_between(curve.days / per, curve.low, curve.high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(curve.days / per, curve.free, color=colour, linewidth=1.8, label=name)
    axes.set(
        ylim=(0, 1.02), xlim=(0, longest / per), xlabel=f"{unit} since the first visit", ylabel="free of any event"
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.grid(axis="y")
    axes.legend(loc="lower left")
    return as_svg(figure, "Kaplan-Meier curves" if real is not None else "Kaplan-Meier curve of the synthetic patients")


@styled
def correlation_difference(synthetic: Cohort, real: Cohort, dictionary: Dictionary) -> str:
    """Synthetic minus real Spearman correlations, each pair once."""
    difference = correlations(synthetic, dictionary) - correlations(real, dictionary)
    difference = difference.iloc[:MOST_CORRELATED, :MOST_CORRELATED]
    if len(difference) < 2:
        return ""
    columns = {**dictionary.static, **dictionary.measurements}
    figure, axes = one_panel(0.9 + 0.32 * len(difference))
    _heat_map(axes, difference, [_label(name, columns[name]) for name in difference.columns])
    return as_svg(figure, f"Differences of correlations between {len(difference)} columns")


def _band(panel: Axes, cohort: Cohort, name: str, edges: Floats, per: float, colour: str) -> None:
    found = bands(cohort, name, edges)
    low, median, high = found.quantiles.T
    panel.fill_between(found.days / per, low, high, color=colour, alpha=0.18, linewidth=0)
    panel.plot(found.days / per, median, color=colour, linewidth=1.7, marker="o", markersize=2.4)


def _measure_axes(panel: Axes, name: str, column: Column, longest: float) -> None:
    panel.set_title(f"{_label(name, column)}{f', {column.unit}' if column.unit else ''}", color=INK)
    panel.set_xlim(0, longest)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=longest > 5))
    panel.grid(axis="y")
    if column.scale == "log":
        panel.set_yscale("log")
    low, high = panel.get_ylim()
    wide = column.scale == "log" and high / low > WIDE
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6) if wide else MaxNLocator(4))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _heat_map(axes: Axes, difference: pd.DataFrame, labels: list[str]) -> None:
    cells = difference.to_numpy(copy=True)
    cells[np.triu_indices(len(cells))] = np.nan
    cells = cells[1:, :-1]
    axes.pcolormesh(cells, cmap="RdBu_r", vmin=-0.5, vmax=0.5, edgecolor=PAPER, linewidth=1.5)
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            colour = PAPER if abs(value) > 0.32 else INK
            axes.text(column + 0.5, row + 0.5, f"{value:+.2f}", ha="center", va="center", fontsize=7, color=colour)
    middles = np.arange(len(cells)) + 0.5
    axes.set_yticks(middles, labels[1:], color=INK)
    axes.set_xticks(middles, labels[:-1], rotation=35, ha="right", rotation_mode="anchor", color=INK)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)


def _label(name: str, column: Column) -> str:
    """What a column is called where there is room for it: its label, or that without where it was measured ("in serum")."""
    label = column.label or ""
    fits = (short for short in (label, label.partition(" in ")[0]) if 0 < len(short) <= LONGEST_LABEL)
    return next(fits, name.replace("_", " "))


def _time_unit(days: float) -> tuple[str, float]:
    """What to count time in, and how many days that is."""
    return ("years", 365.25) if days > 730 else ("months", 30.4375) if days > 60 else ("days", 1.0)
