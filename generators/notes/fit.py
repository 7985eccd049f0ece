"""Learning a cohort's manner of writing: DP-SGD on the low-rank weights, or plain fine-tuning where there is no privacy.

All notes of a patient are one element: its loss is the mean over its notes, its gradient is clipped once.
"""

from __future__ import annotations

import math
import warnings
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
    """DP-SGD (Abadi et al. 2016) on what is trainable. Deterministic given the answers; all but them is public.

    1. The clip norm is a quantile of simulated patients' gradient norms. A cohort that writes in another manner has longer
       gradients, so nearly every patient is clipped and counts by direction (Bu et al. 2023).
    2. A running mean of the answers is shrunk row by row (an output's numbers) by what the noise alone would make of it, as
       James and Stein (1961) do: rows without signal stay where public text left them.
    3. The mean of the last third of the iterates is kept.
    4. It is scaled back until public notes are not more than `drift` nats a token less likely than before: a language model
       that is pushed further from what it can write writes no language.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    before = _nats(model, public)
    clip_norm = public_clip(model, public, settings.clip_quantile)
    error = session.error(GRADIENT, clip_norm) / clip_norm
    means, total = [torch.zeros_like(p) for p in weights], [torch.zeros_like(p) for p in weights]
    variance, keep, last = 0.0, settings.momentum, settings.steps - settings.steps // 3
    for step in range(settings.steps):
        progress("DP-SGD on notes", step, settings.steps)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            session.gradient(model, loss, clip_norm, GRADIENT)
        variance = keep**2 * variance + (1 - keep) ** 2 * error**2
        rate = settings.step_rate * (0.05 + 0.5 * (1 + math.cos(math.pi * step / settings.steps)))
        for weight, mean, later in zip(weights, means, total, strict=True):
            with torch.no_grad():
                assert weight.grad is not None
                mean.mul_(keep).add_(weight.grad / clip_norm, alpha=1 - keep)
                weight -= rate * shrunk(mean, variance)
                later += weight / (settings.steps - last) if step >= last else 0
            weight.grad = None
    _hold_back(model, weights, total, public, before + settings.drift)
    progress("DP-SGD on notes", settings.steps, settings.steps)


def shrunk(mean: Tensor, variance: float) -> Tensor:
    """[rows, numbers] each row times max(0, 1 - numbers variance / |row|^2): zero where it is as long as noise alone."""
    squares = mean.square().sum(dim=1, keepdim=True)
    return mean * (1 - mean.shape[1] * variance / squares.clamp(min=1e-30)).clamp(min=0)


def _hold_back(model: Any, weights: Sequence[Tensor], step: Sequence[Tensor], public: Records, most: float) -> None:
    """Sets the weights to the largest share of `step` at which public notes cost at most `most` nats a token."""
    low, high = 0.0, 1.0
    for _ in range(7):
        middle = (low + high) / 2
        _scale(weights, step, middle)
        low, high = (middle, high) if _nats(model, public) <= most else (low, middle)
    _scale(weights, step, low)


def _scale(weights: Sequence[Tensor], step: Sequence[Tensor], share: float) -> None:
    with torch.no_grad():
        for weight, part in zip(weights, step, strict=True):
            weight.copy_(share * part)


def _nats(model: Any, public: Records) -> float:
    """Mean over simulated patients of their notes' nats a token."""
    with torch.no_grad():
        return float(torch.cat([loss(model, rows) for rows in chunks(public, 16)]).mean())


def public_clip(model: Any, public: Records, quantile: float) -> float:
    """A quantile of the norms of simulated patients' gradients."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        rows = [per_patient_gradients(model, loss, part) for part in chunks(public, 8)]
    return float(torch.cat([torch.linalg.vector_norm(r, dim=1) for r in rows]).quantile(quantile))


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
