"""Faults planted one by one into good synthetic cohorts: what is found, whether the sentence names it, how many looks it takes.

    python benchmarks/planted.py --json benchmarks/results/planted.json

A good cohort is what the public simulator makes, without the patients that break a hard or severe rule (a generator draws them
again). The planter knows the dictionary alone. Rows {system, setting, metric, value, low, high, n, seeds}; a system is a cohort.

- `recall/KIND`: of patients with a planted fault, one by one, how many carry a flag whose sentence names it (its words and its
  column). What a record alone does not show (copies of real patients, notes, pictures) is in `planted_linked.py`;
- `precision of the first 50`: kinds mixed at 5% prevalence, the queue before any decision;
- `looks to 90%`: looks until 90% of the planted faults were looked at (and, `confirmed`, rejected by a reviewer who errs in 5% of
  looks: about the same patients in every order), for the queue, for the queue that is told of that error and may show a patient
  again, for severity alone, and in random order, as a share of the looks that the random order needs; once more with a severe
  rule in the dictionary that is mistaken (8% of good patients break it), which the queue must learn.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from privacy.rates import wilson
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, Rule, read_dictionary
from synthgen.flagging import flag, screened
from synthgen.flags import Flag
from synthgen.planting import Fault, kinds, plant
from synthgen.planting.record import Kind
from synthgen.queue import for_release, patients_of
from synthgen.rules import broken_in
from synthgen.screening.usual import usual_of
from synthgen.screening.words import label
from synthgen.simulation import simulate
from synthgen.triage import Decision, Triage

ROOT = Path(__file__).resolve().parent.parent
COHORTS = {
    "pbc (simulated)": ROOT / "configs/pbc/cohort.yaml",
    "registry (simulated)": ROOT / "configs/simulated/cohort.yaml",
    "clinic (simulated)": ROOT / "benchmarks/clinic.yaml",
}
PATIENTS, PREVALENCE, NOISE = 2000, 0.05, 0.05
MISTAKEN = 0.08
"""Share of good patients that a mistaken rule calls severely wrong."""
Rows = list[dict[str, Any]]


def good(dictionary: Dictionary, patients: int, rng: np.random.Generator) -> Cohort:
    """Simulated patients of one population who keep to every hard and severe rule; sex-bound events go to the right sex."""
    cohort = simulate(dictionary, round(patients * 1.3), rng)
    bad: set[str] = set()
    for _, rows in broken_in(
        [r for r in dictionary.rules if r.severity in ("hard", "severe")], cohort.tables, dictionary
    ):
        if rows is not None:
            bad |= set(rows.loc[rows["broken"], "patient_id"])
    return cohort.of([p for p in cohort.ids if p not in bad][:patients])


def named(fault: Fault, flags: Sequence[Flag], dictionary: Dictionary) -> bool:
    """Whether a flag of the spoiled patient says what was done to it."""
    columns = {n: c for table in dictionary.tables.values() for n, c in table.columns.items()}
    for raised in flags:
        if fault.about.startswith("rule "):
            if raised.reason == fault.about:
                return True
        elif any(word in raised.text for word in fault.kind.words) and (
            not fault.about or label(fault.about, columns[fault.about]) in raised.text
        ):
            return True
    return False


def of_patient(flags: Sequence[Flag]) -> dict[str, list[Flag]]:
    """Flags that may be in a queue for release."""
    found: dict[str, list[Flag]] = defaultdict(list)
    for raised in for_release(flags):
        for patient in patients_of(raised):
            found[patient].append(raised)
    return found


def recall(system: str, dictionary: Dictionary, seeds: Sequence[int], each: int) -> Rows:
    """One row a kind: planted `each` times a seed; what is usual is the good cohort's, as if there were one spoiled patient."""
    hits: dict[Kind, list[bool]] = defaultdict(list)
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        cohort = good(dictionary, PATIENTS, rng)
        usual = usual_of(cohort, dictionary)
        for kind in kinds():
            spoiled, faults = plant(cohort, dictionary, [kind] * each, rng)
            touched = {p for f in faults for p in f.patients}
            others = [p for p in map(str, spoiled.ids) if p not in touched][:5]  # else nobody would miss a visit
            flags = of_patient(screened([spoiled.of([*touched, *others])], dictionary, usual)[0])
            hits[kind] += [named(f, [x for p in f.patients for x in flags.get(p, ())], dictionary) for f in faults]
        print(f"{system}: recall, seed {seed}", file=sys.stderr, flush=True)
    rows = []
    for kind, found in hits.items():
        if found:
            rate = wilson(sum(found), len(found))
            rows.append(row(system, f"{kind.severity}, found by {kind.by}", f"recall/{kind.name}", rate, seeds))
    for severity in ("severe", "moderate", "mild"):
        together = [hit for kind, found in hits.items() if kind.severity == severity for hit in found]
        if together:
            rate = wilson(sum(together), len(together))
            rows.append(row(system, "all kinds", f"recall of {severity} kinds", rate, seeds))
    without = sum(k.by == "evidence" for k, found in hits.items() if found)
    rows.append(plain(system, "all kinds", "kinds planted", sum(bool(f) for f in hits.values()), seeds))
    rows.append(plain(system, "all kinds", "kinds without a rule or a breach", without, seeds))
    severe = {k.name: float(np.mean(found)) for k, found in hits.items() if found and k.severity == "severe"}
    rows.append(plain(system, "all kinds", "severe kinds", len(severe), seeds))
    rows.append(
        plain(system, "all kinds", "severe kinds found in 95% or more", sum(r >= 0.95 for r in severe.values()), seeds)
    )
    rows.append(plain(system, "all kinds", "lowest recall of a severe kind", round(min(severe.values()), 4), seeds))
    return rows


