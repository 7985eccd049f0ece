"""What the audits convict, what they let pass, and what they cannot tell.

    python benchmarks/audit.py --json benchmarks/results/audit.json

Parts: `liars` (each lie end to end, and honest seeds), `mu` (the canary audit at sigma and less), `peers` (all attacks on what
peers made of PBC, with a bootstrap copy and fresh real patients; needs $SYNTHGEN_SHARED), `one_run` (canary patients on PBC),
`cost` and `cost_deep` (the audit stage of the demo by depth; `deep` takes long). Rows {system, setting, metric, value, low, high,
n, seeds}; with `--part` only that part's rows are replaced in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import synthgen as sg  # noqa: E402
from synthgen.cohort import Cohort  # noqa: E402
from synthgen.dictionary import Dictionary, read_dictionary  # noqa: E402

Row = dict[str, Any]
COMMAND = "python benchmarks/audit.py --json benchmarks/results/audit.json"
SHARED = Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared"))


def row(system: str, setting: str, metric: str, value: float, seeds: list[int], **more: Any) -> Row:
    empty = {"low": None, "high": None, "n": None}
    return {"system": system, "setting": setting, "metric": metric, "value": value} | empty | more | {"seeds": seeds}


# Liars --------------------------------------------------------------------------------------------------------------------
def liars(quick: bool) -> Iterator[Row]:
    """Each lie once, then the truth with as many seeds as asked."""
    from liars import LIES, convictions, run_job

    with tempfile.TemporaryDirectory() as base:
        for number, (name, lie) in enumerate(LIES.items()):
            found = convictions(run_job(_workspace(base, f"lie{number}"), lie))
            by = [f for f in found if f.startswith(lie.convicted_by)]
            yield row("liar", name, "convicted", float(bool(by)), [1], by=lie.convicted_by, all=found)
        for seed in range(3 if quick else 20):
            found = convictions(run_job(_workspace(base, f"honest{seed}"), seed=seed))
            yield row("honest", "PBC, pretrained for seconds", "convicted", float(bool(found)), [seed], all=found)


def _workspace(base: str, name: str) -> Path:
    """One that shares the public pretraining of the others."""
    folder, cache = Path(base, name), Path(base, "cache")
    folder.mkdir()
    cache.mkdir(exist_ok=True)
    (folder / "cache").symlink_to(cache)
    return folder


# The audit of mu ----------------------------------------------------------------------------------------------------------
def mu(quick: bool) -> Iterator[Row]:
    """One full-batch sum at epsilon 4, delta 1e-4: how often is it convicted, with 4096 canaries at 99.9%?"""
    import pytest

    from privacy.accounting import calibrate
    from privacy.attacks.canaries import audit_canaries
    from privacy.budget import Budget
    from privacy.charges import Charge
    from privacy.noise import Noise

    charges, gaussians = calibrate([Charge("sum", 1.0)], Budget(4.0, 1e-4)), Noise.gaussians
    runs = 10 if quick else 100
    for factor in (1.0, 0.9, 0.8, 0.5):
        began = time.perf_counter()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Noise, "gaussians", lambda self, count, k=factor: k * gaussians(self, count))
            results = [audit_canaries(charges, 1e-4, 4.0) for _ in range(runs)]
        setting = f"sigma x {factor:g}"
        bounds = [r.epsilon_low for r in results]
        by_epsilon = float(np.mean(["epsilon" in r.convicted for r in results]))
        yield row("canaries", setting, "convicted by the bound on epsilon", by_epsilon, [], n=runs)
        yield row(
            "canaries",
            setting,
            "convicted by any test",
            float(np.mean([bool(r.convicted) for r in results])),
            [],
            n=runs,
        )
        low, middle, high = np.quantile(bounds, [0.05, 0.5, 0.95]).tolist()
        yield row("canaries", setting, "lower bound on epsilon (claimed 4)", middle, [], low=low, high=high, n=runs)
        yield row("canaries", setting, "seconds for all runs", time.perf_counter() - began, [], n=runs)


# Peers --------------------------------------------------------------------------------------------------------------------
SOURCES = {
    "patients": {
        "patient_id": "id", "age": "age", "sex": "sex", "treatment": "trt", "followup_days": "futime", "status": "status",
    },
    "visits": {
        "patient_id": "id", "day": "day", "ascites": "ascites", "hepatomegaly": "hepato", "spiders": "spiders", "edema": "edema",
        "bilirubin": "bili", "cholesterol": "chol", "albumin": "albumin", "alkaline_phosphatase": "alk_phos", "ast": "ast",
        "platelets": "platelet", "prothrombin_time": "protime", "histologic_stage": "stage",
    },
}  # fmt: skip
WORDS = {
    "treatment": {0.0: "placebo", 1.0: "d_penicillamine"},
    "status": {0.0: "alive", 1.0: "transplanted", 2.0: "dead"},
    "edema": {0.0: "none", 0.5: "no_diuretics", 1.0: "despite_diuretics"},
    "histologic_stage": {1.0: "1", 2.0: "2", 3.0: "3", 4.0: "4"},
} | {sign: {0.0: "no", 1.0: "yes"} for sign in ("ascites", "hepatomegaly", "spiders")}


def peers(quick: bool) -> Iterator[Row]:
    """Every attack on every peer's cohort, and on cohorts whose answer is known."""
    folder = SHARED / "peers" / "pbc"
    if not folder.is_dir():
        print(f"peers: skipped, {folder} is absent; set SYNTHGEN_SHARED", file=sys.stderr)
        return
    known = read_dictionary(ROOT / "configs" / "pbc" / "cohort.yaml")
    train, holdout = (_cohort(folder / "split" / f"{half}_long.csv", known, "real") for half in ("train", "holdout"))
    yield from _known_answers(train, holdout, known)
    names = sorted(p.name for p in (folder / "synthetic").iterdir())
    for name in names[:4] if quick else names:
        kind = "long" if (folder / "synthetic" / name / "long.csv").exists() else "static"
        made = _cohort(folder / "synthetic" / name / f"{kind}.csv", known, "synthetic")
        one, other = (_cohort(folder / "split" / f"{half}_{kind}.csv", known, "real") for half in ("train", "holdout"))
        yield from _attacked(name, kind, known, one, other, made)


