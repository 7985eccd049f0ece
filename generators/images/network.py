"""The denoising network: a U-Net that is told the timestep and a condition."""

from __future__ import annotations

from typing import Any

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.nn import functional

from generators.images.settings import Size

GROUPS, LEAST = (8, 4, 2), 4
"""How many groups of channels are normalised together, the first that leaves so many in each: alone, a channel would lose its
brightness."""


class Denoiser(nn.Module):
    """(noisy images [B, C, H, W], timesteps [B], conditions [B, D]) -> [B, C, H, W] in the units of the prediction type.

    A condition of zeros stands for "not told": the layout's vectors hold a number that is 1 when it is.

    Args:
        channels: 1 for grey, 3 for RGB.
        side: of the images, in pixels.
        conditions: D.
    """

    def __init__(self, channels: int, side: int, conditions: int, size: Size) -> None:
        super().__init__()
        widths = size.channels
        multiple = size.patch * 2 ** (len(widths) - 1)
        self.side, self.patch, self.padded = side, size.patch, -(-side // multiple) * multiple
        unet: Any = UNet2DModel(
            sample_size=self.padded // size.patch,
            in_channels=channels * size.patch**2,
            out_channels=channels * size.patch**2,
            layers_per_block=size.layers,
            block_out_channels=widths,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            attention_head_dim=8,
            norm_num_groups=next(g for g in GROUPS if g * LEAST <= widths[0]),
            class_embed_type="identity",
        )
        self.unet: nn.Module = unet
        for module in self.unet.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())  # vmap falls back to a slow loop for the fused kernel
        embedding = 4 * widths[0]
        self.condition = nn.Sequential(nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

    def forward(self, noisy: Tensor, timesteps: Tensor, conditions: Tensor) -> Tensor:
        pad = self.padded - self.side  # halving the side must come out even
        before, after = pad // 2, pad - pad // 2
        x = functional.pixel_unshuffle(functional.pad(noisy, (before, after, before, after)), self.patch)
        out = self.unet(x, timesteps, class_labels=self.condition(conditions), return_dict=False)[0]
        out = functional.pixel_shuffle(out, self.patch)
        return out[..., before : before + self.side, before : before + self.side]

    def choose(self, trainable: str) -> None:
        """Lets DP-SGD move `all` weights, those of `conditioning`, `norms` and biases, or the `head`."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(trainable == "all" or _belongs(name, parameter, trainable))


def _belongs(name: str, parameter: Tensor, trainable: str) -> bool:
    if trainable == "conditioning":
        return name.startswith("condition.") or "time_emb_proj" in name
    if trainable == "head":
        return name.startswith(("unet.conv_norm_out", "unet.conv_out"))
    return parameter.dim() == 1  # norms


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Its parameters and buffers, by name, detached and contiguous."""
    return {name: v.detach().contiguous() for name, v in model.state_dict().items()}


def parameters(model: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
