"""DP-SGD (Abadi et al. 2016) on the few numbers in which simulated populations differ most, whitened on simulated patients."""

from __future__ import annotations

import torch
from torch import Tensor

from generators.ehr.calibration import Calibration
from generators.ehr.charges import GRADIENT
from generators.ehr.model import RecordVAE
from generators.ehr.pretraining import Simulated
from generators.ehr.scores import loss_of, scores
from generators.ehr.settings import Settings
from privacy.session import Session, clip
from synthgen.generator import Progress

EXTRA = 0.12
"""Prior standard deviation, in patients' standard deviations, beyond what simulated populations differ by."""


def descend(
    model: RecordVAE,
    calibration: Calibration,
    public: Simulated,
    session: Session,
    settings: Settings,
    progress: Progress,
) -> None:
    """DP-SGD on `Parameters.step`, pulled to zero as strongly as its prior and the noise say."""
    loss = loss_of(model)
    gradients = scores(model, public.records)
    basis, variance = directions(gradients, public.population, settings.gradient_numbers)
    model.parameters_of.basis.copy_(basis)
    step = model.parameters_of.step.requires_grad_(True)
    expected = expect_gradient(gradients @ basis.double(), settings.clip_quantile)
    clip_norm, offset, kept = expected
    noise = (session.error(GRADIENT, clip_norm) / kept) ** 2 / settings.gradient_steps + 1 / session.declared_patients
    pull = (noise / variance).float()
    path = []
    for done in range(settings.gradient_steps):
        progress("DP-SGD", done, settings.gradient_steps)
        session.gradient(
            model,
            lambda bound, rows: loss(bound, calibration.apply(dict(rows), model.layout)),
            clip_norm,
            GRADIENT,
            backend="vmap",
        )
        with torch.no_grad():
            assert step.grad is not None
            step -= settings.gradient_rate / (1 + pull) * ((step.grad - offset) / kept + pull * step)
            path.append(step.clone())
    with torch.no_grad():
        step.copy_(torch.stack(path[len(path) // 2 :]).mean(dim=0))
    step.requires_grad_(False)
    progress("DP-SGD", settings.gradient_steps, settings.gradient_steps)


def expect_gradient(white: Tensor, quantile: float) -> tuple[float, Tensor, float]:
    """(clip norm, mean after the clip, share of a shift that the clip keeps) of simulated patients' whitened gradients.

    Their mean is zero where pretraining ended, but not after the clip, which cuts a skewed distribution on one side.
    """
    clip_norm = float(torch.linalg.vector_norm(white, dim=1).quantile(quantile))
    cut = clip(white, clip_norm)
    offset = cut.mean(dim=0) - white.mean(dim=0)
    kept = (clip_norm / torch.linalg.vector_norm(white, dim=1)).clamp(max=1.0).mean()
    return clip_norm, offset.float(), float(kept)


def directions(gradients: Tensor, population: Tensor, numbers: int) -> tuple[Tensor, Tensor]:
    """The few directions in which populations differ most.

    Args:
        gradients: [patients, parameters] of simulated patients; population: [patients].

    Returns:
        basis [parameters, numbers]: one whitened unit each (gradients along it have unit variance between patients);
        variance [numbers]: how much populations differ along it, in those units.
    """
    gradients = gradients - gradients.mean(dim=0)
    fisher = gradients.T @ gradients / len(gradients)
    fisher = fisher + torch.diag(0.02 * fisher.diagonal() + 1e-4)
    values, vectors = torch.linalg.eigh(fisher)
    whitener = vectors @ torch.diag(values.clamp(min=1e-6) ** -0.5)
    means = torch.stack([gradients[population == k].mean(dim=0) for k in population.unique()]) @ whitener
    size = len(gradients) / len(means)
    spread = means.T @ means / len(means) - torch.eye(len(values), dtype=means.dtype) / size
    variance, turned = torch.linalg.eigh(spread)
    keep = variance.argsort(descending=True)[:numbers]
    return (whitener @ turned[:, keep]).float(), variance[keep].clamp(min=0) + EXTRA**2
