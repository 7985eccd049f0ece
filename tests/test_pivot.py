"""The tables of docs/results.md: what measures alike stands together, no shown number is lost, and parts are counted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))
from pivot import number, tables  # noqa: E402


def row(system: str, setting: str, metric: str, value: float, low: float | None = None) -> dict[str, object]:
    return {
        "system": system,
        "setting": setting,
        "metric": metric,
        "value": value,
        "low": low,
        "high": low and value + 1,
    }


def test_what_differs_least_goes_down() -> None:
    rows = [
        row("a", s, m, v)
        for s, m, v in (("x", "p", 0.5), ("x", "q", 1.5), ("y", "p", 2.5), ("y", "q", 3.5), ("z", "p", 4.5))
    ]
    [table] = tables("any", rows)
    assert table.splitlines() == [
        "**a**", "", "| metric | x | y | z |", "|---|---|---|---|", "| p | 0.5 | 2.5 | 4.5 |", "| q | 1.5 | 3.5 |  |",
    ]  # fmt: skip


def test_many_measures_of_two_systems_are_lines() -> None:
    rows = [row(s, "x", f"m{i}", i / 7, 0.01) for s in ("a", "b") for i in range(30)]
    [table] = tables("any", rows)
    assert "| metric | a | b |" in table
    assert "| m7 | 1 [0.01, 2] | 1 [0.01, 2] |" in table


def test_parts_stay_in_the_file_and_are_counted() -> None:
    rows = [row("d", "x", "causal/agreement", 0.5), row("d", "x", "causal/statement/a", 0.25)]
    shown, left = tables("demo", rows)
    assert "0.25" not in shown
    assert left.startswith("1 more rows")


@pytest.mark.parametrize("path", sorted((DOCS.parent / "benchmarks/results").glob("*.json")), ids=lambda p: p.stem)
def test_every_row_is_shown_or_counted(path: Path) -> None:
    rows = json.loads(path.read_text())["rows"]
    parts = tables(path.stem, rows)
    left = int(parts[-1].split()[0].replace(",", "")) if "more rows" in parts[-1] else 0
    cells = [
        c.strip() for part in parts for line in part.splitlines() if line.startswith("| ") for c in line.split(" | ")
    ]
    shown = {str(r[k]) for r in rows for k in ("system", "setting", "metric")}
    numbers = [c for c in cells if c.strip("| ") and c.strip("| ") not in shown and c[:1] in "-0123456789n"]
    assert len(numbers) >= 0.95 * (len({(r["system"], str(r["setting"]), r["metric"]) for r in rows}) - left)


def test_three_digits() -> None:
    assert [number(v) for v in (0.123456, 12345.6, 7, None, "text")] == ["0.123", "12,346", "7", "", "text"]
