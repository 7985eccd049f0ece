"""The systems of `images.py`: what each makes of training pictures."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import image_floors as floors
import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from phantoms import phantoms
from PIL import Image

from generators.images import ImageDiffusion
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
    folder = CACHE / "phantoms"
    folder.mkdir(parents=True, exist_ok=True)
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
    """The whole budget on the five sums, and Gaussian pictures of them: our generator without its network."""

    def made(data: Data, seed: int) -> Made:
        model = ImageDiffusion(dictionary(), data.settings)
        keep = moments_file.QUESTIONS
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
        public = floors.Public(generator(data, 0, True, seed), told, seed)
        return floors.private_evolution(public, data.train, data.labels, Budget(epsilon, DELTA), seed)

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
    (OURS, "epsilon 10, all 1,000 steps"): ours(10.0, pretrain_steps=1000),
    **{("DP-MERF", f"epsilon {e:g}"): floor(floors.merf, e) for e in EPSILONS},
    (OURS, "public phantoms alone, epsilon 0"): ours(0.0, public=True),
    **{(OURS, f"epsilon {e:g}, public phantoms"): ours(e, public=True) for e in reversed(EPSILONS)},
    **{("Private Evolution, public phantoms", f"epsilon {e:g}"): evolution(e) for e in EPSILONS},
}
