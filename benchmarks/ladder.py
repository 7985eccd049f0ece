"""The ladder: how fidelity climbs with patients and with epsilon, on simulated cohorts (no real patient is read).

    python benchmarks/ladder.py --cohorts 3 --json benchmarks/results/ladder.json --svg docs/ladder.svg

A cohort is simulated from the demo's dictionary, one population each; its first n patients are learnt from, 300 others measured
on. The generator knows the same dictionary but not the population. Rows {system, setting, metric, value, low, high, n,
seeds}; intervals are Student's 95% over cohorts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ehr import CACHE, FOLDER, calibrated, quiet
from ehr_scores import measures, summarised

from fidelity.view import View
from generators.ehr import EHRVAE
from privacy.noise import Noise
from privacy.session import Session
from synthgen.dictionary import read_dictionary
from synthgen.simulation import simulate

SIZES = (20, 50, 100, 156)
EPSILONS: tuple[float | None, ...] = (1.0, 3.0, 10.0, None)
DRAWN = 500
"""Synthetic patients that are measured: enough that their own chance hardly counts."""
SHOWN = {
    "visit_shape_holdout": "visit shape",
    "visit_correlation_holdout": "drho",
    "lag_1_within_holdout": "lag-1 within",
}
Scores = dict[tuple[str, str, str], dict[tuple[int, int], float]]


def climb(number: int) -> Scores:
    """One simulated cohort, at every size and epsilon."""
    torch.set_num_threads(1)
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    cohort = simulate(dictionary, max(SIZES) + 300, np.random.default_rng([20261124, number]))
    ids = list(cohort.ids)
    holdout = View.of(cohort.of(ids[max(SIZES) :]), dictionary)
    generator = EHRVAE(dictionary)
    generator.pretrain(0, CACHE, quiet)
    found: Scores = defaultdict(dict)

    def score(setting: str, size: int, train: View, made: View) -> None:
        for metric, value in measures(dictionary, train, holdout, made, slow=False).items():
            found[f"n = {size}", setting, metric][number, 0] = value

    before = View.of(generator.sample(DRAWN, np.random.default_rng(number)), dictionary)
    for size in SIZES:
        train = cohort.of(ids[:size])
        seen, records = View.of(train, dictionary), generator.encode(train)
        score("another real sample", size, holdout, seen)
        score("public prior alone", size, seen, before)
        for epsilon in EPSILONS:
            charges = calibrated(generator.charges(size), epsilon)
            generator.fit(Session(records, charges, size, Noise(1000 * number + size)), number, quiet)
            made = View.of(generator.sample(DRAWN, np.random.default_rng(number)), dictionary)
            score("no DP" if epsilon is None else f"epsilon {epsilon:g}", size, seen, made)
            print(f"cohort {number} n {size} epsilon {epsilon}", file=sys.stderr, flush=True)
    return found


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """One panel a measure, one line a setting, bands of 95%."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "ladder"
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (metric, name) in zip(figure.subplots(1, len(SHOWN)), SHOWN.items(), strict=True):
        for setting in dict.fromkeys(r["setting"] for r in rows):
            mine = [r for r in rows if (r["setting"], r["metric"]) == (setting, metric)]
            sizes = [int(r["system"].split()[-1]) for r in mine]
            dashed = setting in ("another real sample", "public prior alone")
            (line,) = axes.plot(
                sizes, [r["value"] for r in mine], "--" if dashed else "o-", label=setting, markersize=4
            )
            if not dashed and all(r["low"] is not None for r in mine):
                low, high = ([r[end] for r in mine] for end in ("low", "high"))
                axes.fill_between(sizes, low, high, color=line.get_color(), alpha=0.1, linewidth=0)
        axes.set(xlabel="training patients", title=f"{name}, against unseen patients", xticks=SIZES)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--quick", action="store_true", help="one cohort")
    arguments = parser.parse_args()
    values: Scores = defaultdict(dict)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(climb, range(1 if arguments.quick else arguments.cohorts)):
            for key, by_cohort in found.items():
                values[key] |= by_cohort
    rows = [{"system": s, "setting": e, "metric": m, **summarised(v)} for (s, e, m), v in values.items()]
    for row in rows:
        if row["metric"] in SHOWN:
            print(f"{row['system']:<10}{row['setting']:<22}{row['metric']:<28}{row['value']:.3f}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"command": "python " + " ".join(sys.argv), "rows": rows}, indent=1) + "\n"
        )
    if arguments.svg:
        picture(rows, arguments.svg)


if __name__ == "__main__":
    main()
