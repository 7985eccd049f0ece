"""Learning a cohort's manner of writing: DP-SGD on the low-rank weights, or plain fine-tuning where there is no privacy.

All notes of a patient are one element: its loss is the mean over its notes, its gradient is clipped once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from generators.notes.encoding import Records, loss
from generators.notes.settings import Settings
from privacy.charges import Charge
from privacy.gradients import per_patient_gradients
from privacy.session import Session
from synthgen.generator import Progress
from synthgen.randomness import child_seed

GRADIENT = "notes/gradient"
LARGEST_SAMPLE = 64
"""Of patients in a step, on average: more would cost memory and time and little noise."""


def charge(settings: Settings, declared_patients: int) -> Charge:
    """DP-SGD's charge; noise relative: q sqrt(steps / share), since q^2 steps / sigma^2 is about its share of mu^2."""
    rate = min(settings.sampling_rate, LARGEST_SAMPLE / declared_patients)
    noise = rate * math.sqrt(settings.steps / (1 - settings.occurrence_share))
    return Charge(GRADIENT, noise, min(1.0, rate), settings.steps)


def private(model: Any, public: Records, session: Session, settings: Settings, progress: Progress) -> None:
    """DP-SGD (Abadi et al. 2016) on what is trainable, with momentum; the mean of the later iterates is kept.

    The clip norm is a quantile of the gradient norms of simulated patients; where the cohort writes in another manner almost
    every patient is clipped, so gradients count by their direction (Bu et al. 2023). Deterministic given the answers.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    clip_norm = public_clip(model, public, settings.clip_quantile)
    moving = [torch.zeros_like(p) for p in weights]
    total = [torch.zeros_like(p) for p in weights]
    kept = 0
    for step in range(settings.steps):
        progress("DP-SGD on notes", step, settings.steps)
        session.gradient(model, loss, clip_norm, GRADIENT)
        for weight, velocity, later in zip(weights, moving, total, strict=True):
            with torch.no_grad():
                assert weight.grad is not None
                velocity.mul_(settings.momentum).add_(weight.grad / clip_norm)
                weight -= settings.step_rate * velocity
                if step >= settings.steps // 2:
                    later += weight
            weight.grad = None
        kept += step >= settings.steps // 2
    with torch.no_grad():
        for weight, later in zip(weights, total, strict=True):
            weight.copy_(later / kept)
    progress("DP-SGD on notes", settings.steps, settings.steps)


def public_clip(model: Any, public: Records, quantile: float) -> float:
    """A quantile of the norms of simulated patients' gradients."""
    norms = [torch.linalg.vector_norm(per_patient_gradients(model, loss, rows), dim=1) for rows in chunks(public, 16)]
    return float(torch.cat(norms).quantile(quantile))


def nonprivate(model: Any, rows: Records, settings: Settings, seed: int, progress: Progress) -> None:
    """AdamW on what is trainable, learning rate down to zero."""
    has = (rows["weight"] > 0).any(dim=1)
    rows = {k: v[has] for k, v in rows.items()}
    patients, size = len(rows["weight"]), settings.batch_size
    steps = settings.finetune_epochs * -(-patients // size)
    weights = [p for p in model.parameters() if p.requires_grad]
    if patients == 0:
        return
    optimizer = torch.optim.AdamW(weights, lr=settings.finetune_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.finetune_rate, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(child_seed(seed, "notes", "fine-tuning"))
    done = 0
    for _ in range(settings.finetune_epochs):
        for part in np.array_split(rng.permutation(patients), -(-patients // size)):
            value = loss(model, {k: v[torch.from_numpy(part)] for k, v in rows.items()}).mean()
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            progress("fine-tuning on notes", done, steps)


def chunks(records: Records, rows: int) -> Sequence[dict[str, Tensor]]:
    """The same records, `rows` patients at a time."""
    return [{k: v[i : i + rows] for k, v in records.items()} for i in range(0, len(records["weight"]), rows)]
