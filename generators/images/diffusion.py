"""Denoising diffusion: the forward process, what the network is asked for, and how images are drawn.

x_t = alpha_t x + sigma_t e with the cosine schedule (Nichol and Dhariwal 2021); the network predicts e (Ho et al. 2020) or
v = alpha_t e - sigma_t x (Salimans and Ho 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

TIMESTEPS = 1000
Predictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(noisy, timesteps, conditions) -> prediction."""


@cache
def alphas() -> tuple[Tensor, Tensor]:
    """[TIMESTEPS] alpha_t and sigma_t of the cosine schedule."""
    scheduler: Any = DDPMScheduler(TIMESTEPS, beta_schedule="squaredcos_cap_v2")
    kept = scheduler.alphas_cumprod
    return kept.sqrt(), (1 - kept).sqrt()


def to_unit(images: Tensor) -> Tensor:
    """uint8 0..255 -> float -1..1."""
    return images.float() / 127.5 - 1


def to_bytes(images: Tensor) -> Tensor:
    """float -1..1 -> uint8 0..255."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def errors(
    model: Predictor, images: Tensor, noise: Tensor, timesteps: Tensor, conditions: Tensor, prediction: str
) -> Tensor:
    """[B] mean squared error of the prediction for each noised image.

    Args:
        images, noise: [B, C, H, W], images in -1..1.
        timesteps: [B].
        conditions: [B, D], zeros where it is hidden.
    """
    alpha, sigma = (s.to(images)[timesteps].view(-1, 1, 1, 1) for s in alphas())  # [B, 1, 1, 1]
    target = noise if prediction == "epsilon" else alpha * noise - sigma * images
    predicted = model(alpha * images + sigma * noise, timesteps, conditions)
    return (predicted.float() - target).square().flatten(1).mean(dim=1)


def guided(model: Predictor, guidance: float) -> Predictor:
    """Classifier-free guidance (Ho and Salimans 2021): unconditional + guidance x (conditional - unconditional)."""

    def predict(noisy: Tensor, timesteps: Tensor, conditions: Tensor) -> Tensor:
        if guidance == 1:
            return model(noisy, timesteps, conditions)
        both = model(
            torch.cat([noisy, noisy]),
            torch.cat([timesteps, timesteps]),
            torch.cat([conditions, torch.zeros_like(conditions)]),
        )
        told, untold = both.chunk(2)
        return untold + guidance * (told - untold)

    return predict


def denoise(
    model: Predictor, start: Tensor, conditions: Tensor, steps: int, sampler: str, prediction: str
) -> Iterator[Tensor]:
    """Yields the images [B, C, H, W] in -1..1 after each of `steps` steps from pure noise `start`; the last are the samples."""
    scheduler = _scheduler(sampler, prediction)
    scheduler.set_timesteps(steps, device=start.device)
    images = start * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        predicted = model(images, t.expand(len(images)), conditions).float()
        images = scheduler.step(predicted, t, images, return_dict=False)[0]
        yield images


def _scheduler(sampler: str, prediction: str) -> Any:
    common = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": prediction, "timestep_spacing": "trailing"}
    if sampler == "ddim":
        return DDIMScheduler(TIMESTEPS, clip_sample=True, set_alpha_to_one=True, **common)
    return DPMSolverMultistepScheduler(TIMESTEPS, thresholding=True, sample_max_value=1.0, **common)
