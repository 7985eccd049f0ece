"""Notes: what the generator learns of a manner of writing it was not pretrained on, and what its notes are worth.

    python benchmarks/notes.py --splits 2 --json benchmarks/results/notes.json

The cohort is PBC with *derived* notes (configs/pbc-notes), split half and half by patient; each setting learns from one half and
is measured on the other: likelihood of its notes, and notes written for its records, day by day, beside the derived ones.
Rows {system, setting, metric, value, low, high, n, seeds}; intervals are the range over splits, n is their number. Nothing is
tuned on these patients or on the bank their notes were derived from.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from generators.notes import adapter, fit, pretraining
from generators.notes.delexicalisation import delexicalised, lexicalised
from generators.notes.encoding import Page, loss, pages
from generators.notes.generator import NoteLM
from generators.notes.slots import Catalogue
from generators.notes.writing import write
from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.notes.support import check_notes
from synthgen.randomness import child_seed
from synthgen.storage import read_cohort

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "configs" / "pbc-notes"
CACHE = Path(tempfile.gettempdir()) / "synthgen-benchmark-cache"
DELTA = 1e-4
SETTINGS: dict[str, float | None] = {"public backbone": 0.0, "epsilon 3": 3.0, "no DP": None}
OURS, DERIVED = "synthgen notes", "derived notes of the holdout"
READ = 70
"""Patients of the holdout for whose records notes are written."""
SLOT = re.compile(r"\{[^{}]+\}")


def quiet(what: str, done: int, total: int) -> None:
    """No progress bar."""


def halves(cohort: Cohort, split: int) -> tuple[Cohort, Cohort]:
    """(train, holdout) by patient."""
    ids = np.array(sorted(cohort.ids))
    chosen = set(np.random.default_rng([20260101, split]).permutation(ids)[: len(ids) // 2])
    return cohort.of(chosen), cohort.of(set(ids) - chosen)


def fitted(
    dictionary: Dictionary, train: Cohort, epsilon: float | None, split: int, settings: dict[str, object]
) -> NoteLM:
    """The generator at this epsilon; None without privacy, 0 for its public backbone."""
    generator = NoteLM(dictionary, settings)
    generator.pretrain(0, CACHE, quiet)
    patients = len(train)
    if epsilon != 0:
        charges = () if epsilon is None else calibrate(generator.charges(patients), Budget(epsilon, DELTA))
        noise = Noise(child_seed(split, "benchmark", "notes"))
        generator.fit(Session(generator.encode(train), charges, patients, noise), split, quiet)
    return generator


def written(generator: NoteLM, wanted: Sequence[Page], split: int) -> list[str]:
    """Notes for the days and kinds of these pages."""
    backbone = generator._ready()
    model = generator._model or backbone.model
    return write(model, backbone.tokens, wanted, generator.settings, np.random.default_rng(split))


def likelihood(generator: NoteLM, holdout: Cohort) -> float:
    """Nats a token: mean over patients of the mean over their notes."""
    values = generator.log_likelihood(holdout)
    return float(-values[values != 0].mean())


def text_measures(dictionary: Dictionary, wanted: Sequence[Page], texts: Sequence[str]) -> dict[str, float]:
    """Of notes as such: how much of them is no copy of the record, and how varied that is."""
    catalogue = Catalogue(dictionary)
    own, copied = [], 0
    for page, text in zip(wanted, texts, strict=True):
        slotted = delexicalised(catalogue, text, page.facts, page.day)
        copied += sum(len(lexicalised(catalogue, s, page.facts, page.day).split()) for s in SLOT.findall(slotted))
        own.append(re.findall(r"[\w'-]+", SLOT.sub(" ", slotted).lower()))
    total = sum(len(text.split()) for text in texts)
    found = {"words a note": total / len(texts), "share of words not copied from the record": 1 - copied / total}
    for n in (1, 2, 3):
        grams = Counter(tuple(words[i : i + n]) for words in own for i in range(len(words) - n + 1))
        found[f"distinct {n}-grams, share"] = len(grams) / max(1, sum(grams.values()))
    found["share of notes written once"] = len({tuple(w) for w in own}) / len(own)
    return found


def factuality(
    dictionary: Dictionary, cohort: Cohort, wanted: Sequence[Page], texts: Sequence[str]
) -> dict[str, float]:
    """Claims that an extractor finds in the notes, beside the record of their patient."""
    notes = cohort.notes
    assert notes is not None
    column = next(name for name, c in dictionary.tables["notes"].columns.items() if c.type == "text")
    assert [p.chart.patient_id for p in wanted] == [str(i) for i in notes["patient_id"]]
    checked = check_notes(replace(cohort, notes=notes.assign(**{column: list(texts)})), dictionary)
    verdicts = Counter(c.support.verdict for c in checked)
    found = {f"claims {v}, share": n / len(checked) for v, n in sorted(verdicts.items())}
    return found | {"claims a note": len(checked) / len(texts)}


def run(splits: int, quick: bool) -> list[dict[str, object]]:
    """Every setting on every split."""
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    cohort = read_cohort(FOLDER, dictionary)
    settings: dict[str, object] = (
        {"pretrain_steps": 60, "pretrain_patients": 200, "steps": 4, "finetune_epochs": 1} if quick else {}
    )
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    began = time.monotonic()
    NoteLM(dictionary, settings).pretrain(0, CACHE, quiet)
    values[OURS, "public backbone", "pretraining (or reading it from the cache), seconds"] = [time.monotonic() - began]
    for split in range(splits):
        train, holdout = halves(cohort, split)
        shown = holdout.of(list(holdout.ids)[: 10 if quick else READ])
        real = list(pages(shown, Catalogue(dictionary)))
        wanted = [page for page, _ in real]
        real_texts = [text for _, text in real]
        found = text_measures(dictionary, wanted, real_texts) | factuality(dictionary, shown, wanted, real_texts)
        for metric, value in found.items():
            values[DERIVED, "reference", metric].append(value)
        for setting, epsilon in SETTINGS.items():
            began, busy = time.monotonic(), time.process_time()
            generator = fitted(dictionary, train, epsilon, split, settings)
            fit_seconds, busy = time.monotonic() - began, time.process_time() - busy
            nll = likelihood(generator, holdout)
            began = time.monotonic()
            texts = written(generator, wanted, split)
            found = text_measures(dictionary, wanted, texts) | factuality(dictionary, shown, wanted, texts)
            found |= {"holdout NLL, nats a token": nll, "fit, seconds": fit_seconds, "fit, CPU seconds": busy}
            found["writing, notes a second"] = len(texts) / (time.monotonic() - began)
            for metric, value in found.items():
                values[OURS, setting, metric].append(value)
            print(
                f"split {split} {setting}: NLL {nll:.2f}, {fit_seconds:.0f} s\n{texts[0]}\n",
                file=sys.stderr,
                flush=True,
            )
    return [
        {"system": system, "setting": setting, "metric": metric, "value": float(np.mean(v)), "n": len(v), "seeds": 1,
         "low": float(np.min(v)) if len(v) > 1 else None, "high": float(np.max(v)) if len(v) > 1 else None}
        for (system, setting, metric), v in values.items()
    ]  # fmt: skip


def smollm2(steps: int) -> list[dict[str, object]]:
    """One documented run of the pretrained backbone: LoRA on queries and values, without privacy, one note a patient."""
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    train, holdout = halves(read_cohort(FOLDER, dictionary), 0)
    size = 2
    settings = {"backbone": "smollm2", "max_notes": 1, "max_tokens": 448, "rank": 8, "batch_size": size, "finetune_epochs": 1,
                "finetune_rate": 5e-3}  # fmt: skip
    generator = NoteLM(dictionary, settings)
    generator.pretrain(0, CACHE, quiet)
    learnt, held = _with_notes(generator, train, size * steps), _with_notes(generator, holdout, 8)
    public = pretraining.public_notes(generator.catalogue, 20, 0)[:6]
    model = adapter.attached(generator._ready().model, generator.settings)
    adapter.aim(model, generator.settings, generator._encoded(public, [p.chart.patient_id for p, _ in public]))
    before = _nats(model, held)
    began = time.monotonic()
    fit.nonprivate(model, learnt, generator.settings, 0, quiet)
    seconds = (time.monotonic() - began) / steps
    tokens = int((learnt["note"] > 0).sum()) / steps
    found = {
        "holdout NLL before, nats a token": before, "holdout NLL after, nats a token": _nats(model, held), "steps": steps,
        "patients a step": size, "seconds a step": seconds, "tokens a second": tokens / seconds,
        "trained numbers": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip
    return [
        {"system": "SmolLM2-135M, LoRA", "setting": "no DP", "metric": metric, "value": float(value), "low": None, "high": None,
         "n": 1, "seeds": 1}
        for metric, value in found.items()
    ]  # fmt: skip


def _with_notes(generator: NoteLM, cohort: Cohort, patients: int) -> dict[str, torch.Tensor]:
    """Encoded notes of the first so many patients that have any."""
    found = list(pages(cohort, generator.catalogue))
    ids = list(dict.fromkeys(page.chart.patient_id for page, _ in found))[:patients]
    return generator._encoded([(page, text) for page, text in found if page.chart.patient_id in ids], ids)


def _nats(model: torch.nn.Module, rows: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        return float(torch.cat([loss(model, part) for part in fit.chunks(rows, 2)]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--smollm2", type=int, metavar="STEPS", help="instead: so many steps of the pretrained backbone"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = smollm2(chosen.smollm2) if chosen.smollm2 else run(1 if chosen.quick else chosen.splits, chosen.quick)
    for row in rows:
        print(f"{row['system']:30} {row['setting']:18} {row['metric']:45} {row['value']:10.3f}")
    if chosen.json:
        option = f"--smollm2 {chosen.smollm2}" if chosen.smollm2 else f"--splits {chosen.splits}"
        command = f"python benchmarks/notes.py {option} --json benchmarks/results/{chosen.json.name}"
        chosen.json.write_text(json.dumps({"command": command, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
