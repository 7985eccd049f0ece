"""Chest radiographs of 28 pixels (PneumoniaMNIST, 800 to learn from and 300 to test on): what the image generator makes of them.

    python benchmarks/images.py --parts FOLDER --json benchmarks/results/images.json --sheet docs/images/pneumonia.png

A stand-in for a rare condition: pneumonia is not rare, and the set names no patients, so each picture counts as one. Read
from $SYNTHGEN_SHARED/data/pneumonia (default: ../shared). Each system draws as many pictures as it learnt from, half of each
class; two classifiers, the same for all, learn from those and are tested on the real test pictures. Intervals are 95% bootstrap
over test pictures. Settings were chosen on drawn phantoms (`--data phantoms`) and, the length of training without privacy, on a
part of the training pictures; never on test pictures. `--parts` keeps finished systems, so that a run can be continued.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import image_floors as floors
import image_steps
import numpy as np
import pandas as pd
import torch
import yaml
from image_scores import auc, frechet, scores
from numpy.typing import NDArray
from phantoms import phantoms
from PIL import Image

from generators.images import ImageDiffusion, contact_sheet, write_contact_sheet
from generators.images import moments as moments_file
from generators.images.diffusion import to_bytes
from generators.images.spectrum import Spectrum
from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.randomness import child_seed

ROOT = Path(__file__).resolve().parent.parent
SHARED = (
    Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared")) / "data" / "pneumonia" / "pneumoniamnist_small.npz"
)
CACHE = Path(tempfile.gettempdir()) / "synthgen-benchmark-cache"
DELTA, SIDE, CLASSES = 1e-4, 28, ("normal", "pneumonia")
OURS = "synthgen images"
QUICK = {"steps": 60, "pretrain_steps": 60, "gradient_steps": 4, "sampling_steps": 5}
Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Data:
    """Pictures uint8 [N, side, side] and labels. `settings` are the generator's beside its defaults."""

    train: Pictures
    labels: Labels
    test: Pictures
    truth: Labels
    settings: dict[str, Any]
    states: Path | None = None
    """Where the fit without privacy leaves its states, so that two parts of a run share it."""


def dictionary() -> Dictionary:
    """Public: two classes, one grey picture."""
    label = {"type": "categorical", "categories": list(CLASSES)}
    return Dictionary.model_validate(
        {
            "name": "pneumonia", "title": "Paediatric chest radiographs, a stand-in", "declared_patients": 800,
            "tables": {
                "patients": {"columns": {"patient_id": {"type": "id"}, "label": label}},
                "images": {"columns": {"patient_id": {"type": "id"}, "picture": {"type": "image", "size": SIDE}}},
            },
        }
    )  # fmt: skip


def cohort(pictures: Pictures, labels: Labels) -> Cohort:
    """One picture a patient."""
    ids = [f"p{i}" for i in range(len(pictures))]
    cells = np.empty(len(pictures), dtype=object)
    cells[:] = list(pictures)
    label = pd.Categorical.from_codes(labels.tolist(), list(CLASSES))
    return Cohort(
        patients=pd.DataFrame({"patient_id": ids, "label": label}),
        images=pd.DataFrame({"patient_id": ids, "picture": cells}),
    )


def load(name: str, quick: bool) -> Data:
    """The radiographs, or phantoms in their place. Exits, loudly, when the radiographs are not there."""
    settings: dict[str, Any] = {"images_per_patient": 1, "pretrain_steps": 400} | (QUICK if quick else {})
    if name == "phantoms":
        return Data(*phantoms(800, SIDE, 1), *phantoms(300, SIDE, 2), settings)
    if not SHARED.is_file():
        sys.exit(f"{SHARED} is not there: set SYNTHGEN_SHARED, or run with --data phantoms")
    stored = np.load(SHARED)
    labels, truth = (stored[f"{part}_labels"][:, 0].astype(np.int64) for part in ("train", "test"))
    return Data(stored["train_images"], labels, stored["test_images"], truth, settings)


