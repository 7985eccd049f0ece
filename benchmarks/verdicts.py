"""Do the checks of fidelity judge rightly? Another real sample must not fail, independent columns must, few patients cannot tell.

    python benchmarks/verdicts.py --populations 10 --json benchmarks/results/verdicts.json

Simulated populations of the demo's dictionary; of each a training, a holdout and a third sample of n patients. What is judged is
the third sample (`another real sample`) and the third sample with its columns made independent (`independent columns`); neither
was in the floor or the ceiling. Rows {system, setting, metric, value, low, high, n, seeds}: the share of populations in which a
measure got each verdict (setting: n and the measure), and in which the cohort as a whole failed or passed somewhere; intervals
are Clopper-Pearson over populations. Checks that train classifiers are left out: they take most of the time, and detection
never fails by design. The same is asked of the demo's own patients, in thirds (`PBC, 104 patients`; n counts the splits).

Then, of the demo's runs as `demo.py` left them (benchmarks/results/demo.json): of the judged measures, whose floor is worse than
their ceiling, how many lie between the two, beyond the ceiling (better than a second real sample) or beyond the floor; which
these are, and why:

    python benchmarks/verdicts.py --places
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from privacy.rates import clopper_pearson
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence, Finding
from synthgen.floor import independent
from synthgen.plugins import checks
from synthgen.population import draw
from synthgen.report.places import Place, places
from synthgen.simulation import simulate_population
from synthgen.storage import read_cohort

ROOT = Path(__file__).resolve().parent.parent
SIZES = (20, 50, 150)
LEFT_OUT = ("detection",)
REAL, TORN = "another real sample", "independent columns"
VERDICTS = ("pass", "inconclusive", "fail", "information")
Said = dict[tuple[str, str], list[dict[str, str]]]
"""(system, which patients) -> for each population measure -> verdict"""
LOWER = ("tails/beyond", "singling_out/", "linkability/", "attribute_inference/")
"""Lower is better of what begins so, though the floor is lower than the ceiling (of risks: what a planted leak would give): so
it has no scale."""
DEMO = ROOT / "benchmarks" / "results" / "demo.json"


def judged(dictionary: Dictionary, samples: list[Cohort], rng: np.random.Generator) -> dict[str, dict[str, str]]:
    """system -> measure -> verdict, for one population."""
    train, holdout, third = samples
    floor = independent(train, dictionary, rng)
    torn = independent(third, dictionary, rng)
    found: dict[str, dict[str, str]] = {}
    for system, synthetic in ((REAL, third), (TORN, torn)):
        evidence = Evidence(dictionary, train, holdout, replace(synthetic, origin="synthetic"), floor, rng)
        kept = [c for c in checks() if c.section == "fidelity" and c.name not in LEFT_OUT]
        findings: list[Finding] = [f for check in kept for f in check.run(evidence) if f.column is None]
        found[system] = {f.name: str(f.verdict) for f in findings}
    return found


def measured(populations: int, sizes: tuple[int, ...]) -> Said:
    """Every population at every size."""
    dictionary = read_dictionary(ROOT / "configs" / "pbc" / "cohort.yaml")
    said: Said = defaultdict(list)
    for number in range(populations):
        rng = np.random.default_rng([20261127, number])
        population = draw(dictionary, rng)
        for n in sizes:
            drawn = simulate_population(dictionary, population, 3 * n, rng)
            samples = [drawn.of(drawn.ids[i * n : (i + 1) * n]) for i in range(3)]
            for system, verdicts in judged(dictionary, samples, rng).items():
                said[system, f"{n} patients"].append(verdicts)
        print(f"population {number}", file=sys.stderr, flush=True)
    return said


def of_the_demo(splits: int) -> Said:
    """The demo's patients in thirds, split at random."""
    dictionary = read_dictionary(ROOT / "configs" / "pbc" / "cohort.yaml")
    cohort = read_cohort(ROOT / "configs" / "pbc", dictionary)
    said: Said = defaultdict(list)
    for number in range(splits):
        rng = np.random.default_rng([20261128, number])
        thirds = np.array_split(rng.permutation(cohort.ids.to_numpy()), 3)
        for system, verdicts in judged(dictionary, [cohort.of(list(ids)) for ids in thirds], rng).items():
            said[system, f"PBC, {len(thirds[0])} patients"].append(verdicts)
        print(f"split {number} of the demo", file=sys.stderr, flush=True)
    return said


