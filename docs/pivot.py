"""Rows of a benchmark -> few tables: settings that measure the same stand together, and what differs least goes across.

`results.md` is for reading; every row, with its n and its seeds, stays in `benchmarks/results/NAME.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Rows = list[dict[str, Any]]
ACROSS = 8
"""Columns that a page holds."""
TABLE = 12
"""Lines that one more table is worth."""
ALIKE = 0.4
"""Share of their measures that two settings have in common when they stand in one table."""
KEYS = ("system", "setting", "metric")
PARTS = {
    "verdicts": (", .*/", "/"),
    "demo": (
        "$^",
        "^causal/statement/|^subgroups/|log_hazard_ratio/|^stage/|risk group| = | < | <= |calibration_inter|tpr_at",
    ),
    "audit": ("$^", "tpr_at|^subgroups/|^k_map/|epsilon_ceiling|nearest_is_trained|one_column|/ascites|^flagged"),
    "factuality": ("$^", "^precision of|^recall of (?!flag|drug)"),
    "planted": ("$^", "^looks to 90% [a-z]+/"),
}
"""Benchmark -> (settings, measures) that are parts of others: they are left to the file, and it says how many there are."""


def tables(name: str, rows: Rows) -> list[str]:
    """Markdown of one benchmark: its tables, and what is left to the file."""
    setting, metric = PARTS.get(name, ("$^", "$^"))
    shown = [r for r in rows if not re.search(setting, str(r["setting"])) and not re.search(metric, r["metric"])]
    parts = [part for group in _groups(shown) for part in _tables(group)]
    if len(shown) < len(rows):
        parts.append(
            f"{len(rows) - len(shown):,} more rows, by part: [{name}.json](../benchmarks/results/{name}.json)."
        )
    return parts


def _groups(rows: Rows) -> list[Rows]:
    """Rows by settings that measure alike, or the same few systems, in the order of the file."""
    measured: dict[tuple[str, str], set[str]] = {}
    for r in rows:
        measured.setdefault((r["system"], str(r["setting"])), set()).add(r["metric"])
    groups: list[tuple[set[str], set[tuple[str, str]]]] = []
    for pair, metrics in measured.items():
        for of_group, pairs in groups:
            if len(metrics & of_group) >= ALIKE * max(len(metrics), len(of_group)):
                pairs.add(pair)
                of_group |= metrics
                break
        else:
            groups.append((set(metrics), {pair}))
    together: dict[frozenset[str], set[tuple[str, str]]] = {}
    for _, pairs in groups:  # a few systems, measured side by side: one table whatever was measured
        systems = frozenset(system for system, _ in pairs)
        together.setdefault(systems if 1 < len(systems) <= ACROSS else frozenset(map(str, pairs)), set()).update(pairs)
    return [[r for r in rows if (r["system"], str(r["setting"])) in pairs] for pairs in together.values()]


def _tables(rows: Rows) -> Iterator[str]:
    """A table for so many columns as a page holds, of the key that makes the fewest lines."""
    across = min(KEYS, key=lambda key: _lines(rows, key))
    down = [k for k in KEYS if k != across]
    same = {k: rows[0][k] for k in KEYS if k != "metric" and len({str(r[k]) for r in rows}) == 1}
    labels = [k for k in down if k not in same] or [down[-1]]
    columns = list(dict.fromkeys(str(r[across]) for r in rows))
    for start in range(0, len(columns), ACROSS):
        here = columns[start : start + ACROSS]
        cells: dict[tuple[str, ...], dict[str, str]] = {}
        for r in rows:
            if str(r[across]) in here:
                cells.setdefault(tuple(str(r[k]) for k in labels), {})[str(r[across])] = _cell(r)
        title = ", ".join(str(v) for k, v in same.items() if k not in labels and k != across)
        lines = [_line([*labels, *here]), "|" + "---|" * (len(labels) + len(here))]
        lines += [_line([*row, *(found.get(c, "") for c in here)]) for row, found in cells.items()]
        yield (f"**{title}**\n\n" if title and not start else "") + "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "or") for cell in cells) + " |"


def _lines(rows: Rows, across: str) -> tuple[int, int]:
    """(lines, columns) that a table takes with this key across."""
    down = [k for k in KEYS if k != across]
    columns = list(dict.fromkeys(str(r[across]) for r in rows))
    chunk = {c: i // ACROSS for i, c in enumerate(columns)}
    lines = {(chunk[str(r[across])], *(str(r[k]) for k in down)) for r in rows}
    return len(lines) + TABLE * (max(chunk.values()) + 1), len(columns)


def _cell(row: dict[str, Any]) -> str:
    """A value, its interval, and what stands beside it."""
    said = number(row["value"])
    if row.get("low") is not None:
        said += f" [{number(row['low'])}, {number(row['high'])}]"
    beside = [f"{k} {number(row[k])}" for k in ("ceiling", "floor") if row.get(k) is not None]
    if row.get("verdict") in ("pass", "fail", "inconclusive"):
        beside.append(row["verdict"])
    return said + (f" ({', '.join(beside)})" if beside else "")


def number(value: Any) -> str:
    """Three digits are what an interval bears."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