def _known_answers(train: Cohort, holdout: Cohort, known: Dictionary) -> Iterator[Row]:
    from liars import bootstrap, renamed

    yield from _attacked(
        "bootstrap copy", "long", known, train, holdout, bootstrap(train, len(train), np.random.default_rng(0))
    )
    ids = np.random.default_rng(0).permutation(np.array(holdout.ids, dtype=object))
    half = len(ids) // 2
    yield from _attacked("half the holdout", "long", known, train, holdout.of(ids[:half]), renamed(holdout, ids[half:]))


def _attacked(name: str, kind: str, known: Dictionary, train: Cohort, holdout: Cohort, made: Cohort) -> Iterator[Row]:
    from synthgen.auditing.cohorts import audit
    from synthgen.findings import Evidence

    evidence = Evidence(known, train, holdout, made, train, np.random.default_rng(0))
    began = time.perf_counter()
    findings, flags = audit(evidence, None, "standard")
    took = time.perf_counter() - began
    for f in findings:
        yield row(name, kind, f.name, f.value, [0], low=f.low, high=f.high, n=f.n, floor=f.floor, verdict=f.verdict)
    yield row(name, kind, "flagged patients", len(flags), [0])
    yield row(name, kind, "seconds", took, [0])


def _cohort(path: Path, known: Dictionary, origin: Any) -> Cohort:
    """A peer's table as a cohort: what breaks the dictionary is missing or cut at its bounds, nothing is refused."""
    from synthgen.conformance import conform

    raw = pd.read_csv(path)
    raw["id"] = [f"P{i}" for i in raw["id"]]
    if "day" not in raw:
        raw["day"] = 0
    raw["day"] = raw["day"].fillna(0).clip(lower=0).round()
    tables = {t: pd.DataFrame({new: _spelt(new, raw[old]) for new, old in of.items()}) for t, of in SOURCES.items()}
    tables["patients"] = tables["patients"].groupby("patient_id", sort=False, as_index=False).first()
    conformed, _ = conform(tables, known, origin)
    return Cohort(**conformed, origin=origin)


def _spelt(name: str, values: pd.Series[Any]) -> pd.Series[Any]:
    if name in WORDS:
        return pd.to_numeric(values, errors="coerce").map(WORDS[name])
    return values.round() if name == "followup_days" else values