def looks(system: str, about: Dictionary, seeds: Sequence[int], mistaken: bool = False) -> Rows:
    """Precision of the first 50 places, and looks to 90%. With `mistaken`, one severe rule of the dictionary is wrong."""
    precision: list[float] = []
    needed: dict[tuple[str, str], list[float]] = defaultdict(list)
    covered: list[bool] = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 2])
        cohort = good(about, PATIENTS, rng)
        dictionary = with_a_mistake(about, cohort) if mistaken else about
        left_out = ("real patients", "rule") if mistaken else ("real patients",)
        every = [k for k in kinds() if k.by not in left_out]
        wanted = [every[i % len(every)] for i in rng.permutation(4 * len(every))]
        spoiled, faults = plant(cohort, dictionary, wanted[: round(PREVALENCE * PATIENTS)], rng)
        flags = flag(spoiled, dictionary)
        fault_of = {p: i for i, f in enumerate(faults) for p in f.patients}
        queue = Triage(list(dict.fromkeys(spoiled.ids)), flags, np.random.default_rng(seed), control=0)
        first = [queue_next(queue, False) for _ in range(50)]
        precision.append(float(np.mean([p in fault_of for p in first])))
        everybody = [str(p) for p in spoiled.ids.unique()]
        said = {p: (p in fault_of) != (rng.random() < NOISE) for p in everybody}  # the same in every order
        orders = {
            "queue": walked(Triage(everybody, flags, np.random.default_rng(seed)), fault_of, said, rng),
            "queue with second looks": walked(
                Triage(everybody, flags, np.random.default_rng(seed), error=NOISE), fault_of, said, rng
            ),
            "severity alone": in_order(by_severity(everybody, flags, rng), said),
            "random": in_order([str(p) for p in rng.permutation(everybody)], said),
        }
        for name, seen in orders.items():
            for what, number in until(seen, fault_of, len(faults)).items():
                needed[name, what].append(number)
        covered.append(interval_covers(spoiled, flags, fault_of, rng))
        print(f"{system}: looks, seed {seed}: precision {precision[-1]:.2f}", file=sys.stderr, flush=True)
    setting = f"{PREVALENCE:.0%} planted, {PATIENTS} patients{', one rule mistaken' if mistaken else ''}"
    rows = [spread(system, setting, "precision of the first 50", precision, seeds)]
    for (name, what), numbers in needed.items():
        rows.append(spread(system, setting, f"looks to 90% {what}/{name}", numbers, seeds))
        shares = list(np.array(numbers) / np.array(needed["random", what]))
        if name != "random":
            rows.append(spread(system, setting, f"looks to 90% {what}, share of random/{name}", shares, seeds))
    rate = wilson(sum(covered), len(covered))
    rows.append(row(system, "after 400 looks", "interval of the release's wrong rate covers it", rate, seeds))
    return rows


def with_a_mistake(about: Dictionary, cohort: Cohort) -> Dictionary:
    """The dictionary with one severe rule more, which many good patients break: what a limit taken from healthy people does."""
    assert cohort.visits is not None
    name = next(n for n, c in about.measurements.items() if c.numeric)
    highest = cohort.visits.groupby("patient_id")[name].max().astype("float64")
    limit = float(highest.quantile(1 - MISTAKEN))
    rule = Rule(name="mistaken", expression=f"{name} <= {limit:g}", severity="severe", text="A limit that is too low.")
    return about.model_copy(update={"rules": (*about.rules, rule)})


def queue_next(queue: Triage, wrong: bool) -> str:
    patient = queue.next()
    assert patient is not None
    queue.decided[patient] = wrong  # looked at, but nothing is learnt: the order before any decision
    return patient


