"""The fit without privacy: all weights are trained on the patients themselves, then the same statistics without noise."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from generators.ehr import marginals, moments, static_transport
from generators.ehr.adaptation import LatentMoments, first_moments, recalibrated
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.loadings import Goal
from generators.ehr.model import RecordVAE
from generators.ehr.moments import Centre
from generators.ehr.pretraining import Simulated, cropped
from generators.ehr.private_fit import moved
from generators.ehr.process import Chance
from generators.ehr.settings import Settings
from synthgen.generator import Progress
from synthgen.randomness import child_seed

DRAWS = 8
"""Latent draws a patient in the validation loss, the same at every pass."""


def fit(
    model: RecordVAE, public: Simulated, patients: Records, settings: Settings, seed: int, progress: Progress
) -> Fitted:
    """From the pretrained weights. Deterministic given `seed`."""
    layout = model.layout
    calibration = public.public
    for _ in range(3):
        vectors = first_moments(calibration, layout, patients)
        calibration = recalibrated(calibration, vectors.mean(dim=0), vectors.mean(dim=0))
    records = cropped(calibration.apply(patients, layout))
    passes = _train(model, records, settings, seed, progress)
    progress("training on the patients", passes, passes)
    codes = LatentMoments(model, records)
    fitted = Fitted(model, calibration, codes.prior(codes(records).mean(dim=0)))
    chance = Chance.seeded(child_seed(seed, "ehr", "centre"))
    made = fitted.patients(*fitted.latents(2 * settings.reference_patients, chance), chance)
    parts = moments.split(made, layout)
    centre = Centre.of(parts)
    together = moments.moments(moments.split(records, layout), centre)
    goal = Goal(centre, together.mean(dim=0), torch.cov(moments.moments(parts, centre).T) / len(together))
    shares = marginals.statistic(records, layout).mean(dim=0)
    static = static_transport.moments(static_transport.parts(records, layout)).mean(dim=0)
    return moved(fitted, shares, goal, static, settings.reference_patients, seed)


def _train(model: RecordVAE, records: Records, settings: Settings, seed: int, progress: Progress) -> int:
    """Stops when held-out patients no longer gain, and goes back to where they gained most. Returns the passes made."""
    stream = torch.Generator().manual_seed(child_seed(seed, "ehr", "finetune"))
    patients = len(records["end"])
    order = torch.randperm(patients, generator=stream)
    held = order[: max(1, round(0.15 * patients))]
    rest = order[len(held) :] if patients > len(held) else order
    validation, draws = _rows(records, held), torch.randn(DRAWS, 1, model.latent, generator=stream)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.finetune_rate, weight_decay=0.01)
    best, weights, since = float("inf"), copy.deepcopy(model.state_dict()), 0
    for done in range(settings.finetune_epochs):
        for rows in rest[torch.randperm(len(rest), generator=stream)].split(32):
            loss = -model(_rows(records, rows), torch.randn(len(rows), model.latent, generator=stream)).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
        with torch.no_grad():
            now = -float(torch.stack([model(validation, d).mean() for d in draws]).mean())
        progress("training on the patients", done + 1, settings.finetune_epochs)
        if now < best:
            best, weights, since = now, copy.deepcopy(model.state_dict()), 0
        elif (since := since + 1) >= settings.patience:
            break
    model.load_state_dict(weights)
    return done + 1


def _rows(records: Records, rows: Tensor) -> Records:
    return {name: v[rows] for name, v in records.items()}
