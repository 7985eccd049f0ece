"""Training of the denoiser on images that may be looked at: public ones, ones drawn from noisy moments, or revealed patients."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from generators.images.acceleration import Acceleration, precision
from generators.images.diffusion import TIMESTEPS, Predictor, errors, to_unit
from generators.images.network import Denoiser, weights
from generators.images.settings import Settings
from synthgen.generator import Progress
from synthgen.randomness import child_seed

State = dict[str, Tensor]
WARM_UP = 100
"""Steps over which the learning rate rises."""


@dataclass(frozen=True)
class Pictures:
    """Images to train on.

    Args:
        images: uint8 [N, C, H, W].
        conditions: [N, D].
        weight: [N] chance of being drawn, relative: 1 / the number of images of its patient, so that the patient is the unit.
    """

    images: Tensor
    conditions: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.images)


class Trainer:
    """The denoiser, its moving average and AdamW. Step k depends on the seed and k alone, so a saved state is enough to go on.

    Args:
        acceleration: None takes what suits the device.
    """

    def __init__(
        self, model: Denoiser, settings: Settings, device: str = "cpu", acceleration: Acceleration | None = None
    ) -> None:
        self.model = model.to(device).train()
        self.acceleration = acceleration or Acceleration.of(device)
        self.acceleration.laid_out(self.model)
        self.average = copy.deepcopy(model).requires_grad_(False).eval()
        self.settings, self.device, self.step = settings, device, 0
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=1e-4)

    def run(
        self, pictures: Pictures, steps: int, seed: int, progress: Progress, what: str, save: Callable[[], None] | None
    ) -> None:
        """Trains up to step `steps`; calls `save` every `checkpoint_every` steps."""
        images, conditions = pictures.images.to(self.device), pictures.conditions.to(self.device)
        forward = self.acceleration.compiled(self.model, steps - self.step)
        while self.step < steps:
            stream = torch.Generator().manual_seed(child_seed(seed, what, self.step))
            rows = torch.multinomial(pictures.weight, self.settings.size.batch_size, replacement=True, generator=stream)
            loss = self._loss(forward, to_unit(images[rows]), conditions[rows], stream)
            self._descend(loss, self._rate(steps))
            if self.step % 20 == 0 or self.step == steps:
                progress(what, self.step, steps)
            if save is not None and self.step % self.settings.checkpoint_every == 0:
                save()

    def _loss(self, forward: Predictor, images: Tensor, conditions: Tensor, stream: torch.Generator) -> Tensor:
        count = len(images)
        spread = (torch.arange(count) + torch.rand(count, generator=stream)) / count  # stratified: less variance
        noise = torch.randn(images.shape, generator=stream).to(images)
        told = torch.rand(count, 1, generator=stream) >= self.settings.condition_dropout
        with precision(self.settings, self.device):
            return errors(
                forward, images, noise, (spread * TIMESTEPS).long().to(self.device),
                conditions * told.to(conditions), self.settings.prediction,
            ).mean()  # fmt: skip

    def _descend(self, loss: Tensor, rate: float) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.update(self._optimizer, rate)

    def update(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """One step of an optimizer from the gradients that are there, and of the moving average."""
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)

    def _rate(self, steps: int) -> float:
        """Warm-up, then a half cosine down to a tenth."""
        falling = 0.55 + 0.45 * math.cos(math.pi * self.step / steps)
        return self.settings.learning_rate * min(1.0, (self.step + 1) / WARM_UP) * falling

    def state(self) -> State:
        """Everything that the next step depends on."""
        return pack(self.model, self.average, self._optimizer, self.step)

    def restore(self, state: State) -> None:
        """Goes back to a `state`. Raises RuntimeError when it is of another network."""
        self.step = unpack(state, self.model, self.average, self._optimizer)


def pack(model: Denoiser, average: Denoiser, optimizer: torch.optim.Optimizer, step: int) -> State:
    """Tensors of a network, its moving average and an optimizer, by name."""
    state = {f"model.{k}": v for k, v in weights(model).items()} | {
        f"average.{k}": v for k, v in weights(average).items()
    }
    for number, entries in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in entries.items()}
    return {k: v.cpu().clone() for k, v in state.items()} | {"step": torch.tensor(step)}


def unpack(state: State, model: Denoiser, average: Denoiser, optimizer: torch.optim.Optimizer) -> int:
    """Puts back what `pack` took; returns the step."""
    model.load_state_dict(part(state, "model."))
    average.load_state_dict(part(state, "average."))
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in part(state, "optimizer.").items():
        number, key = name.split(".")
        entries.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(state["step"])


def part(state: State, prefix: str) -> State:
    """The entries below a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
