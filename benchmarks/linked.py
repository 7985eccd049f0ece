"""Whole patients: what `make linked` takes and what its checks say (configs/linked.yaml, a simulated cohort).

    python benchmarks/linked.py --json benchmarks/results/linked.json

Simulates both cohorts and runs the job, each in a process of its own as `make linked` does; or, with `--workspace`, reads the
last run of a workspace. Rows {system, setting, metric, value, low, high, n, seeds}: epsilon, the findings about pictures, notes
and whole patients (with ceiling, floor and verdict), every stage's seconds and peak memory, and `queue/REASON`, the patients that
the queue for release shows with it.
One run: intervals are each finding's own, over patients.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import demo

import synthgen as sg
from synthgen.queue import for_release

ROOT = Path(__file__).resolve().parent.parent
TOLD = ("epsilon", "stage/", "image", "note", "cross-modal", "replay", "coupling", "queue/")
"""Beginnings of what is told; what the record alone is worth stands in demo.py and ehr.py."""
COHORT, JOB = (str(ROOT / "configs" / name) for name in ("linked/cohort.yaml", "linked.yaml"))


def made(folder: Path) -> sg.Workspace:
    """The workspace of a run in this folder; the job reads its public cohort from `workspace/`, where the command runs."""
    real, public, workspace = (f"workspace/{name}" for name in ("linked-cohort", "linked-public", "linked"))
    for command in (
        ("simulate", COHORT, real),
        ("simulate", COHORT, public, "--seed", "1"),
        ("run", JOB, "--data", real, "--workspace", workspace),
    ):
        subprocess.run([Path(sys.executable).parent / "synthgen", *command], cwd=folder, check=True)
    return sg.Workspace(folder / workspace)


def rows(run: sg.Run) -> list[dict[str, Any]]:
    """What a run shows of whole patients, what it took, and its queue."""
    common = {"system": "linked (simulated)", "setting": "epsilon 3"}
    told: dict[str, set[str]] = defaultdict(set)
    for flag in for_release(run.flags):
        told[flag.reason].add(flag.patient_id)
    patients = len(run.synthetic)
    queue = [
        {"metric": f"queue/{reason}", "value": len(ids), "low": None, "high": None, "n": patients, "seeds": [1]}
        for reason, ids in sorted(told.items())
    ]
    return [row | common for row in [*demo.rows("", run, 1), *queue] if row["metric"].startswith(TOLD)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--workspace", type=Path, help="read the last run of this workspace instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = sg.Workspace(arguments.workspace) if arguments.workspace else made(Path(folder))
        results = rows(workspace.run(done="report"))
    print(demo.table(results))
    if arguments.json:
        command = "python benchmarks/linked.py --json benchmarks/results/linked.json"
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
