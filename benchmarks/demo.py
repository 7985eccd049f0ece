"""The demo's numbers: what the report of the PBC cohort says at epsilon 3 and without privacy, and what each stage took.

    python benchmarks/demo.py --json benchmarks/results/demo.json

Rows {system, setting, metric, value, low, high, n, seeds}. One run a setting: intervals are each finding's own, over patients.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import synthgen as sg

ROOT = Path(__file__).resolve().parent.parent
JOBS = {"epsilon 3": "configs/pbc.yaml", "no privacy": "configs/pbc-nonprivate.yaml"}


def rows(setting: str, run: sg.Run, seed: int) -> list[dict[str, Any]]:
    """A run's findings and stages as rows."""
    common = {"system": "synthgen ehr", "setting": setting, "seeds": [seed]}
    found = [
        common
        | {"metric": f.name, "value": f.value, "low": f.low, "high": f.high, "n": f.n}
        | {"ceiling": f.ceiling, "floor": f.floor, "verdict": f.verdict}
        for f in run.findings
    ]
    spent = [common | {"metric": "epsilon", "value": run.plan.epsilon, "low": None, "high": None, "n": None}]
    took = [
        common | {"metric": f"stage/{stage}/{what}", "value": value, "low": None, "high": None, "n": None}
        for stage, record in run.stages.items()
        for what, value in record.items()
    ]
    return spent + found + took


def table(results: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = [f"{'setting':<12}{'metric':<58}{'value':>9}  {'interval':<17}{'ceiling':>9}{'floor':>9}  verdict"]
    for r in results:
        interval = f"{r['low']:.3f}..{r['high']:.3f}" if r["low"] is not None else ""
        read = "".join(f"{r[k]:>9.3f}" if r.get(k) is not None else " " * 9 for k in ("ceiling", "floor"))
        value = f"{r['value']:>9.3f}" if r["value"] is not None else "     none"
        lines.append(f"{r['setting']:<12}{r['metric']:<58}{value}  {interval:<17}{read}  {r.get('verdict', '')}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="the private job only")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for setting, path in list(JOBS.items())[: 1 if arguments.quick else None]:
            job = sg.load_job(ROOT / path)
            results += rows(setting, sg.run(job, sg.Workspace(Path(folder))), job.seed)
    print(table(results))
    if arguments.json:
        command = "python " + " ".join(sys.argv)
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