@cache
def public_folder() -> Path:
    """1,000 phantoms as a public cohort on disk, other ones than stand in for patients."""
    folder = Path(tempfile.mkdtemp(prefix="phantoms-"))
    pictures, labels = phantoms(1000, SIDE, 3)
    ids = [f"q{i}" for i in range(len(pictures))]
    for name, picture in zip(ids, pictures, strict=True):
        Image.fromarray(picture).save(folder / f"{name}.png")
    pd.DataFrame({"patient_id": ids, "label": [CLASSES[k] for k in labels]}).to_csv(
        folder / "patients.csv", index=False
    )
    pd.DataFrame({"patient_id": ids, "picture": [f"{i}.png" for i in ids]}).to_csv(folder / "images.csv", index=False)
    described = dictionary().model_dump(mode="json", exclude_defaults=True)
    (folder / "cohort.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return folder


# Systems ------------------------------------------------------------------------------------------------------------------
Made = tuple[Pictures, Labels]
System = Callable[[Data, int], Made]


def classes(count: int) -> Labels:
    """Half of each."""
    return np.arange(count) % 2


def told(labels: Labels) -> torch.Tensor:
    """Condition vectors of labels."""
    return torch.cat([torch.ones(len(labels), 1), torch.eye(2)[torch.from_numpy(labels)]], dim=1)


def quiet(what: str, done: int, total: int) -> None:
    """A line now and then."""
    if done % 200 == 0 or (done % 10 == 0 and "private" in what):
        print(f"  {what} {done}/{total}", file=sys.stderr, flush=True)


def generator(data: Data, epsilon: float | None, public: bool, seed: int, **settings: Any) -> ImageDiffusion:
    """Fitted at this epsilon; None without privacy, 0 for what is public alone."""
    extra = {"public": str(public_folder())} if public else {}
    model = ImageDiffusion(dictionary(), data.settings | extra | settings)
    model.pretrain(0, CACHE, quiet)
    patients = len(data.train)
    if epsilon != 0:
        charges = () if epsilon is None else calibrate(tuple(model.charges(patients)), Budget(epsilon, DELTA))
        records = model.encode(cohort(data.train, data.labels))
        noise = Noise(child_seed(seed, "images", str(epsilon)))
        journal = Journal(data.states / str(seed)) if data.states and epsilon is None and not settings else None
        model.fit(Session(records, charges, patients, noise, journal), seed, quiet)
    return model


def ours(epsilon: float | None, public: bool = False, **settings: Any) -> System:
    """Pictures of the fitted generator."""

    def made(data: Data, seed: int) -> Made:
        labels = classes(len(data.train))
        model = generator(data, epsilon, public, seed, **settings)
        return model.pictures(told(labels), np.random.default_rng(seed)).numpy()[:, 0], labels

    return made


def moments_alone(epsilon: float) -> System:
    """The whole budget on the four sums, and Gaussian pictures of them: our generator without its network."""

    def made(data: Data, seed: int) -> Made:
        model = ImageDiffusion(dictionary(), data.settings)
        keep = ("images/mean", "images/scale", "images/location", "images/dependence")
        wanted = tuple(c for c in model.charges(len(data.train)) if c.name in keep)
        charges = calibrate(wanted, Budget(epsilon, DELTA))
        records = model.encode(cohort(data.train, data.labels))
        session = Session(records, charges, len(data.train), Noise(child_seed(seed, "moments", str(epsilon))))
        spectrum, low = Spectrum(1, SIDE), model.settings.low_frequencies
        ask = moments_file.Questions(spectrum, session)
        learnt = moments_file.learn(ask, model.layout.width, model.layout.longest, low, None)
        labels = classes(len(data.train))
        drawn = moments_file.draw(spectrum, learnt, told(labels), torch.Generator().manual_seed(seed))
        return to_bytes(drawn).numpy()[:, 0], labels

    return made


def evolution(epsilon: float) -> System:
    """Private Evolution from the network that was trained on phantoms."""

    def made(data: Data, seed: int) -> Made:
        model = generator(data, 0, True, seed)
        return floors.private_evolution(model, told, data.train, data.labels, Budget(epsilon, DELTA), seed)

    return made


def floor(of: Callable[..., Made], epsilon: float) -> System:
    """One of `image_floors`."""
    return lambda data, seed: of(data.train, data.labels, Budget(epsilon, DELTA), seed)


EPSILONS = (1.0, 3.0, 10.0)
SYSTEMS: dict[tuple[str, str], System] = {
    ("real training pictures", "TRTR"): lambda data, seed: (data.train, data.labels),
    (OURS, "no DP"): ours(None),
    **{("moments alone", f"epsilon {e:g}"): moments_alone(e) for e in EPSILONS},
    **{("DP class means and noise", f"epsilon {e:g}"): floor(floors.class_means, e) for e in EPSILONS},
    **{(OURS, f"epsilon {e:g}"): ours(e) for e in reversed(EPSILONS)},
    **{("DP-MERF", f"epsilon {e:g}"): floor(floors.merf, e) for e in EPSILONS},
    (OURS, "public phantoms alone, epsilon 0"): ours(0.0, public=True),
    **{(OURS, f"epsilon {e:g}, public phantoms"): ours(e, public=True) for e in reversed(EPSILONS)},
    **{("Private Evolution, public phantoms", f"epsilon {e:g}"): evolution(e) for e in EPSILONS},
}


def measured(data: Data, system: str, setting: str, make: System, seed: int) -> list[Row]:
    """Fits, draws, and tests classifiers."""
    began = time.process_time()
    pictures, labels = make(data, seed)
    took = time.process_time() - began
    rows = []
    for name, score in scores(pictures, labels, data.test, seed).items():
        value, low, high = auc(data.truth, score)
        rows.append(row(system, setting, f"tstr_auc_{name}", value, low, high, len(data.truth)))
    rows.append(row(system, setting, "frechet", frechet(pictures, data.test), n=len(pictures)))
    rows.append(row(system, setting, "cpu_s", took, n=len(data.train)))
    return rows


def row(system: str, setting: str, metric: str, value: float, low: Any = None, high: Any = None, n: int = 1) -> Row:
    """As every benchmark writes it."""
    found = {"system": system, "setting": setting, "metric": metric, "value": round(value, 4)}
    bounds = {"low": low if low is None else round(low, 4), "high": high if high is None else round(high, 4)}
    return found | bounds | {"n": n, "seeds": 1}


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
        rows.append(row("sampling", setting, "tstr_auc_logistic", *auc(data.truth, score), n=len(data.truth)))
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="where the contact sheet goes")
    parser.add_argument("--quick", action="store_true", help="shorter training: runs, but says nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load(options.data, options.quick)
    if options.parts:
        data = replace(data, states=options.parts / "states")
    todo: dict[str, Callable[[], list[Row]]] = {
        f"{s}, {t}": lambda s=s, t=t, m=m: measured(data, s, t, m, options.seed) for (s, t), m in SYSTEMS.items()
    }
    todo["sampling"] = lambda: sampling(data, options.seed, options.sheet)
    for case in image_steps.CASES:
        todo[f"step, {case}"] = lambda case=case: image_steps.rows(row, case, options.quick)  # type: ignore[misc]
    rows = []
    for name, make in todo.items():
        if re.search(options.only, name):
            rows += kept(options.parts, name, make, options.finished)
            print(f"  {name}: {time.process_time():.0f} s of processor so far", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps({"command": "python " + " ".join(sys.argv), "rows": rows}, indent=1) + "\n")


def kept(parts: Path | None, name: str, make: Callable[[], list[Row]], finished: bool = False) -> list[Row]:
    """The rows of one part, from its file when it is finished; none when it is not and only finished ones are wanted."""
    file = parts and parts / (re.sub(r"\W+", "-", name) + ".json")
    if file and file.is_file():
        rows: list[Row] = json.loads(file.read_text())
    elif finished:
        rows = []
    else:
        rows = make()
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(rows))
    for r in rows:
        interval = "" if r["low"] is None else f" ({r['low']:.3f} to {r['high']:.3f})"
        print(f"{r['system'][:36]:36} {r['setting'][:40]:40} {r['metric']:18} {r['value']:9.3f}{interval}", flush=True)
    return rows


if __name__ == "__main__":
    main()
