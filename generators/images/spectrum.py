"""Pictures as cosine coefficients: a public basis in which neighbouring pixels are nearly independent (Ahmed et al. 1974)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import dctn, idctn
from torch import Tensor

BAND = 32
"""Frequencies from here up, in either direction, are not learnt from moments."""
EDGES = (0, 1, 2, 3, 5, 8, 13, 20, BAND)
"""Where blocks of frequencies of one scale begin."""
CONTRAST = 0.5
"""Public guess of the standard deviation of a picture's pixels, which lie in -1..1."""


class Spectrum:
    """Coefficients of pictures of one size, lowest frequency first.

    Args:
        channels, side: of the pictures.
    """

    def __init__(self, channels: int, side: int) -> None:
        self.channels, self.side, self.band = channels, side, min(side, BAND)
        u, v = np.meshgrid(np.arange(self.band), np.arange(self.band), indexing="ij")
        order = np.argsort((u**2 + v**2).ravel(), kind="stable")
        self._u, self._v = u.ravel()[order], v.ravel()[order]
        radius = np.sqrt(self._u**2 + self._v**2)
        falling = 1 / (1 + radius)  # amplitude over frequency in natural images (Field 1987)
        scale = falling * CONTRAST * side / np.sqrt((falling**2).sum())
        self.scale = torch.from_numpy(np.repeat(scale, channels)).float()  # [numbers]
        edges = np.array(EDGES)
        blocks = np.searchsorted(edges, self._u, "right") * len(edges) + np.searchsorted(edges, self._v, "right")
        of_channel = np.repeat(blocks, channels) * channels + np.tile(np.arange(channels), len(blocks))
        self.block = torch.from_numpy(np.unique(of_channel, return_inverse=True)[1].astype(np.int64))  # [numbers]
        self.blocks = int(self.block.max()) + 1

    @property
    def numbers(self) -> int:
        """Coefficients of a picture: all up to BAND, of every channel."""
        return len(self.scale)

    def coefficients(self, images: Tensor) -> Tensor:
        """[N, channels, side, side] in -1..1 -> [N, numbers]."""
        found = dctn(images.numpy(), axes=(2, 3), norm="ortho")[:, :, self._u, self._v]  # [N, channels, band^2]
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(found, 1, 2)).reshape(len(images), -1)).float()

    def images(self, coefficients: Tensor, base: Tensor | None = None) -> Tensor:
        """The way back; frequencies from BAND up are those of `base` [N, channels, side, side], or nothing."""
        shape = (len(coefficients), self.channels, self.side, self.side)
        full = np.zeros(shape) if base is None else dctn(base.numpy(), axes=(2, 3), norm="ortho")
        found = coefficients.numpy().reshape(len(coefficients), -1, self.channels)
        full[:, :, self._u, self._v] = np.moveaxis(found, 2, 1)
        return torch.from_numpy(idctn(full, axes=(2, 3), norm="ortho")).float()

    def block_means(self, values: Tensor) -> Tensor:
        """[N, numbers] -> [N, blocks] mean over each block of frequencies."""
        total = values.new_zeros(len(values), self.blocks).index_add_(1, self.block, values)
        return total / torch.bincount(self.block, minlength=self.blocks).to(values)
