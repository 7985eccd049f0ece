"""Is inference from synthetic patients valid? Bias, coverage and type I error of declared estimands, on simulated cohorts.

    python benchmarks/estimands.py --cohorts 200 --parts /tmp/estimands --json benchmarks/results/estimands.json

Each cohort of 156 is one simulated population of the demo's dictionary, whose estimands are asked; the truth is the same estimate
on 20,000 patients of that population. `real patients` is what the 156 say of themselves; the others combine 5 replicates of one
fitted model (`fidelity.estimands.combined`, Raab, Nowok & Dibben 2016): without DP, at epsilon 3, and from public knowledge
alone (epsilon 0). Treatment is dealt out at random in every population, so that it has no effect: type I error is the share of
cohorts whose interval excludes none. `widened` multiplies each interval by the root mean square of error / standard error in
all *other* populations (never below 1): what simulated patients of the same dictionary and plan say of the rule, without any real
one. It covers noise and shrinking to public knowledge, which the rule does not know of.
With --parts every cohort is kept in a file, so that an interrupted run goes on. Rows {system, setting, metric, value, low, high,
n, seeds}; intervals of shares are Clopper-Pearson over cohorts.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ehr import CACHE, FOLDER, calibrated, quiet
from numpy.typing import NDArray

from fidelity.estimands import Estimate, combined, estimate
from fidelity.view import View
from generators.ehr import EHRVAE
from privacy.files import write_durably
from privacy.noise import Noise
from privacy.rates import clopper_pearson
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.population import draw
from synthgen.simulation import simulate_population

PATIENTS, TRUTH, REPLICATES = 156, 20_000, 5
SETTINGS: dict[str, float | None] = {"public knowledge alone": 0.0, "epsilon 3": 3.0, "no DP": None}
RANDOMISED, NULL = "treatment", "treatment_death"
"""The column that is dealt out at random, and the estimand that is therefore no effect."""
Floats = NDArray[np.float64]
Kept = dict[str, dict[str, list[list[float]]]]
"""setting -> estimand -> [value, variance, patients] of the truth, of the real patients, and of each replicate"""
Found = dict[str, dict[str, list[float]]]
"""setting -> estimand -> [truth, estimate, half of the 95% interval]"""


def one(number: int, parts: Path, private: int) -> Kept:
    """Every setting and estimand of one population; at epsilon 3 only the first `private` ones. A cohort is kept in a file, to
    which a later run adds what is missing: the rule that combines the estimates is no part of it."""
    path = parts / f"{number}.json"
    kept: Kept = json.loads(path.read_text()) if path.is_file() else {}
    settings = {s: e for s, e in SETTINGS.items() if s not in kept and not (e and number >= private)}
    if not settings:
        return kept
    torch.set_num_threads(1)
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    rng = np.random.default_rng([20261126, number])
    population = draw(dictionary, rng)
    truth = estimates(randomised(simulate_population(dictionary, population, TRUTH, rng), rng), dictionary)
    truth[NULL] = replace(truth[NULL], value=0.0)
    real = randomised(simulate_population(dictionary, population, PATIENTS, rng), rng)
    own = estimates(real, dictionary)
    records = pretrained().encode(real)
    for setting, epsilon in settings.items():
        generator = pretrained() if epsilon == 0 else copy.copy(pretrained())
        if epsilon != 0:
            charges = calibrated(generator.charges(PATIENTS), epsilon)
            generator.fit(Session(records, charges, PATIENTS, Noise(number)), number, quiet)
        drawn = [
            estimates(generator.sample(PATIENTS, np.random.default_rng([number, k])), dictionary)
            for k in range(REPLICATES)
        ]
        kept[setting] = {
            name: [_numbers(e) for e in (truth[name], own[name], *(d[name] for d in drawn if name in d))]
            for name in own
        }
    write_durably(path, json.dumps(kept).encode())
    print(f"cohort {number}", file=sys.stderr, flush=True)
    return kept


@cache
def pretrained() -> EHRVAE:
    """Of public knowledge alone; what is fitted is a copy of it. (Once a process: it is the same for every population.)"""
    generator = EHRVAE(read_dictionary(FOLDER / "cohort.yaml"))
    generator.pretrain(0, CACHE, quiet)
    generator.sample(1, np.random.default_rng(0))  # its public knowledge is simulated, and shared by the copies
    return generator


def randomised(cohort: Cohort, rng: np.random.Generator) -> Cohort:
    """The same patients with their treatment dealt out anew."""
    dealt = cohort.patients[RANDOMISED].iloc[rng.permutation(len(cohort))].reset_index(drop=True)
    return replace(cohort, patients=cohort.patients.assign(**{RANDOMISED: dealt}))


def estimates(cohort: Cohort, dictionary: Dictionary) -> dict[str, Estimate]:
    """Every estimand that can be estimated."""
    view = View.of(cohort, dictionary)
    return {e.name: found for e in dictionary.estimands if (found := estimate(e, view)) is not None}


def _numbers(e: Estimate) -> list[float]:
    return [e.value, e.variance, e.patients]


def beside(kept: Kept) -> Found:
    """The truth, and what the real patients and each setting's replicates, combined, say of it."""
    found: Found = {"real patients": {}}
    for setting, estimands in kept.items():
        found[setting] = {}
        for name, numbers in estimands.items():
            truth, own, *drawn = (Estimate(value, variance, int(n)) for value, variance, n in numbers)
            found["real patients"][name] = _beside(truth, own)
            if drawn:
                found[setting][name] = _beside(truth, combined(drawn, own.patients))
    return found


