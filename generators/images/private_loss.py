"""The loss of one patient in a step of DP-SGD (DPDM, Dockhorn et al. 2023, equation 5: noise multiplicity).

A patient's draws (picture, timestep, noise, whether the condition is told) go round all of their pictures, so a patient of many
pictures costs what a patient of one does, and the mean over draws is unbiased for the mean over their pictures. All of a step's
randomness is one bank drawn for everybody; which parts of it are a patient's follows from the patient's own key. So no draw
depends on who else is there, and patients are not all noised alike, which would make the step's mean gradient vary more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.images.acceleration import precision
from generators.images.diffusion import TIMESTEPS, errors, to_unit
from generators.images.encoding import KEY_BITS
from generators.images.settings import Settings
from privacy.gradients import Loss, Records

BANK = 256
"""Draws in the bank of a step."""


def patient_loss(settings: Settings, device: str) -> Loss:
    """(denoiser, records) -> [patients] mean error over `noise_multiplicity` draws; 0 for a patient without a picture."""
    multiplicity = settings.noise_multiplicity

    def loss(model: nn.Module, records: Records) -> Tensor:
        records = {name: v.to(device) for name, v in records.items()}
        images = records["images"]  # [patients, most, channels, side, side]
        patients, side = len(images), images.shape[2:]
        chosen = draws(records["key"], multiplicity)  # [patients, draws]
        noise = _by_draw(torch.randn((BANK, *side)).to(images.device)[chosen])
        where = torch.rand(BANK).to(images.device)[chosen]
        told = _by_draw((torch.rand(BANK) >= settings.condition_dropout).to(images.device)[chosen]).unsqueeze(1)
        turn = records["key"].unsqueeze(1) + chosen[:, :1] + torch.arange(multiplicity, device=images.device)
        picture = turn % records["count"].clamp(min=1).unsqueeze(1)  # [patients, draws]
        shared = picture.view(patients, multiplicity, 1, 1, 1).expand(-1, -1, *side)
        x = _by_draw(to_unit(images.gather(1, shared)))  # [draws * patients, channels, side, side]
        width = records["condition"].shape[2]
        known = _by_draw(records["condition"].gather(1, picture.unsqueeze(2).expand(-1, -1, width)))
        stratum = torch.arange(multiplicity, device=images.device) + where  # one timestep from each equal part of time
        timesteps = _by_draw((stratum * (TIMESTEPS / multiplicity)).long().clamp(max=TIMESTEPS - 1))
        with precision(settings, device):
            each = errors(model, x, noise, timesteps, known * told, settings.prediction)
        return each.view(multiplicity, patients).mean(dim=0) * (records["count"] > 0)

    return loss


def _by_draw(x: Tensor) -> Tensor:
    """[patients, draws, ...] -> [draws * patients, ...], as rules for gradients want them (`privacy.gradient_rules`)."""
    return x.transpose(0, 1).flatten(0, 1)


def draws(key: Tensor, multiplicity: int) -> Tensor:
    """[patients, multiplicity] places in the bank: multiply-shift hashes of the patient's key, new ones at each step."""
    odd = (2 * torch.randint(0, 2**KEY_BITS, (multiplicity,)) + 1).to(key.device)
    return (key.unsqueeze(1) * odd >> (KEY_BITS - 8)) % BANK
