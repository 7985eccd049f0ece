"""Chest radiographs of 28 pixels (PneumoniaMNIST, 800 to learn from and 300 to test on): what the image generator makes of them.

    python benchmarks/images.py --parts FOLDER --json benchmarks/results/images.json --sheet docs/images/pneumonia.png

A stand-in for a rare condition: pneumonia is not rare, and the set names no patients, so each picture counts as one. Read
from $SYNTHGEN_SHARED/data/pneumonia (default: ../shared). Each system draws as many pictures as it learnt from, half of each
class; two classifiers, the same for all, learn from those and are tested on the real test pictures. Intervals are 95% bootstrap
over test pictures and over seeds (`--seed 0 1 2`: of fit, noise and classifiers; few seeds make them too narrow).
Settings were chosen on drawn phantoms (`--data phantoms`) and, the length of training without privacy, on a part of the
training pictures; never on test pictures. `--parts` keeps what each system drew with each seed, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import image_steps
import numpy as np
import torch
from image_scores import above, auc, frechet, scores
from image_systems import OURS, SYSTEMS, Data, System, classes, generator, load, told
from image_uses import RARE, handed_on, with_few_cases
from numpy.typing import NDArray

from generators.images import contact_sheet, write_contact_sheet

FLOORS = ("DP class means and noise", "moments alone")
CLASSIFIERS = ("cnn", "logistic")
Row = dict[str, Any]
Part = dict[str, NDArray[Any]]
"""What one system drew with one seed (`pictures`, `labels`), the classifiers' scores of test pictures, `cpu_s`."""


def measured(data: Data, make: System, seed: int) -> Part:
    """Fits, draws, and tests classifiers."""
    began = time.process_time()
    pictures, labels = make(data, seed)
    part: Part = {"cpu_s": np.array(time.process_time() - began), "pictures": pictures, "labels": labels}
    return part | scores(pictures, labels, data.test, seed)


def described(data: Data, system: str, setting: str, parts: list[Part]) -> list[Row]:
    """Areas over seeds, and what does not need a classifier."""
    rows, seeds = [], len(parts)
    for name in CLASSIFIERS:
        found = auc(data.truth, np.stack([p[name] for p in parts]))
        rows.append(row(system, setting, f"tstr_auc_{name}", *found, len(data.truth), seeds))
    distances = [frechet(p["pictures"], data.test) for p in parts]
    many = len(parts[0]["pictures"])
    low, high = (min(distances), max(distances)) if seeds > 1 else (None, None)
    rows.append(row(system, setting, "frechet", float(np.mean(distances)), low, high, many, seeds))
    rows.append(
        row(system, setting, "cpu_s", float(np.mean([p["cpu_s"] for p in parts])), n=len(data.train), seeds=seeds)
    )
    if system == OURS:
        rate = handed_on(data, parts[0]["pictures"], parts[0]["labels"])
        rows.append(row(system, setting, "memorised", rate.value, rate.low, rate.high, rate.n))
    return rows


def compared(data: Data, done: dict[tuple[str, str], list[Part]]) -> list[Row]:
    """How far the generator's areas lie above those of each floor at the same epsilon."""
    rows = []
    for (system, setting), parts in done.items():
        for floor in FLOORS:
            other = done.get((floor, setting.split(",")[0]))
            if system == OURS and other:
                for name in CLASSIFIERS:
                    ours, theirs = (np.stack([p[name] for p in of]) for of in (parts, other))
                    found = above(data.truth, ours, theirs)
                    metric = f"tstr_auc_{name} above {floor}"
                    rows.append(row(system, setting, metric, *found, len(data.truth), min(len(parts), len(other))))
    return rows


def rare(data: Data, setting: str, parts: list[Part]) -> list[Row]:
    """What synthetic cases add to few real ones."""
    rows = []
    for name in CLASSIFIERS:
        alone, more = (np.stack([p[f"{which}_{name}"] for p in parts]) for which in ("alone", "more"))
        found, gain = auc(data.truth, alone), above(data.truth, more, alone, paired=True)
        rows.append(row("few cases", setting, f"auc_{name}, real alone", *found, len(data.truth), len(parts)))
        rows.append(row("few cases", setting, f"auc_{name} gained", *gain, len(data.truth), len(parts)))
    return rows


def row(
    system: str, setting: str, metric: str, value: float, low: Any = None, high: Any = None, n: int = 1, seeds: int = 1
) -> Row:
    """As every benchmark writes it."""
    found = {"system": system, "setting": setting, "metric": metric, "value": round(value, 4)}
    bounds = {"low": low if low is None else round(low, 4), "high": high if high is None else round(high, 4)}
    return found | bounds | {"n": n, "seeds": seeds}


