"""What the checks of images convict, what they let pass, and how long they take.

    python benchmarks/image_checks.py --json benchmarks/results/image_checks.json

Cohorts of 400 training, 350 holdout and 350 synthetic patients, one picture of 28 x 28 each: simulated phantoms, and the chest
X-rays of PneumoniaMNIST (needs $SYNTHGEN_SHARED; skipped, and said so, without). The synthetic side is a third real sample, a
spoilt one, or copies. Parts: `truth` (every finding of every case), `alarms` (20 random splits: is an honest cohort accused of
memorisation?), `network` (what the network's two tasks see). Rows {part, system, setting, metric, value, low, high, n, seeds};
with `--part` or `--system` only their rows are replaced in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from fidelity.images.agreement import ImageAgreement
from fidelity.images.distances import frechet
from fidelity.images.likeness import Images, independent_pixels
from fidelity.images.memorisation import ImageMemorisation, memorised
from fidelity.images.network import Network
from fidelity.images.sets import Pictures, Sets
from fidelity.images.utility import ImageUtility
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence
from synthgen.floor import independent
from synthgen.formats import medmnist
from synthgen.phantoms import phantom

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared"))
COMMAND = "python benchmarks/image_checks.py --json benchmarks/results/image_checks.json"
DICTIONARY = read_dictionary(ROOT / "configs/pneumonia/cohort.yaml")
CHECKS = (Images(), ImageAgreement(), ImageMemorisation(), ImageUtility())
TRAINED_ON = ("another real sample", "ghosts of 40 components", "labels swapped")
"""Cases in which utility is measured."""
TRAIN, OTHER = 400, 350

Row = dict[str, Any]
Set = tuple[np.ndarray, np.ndarray]
"""[n, 28, 28] pictures and [n] labels."""


def phantoms(count: int = TRAIN + 2 * OTHER) -> Set:
    """Simulated pictures at two stages."""
    rng, labels = np.random.default_rng(9), np.arange(count) % 2
    return np.stack([phantom(0.2 + 0.5 * label, 28, rng) for label in labels]), labels


def chest_x_rays() -> Set | None:
    """PneumoniaMNIST, each picture once."""
    path = SHARED / "data/pneumonia/pneumoniamnist_small.npz"
    if not path.is_file():
        print(f"chest X-rays: skipped, {path} is not there")
        return None
    tables = medmnist.read(path)
    pixels = np.stack(tables["images"]["image"].to_list())
    _, once = np.unique(pixels.reshape(len(pixels), -1), axis=0, return_index=True)
    return pixels[once], tables["patients"]["label"].astype(int).to_numpy()[once]


def cohort(pictures: Set, origin: Any, prefix: str, dictionary: Dictionary = DICTIONARY) -> Cohort:
    pixels, labels = pictures
    ids = [f"{prefix}-{i:05d}" for i in range(len(pixels))]
    patients = pd.DataFrame({"patient_id": ids, "label": np.array(["normal", "pneumonia"])[labels]})
    images = pd.DataFrame({"patient_id": ids, "image": list(pixels)})
    return Cohort.checked({"patients": patients, "images": images}, dictionary, origin)


def split(data: Set, seed: int) -> tuple[Set, Set, Set]:
    """(training, holdout, a third real sample)."""
    order = np.random.default_rng(seed).permutation(len(data[0]))
    parts = np.split(order[: TRAIN + 2 * OTHER], [TRAIN, TRAIN + OTHER])
    first, second, third = ((data[0][part], data[1][part]) for part in parts)
    return first, second, third


# The synthetic side ---------------------------------------------------------------------------------------------------------
def _blurred(_train: Set, real: Set, _rng: np.random.Generator) -> Set:
    return gaussian_filter(real[0].astype(float), (0, 1, 1)).round().astype(np.uint8), real[1]


def _ghosts(train: Set, real: Set, rng: np.random.Generator) -> Set:
    """Draws of a normal distribution with the first 40 principal components of each label's training pictures."""
    made = np.empty(real[0].shape)
    for label in np.unique(real[1]):
        flat = train[0][train[1] == label].reshape((train[1] == label).sum(), -1).astype(float)
        _, weights, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        rows = real[1] == label
        drawn = rng.normal(size=(rows.sum(), 40)) * weights[:40] / np.sqrt(len(flat)) @ axes[:40] + flat.mean(axis=0)
        made[rows] = drawn.reshape(-1, *real[0].shape[1:])
    return np.clip(made, 0, 255).round().astype(np.uint8), real[1]


def _mean_and_noise(train: Set, real: Set, rng: np.random.Generator) -> Set:
    means = np.stack([train[0][train[1] == label].mean(axis=0) for label in (0, 1)])
    return np.clip(means[real[1]] + rng.normal(0, 25, real[0].shape), 0, 255).astype(np.uint8), real[1]


def _independent(train: Set, real: Set, rng: np.random.Generator) -> Set:
    none = np.zeros(len(train[0]), dtype=object)
    return independent_pixels(Pictures(train[0], none, {}), rng).pixels[: len(real[0])], real[1]


def _collapsed(_train: Set, real: Set, rng: np.random.Generator) -> Set:
    few = rng.integers(0, 15, len(real[0]))
    return real[0][few], real[1][few]