# One run ------------------------------------------------------------------------------------------------------------------
def one_run(quick: bool) -> Iterator[Row]:
    """Canary patients in rehearsals of the shipped EHR generator on PBC: as planned, with all but no noise (which is to be found
    out), and by the generator without privacy."""
    from synthgen.auditing.one_run import canary_bounds
    from synthgen.pipeline import STAGES, Work
    from synthgen.progress import Silent

    settings = {
        "epsilon 3": ("pbc.yaml", 1.0),
        "no noise": ("pbc.yaml", 1e-3),
        "no privacy": ("pbc-nonprivate.yaml", 1.0),
    }
    with tempfile.TemporaryDirectory() as base:
        for setting, (path, noise) in settings.items():
            job = sg.load_job(ROOT / "configs" / path)
            planned = sg.plan(job, job.dictionary)
            queries = tuple(replace(q, charge=q.charge.scaled(noise)) for q in planned.queries)
            run = sg.Workspace(Path(base)).new_run(job, job.dictionary, replace(planned, queries=queries))
            work = Work(run, Silent())
            STAGES["read"](work)
            train, _ = work.halves()
            for canaries in (50,) if quick else (50, 100, 300):
                found = canary_bounds(run, ["ehr"], train, canaries, np.random.default_rng(canaries))["ehr"]
                for source, one in found.items():
                    more = {"n": canaries, "ceiling": one.ceiling}
                    name = f"lower bound from {source}, {canaries} canaries"
                    yield row("synthgen ehr", setting, name, one.epsilon_low, [canaries], **more)
                    share = one.right / one.guesses
                    yield row("synthgen ehr", setting, f"right guesses from {source}", share, [canaries], n=one.guesses)


# Cost ---------------------------------------------------------------------------------------------------------------------
def cost(quick: bool, depths: Sequence[str]) -> Iterator[Row]:
    """Seconds of the audit stage of the PBC demo, and seconds of processor, which other work on the machine does not lengthen."""
    import pytest

    from synthgen.pipeline import STAGES

    audit = STAGES["audit"]
    spent: list[float] = []

    def measured(work: Any) -> None:
        began = _processor_seconds()
        audit(work)
        spent.append(_processor_seconds() - began)

    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        for stage in ("fidelity", "utility"):
            patch.setitem(STAGES, stage, lambda work: None)
        patch.setitem(STAGES, "audit", measured)
        for depth in ("quick",) if quick else depths:
            job = sg.load_job(ROOT / "configs" / "pbc.yaml").model_copy(update={"audit": depth})
            run = sg.run(job, sg.Workspace(_workspace(base, depth)))
            yield row("audit of the demo", depth, "seconds", run.stages["audit"]["seconds"], [job.seed])
            yield row("audit of the demo", depth, "seconds of processor", spent[-1], [job.seed])
            for f in run.findings:
                more = {"low": f.low, "high": f.high, "n": f.n, "ceiling": f.ceiling, "verdict": f.verdict}
                yield row("audit of the demo", depth, f.name, f.value, [job.seed], **more)


def _processor_seconds() -> float:
    """Of this process and of its workers, who are counted when they have ended."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "liars": liars,
    "mu": mu,
    "peers": peers,
    "one_run": one_run,
    "cost": partial(cost, depths=("quick", "standard")),
    "cost_deep": partial(cost, depths=("deep",)),
}


def line(r: Row) -> str:
    interval = f"{r['low']:.3f}..{r['high']:.3f}" if r["low"] is not None and r["high"] is not None else ""
    rest = f"  ceiling {r['ceiling']:.2f}" if r.get("ceiling") is not None else ""
    rest += f"  {r['verdict']}" if r.get("verdict") else f"  {', '.join(r['all'])}" if r.get("all") else ""
    return f"{r['system']:<28}{r['setting']:<38}{r['metric']:<46}{r['value']:>9.3f}  {interval:<16}{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="the same, smaller")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this part; may be repeated")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    results: list[Row] = []
    if arguments.part and arguments.json and arguments.json.exists():
        results = [r for r in json.loads(arguments.json.read_text())["rows"] if r["part"] not in arguments.part]
    for part in arguments.part or PARTS:
        for r in PARTS[part](arguments.quick):
            print(line(r), flush=True)
            results.append({"part": part} | r)
            if arguments.json:  # after every row: some take minutes
                arguments.json.write_text(json.dumps({"command": COMMAND, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