def of_the_runs(path: Path) -> dict[str, list[Place]]:
    """Setting -> where each judged measure of the demo's run lies, the worst first."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for r in json.loads(path.read_text())["rows"]:
        if r.get("verdict") in ("pass", "inconclusive", "fail") and None not in (r["ceiling"], r["floor"]):
            check, _, metric = r["metric"].partition("/")
            better: Any = "higher" if r["ceiling"] > r["floor"] and not r["metric"].startswith(LOWER) else "lower"
            measured = Finding(check, metric, r["value"], r["verdict"], "", low=r["low"], high=r["high"], better=better)
            found[r["setting"]].append(replace(measured, ceiling=r["ceiling"], floor=r["floor"]))
    return {setting: [p for p in places(findings) if p.share is not None] for setting, findings in found.items()}


def between(path: Path) -> list[dict[str, Any]]:
    """Where the demo's judged measures lie: how many, and which are beyond either end."""
    out = []
    for setting, found in of_the_runs(path).items():
        common = {"system": "demo", "seeds": [0], "n": len(found)}
        for where, metric in (
            ("beyond the ceiling",) * 2,
            ("between", "between floor and ceiling"),
            ("beyond the floor",) * 2,
        ):
            rate = clopper_pearson(sum(p.where == where for p in found), len(found))
            out.append(common | _row(f"judged measures, {setting}", metric, rate.value, rate.low, rate.high))
        out += [
            common | _row(f"{p.where}, {setting}", p.name, p.share or 0.0, None, None)
            for p in found
            if p.where != "between"
        ]
    return out


def told(path: Path) -> str:
    """Every judged measure of the demo's runs in words."""
    lines = []
    for setting, found in of_the_runs(path).items():
        inside = sum(p.where == "between" for p in found)
        lines += ["", f"{setting}: {inside} of {len(found)} between floor (0) and ceiling (1)"]
        lines += [f"  {p.share:6.2f}  {p.where:<20}{p.name:<44}{p.reason}" for p in found]
    return "\n".join(lines)


def rows(said: Said) -> list[dict[str, Any]]:
    """Shares of verdicts, of cohorts first and then of each measure."""
    out = []
    for (system, patients), populations in said.items():
        common = {"system": system, "seeds": [0], "n": len(populations)}
        for verdict in ("fail", "pass"):
            some = sum(verdict in verdicts.values() for verdicts in populations)
            rate = clopper_pearson(some, len(populations))
            metric = f"cohorts in which a measure says {verdict}"
            out.append(common | _row(patients, metric, rate.value, rate.low, rate.high))
        every = Counter(v for verdicts in populations for v in verdicts.values())
        out += [
            common | _row(patients, f"measures that say {v}", every[v] / max(every.total(), 1), None, None)
            for v in VERDICTS
        ]
        for name in dict.fromkeys(name for verdicts in populations for name in verdicts):
            counts = Counter(verdicts.get(name, "nothing") for verdicts in populations)
            for v in (v for v in (*VERDICTS, "nothing") if counts[v]):
                rate = clopper_pearson(counts[v], len(populations))
                out.append(common | _row(f"{patients}, {name}", v, rate.value, rate.low, rate.high))
    return out


def _row(setting: str, metric: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"setting": setting, "metric": metric, "value": value, "low": low, "high": high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--populations", type=int, default=10)
    parser.add_argument("--splits", type=int, default=4, help="of the demo's own patients")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="two populations of 40 patients")
    parser.add_argument("--places", action="store_true", help="only where the measures of the demo's runs lie, and why")
    arguments = parser.parse_args()
    if arguments.places:
        print(told(DEMO))
        return
    said = measured(2, (40,)) if arguments.quick else measured(arguments.populations, SIZES)
    results = rows(said | of_the_demo(1 if arguments.quick else arguments.splits)) + between(DEMO)
    for r in results:
        print(f"{r['system']:<22}{r['setting']:<48}{r['metric']:<40}{r['value']:.2f}")
    if arguments.json:
        command = "python " + " ".join(sys.argv)
        arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