def _beside(truth: Estimate, found: Estimate) -> list[float]:
    return [truth.value, found.value, (found.interval[1] - found.interval[0]) / 2]


def rows(found: list[Found]) -> list[dict[str, Any]]:
    """Coverage, bias, error and half-width of each setting and estimand, and type I error where there is no effect."""
    out = []
    for setting in found[0]:
        for name in found[0][setting]:
            truth, value, half = np.array([f[setting][name] for f in found if name in f.get(setting, {})]).T
            out += _rows(name, setting, truth, value, half)
            if setting != "real patients" and len(truth) > 1:
                out += _rows(name, f"{setting}, widened", truth, value, half * widening(value - truth, half))
    return out


def widening(error: Floats, half: Floats) -> Floats:
    """[cohorts] by how much the others' errors exceed their standard errors."""
    squares = (error / (half / 1.959964)) ** 2
    return np.asarray(np.sqrt(np.maximum((squares.sum() - squares) / (len(squares) - 1), 1.0)))


def _rows(name: str, setting: str, truth: Floats, value: Floats, half: Floats) -> list[dict[str, Any]]:
    common = {"system": name, "setting": setting, "n": len(truth), "seeds": [0]}
    shares = {"coverage": np.abs(value - truth) <= half}
    if name == NULL:
        shares["type I error"] = np.abs(value) > half
    out = []
    for metric, happened in shares.items():
        rate = clopper_pearson(int(happened.sum()), len(happened))
        out.append(common | {"metric": metric, "value": rate.value, "low": rate.low, "high": rate.high})
    numbers = {"bias": value - truth, "absolute error": np.abs(value - truth), "half-width": half}
    for metric, of in numbers.items():
        spread = 1.96 * float(of.std(ddof=1)) / len(of) ** 0.5
        mean = float(of.mean())
        out.append(common | {"metric": metric, "value": mean, "low": mean - spread, "high": mean + spread})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--private", type=int, default=80, help="how many of them at epsilon 3, too")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--parts", type=Path, help="where finished cohorts are kept")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two cohorts")
    arguments = parser.parse_args()
    parts = arguments.parts or Path(tempfile.mkdtemp(prefix="estimands-"))
    parts.mkdir(parents=True, exist_ok=True)
    cohorts = 2 if arguments.quick else arguments.cohorts
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        kept = list(pool.map(one, range(cohorts), repeat(parts), repeat(arguments.private)))
    results = rows([beside(k) for k in kept])
    for r in results:
        print(
            f"{r['system']:<18}{r['setting']:<24}{r['metric']:<16}{r['value']:>8.3f}  {r['low']:.3f} to {r['high']:.3f}"
        )
    if arguments.json:
        command = (
            f"python benchmarks/estimands.py --cohorts {cohorts} --private {arguments.private} --json {arguments.json}"
        )
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
