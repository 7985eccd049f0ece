"""Planted faults that a record alone does not show: copied real patients, notes that contradict the record, another's picture.

    python benchmarks/planted_linked.py --json benchmarks/results/planted_linked.json

Copies: of a simulated population 150 patients are trained on, 150 are the holdout, 300 are the synthetic cohort, in which ten are
exact and ten near copies of trained-on patients. Notes and pictures: a simulated linked cohort (configs/linked), in which one
patient in ten has the error (of pictures, four in ten are exchanged, and those count that are of a stage two away); the notes'
errors are planted in the record before the note is rendered (tests/planted.py).

Rows {system, setting, metric, value, low, high, n, seeds}; the setting says whether the flag reads real patients (such a flag is
in no queue for release). `recall/KIND`: of the spoiled patients, how many carry a flag whose sentence names the fault; `false
alarms`: of the others, how many carry it.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fidelity.images.agreement import ImageAgreement
from fidelity.notes.factuality import Factuality
from privacy.rates import wilson
from synthgen.auditing.cohorts import audit
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence
from synthgen.flags import Flag
from synthgen.floor import independent
from synthgen.linked_simulation import simulate_linked
from synthgen.planting import kinds, plant
from synthgen.population import draw
from synthgen.simulation import simulate_population

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from planted import planted  # type: ignore[attr-defined]  # noqa: E402

COPIED_IN = {"pbc (simulated)": "configs/pbc/cohort.yaml", "registry (simulated)": "configs/simulated/cohort.yaml"}
TRAINED, DRAWN, COPIES = 150, 300, 10
LINKED, PREVALENCE, EXCHANGED = 450, 0.1, 0.4
"""Patients, the share whose note is wrong, and the share whose picture is another's (few of those are of another stage)."""
CONTRADICTS: dict[str, tuple[str, ...]] = {
    "note: another sex": ("sex", "man", "woman", "male", "female"),
    "note: another age": ("age", "years"),
    "note: measurements off by half": ("record",),
    "note: signs the other way": ("record",),
    "note: another stage": ("stage",),
    "note: another drug": ("record",),
    "note: another outcome": ("record",),
    "note: another patient's": ("record",),
}
"""Error of a note -> words one of which the sentence must say, beside that of the flag itself."""
PICTURE = "picture: another patient's"
Row = dict[str, Any]
Hits = dict[tuple[str, str, str], list[bool]]
"""(system, setting, metric) -> one answer a patient."""


def copies(seed: int, hits: Hits) -> None:
    """Copies of patients that were trained on, under synthetic ids."""
    for system, path in COPIED_IN.items():
        dictionary = read_dictionary(ROOT / path)
        rng = np.random.default_rng([seed, 5])
        whole = simulate_population(dictionary, draw(dictionary, rng), 2 * TRAINED + DRAWN, rng)
        parts = np.split(whole.ids.to_numpy(), [TRAINED, 2 * TRAINED])
        train, holdout, good = (whole.of(list(ids)) for ids in parts)
        by_name = {k.name: k for k in kinds() if k.by == "real patients"}
        wanted = [kind for kind in by_name.values() for _ in range(COPIES)]
        spoiled, faults = plant(good, dictionary, wanted, rng, real=train)
        made = _cohort(spoiled, dictionary)
        floor = independent(train, dictionary, rng)
        _, flags = audit(Evidence(dictionary, train, holdout, made, floor, rng), None)
        told = _told(flags, lambda f: "Copy of a training patient" in f.text)
        for fault in faults:
            hits.setdefault((system, "reads real patients", f"recall/{fault.kind.name}"), []).append(
                fault.patients[0] in told
            )
        bad = {f.patients[0] for f in faults}
        alarms = [str(p) in told for p in made.ids if str(p) not in bad]
        hits.setdefault((system, "reads real patients", "false alarms/copied real patient"), []).extend(alarms)


def linked(seed: int, hits: Hits) -> None:
    """Errors of notes and pictures, each in a tenth of a simulated linked cohort."""
    dictionary = read_dictionary(ROOT / "configs/linked/cohort.yaml")
    whole = simulate_linked(dictionary, LINKED, np.random.default_rng([seed, 6]))
    train, holdout, made = (whole.of(list(ids)) for ids in np.split(whole.ids.to_numpy(), 3))
    for name, words in CONTRADICTS.items():
        wrong, touched = planted(name, made, train, dictionary, np.random.default_rng(seed), PREVALENCE)
        evidence = Evidence(dictionary, train, holdout, wrong, train, np.random.default_rng(0))
        flags = [f for f in Factuality().flags(evidence) if f.reason == "note_contradicts_record"]
        told = _told(flags, lambda f, words=words: any(w in f.text.lower() for w in words))  # type: ignore[misc]
        _count(hits, "data-independent", f"contradictory note ({name.removeprefix('note: ')})", wrong, touched, told)
    wrong, touched = planted(PICTURE, made, train, dictionary, np.random.default_rng(seed), EXCHANGED)
    touched = {p for p in touched if _another_stage(p, made, wrong)}
    seen = ImageAgreement().flags(Evidence(dictionary, train, holdout, wrong, train, np.random.default_rng(0)))
    told = _told(seen, lambda f: "picture does not look like it" in f.text)
    _count(hits, "reads real patients", "image of another patient", wrong, touched, told)


def _count(hits: Hits, setting: str, what: str, cohort: Cohort, touched: set[str], told: set[str]) -> None:
    for patient in map(str, cohort.ids):
        metric = f"{'recall' if patient in touched else 'false alarms'}/{what}"
        hits.setdefault(("linked (simulated)", setting, metric), []).append(patient in told)


def _another_stage(patient: str, made: Cohort, wrong: Cohort) -> bool:
    """Whether a picture that a patient was given is of a patient two stages away or more."""
    assert made.images is not None
    assert wrong.images is not None
    stage = made.patients.set_index("patient_id")["stage"].astype(int)
    key = next(n for n in made.images.columns if isinstance(made.images[n].iloc[0], np.ndarray))
    owner = {v.tobytes(): str(p) for p, v in zip(made.images["patient_id"], made.images[key], strict=True)}
    mine = wrong.images.loc[wrong.images["patient_id"] == patient, key]
    return any(abs(stage[owner[v.tobytes()]] - stage[patient]) >= 2 for v in mine)


def _told(flags: Sequence[Flag], names: Callable[[Flag], bool]) -> set[str]:
    return {f.patient_id for f in flags if names(f)}


def _cohort(spoiled: Cohort, dictionary: Dictionary) -> Cohort:
    """With the columns' own types again, which the planter's plain tables lost."""
    return Cohort.checked(spoiled.tables, dictionary, "synthetic")


def rows(hits: Hits, seeds: Sequence[int]) -> Iterator[Row]:
    for (system, setting, metric), found in hits.items():
        rate = wilson(sum(found), len(found))
        yield {
            "system": system, "setting": setting, "metric": metric, "value": round(rate.value, 4), "low": round(rate.low, 4),
            "high": round(rate.high, 4), "n": rate.n, "seeds": list(seeds),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="one seed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seeds = range(1 if arguments.quick else arguments.seeds)
    hits: Hits = {}
    for seed in seeds:
        copies(seed, hits)
        linked(seed, hits)
        print(f"seed {seed}", file=sys.stderr, flush=True)
    found = list(rows(hits, seeds))
    for r in found:
        print(
            f"{r['system']:<22}{r['setting']:<22}{r['metric']:<60}{r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}] n={r['n']}"
        )
    if arguments.json:
        command = "python " + " ".join(sys.argv)
        arguments.json.write_text(json.dumps({"command": command, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
