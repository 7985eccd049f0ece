"""How long the EHR generator takes: fitting by number of patients, sampling by number of patients, a DP-SGD step.

    python benchmarks/ehr_speed.py --json benchmarks/results/ehr_speed.json

Simulated patients of the demo's dictionary, epsilon 3, one thread, pretraining cached (its own row says whether it was).
`processor` is seconds of the processor, `wall` seconds by the clock, `memory` the process's peak in MB, each case in a process
of its own; `step` compares the gradient of a DP-SGD step (per patient, clipped, noised) with the plain gradient of the same
batch. Rows {system, setting, metric, value, low, high, n, seeds}, measured once.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ehr import CACHE, FOLDER, calibrated, quiet

from generators.ehr import EHRVAE
from generators.ehr.scores import loss_of
from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.dictionary import read_dictionary
from synthgen.simulation import simulate

EPSILON = 3.0
FITTED = (156, 1_560, 15_600, 100_000)
SAMPLED = (1_000, 20_000, 100_000)
REPEATS = 20
Times = dict[str, float]


def timed(work: Callable[[], Any]) -> Times:
    processor, wall = time.process_time(), time.monotonic()
    work()
    return {
        "processor": time.process_time() - processor,
        "wall": time.monotonic() - wall,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def generator() -> EHRVAE:
    torch.set_num_threads(1)
    made = EHRVAE(read_dictionary(FOLDER / "cohort.yaml"))
    made.pretrain(0, CACHE, quiet)
    return made


def session(made: EHRVAE, patients: int) -> Session:
    cohort = simulate(made.dictionary, patients, np.random.default_rng(0))
    return Session(made.encode(cohort), calibrated(made.charges(patients), EPSILON), patients, Noise(0))


def pretraining(_: int) -> Times:
    return timed(generator)


def fitting(patients: int) -> Times:
    """Of encoded patients."""
    made = generator()
    door = session(made, patients)
    return timed(lambda: made.fit(door, 0, quiet))


def sampling(patients: int) -> Times:
    made = generator()
    made.fit(session(made, 156), 0, quiet)
    return timed(lambda: made.sample(patients, np.random.default_rng(0)))


def step(patients: int) -> Times:
    """Seconds of a step with and without privacy, and their ratio."""
    made = generator()
    model = made._copy()
    records = made.encode(simulate(made.dictionary, patients, np.random.default_rng(0)))
    loss, values = loss_of(model), model.parameters_of.values.requires_grad_(True)
    door = Session(records, [Charge("step", 5.0, 1.0, REPEATS + 1)], patients, Noise(0))
    private: list[float] = []
    plain: list[float] = []
    for _ in range(REPEATS + 1):
        private.append(timed(lambda: door.gradient(model, loss, 1.0, "step", backend="vmap"))["processor"])
        plain.append(timed(lambda: torch.autograd.grad(loss(model, records).mean(), values))["processor"])
    with_privacy, without = (float(np.median(seconds[1:])) for seconds in (private, plain))
    return {"with privacy": with_privacy, "without": without, "ratio": with_privacy / without}


CASES: list[tuple[str, Callable[[int], Times], tuple[int, ...]]] = [
    ("pretraining, or its cache", pretraining, (0,)),
    ("fit", fitting, FITTED),
    ("sample", sampling, SAMPLED),
    ("step", step, (156,)),
]


def rows(quick: bool) -> Iterator[dict[str, Any]]:
    for system, measure, sizes in CASES:
        for size in sizes[:2] if quick else sizes:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found = pool.submit(measure, size).result()
            for metric, value in found.items():
                setting = f"{size} patients" if size else "once"
                yield {"system": system, "setting": setting, "metric": metric, "value": value, "low": None, "high": None,
                       "n": 1, "seeds": [0]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small cohorts")
    arguments = parser.parse_args()
    found = []
    for row in rows(arguments.quick):
        found.append(row)
        print(f"{row['system']:<28}{row['setting']:<18}{row['metric']:<14}{row['value']:>10.2f}", flush=True)
        if arguments.json:
            command = "python " + " ".join(sys.argv)
            arguments.json.write_text(json.dumps({"command": command, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
