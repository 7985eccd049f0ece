"""The Mayo PBC cohort, split half and half by patient: what the EHR generator makes of it beside its peers.

    python benchmarks/ehr.py --splits 5 --seeds 1 --json benchmarks/results/ehr.json

Split 0 is the peers' own; others are permutations seeded by their number. Rows {system, setting, metric, value, low, high, n,
seeds}; intervals are Student's 95% over splits (seeds of a split averaged), n is the number of splits. Peers were run once, on
split 0, and are scored from the cohorts in $SYNTHGEN_SHARED/peers/pbc (default: ../shared); they are left out, loudly, when
absent. Nothing here is tuned on these patients: the defaults of the generator are what is run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from dp_marginals import dp_marginals
from ehr_scores import measures, membership, summarised

from fidelity.view import View
from generators.ehr import EHRVAE
from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.floor import independent
from synthgen.randomness import child_seed
from synthgen.storage import read_cohort
from synthgen.values import typed

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "configs" / "pbc"
PEERS = Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared")) / "peers" / "pbc"
CACHE = Path(tempfile.gettempdir()) / "synthgen-benchmark-cache"
DELTA = 1e-4
LABS = ("bilirubin", "albumin", "platelets")
"""The measurements whose movement the peers' scorer looks at."""
OURS = "synthgen ehr"
Values = dict[tuple[str, str, str], dict[tuple[int, int], float]]


@dataclass(frozen=True)
class Split:
    """One half to learn from, one to measure on. `number` names it."""

    number: int
    dictionary: Dictionary
    train: Cohort
    holdout: Cohort


def quiet(what: str, done: int, total: int) -> None:
    """No progress bar."""