def walked(
    queue: Triage, fault_of: dict[str, int], said: dict[str, bool], rng: np.random.Generator
) -> list[tuple[str, bool]]:
    """(patient, answer) in the order of the queue, which learns as it goes; a second look may err as the first may."""
    seen: list[tuple[str, bool]] = []
    while len(queue.decided) < len(queue.patients) and (patient := queue.next()) is not None:
        again = patient in queue.decided
        wrong = (patient in fault_of) != (rng.random() < NOISE) if again else said[patient]
        queue.decide(Decision(patient, wrong))
        seen.append((patient, wrong))
    return seen


def in_order(order: list[str], said: dict[str, bool]) -> list[tuple[str, bool]]:
    return [(patient, said[patient]) for patient in order]


def by_severity(everybody: list[str], flags: Sequence[Flag], rng: np.random.Generator) -> list[str]:
    """Worst severity first, in random order within, then everybody else at random."""
    flagged = for_release(flags)
    groups = [[f.patient_id for f in flagged if f.severity == s] for s in ("severe", "moderate", "mild")]
    order = [str(p) for group in groups for p in rng.permutation(list(dict.fromkeys(group)))]
    return list(dict.fromkeys([*order, *(str(p) for p in rng.permutation(everybody))]))


def until(seen: list[tuple[str, bool]], fault_of: dict[str, int], faults: int) -> dict[str, float]:
    """Looks until 90% of the faults were looked at, and confirmed. (All looks, where they never are.)"""
    reached: dict[str, set[int]] = {"seen": set(), "confirmed": set()}
    needed = {"seen": float(len(seen)), "confirmed": float(len(seen))}
    for number, (patient, wrong) in enumerate(seen, start=1):
        if patient in fault_of:
            for what, counts in (("seen", True), ("confirmed", wrong)):
                if counts and fault_of[patient] not in reached[what]:
                    reached[what].add(fault_of[patient])
                    if len(reached[what]) == np.ceil(0.9 * faults):
                        needed[what] = float(number)
    return needed


def interval_covers(cohort: Cohort, flags: Sequence[Flag], fault_of: dict[str, int], rng: np.random.Generator) -> bool:
    """After 400 looks of a reviewer who does not err: is the true rate of what is left within the interval?"""
    queue = Triage(list(dict.fromkeys(cohort.ids)), flags, rng, control=2)
    for _ in range(400):
        patient = queue.next()
        if patient is None:
            break
        queue.decide(Decision(patient, patient in fault_of))
    left = [p for p in queue.patients if not queue.decided.get(p, False)]
    estimate = queue.estimate
    return bool(estimate.low - 1e-9 <= np.mean([p in fault_of for p in left]) <= estimate.high + 1e-9)


# Output -------------------------------------------------------------------------------------------------------------------
def row(system: str, setting: str, metric: str, rate: Any, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "system": system, "setting": setting, "metric": metric, "value": round(rate.value, 4), "low": round(rate.low, 4),
        "high": round(rate.high, 4), "n": rate.n, "seeds": list(seeds),
    }  # fmt: skip


def plain(system: str, setting: str, metric: str, value: float, seeds: Sequence[int]) -> dict[str, Any]:
    return {
        "system": system, "setting": setting, "metric": metric, "value": value, "low": None, "high": None, "n": None,
        "seeds": list(seeds),
    }  # fmt: skip


def spread(system: str, setting: str, metric: str, values: Sequence[float], seeds: Sequence[int]) -> dict[str, Any]:
    """Mean over seeds, and the lowest and highest."""
    found = plain(system, setting, metric, round(float(np.mean(values)), 4), seeds)
    return found | {"low": round(min(values), 4), "high": round(max(values), 4), "n": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--each", type=int, default=20, help="how often each kind is planted, a seed")
    parser.add_argument("--only", default="", help="cohorts whose name holds this")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one seed, each kind eight times")
    arguments = parser.parse_args()
    seeds, each = (range(1), 8) if arguments.quick else (range(arguments.seeds), arguments.each)
    results: Rows = []
    command = "python " + " ".join(sys.argv)
    for system, path in COHORTS.items():
        if arguments.only in system:
            dictionary = read_dictionary(path)
            results += looks(system, dictionary, seeds) + looks(system, dictionary, seeds, mistaken=True)
            results += recall(system, dictionary, seeds, each)
            if arguments.json:  # as far as it came: a full run takes long
                arguments.json.write_text(json.dumps({"command": command, "rows": results}, indent=1) + "\n")
    for found in results:
        interval = "" if found["low"] is None else f"[{found['low']:.3f}, {found['high']:.3f}]"
        print(f"{found['system']:<22}{found['setting']:<32}{found['metric']:<66}{found['value']:>9.3f} {interval}")


if __name__ == "__main__":
    main()