def sampling(data: Data, seed: int, sheet: Path | None) -> list[Row]:
    """The generator without privacy once more: pictures with fewer steps, their time, and the contact sheet."""
    model = generator(data, None, False, seed)
    labels, rows = classes(1000), []
    for sampler, steps in (("dpm", 50), ("dpm", 20), ("dpm", 10), ("ddim", 20), ("ddim", 10)):
        changed = model.settings.model_copy(update={"sampling_steps": steps, "sampler": sampler})
        model.settings = changed
        began = time.process_time()
        made = model.pictures(told(labels), np.random.default_rng(seed)).numpy()[:, 0]
        setting = f"{sampler}, {steps} steps, 1,000 pictures"
        rows.append(row("sampling", setting, "cpu_s", time.process_time() - began, n=1000))
        rows.append(row("sampling", setting, "frechet", frechet(made, data.test), n=1000))
        score = scores(made, labels, data.test, seed, networks=0)["logistic"]
        found = auc(data.truth, score[None])
        rows.append(row("sampling", setting, "tstr_auc_logistic", *found, len(data.truth)))
    if sheet is not None:
        model.settings = model.settings.model_copy(update={"sampling_steps": 20, "sampler": "dpm"})
        sheet.parent.mkdir(parents=True, exist_ok=True)
        write_contact_sheet(sheet, contact_sheet(model, np.random.default_rng(seed)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["pneumonia", "phantoms"], default="pneumonia")
    parser.add_argument("--only", default="", help="regular expression on `system, setting`")
    parser.add_argument("--parts", type=Path, help="folder of finished systems")
    parser.add_argument("--finished", action="store_true", help="collect the finished parts, run no other")
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="where the contact sheet goes")
    parser.add_argument("--quick", action="store_true", help="shorter training: runs, but says nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(options.data, options.quick)
    if options.parts:
        data = replace(data, states=options.parts / "states")
    rows = _of_systems(data, options) + _of_few_cases(data, options)
    others: dict[str, Callable[[], list[Row]]] = {"sampling": lambda: sampling(data, options.seed[0], options.sheet)}
    for case in image_steps.CASES:
        others[f"step, {case}"] = lambda case=case: image_steps.rows(row, case, options.quick)  # type: ignore[misc]
    for name, make in others.items():
        if re.search(options.only, name):
            rows += shown(_kept_rows(options, name, make))
    if options.json:
        options.json.write_text(json.dumps({"command": "python " + " ".join(sys.argv), "rows": rows}, indent=1) + "\n")


def _of_systems(data: Data, options: argparse.Namespace) -> list[Row]:
    rows, done = [], {}
    for (system, setting), make in SYSTEMS.items():
        make_part = lambda seed, make=make: measured(data, make, seed)  # noqa: E731
        if parts := _parts(options, f"{system}, {setting}", make_part):
            done[system, setting] = parts
            rows += shown(described(data, system, setting, parts))
    return rows + shown(compared(data, done))


def _of_few_cases(data: Data, options: argparse.Namespace) -> list[Row]:
    rows = []
    for known in RARE:
        for (system, setting), make in SYSTEMS.items():
            if (system, setting) in ((OURS, "epsilon 10"), ("moments alone", "epsilon 10")):
                name = f"{known} real cases, {system} at {setting}"
                make_part = lambda seed, make=make, known=known: with_few_cases(data, known, make, seed)  # noqa: E731
                if parts := _parts(options, f"few cases, {name}", make_part):
                    rows += shown(rare(data, name, parts))
    return rows


def _parts(options: argparse.Namespace, name: str, make: Callable[[int], Part]) -> list[Part]:
    """Of each seed, from its file when it is finished; none that is not, where only finished ones are wanted."""
    parts = []
    for seed in options.seed if re.search(options.only, name) else ():
        file = options.parts and options.parts / f"{_stem(name)}-seed{seed}.npz"
        if file and file.is_file():
            with np.load(file) as stored:
                parts.append(dict(stored))
        elif not options.finished:
            parts.append(make(seed))
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(file, **parts[-1])
    return parts


def _kept_rows(options: argparse.Namespace, name: str, make: Callable[[], list[Row]]) -> list[Row]:
    """As `_parts`, for what has rows alone."""
    file = options.parts and options.parts / f"{_stem(name)}.json"
    if file and file.is_file():
        rows: list[Row] = json.loads(file.read_text())
        return rows
    rows = [] if options.finished else make()
    if file and rows:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows))
    return rows


def _stem(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def shown(rows: list[Row]) -> list[Row]:
    """The same rows, printed."""
    for r in rows:
        interval = "" if r["low"] is None else f" ({r['low']:.3f} to {r['high']:.3f})"
        print(f"{r['system'][:34]:34} {r['setting'][:52]:52} {r['metric']:44} {r['value']:9.3f}{interval}", flush=True)
    return rows


if __name__ == "__main__":
    main()
