"""How the report's charts look, and how they become SVG text that can stand inside a page."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Drawn = ParamSpec("Drawn")

INK, MUTED, FAINT, PAPER = "#1d2733", "#5b6673", "#dfe4ea", "#ffffff"
SYNTHETIC, REAL = "#0a6c8e", "#77716a"
WIDTH = 9.0
"""Inches; the page scales charts to its width."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
}


def styled(draw: Callable[Drawn, str]) -> Callable[Drawn, str]:
    """Draws with the report's style, whatever matplotlib is set to elsewhere."""

    @functools.wraps(draw)
    def drawn(*args: Drawn.args, **kwargs: Drawn.kwargs) -> str:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def one_panel(height: float) -> tuple[Figure, Axes]:
    """A figure of full width and `height` inches with one set of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def as_svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element for HTML: without metadata, and without ids that could stand twice in a page."""
    target = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(target, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    return re.sub(r"<svg[^>]*>", f'<svg role="img" aria-label="{escape(title)}" {box.group()}>', text, count=1)
