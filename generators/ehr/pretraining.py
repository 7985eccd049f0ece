"""Pretraining on simulated patients: public knowledge alone, epsilon 0."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

import synthgen.population
import synthgen.simulation
import synthgen.values
from generators.ehr import calibration, encoding, layout, likelihood, network, parameters
from generators.ehr import settings as settings_file
from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records, encode
from generators.ehr.layout import Layout
from generators.ehr.model import RecordVAE
from generators.ehr.settings import Settings
from synthgen.cache import store
from synthgen.dictionary import Dictionary
from synthgen.generator import Progress
from synthgen.randomness import child_seed, generator
from synthgen.simulation import simulate


@dataclass(frozen=True)
class Simulated:
    """Simulated patients as the generator sees them. `public` is the calibration of all populations together, `records` are
    each in their own population's units, `raw` in public ones."""

    raw: Records
    records: Records
    population: Tensor
    public: Calibration
    own: list[Calibration]


def simulated(
    layout: Layout, settings: Settings, patients: int, seed: int, populations: int | None = None
) -> Simulated:
    """Patients from `populations` populations (by default the settings') of equal size."""
    populations = min(populations or settings.populations, patients // 10)
    cohort = simulate(layout.dictionary, patients, generator(seed, "ehr", "simulated"), populations)
    raw = encode(cohort, layout)
    start = Calibration.scheduled(layout)
    groups = torch.from_numpy(
        np.concatenate([np.full(len(p), k) for k, p in enumerate(np.array_split(np.arange(patients), populations))])
    )
    own = [calibration.of_simulated(rows, layout, start) for rows in by_population(raw, groups)]
    records = calibrated(raw, groups, own, layout)
    return Simulated(raw, records, groups, calibration.of_simulated(raw, layout, start), own)


def by_population(raw: Records, population: Tensor) -> list[Records]:
    """The patients of each population; they stand one population after the other."""
    parts = {name: v.split(torch.bincount(population).tolist()) for name, v in raw.items()}
    return [{name: v[k] for name, v in parts.items()} for k in range(len(population.unique()))]


def calibrated(raw: Records, population: Tensor, units: list[Calibration], layout: Layout) -> Records:
    """Each population's patients in units of their own."""
    parts = [u.apply(rows, layout) for u, rows in zip(units, by_population(raw, population), strict=True)]
    return {name: torch.cat([p[name] for p in parts]) for name in raw}


def cropped(records: Records) -> Records:
    """The same without the visits that nobody has: padding costs time."""
    used = max(2, int(records["seen"].sum(dim=1).max()))
    per_visit = ("seen", "time", "gap", "x", "x_prev", "ordered", "nominal", "ordered_prev", "nominal_prev")
    return {name: v[:, :used] if name in per_visit else v for name, v in records.items()}


def train(model: RecordVAE, records: Records, settings: Settings, seed: int, progress: Progress) -> None:
    """Adam on the evidence lower bound, learning rate down to zero by a half cosine."""
    records = cropped(records)
    patients = len(records["seen"])
    steps = -(-patients // settings.batch_size)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.learning_rate, total_steps=steps * settings.pretrain_epochs, pct_start=0.1
    )
    stream = torch.Generator().manual_seed(child_seed(seed, "ehr", "pretrain"))
    for epoch in range(settings.pretrain_epochs):
        warm = min(1.0, (epoch + 1) / (0.25 * settings.pretrain_epochs))
        order = torch.randperm(patients, generator=stream)
        for rows in order.chunk(steps):
            batch = {name: v[rows] for name, v in records.items()}
            draws = torch.randn(len(rows), model.latent, generator=stream)
            loss = -model(batch, draws, warm).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 10.0)
            optimizer.step()
            schedule.step()
        progress("pretraining on simulated patients", epoch + 1, settings.pretrain_epochs)


def key(dictionary: Dictionary, settings: Settings, seed: int) -> str:
    """What the pretrained weights depend on: dictionary, settings, seed and the code itself."""
    modules = (
        calibration, encoding, layout, likelihood, network, parameters, settings_file,
        synthgen.population, synthgen.simulation, synthgen.values,
    )  # fmt: skip
    parts = [dictionary.fingerprint, json.dumps(settings.model_dump(), sort_keys=True), str(seed), torch.__version__]
    parts += [inspect.getsource(m) for m in modules] + [inspect.getsource(train), inspect.getsource(RecordVAE)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def pretrained(layout: Layout, settings: Settings, seed: int, cache: Path, progress: Progress) -> RecordVAE:
    """A model pretrained on simulated patients, from the cache when it is there.

    Raises:
        WorkspaceError: when the cache cannot be written.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(child_seed(seed, "ehr", "weights"))
        model = RecordVAE(layout, settings)
    folder = cache / key(layout.dictionary, settings, seed)
    if _load(model, folder / "model.safetensors"):
        progress("pretraining on simulated patients", settings.pretrain_epochs, settings.pretrain_epochs)
        return model
    train(model, simulated(layout, settings, settings.pretrain_patients, seed).records, settings, seed, progress)
    store(folder, lambda aside: save_file(model.state_dict(), aside / "model.safetensors"))
    return model


def _load(model: RecordVAE, path: Path) -> bool:
    """Whether it could be read; a cache that cannot be is made again."""
    if not path.is_file():
        return False
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        shutil.rmtree(path.parent, ignore_errors=True)
        return False
    return True
