"""Where measures lie between floor and ceiling, and the reason told where they lie beyond."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from conftest import ROOT
from finished_run import context

from synthgen.findings import Finding
from synthgen.report.page import as_html
from synthgen.report.places import places


def measured(value: float, low: float, high: float, **more: Any) -> Finding:
    found = Finding("dependence", "visits", value, "inconclusive", "Odd.", low=low, high=high, ceiling=0.1, floor=0.5)
    return replace(found, **({"better": "lower"} | more))


@pytest.mark.parametrize(
    ("finding", "where", "share", "words"),
    [
        (measured(0.3, 0.2, 0.4), "between", 0.5, ""),
        (measured(0.6, 0.45, 0.7), "beyond the floor", -0.25, "no better than independent columns: the interval"),
        (measured(0.7, 0.6, 0.8), "beyond the floor", -0.5, "surely worse"),
        (measured(0.08, 0.02, 0.2), "beyond the ceiling", 1.05, "as good as a second real sample"),
        (measured(0.02, 0.01, 0.03), "beyond the ceiling", 1.2, "repeats its training patients"),
        (measured(0.3, 0.2, 0.4, floor=0.11), "no scale", None, "independent columns score as well"),
        (measured(0.3, 0.2, 0.4, floor=0.01), "no scale", None, "independent columns score as well"),
        (measured(0.3, 0.2, 0.4, ceiling=0.5, floor=0.1, better="higher"), "between", 0.5, ""),
        (
            measured(0.05, 0.0, 0.08, ceiling=0.5, floor=0.1, better="higher"),
            "beyond the floor",
            -0.125,
            "surely worse",
        ),
    ],
)
def test_place_and_reason(finding: Finding, where: str, share: float | None, words: str) -> None:
    [found] = places([finding])
    assert found.where == where
    assert found.share == (None if share is None else pytest.approx(share))
    assert words in found.reason


def test_parts_and_targets_have_no_place_and_the_worst_comes_first() -> None:
    good, bad = measured(0.3, 0.2, 0.4), measured(0.7, 0.6, 0.8, metric="worse")
    left_out = [measured(0.3, 0.2, 0.4, column="age"), measured(0.3, 0.2, 0.4, better="target")]
    assert [p.name for p in places([good, bad, *left_out])] == ["dependence/worse", "dependence/visits"]


def test_the_report_counts_them_and_names_those_beyond() -> None:
    made = replace(context(), findings=(measured(0.3, 0.2, 0.4), measured(0.7, 0.6, 0.8, metric="worse")))
    page = " ".join(as_html(made, "internal").split())
    assert "1 of 2 judged measures of fidelity and utility lie between" in page
    assert "Beyond the floor: surely worse than independent columns." in page


def test_one_command_prints_them_for_the_demo() -> None:
    said = subprocess.run(
        [sys.executable, "benchmarks/verdicts.py", "--places"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "epsilon 3:" in said
    assert "between floor (0) and ceiling (1)" in said


def test_the_picture_of_calibration_holds_groups_of_risk_alone() -> None:
    from synthgen.report.calibration_chart import calibration

    def found(metric: str, column: str) -> Finding:
        return Finding(
            "utility", metric, 0.2, "information", "X.", "utility", low=0.1, high=0.3, n=30, bound=0.1, column=column
        )

    groups = [found("calibration_x_logistic", f"risk group {i} of 4") for i in range(1, 5)]
    by_sex = found("calibration_in_the_large_x_logistic", "sex = f")
    assert calibration([by_sex]) == ""
    assert calibration([*groups, by_sex]) == calibration(groups) != ""
