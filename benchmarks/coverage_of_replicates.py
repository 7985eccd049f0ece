"""How often an interval of a Cox hazard ratio, worked out on synthetic replicates, covers the truth: on simulated cohorts.

    python benchmarks/coverage_of_replicates.py --cohorts 20 --workers 2 --json benchmarks/results/coverage_of_replicates.json

Each cohort of 156 is one simulated population of the demo's dictionary; the truth is the same estimate on 20,000 patients of it.
The hazard ratio is that of death for one spread of log bilirubin at the first visit. `synthetic` combines m replicates of one
fitted model by Raab, Nowok and Dibben 2016 (q +- 1.96 sqrt(mean variance (1 + 1/m))); `real` is what the 156 say of themselves.
Rows {system, setting, metric, value, low, high, n, seeds}; intervals are Clopper-Pearson over cohorts.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ehr import CACHE, FOLDER, calibrated, quiet
from numpy.typing import NDArray

from generators.ehr import EHRVAE
from privacy.noise import Noise
from privacy.rates import clopper_pearson
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.population import draw
from synthgen.simulation import simulate_population
from synthgen.values import to_scale

COVARIATE, EVENT = "bilirubin", "dead"
PATIENTS, TRUTH, REPLICATES = 156, 20_000, 5
SETTINGS: tuple[float | None, ...] = (3.0, None)
Floats = NDArray[np.float64]
Estimate = tuple[float, float]
"""(log hazard ratio, its variance)"""


def cox(x: Floats, time: Floats, event: NDArray[np.bool_], steps: int = 30) -> Estimate:
    """One covariate, Breslow's partial likelihood, Newton's method."""
    order = np.argsort(-time, kind="stable")
    x, event = x[order] - x.mean(), event[order]
    last = np.searchsorted(-time[order], -time[order], side="right") - 1  # everybody at risk, ties included
    beta, information = 0.0, 1.0
    for _ in range(steps):
        weight = np.exp(np.clip(beta * x, -30, 30))
        sums = [np.cumsum(weight * x**power)[last] for power in (0, 1, 2)]
        mean = sums[1] / sums[0]
        score = (x - mean)[event].sum()
        information = max(float((sums[2] / sums[0] - mean**2)[event].sum()), 1e-6)
        beta += float(np.clip(score / information, -1, 1))
    return beta, 1 / information


def estimate(cohort: Cohort, dictionary: Dictionary) -> Estimate:
    """The hazard ratio's logarithm in one cohort."""
    assert cohort.visits is not None
    assert dictionary.outcome is not None
    column = dictionary.measurements[COVARIATE]
    assert column.knowledge is not None
    first = cohort.visits.drop_duplicates("patient_id").set_index("patient_id")[COVARIATE].reindex(cohort.ids)
    x = to_scale(column, first.to_numpy(dtype=np.float64, na_value=np.nan)) / (column.knowledge.spread or 1.0)
    time = cohort.patients[dictionary.outcome.time].to_numpy(dtype=np.float64)
    event = (cohort.patients[dictionary.outcome.status] == EVENT).to_numpy()
    known = ~np.isnan(x)
    return cox(x[known], time[known], event[known])


def one(number: int) -> dict[str, tuple[float, float, float]]:
    """(truth, estimate, half of its 95% interval) of each setting, for one population."""
    torch.set_num_threads(1)
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    rng = np.random.default_rng([20261125, number])
    population = draw(dictionary, rng)
    truth, _ = estimate(simulate_population(dictionary, population, TRUTH, rng), dictionary)
    real = simulate_population(dictionary, population, PATIENTS, rng)
    value, variance = estimate(real, dictionary)
    found = {"real": (truth, value, 1.96 * variance**0.5)}
    generator = EHRVAE(dictionary)
    generator.pretrain(0, CACHE, quiet)
    records = generator.encode(real)
    for epsilon in SETTINGS:
        charges = calibrated(generator.charges(PATIENTS), epsilon)
        generator.fit(Session(records, charges, PATIENTS, Noise(number)), number, quiet)
        drawn = [generator.sample(PATIENTS, np.random.default_rng([number, k])) for k in range(REPLICATES)]
        values, variances = np.array([estimate(cohort, dictionary) for cohort in drawn]).T
        half = 1.96 * float(variances.mean() * (1 + 1 / REPLICATES)) ** 0.5
        found[f"synthetic, {'no DP' if epsilon is None else f'epsilon {epsilon:g}'}"] = (
            truth,
            float(values.mean()),
            half,
        )
    print(f"cohort {number}", file=sys.stderr, flush=True)
    return found


def rows(found: list[dict[str, tuple[float, float, float]]]) -> list[dict[str, Any]]:
    """Coverage, mean error and mean half-width of each setting."""
    out = []
    for setting in found[0]:
        truth, value, half = np.array([f[setting] for f in found]).T
        covered = clopper_pearson(int((np.abs(value - truth) <= half).sum()), len(found))
        common = {"system": "log hazard ratio", "setting": setting, "n": len(found), "seeds": [0]}
        out.append(common | {"metric": "coverage", "value": covered.value, "low": covered.low, "high": covered.high})
        for metric, numbers in (
            ("error", value - truth),
            ("absolute error", np.abs(value - truth)),
            ("half-width", half),
        ):
            spread = 1.96 * float(numbers.std(ddof=1)) / len(numbers) ** 0.5
            mean = float(numbers.mean())
            out.append(common | {"metric": metric, "value": mean, "low": mean - spread, "high": mean + spread})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two cohorts")
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        results = rows(list(pool.map(one, range(2 if arguments.quick else arguments.cohorts))))
    for r in results:
        print(f"{r['setting']:<24}{r['metric']:<16}{r['value']:>8.3f}  {r['low']:.3f} to {r['high']:.3f}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"command": "python " + " ".join(sys.argv), "rows": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
