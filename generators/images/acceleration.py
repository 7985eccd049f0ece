"""What makes the hardware fast and changes a result by rounding alone: bfloat16, the layout of a batch, compiled kernels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from generators.images.diffusion import Predictor
    from generators.images.settings import Settings

COMPILED_FROM = 5000
"""Training steps that are worth compiling for, which takes a minute or so: those of the presets `medium` and `large`."""


def precision(settings: Settings, device: str) -> AbstractContextManager[object]:
    """bfloat16 where it was asked for, or where the hardware multiplies it."""
    kind = torch.device(device).type
    fast = kind == "cuda" or torch.cpu._is_amx_tile_supported()
    if settings.precision == "bfloat16" or (settings.precision == "auto" and fast):
        return torch.autocast(kind, torch.bfloat16)
    return nullcontext()


@dataclass(frozen=True)
class Acceleration:
    """What training is given beside bfloat16. On a processor nothing: the layout gains no time there, and compiling takes
    minutes for a tenth of it.

    Args:
        channels_last: whether the channels of a pixel lie side by side, as a card's convolutions want them.
        compiler: backend of `torch.compile`; None compiles nothing.
    """

    channels_last: bool = False
    compiler: str | None = None

    @classmethod
    def of(cls, device: str) -> Acceleration:
        """Of a device. Without triton a card has no compiler."""
        if torch.device(device).type != "cuda":
            return cls()
        return cls(True, "inductor" if find_spec("triton") else None)

    def laid_out(self, model: nn.Module) -> None:
        """Moves its weights into the layout, in place."""
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def compiled(self, model: nn.Module, steps: int) -> Predictor:
        """The model, compiled where that many steps are worth it. It shares the model's weights."""
        if self.compiler is None or steps < COMPILED_FROM:
            return model
        found: Predictor = torch.compile(model, backend=self.compiler, dynamic=False)
        return found
