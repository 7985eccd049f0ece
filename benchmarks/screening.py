"""Time and memory to check, score and queue a large synthetic cohort: rules, contract, detectors, duplicates, quality, queue.

    python benchmarks/screening.py --json benchmarks/results/screening.json

The cohort comes in parts of 5,000 patients, as it would from files; making the parts is not counted. Each size runs in a process
of its own, so that its peak memory is its own. Rows {system, setting, metric, value, low, high, n, seeds}.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.flagging import PART, screened
from synthgen.population import draw
from synthgen.quality import quality
from synthgen.queue import ranked, shown_once
from synthgen.screening.usual import usual_of
from synthgen.simulation import simulate_population
from synthgen.triage import Triage

ROOT = Path(__file__).resolve().parent.parent
SIZES, QUICK = (20_000, 100_000), (5_000, 10_000)


class Parts:
    """A simulated cohort in parts; `seconds` is what making them took."""

    def __init__(self, dictionary: Dictionary, patients: int) -> None:
        self.dictionary, self.patients, self.seconds, self.ids = dictionary, patients, 0.0, list[str]()

    def __iter__(self) -> Iterator[Cohort]:
        population = draw(self.dictionary, np.random.default_rng(7))
        for start in range(0, self.patients, PART):
            began = time.perf_counter()
            size, rng = min(PART, self.patients - start), np.random.default_rng([7, start])
            part = simulate_population(self.dictionary, population, size, rng)
            named = {n: t.assign(patient_id=f"{start:06d}-" + t["patient_id"]) for n, t in part.tables.items()}
            part = Cohort(**named, origin="synthetic")
            self.ids += [str(p) for p in part.ids]
            self.seconds += time.perf_counter() - began
            yield part


def measured(patients: int) -> dict[str, float]:
    """Seconds and MiB of one size, in this process."""
    dictionary = read_dictionary(ROOT / "configs/pbc/cohort.yaml")
    parts = Parts(dictionary, patients)
    began = time.perf_counter()
    usual = usual_of(next(iter(Parts(dictionary, PART))), dictionary)
    flags, twin_of = screened(parts, dictionary, usual)
    queue = ranked(shown_once(flags, twin_of))
    scores = quality(parts.ids, queue)
    first = Triage(parts.ids, queue, np.random.default_rng(0)).next()
    seconds = time.perf_counter() - began - parts.seconds
    assert first is not None
    assert len(scores) == patients
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak MiB": peak, "flagged patients": len({f.patient_id for f in queue})}


def rows(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for size in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True
        )
        for metric, value in json.loads(done.stdout).items():
            found.append(
                {"system": "pbc (simulated)", "setting": f"{size:,} patients", "metric": metric, "value": round(value, 1),
                 "low": None, "high": None, "n": size, "seeds": [7]}
            )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="smaller cohorts")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one)))
        return
    results = rows(QUICK if arguments.quick else SIZES)
    print("\n".join(f"{r['setting']:<20}{r['metric']:<20}{r['value']:>10}" for r in results))
    if arguments.json:
        command = "python " + " ".join(sys.argv)
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
