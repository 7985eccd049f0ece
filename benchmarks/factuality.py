"""How well claims are read from notes, what corrupted text costs, and which check notices which error. Simulated patients only.

    python benchmarks/factuality.py --json benchmarks/results/factuality.json

Parts: `extractor` (precision and recall of claims beside the renderer's own account; the banks `public` and `pilot` were
looked at while the extractor was written, `derived` for five corrections, `unseen` never), `errors` (contradictions planted in
the record before a note is rendered: share of the patients with one who are flagged, and of the others), `corrupted` (the same,
and utility, on notes with misspellings, abbreviations and scanner's errors), `noticed` (errors of notes, pictures, days and
records against checks), `cost` (seconds of every check on one core). Rows {system, setting, metric, value, low, high, n,
seeds}; with `--part` only that part's rows are replaced in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from planted import ERRORS, TOLD, planted  # noqa: E402

from fidelity.cross_modal import CrossModal  # noqa: E402
from fidelity.images.agreement import ImageAgreement  # noqa: E402
from fidelity.notes.factuality import Factuality, flags_of  # noqa: E402
from fidelity.notes.text_similarity import TextSimilarity  # noqa: E402
from fidelity.notes.utility import labelled, predicted  # noqa: E402
from privacy.rates import auc, wilson  # noqa: E402
from synthgen.auditing.notes import audit_notes  # noqa: E402
from synthgen.cohort import Cohort  # noqa: E402
from synthgen.dictionary import Dictionary, read_dictionary  # noqa: E402
from synthgen.findings import Evidence  # noqa: E402
from synthgen.linked_simulation import simulate_linked  # noqa: E402
from synthgen.notes.claims import Claim, ClaimExtractor  # noqa: E402
from synthgen.notes.corrupting import LEVELS, corrupt, corrupt_notes  # noqa: E402
from synthgen.notes.facts import charts  # noqa: E402
from synthgen.notes.rendering import Note, Writer, render, rendered  # noqa: E402
from synthgen.notes.support import as_table, check_notes  # noqa: E402
from synthgen.simulation import simulate  # noqa: E402

Row = dict[str, Any]
COMMAND = "python benchmarks/factuality.py --json benchmarks/results/factuality.json"
BANKS = ("public", "pilot", "derived", "unseen")
UNSEEN = Path(__file__).parent / "unseen_bank.yaml"
COHORTS = ("pbc-notes", "simulated", "linked")
PATIENTS = 150
KINDS = ("misspelling", "abbreviation", "ocr")


def row(system: str, setting: str, metric: str, value: float, seeds: list[int], **more: Any) -> Row:
    empty = {"low": None, "high": None, "n": None}
    return {"system": system, "setting": setting, "metric": metric, "value": value} | empty | more | {"seeds": seeds}


def share(system: str, setting: str, metric: str, hits: int, of: int, seeds: list[int], **more: Any) -> Row:
    rate = wilson(hits, of)
    return row(system, setting, metric, rate.value, seeds, low=rate.low, high=rate.high, n=of, **more)


@cache
def dictionary_of(cohort: str) -> Dictionary:
    return read_dictionary(ROOT / "configs" / cohort / "cohort.yaml")


# Extractor ----------------------------------------------------------------------------------------------------------------
def extractor(quick: bool) -> Iterator[Row]:
    """Claims found of those made, by kind; a claim is right when column, value and denial are."""
    seeds = [0] if quick else [0, 1, 2]
    for name in COHORTS:
        reader = ClaimExtractor(dictionary_of(name))
        for bank in BANKS:
            counts = _counted(reader, [n for s in seeds for n in _notes(name, bank, s)], lambda text: text)
            yield from _scores("claims read", f"bank {bank}, cohort {name}", counts, seeds)
    for level, amount in LEVELS.items():
        for kind in KINDS:
            rng = np.random.default_rng(9)
            reader = ClaimExtractor(dictionary_of("linked"))
            notes = [n for s in seeds for n in _notes("linked", "derived", s)]
            counts = _counted(reader, notes, lambda text, a=amount, k=kind, r=rng: corrupt(text, r, a, (k,)))
            for metric, r in (("recall", 0), ("precision", 1)):
                hits, of = counts["all"][r]
                yield share("claims read", f"bank derived, corrupted: {level}", f"{metric}, {kind}", hits, of, seeds)


def _notes(name: str, bank: str, seed: int) -> list[Note]:
    dictionary = dictionary_of(name)
    bare = dictionary.without([t for t in ("notes", "images") if t in dictionary.tables])
    cohort, rng = simulate(bare, PATIENTS, np.random.default_rng(seed)), np.random.default_rng(seed + 100)
    if bank != "unseen":
        return rendered(cohort, dictionary, rng, bank)
    writer = Writer(yaml.safe_load(UNSEEN.read_text()), dictionary)
    return [note for chart in charts(cohort, dictionary) for note in writer.notes(chart, rng)]


Counts = dict[str, tuple[tuple[int, int], tuple[int, int]]]
"""Kind -> ((found, made), (right, found))."""


def _counted(reader: ClaimExtractor, notes: list[Note], spoil: Callable[[str], str]) -> Counts:
    made: Counter[str] = Counter()
    found: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for note in notes:
        truth = {t for c in note.claims if c.kind not in ("trend", "course") for t in _of_renderer(c)}
        heard = {_of_extractor(c) for c in reader.claims(spoil(note.text))}
        for counter, claims in ((made, truth), (found, heard), (right, truth & heard)):
            counter.update(kind for kind, *_ in claims)
            counter["all"] += len(claims)
    return {k: ((right[k], made[k]), (right[k], found[k])) for k in {**made, **found}}


def _scores(system: str, setting: str, counts: Counts, seeds: list[int]) -> Iterator[Row]:
    for kind, ((found, made), (right, heard)) in sorted(counts.items()):
        name = "" if kind == "all" else f" of {kind}"
        yield share(system, setting, f"recall{name}", found, made, seeds)
        yield share(system, setting, f"precision{name}", right, heard, seeds)


def _of_renderer(claim: Any) -> Iterator[tuple[str, str, str, bool]]:
    if claim.kind in ("drug", "event"):
        yield "drug or event", claim.column, "", claim.negated
        if claim.value:
            yield "dose", claim.column, f"{float(claim.value):g}", False
    elif claim.kind == "diagnosis":
        yield "diagnosis", "", "", False
    else:
        number = claim.kind in ("lab", "age", "day")
        yield claim.kind, claim.column, f"{float(claim.value):g}" if number else claim.value, claim.negated


def _of_extractor(claim: Claim) -> tuple[str, str, str, bool]:
    if claim.kind in ("drug", "event"):
        return "drug or event", str(claim.code), "", claim.negated or (claim.kind == "drug" and claim.when == "earlier")
    value = f"{claim.value:g}" if isinstance(claim.value, float) else str(claim.value)
    if claim.kind == "diagnosis":
        return "diagnosis", "", "", claim.negated
    return claim.kind, str(claim.code) if claim.kind == "dose" else claim.column, value, claim.negated


# Planted contradictions -----------------------------------------------------------------------------------------------------
def linked(seed: int, patients: int = PATIENTS) -> tuple[Dictionary, tuple[Cohort, Cohort, Cohort]]:
    """Training, holdout and synthetic patients of one simulated population, with pictures and derived notes."""
    dictionary = dictionary_of("linked")
    whole = simulate_linked(dictionary, 3 * patients, np.random.default_rng(seed))
    train, holdout, made = (whole.of(list(whole.ids)[i::3]) for i in range(3))
    return dictionary, (train, holdout, replace(made, origin="synthetic"))


def errors(quick: bool) -> Iterator[Row]:
    """Patients flagged, of those with the error and of the others, on clean notes."""
    yield from _errors("clean", 0.0, [0] if quick else [0, 1, 2])


def _errors(setting: str, amount: float, seeds: list[int]) -> Iterator[Row]:
    found: dict[str, list[int]] = {name: [0, 0, 0, 0] for name in sorted(TOLD)}
    for seed in seeds:
        dictionary, (train, _, made) = linked(seed)
        for name, counts in found.items():
            wrong, touched = planted(name, made, train, dictionary, np.random.default_rng(seed))
            if amount:
                wrong = corrupt_notes(wrong, dictionary, np.random.default_rng(seed + 50), amount)
            flagged = {f.patient_id for f in flags_of(check_notes(wrong, dictionary), dictionary)}
            assert wrong.notes is not None
            others = set(wrong.notes["patient_id"]) - touched
            for i, n in enumerate((len(flagged & touched), len(touched), len(flagged & others), len(others))):
                counts[i] += n
    for name, (hits, of, false, clean) in found.items():
        yield share("planted contradictions", setting, f"{name}: flagged", hits, of, seeds)
        yield share("planted contradictions", setting, f"{name}: others flagged", false, clean, seeds)


# Corrupted text -----------------------------------------------------------------------------------------------------------
def corrupted(quick: bool) -> Iterator[Row]:
    """True notes, corrupted more and more: what the record supports, who is flagged, what predicts; then planted errors."""
    seeds = [0] if quick else [0, 1, 2]
    for level, amount in {"clean": 0.0, **LEVELS}.items():
        found = [_corrupted(seed, amount) for seed in seeds]
        for metric in found[0]:
            values = np.array([f[metric] for f in found])
            wide = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
            yield row("true notes, corrupted", level, metric, float(values.mean()), seeds, low=float(values.mean() - wide),
                      high=float(values.mean() + wide), n=PATIENTS)  # fmt: skip
    for level, amount in LEVELS.items():
        yield from _errors(level, amount, seeds[:1])


def _corrupted(seed: int, amount: float) -> dict[str, float]:
    dictionary, (train, holdout, made) = linked(seed)
    rng = np.random.default_rng(seed + 20)
    spoilt, learnt = (corrupt_notes(c, dictionary, rng, amount) for c in (made, train))
    assert spoilt.notes is not None
    checked = check_notes(spoilt, dictionary)
    verdicts = as_table(checked)["verdict"]
    flagged = {f.patient_id for f in flags_of(checked, dictionary)}
    scores = {
        "supported": float((verdicts == "supported").mean()),
        "claims_per_note": len(checked) / len(spoilt.notes),
        "patients flagged": len(flagged) / spoilt.notes["patient_id"].nunique(),
    }
    for task in dictionary.tasks:
        if task.kind == "event":
            test = labelled(task, holdout, dictionary)
            told = predicted(labelled(task, learnt, dictionary), test)
            if told is not None:
                scores[f"AUC of {task.name}, learnt from these"] = auc(told[test[1]], told[~test[1]])
    return scores


# Which check notices ------------------------------------------------------------------------------------------------------
CHECKS: Mapping[str, Any] = {
    "note-factuality": Factuality(),
    "cross-modal": CrossModal(),
    "image-agreement": ImageAgreement(),
    "note-text": TextSimilarity(),
}
WORSE = {"pass": 0, "information": 0, "inconclusive": 1, "fail": 2}


def noticed(quick: bool) -> Iterator[Row]:
    """Each error in all patients, against every check: how many patients with it are flagged, and which verdicts get worse."""
    dictionary, parts = linked(3)
    _learn_once()
    before = _judged(dictionary, parts, parts[2])
    for name in ERRORS:
        wrong, touched = planted(name, parts[2], parts[0], dictionary, np.random.default_rng(4), 1.0)
        for check, (findings, flagged) in _judged(dictionary, parts, wrong, quick).items():
            known, raised = before[check]
            worse = [m for m, v in findings.items() if WORSE[v] > WORSE[known.get(m, "pass")]]
            of = max(1, len(touched))
            hits = len((flagged - raised) & touched) / of
            caught = bool(worse) or hits >= 0.1
            yield row("planted errors", f"noticed by {check}", name, float(caught), [3], n=len(touched), flagged=round(hits, 3),
                      worse=worse, expected=check in _expected(name))  # fmt: skip


def _expected(name: str) -> tuple[str | None, str]:
    """The checks that are meant to notice an error."""
    return ERRORS[name].flagged_by, (ERRORS[name].failed_by or "").split("/")[0]


def _learn_once() -> None:
    """Readers of pictures learn from the real patients, who are the same for every error; sentences are not embedded."""
    from fidelity import cross_modal
    from fidelity.images import agreement as image_agreement
    from fidelity.images import reader as image_reader
    from fidelity.notes import text_similarity

    learnt: list[Any] = []

    def shown(train: Any, holdout: Any) -> Any:
        if not learnt:
            learnt.append(image_reader.shown(train, holdout))
        return learnt[0]

    cross_modal.shown = image_agreement.shown = shown
    text_similarity.folder = lambda: None


def _judged(
    dictionary: Dictionary, parts: tuple[Cohort, Cohort, Cohort], synthetic: Cohort, quick: bool = False
) -> dict[str, tuple[dict[str, str], set[str]]]:
    """Check -> ({finding: verdict}, patients flagged)."""
    evidence = Evidence(dictionary, parts[0], parts[1], synthetic, parts[0], np.random.default_rng(5))
    found: dict[str, tuple[dict[str, str], set[str]]] = {}
    for name, check in CHECKS.items():
        if not (quick and name == "note-text"):
            raised = {f.patient_id for f in check.flags(evidence)} if hasattr(check, "flags") else set()
            found[name] = ({f.name: f.verdict for f in check.run(evidence)}, raised)
    findings, flags = audit_notes(evidence)
    found["notes"] = ({f.name: f.verdict for f in findings}, {f.patient_id for f in flags})
    return found


# Cost ---------------------------------------------------------------------------------------------------------------------
def cost(_: bool) -> Iterator[Row]:
    """Processor seconds of each check for 156 patients with up to six notes each, all cohorts of the evidence counted."""
    from fidelity.notes.utility import NoteUtility

    dictionary = dictionary_of("pbc-notes")
    whole = simulate(dictionary.without(["notes"]), 468, np.random.default_rng(0))
    notes = render(whole, dictionary, np.random.default_rng(1))
    whole = Cohort.checked({**whole.tables, "notes": notes}, dictionary, "real")
    train, holdout, made = (whole.of(list(whole.ids)[i::3]) for i in range(3))
    evidence = Evidence(dictionary, train, holdout, made, train, np.random.default_rng(2))
    checks: dict[str, Callable[[], Any]] = {
        c.name: (lambda c=c: (c.run(evidence), c.flags(evidence) if hasattr(c, "flags") else None))
        for c in (Factuality(), TextSimilarity(), NoteUtility(), CrossModal())
    }
    for name, run in {**checks, "audit of notes": lambda: audit_notes(evidence)}.items():
        began = time.process_time()
        run()
        yield row("cost", name, "processor seconds", time.process_time() - began, [0], n=len(notes))


PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "extractor": extractor,
    "errors": errors,
    "corrupted": corrupted,
    "noticed": noticed,
    "cost": cost,
}


def line(r: Row) -> str:
    interval = f"{r['low']:.3f}..{r['high']:.3f}" if r["low"] is not None else ""
    rest = f"flagged {r['flagged']:.2f} {', '.join(r['worse'])}" if "worse" in r else ""
    return f"{r['system']:<38}{r['setting']:<38}{r['metric']:<40}{r['value']:>8.3f}  {interval:<16}{r['n'] or '':>6} {rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="the same, smaller")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="only this part; may be repeated")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results: list[Row] = []
    if arguments.part and arguments.json and arguments.json.exists():
        results = [r for r in json.loads(arguments.json.read_text())["rows"] if r["part"] not in arguments.part]
    for part in arguments.part or PARTS:
        for r in PARTS[part](arguments.quick):
            print(line(r), flush=True)
            results.append({"part": part} | r)
            if arguments.json:
                arguments.json.write_text(json.dumps({"command": COMMAND, "rows": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