def splits(dictionary: Dictionary, cohort: Cohort, count: int) -> Iterator[Split]:
    """Split 0 as the peers have it; without their folder it is a permutation like the others."""
    ids = np.array(sorted(cohort.ids, key=int))
    file = PEERS / "split" / "train_static.csv"
    for number in range(count):
        chosen = set(np.random.default_rng([20260101, number]).permutation(ids)[: len(ids) // 2])
        if number == 0 and file.is_file():
            chosen = set(pd.read_csv(file)["id"].astype(str))
        yield Split(number, dictionary, cohort.of(sorted(chosen)), cohort.of(sorted(set(ids) - chosen)))


# Systems ------------------------------------------------------------------------------------------------------------------
def ours(epsilon: float | None, vague: bool = False) -> Callable[[Split, int], Cohort]:
    """The generator at this epsilon; None without privacy, 0 for the public prior alone."""

    def made(split: Split, seed: int) -> Cohort:
        generator = EHRVAE(split.dictionary.vague() if vague else split.dictionary)
        patients = len(split.train)
        generator.pretrain(split.number, CACHE, quiet)  # its luck belongs in the interval
        if epsilon != 0:
            charges = calibrated(generator.charges(patients), epsilon)
            noise = Noise(child_seed(seed, "benchmark", split.number))
            generator.fit(Session(generator.encode(split.train), charges, patients, noise), seed, quiet)
        return generator.sample(patients, np.random.default_rng([seed, split.number]))

    return made


@cache
def _calibrated(charges: tuple[Charge, ...], epsilon: float) -> tuple[Charge, ...]:
    return calibrate(charges, Budget(epsilon, DELTA))


def calibrated(charges: Any, epsilon: float | None) -> tuple[Charge, ...]:
    """The plan's charges at this epsilon; none without privacy."""
    return () if epsilon is None else _calibrated(tuple(charges), epsilon)


def sdv(split: Split, seed: int) -> Cohort:
    """SDV's Gaussian copula on the first six visits side by side."""
    from generators.baselines import SDVCopula

    generator = SDVCopula(split.dictionary)
    generator.fit(Session(generator.encode(split.train), (), len(split.train)), seed, quiet)
    made: Cohort = generator.sample(len(split.train), np.random.default_rng([seed, split.number]))
    return made


def private_marginals(split: Split, seed: int) -> Cohort:
    """Histograms at epsilon 3, columns independent."""
    patients, noise = len(split.train), Noise(child_seed(seed, "marginals", split.number))
    return dp_marginals(split.train, split.dictionary, Budget(3.0, DELTA), patients, patients, noise, seed)


def bootstrap(split: Split, seed: int) -> Cohort:
    """Training patients drawn with replacement: what copying scores."""
    rng = np.random.default_rng([seed, split.number])
    parts = defaultdict(list)
    for k, patient in enumerate(rng.choice(split.train.ids, len(split.train))):
        for name, frame in split.train.of([patient]).tables.items():
            parts[name].append(frame.assign(patient_id=f"SYN-{k + 1:06d}"))
    return Cohort(**{n: pd.concat(p, ignore_index=True) for n, p in parts.items()}, origin="synthetic")


SYSTEMS: dict[tuple[str, str], Callable[[Split, int], Cohort]] = {
    ("another real sample", "ceiling"): lambda split, seed: split.holdout,
    ("independent marginals", "floor"): lambda s, seed: independent(s.train, s.dictionary, np.random.default_rng(seed)),
    ("bootstrap copy", "no privacy"): bootstrap,
    (OURS, "public prior alone"): ours(0.0),
    (OURS, "public prior alone, vague"): ours(0.0, vague=True),
    (OURS, "no DP"): ours(None),
    (OURS, "epsilon 3"): ours(3.0),
    (OURS, "epsilon 1"): ours(1.0),
    (OURS, "epsilon 3, vague"): ours(3.0, vague=True),
    (OURS, "epsilon 1, vague"): ours(1.0, vague=True),
    ("sdv gaussian copula, wide", "no privacy"): sdv,
    ("DP independent marginals", "epsilon 3"): private_marginals,
}
FIXED = ("another real sample",)
"""What does not change with the seed."""


def run(count: int, seeds: int, only: str = "", cheap: bool = False, workers: int = 1) -> Iterator[Values]:
    """Every system on every split and seed, `workers` splits at a time: what is known after each split."""
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    todo = list(splits(dictionary, read_cohort(FOLDER, dictionary), count))
    values: Values = defaultdict(dict)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for found in pool.map(on_split, todo, repeat(seeds), repeat(only), repeat(cheap)):
            for key, by_seed in found.items():
                values[key] |= by_seed
            yield values


def on_split(split: Split, seeds: int, only: str, cheap: bool) -> Values:
    """Every system on one split."""
    torch.set_num_threads(1)
    dictionary = split.dictionary
    train, holdout = View.of(split.train, dictionary), View.of(split.holdout, dictionary)
    values: Values = defaultdict(dict)
    for (system, setting), make in SYSTEMS.items():
        if only not in f"{system}, {setting}":
            continue
        for seed in range(1 if system in FIXED else seeds):
            began = time.monotonic()
            made = make(split, seed)
            took = time.monotonic() - began
            found = measures(dictionary, train, holdout, View.of(made, dictionary), LABS, not cheap)
            if system not in FIXED:
                found["membership_auc"] = membership(dictionary, split.train, split.holdout, made)
            for metric, value in (found | {"fit_and_sample_s": took}).items():
                values[system, setting, metric][split.number, seed] = value
            print(f"split {split.number} seed {seed} {system}, {setting}: {took:.0f} s", file=sys.stderr, flush=True)
    if not only and not cheap:
        for metric, value in measures(dictionary, train, holdout, train, LABS).items():
            if "tstr" in metric:
                values["real training patients", "TRTR", metric][split.number, 0] = value
    return values


# Peers --------------------------------------------------------------------------------------------------------------------
NAMES = {
    "futime": "followup_days", "trt": "treatment", "hepato": "hepatomegaly", "bili": "bilirubin", "chol": "cholesterol",
    "alk_phos": "alkaline_phosphatase", "platelet": "platelets", "protime": "prothrombin_time", "stage": "histologic_stage",
}  # fmt: skip
WORDS: dict[str, Any] = {
    "status": {0: "alive", 1: "transplanted", 2: "dead"}, "treatment": {1: "d_penicillamine", 0: "placebo"},
    "edema": {0: "none", 0.5: "no_diuretics", 1: "despite_diuretics"},
    "histologic_stage": {1: "1", 2: "2", 3: "3", 4: "4"},
    **{sign: {0: "no", 1: "yes"} for sign in ("ascites", "hepatomegaly", "spiders")},
}  # fmt: skip


def peer_view(path: Path, dictionary: Dictionary) -> View:
    """A peer's cohort in the dictionary's words."""
    frame = pd.read_csv(path).rename(columns=NAMES)
    frame = frame.assign(patient_id=frame["id"].astype(str)).sort_values(
        ["id", "day"], kind="stable", ignore_index=True
    )

    def table(name: str, rows: pd.DataFrame) -> pd.DataFrame:
        data: dict[str, Any] = {}
        for n, column in dictionary.tables[name].columns.items():
            if not column.discrete:
                data[n] = rows[n].to_numpy() if n == "patient_id" else rows[n].to_numpy(dtype=np.float64)
                continue
            words = rows[n].map(WORDS[n]) if n in WORDS else rows[n]
            places = {c: k for k, c in enumerate(column.categories or ())}
            data[n] = typed(column, words.map(places).fillna(-1).to_numpy())
        return pd.DataFrame(data)

    patients = table("patients", frame.drop_duplicates("patient_id"))
    return View.of(Cohort(patients, table("visits", frame), origin="synthetic"), dictionary)


def peers(cheap: bool = False) -> Values:
    """Every peer with visits; hard-rule breaks and membership as in scores.csv, where constants within a patient count too."""
    values: Values = defaultdict(dict)
    if not (PEERS / "scores.csv").is_file():
        print(f"THE PEERS ARE NOT THERE: no {PEERS}/scores.csv; set SYNTHGEN_SHARED", file=sys.stderr)
        return values
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    split = next(splits(dictionary, read_cohort(FOLDER, dictionary), 1))
    train, holdout = View.of(split.train, dictionary), View.of(split.holdout, dictionary)
    scores: dict[Any, Any] = pd.read_csv(PEERS / "scores.csv").set_index("peer").to_dict("index")
    for path in sorted(PEERS.glob("synthetic/*/long.csv")):
        name = path.parent.name
        if name not in scores:
            continue
        found = measures(dictionary, train, holdout, peer_view(path, dictionary), LABS, not cheap)
        found |= {"rule_breaks": float(scores[name]["implaus"]), "membership_auc": float(scores[name]["mia"])}
        for metric, value in found.items():
            values[f"peer {name}", "split 0", metric][0, 0] = value
        print(f"peer {name}", file=sys.stderr, flush=True)
    return values


# Output -------------------------------------------------------------------------------------------------------------------
COLUMNS = {
    "breaks": "rule_breaks", "shape": "visit_shape", "drho": "visit_correlation", "count": "visit_count", "gap": "visit_gap",
    "lag1w": "lag_1_within_peers", "lag1w all": "lag_1_within", "slope": "slope_peers", "detect": "detection_patient",
    "lr": "tstr_death_5y_logistic", "gb": "tstr_death_5y_boosting", "b.shape": "baseline_shape",
    "b.drho": "baseline_correlation", "mia": "membership_auc", "shape h": "visit_shape_holdout",
    "drho h": "visit_correlation_holdout",
}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """One line a system; below each value half its interval."""
    lines = [" " * 42 + "".join(f"{head:>10}" for head in COLUMNS)]
    for system, setting in dict.fromkeys((r["system"], r["setting"]) for r in rows):
        mine = {r["metric"]: r for r in rows if (r["system"], r["setting"]) == (system, setting)}
        cells = [mine.get(metric) for metric in COLUMNS.values()]
        lines.append(
            f"{f'{system}, {setting}':<42}" + "".join(f"{c['value']:>10.3f}" if c else " " * 10 for c in cells)
        )
        if any(c and c["low"] is not None for c in cells):
            half = [(c["high"] - c["low"]) / 2 if c and c["low"] is not None else None for c in cells]
            lines.append(" " * 42 + "".join(" " * 10 if h is None else f"{f'+-{h:.3f}':>10}" for h in half))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="", help="systems and settings whose name holds this")
    parser.add_argument("--workers", type=int, default=1, help="splits at a time")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one split and seed, no classifiers")
    arguments = parser.parse_args()
    count, seeds = (1, 1) if arguments.quick else (arguments.splits, arguments.seeds)
    scored: Values = {} if arguments.only else peers(arguments.quick)
    for values in run(count, seeds, arguments.only, arguments.quick, arguments.workers):
        rows = [
            {"system": system, "setting": setting, "metric": metric, **summarised(found)}
            for (system, setting, metric), found in (values | scored).items()
        ]
        if arguments.json:
            command = "python " + " ".join(sys.argv)
            arguments.json.write_text(json.dumps({"command": command, "rows": rows}, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