def _copied(spoil: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Any:
    return lambda train, real, rng: (spoil(train[0][: len(real[0])], rng), train[1][: len(real[0])])


CASES: dict[str, Callable[[Set, Set, np.random.Generator], Set]] = {
    "another real sample": lambda train, real, rng: real,
    "blurred by a pixel": _blurred,
    "ghosts of 40 components": _ghosts,
    "mode collapse to 15 pictures": _collapsed,
    "class mean and noise": _mean_and_noise,
    "independent pixels": _independent,
    "labels swapped": lambda train, real, rng: (real[0], 1 - real[1]),
    "copies": _copied(lambda x, rng: x),
    "copies with noise of 4 grey values": _copied(
        lambda x, rng: np.clip(x + rng.normal(0, 4, x.shape), 0, 255).astype(np.uint8)
    ),
    "copies moved by a pixel": _copied(lambda x, rng: np.roll(x, 1, axis=1)),
    "copies mirrored": _copied(lambda x, rng: x[:, :, ::-1]),
}


def evidence(train: Set, holdout: Set, made: Set) -> Evidence:
    rng = np.random.default_rng(0)
    real = cohort(train, "real", "P")
    synthetic = cohort(made, "synthetic", "SYN")
    return Evidence(DICTIONARY, real, cohort(holdout, "real", "H"), synthetic, independent(real, DICTIONARY, rng), rng)


# Parts ----------------------------------------------------------------------------------------------------------------------
def truth(system: str, data: Set, quick: bool) -> Iterator[Row]:
    """Every finding of every case, flags by check, and the seconds of each check."""
    train, holdout, real = split(data, 0)
    cases = dict(list(CASES.items())[:: 5 if quick else 1])
    for setting, make in cases.items():
        case = evidence(train, holdout, make(train, real, np.random.default_rng(1)))
        for check in CHECKS if setting in TRAINED_ON else CHECKS[:-1]:
            began = time.perf_counter()
            findings = check.run(case)
            seconds = time.perf_counter() - began
            for f in findings:
                more = {
                    "low": f.low,
                    "high": f.high,
                    "n": f.n,
                    "ceiling": f.ceiling,
                    "floor": f.floor,
                    "verdict": f.verdict,
                }
                yield row(system, setting, f.name, f.value, [0], **more)
            yield row(system, setting, f"{check.name}: seconds", seconds, [0])
            if hasattr(check, "flags"):
                yield row(system, setting, f"{check.name}: patients flagged", len(check.flags(case)), [0], n=OTHER)


def alarms(system: str, data: Set, quick: bool) -> Iterator[Row]:
    """Honest cohorts that are accused, and honest pictures that are flagged."""
    splits = 4 if quick else 20
    flagged = []
    for seed in range(splits):
        train, holdout, real = split(data, 100 + seed)
        sets = Sets.of(evidence(train, holdout, real))
        assert sets is not None
        found = memorised(sets.train, sets.holdout, sets.synthetic, np.random.default_rng(seed))
        flagged.append(int(found.flagged.sum()))
    seeds = list(range(100, 100 + splits))
    yield row(system, "honest splits", "cohorts with an alarm", float(np.mean(np.array(flagged) > 0)), seeds, n=splits)
    yield row(system, "honest splits", "pictures flagged", sum(flagged) / splits / OTHER, seeds, n=splits * OTHER)


def network(system: str, data: Set, _quick: bool) -> Iterator[Row]:
    """Frechet distance over that of the holdout, with and without the task of telling spoilt pictures."""
    train, holdout, real = split(data, 0)
    for name, spoil in (("conditions alone", False), ("conditions and spoilt pictures", True)):
        learnt = Network.trained(train[0], {"label": train[1]}, spoil=spoil)
        reference = learnt.features(train[0])[:OTHER]
        ceiling = frechet(reference, learnt.features(holdout[0]))
        for setting in (
            "another real sample",
            "blurred by a pixel",
            "ghosts of 40 components",
            "mode collapse to 15 pictures",
        ):
            made = CASES[setting](train, real, np.random.default_rng(1))
            value = frechet(reference, learnt.features(made[0])) / ceiling
            yield row(system, setting, f"Frechet distance over the holdout's, network of {name}", value, [0], n=OTHER)


PARTS = {"truth": truth, "alarms": alarms, "network": network}


def row(system: str, setting: str, metric: str, value: float, seeds: list[int], **more: Any) -> Row:
    empty = {"low": None, "high": None, "n": None}
    return {"system": system, "setting": setting, "metric": metric, "value": value} | empty | more | {"seeds": seeds}


SYSTEMS: dict[str, Callable[[], Set | None]] = {"phantoms": phantoms, "chest X-rays": chest_x_rays}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="the same with fewer cases and splits")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--system", choices=SYSTEMS, action="append")
    arguments = parser.parse_args()
    parts, systems = arguments.part or list(PARTS), arguments.system or list(SYSTEMS)
    rows: list[Row] = []
    for system in systems:
        data = SYSTEMS[system]()
        for part in parts if data is not None else ():
            for found in PARTS[part](system, data, arguments.quick):  # type: ignore[arg-type]
                rows.append({"part": part, **found})
                told = f"{found['value']:10.4f} {found.get('verdict') or ''}"
                print(f"{system:13} {found['setting']:35} {found['metric']:60} {told}", flush=True)
    if arguments.json:
        before = json.loads(arguments.json.read_text())["rows"] if arguments.json.is_file() else []
        command = COMMAND + " --quick" * arguments.quick
        kept = [r for r in before if not (r["part"] in parts and r["system"] in systems)]
        arguments.json.write_text(
            json.dumps({"command": command, "rows": [*kept, *rows]}, indent=1, allow_nan=False) + "\n"
        )


if __name__ == "__main__":
    main()
