"""Numbers for pictures: public descriptors, and the features of the domain, learnt on the training patients.

The descriptor of a picture is fixed beforehand: its pixels, shrunk, and histograms of oriented gradients (Dalal & Triggs 2005).
Domain features are the first principal components of the training pictures' descriptors. What is learnt here reads real
patients, outside epsilon, and stays inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.pictures import fitted

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

SIDE = 32
"""Pictures are looked at with at most so many pixels a side."""
CELL = 4
"""Side of a cell of gradients, in pixels."""
DIRECTIONS = 8
FLAT = 20.0
"""Gradients of a cell (grey values of 255, summed) below which it counts as flat rather than as an edge."""
COMPONENTS = 32


def shrunk(pixels: Bytes, side: int = SIDE) -> Bytes:
    """[n, height, width(, 3)] -> [n, s, s(, 3)], s at most `side`; by area."""
    if max(pixels.shape[1:3]) <= side:
        return pixels
    return np.stack([fitted(picture, side, 1 if pixels.ndim == 3 else 3) for picture in pixels])


def luma(pixels: Bytes) -> Floats:
    """[n, height, width(, 3)] -> [n, height, width] brightness, 0 to 255 (ITU-R BT.601)."""
    if pixels.ndim == 3:
        return pixels.astype(np.float64)
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114]))


def descriptors(pixels: Bytes) -> tuple[Floats, Floats]:
    """[n, pixels] 0 to 1, and [n, cells * directions] of unit length in each cell with an edge."""
    small = shrunk(pixels)
    return small.reshape(len(small), -1) / 255.0, oriented_gradients(luma(small))


def oriented_gradients(grey: Floats) -> Floats:
    """[n, height, width] -> [n, cells * DIRECTIONS]: of each cell, how much of its gradient points in each direction."""
    down, across = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(down, across)
    angle = np.arctan2(down, across) % np.pi / np.pi * DIRECTIONS
    n, rows, columns = len(grey), grey.shape[1] // CELL, grey.shape[2] // CELL
    cells = np.empty((n, rows, columns, DIRECTIONS))
    for k in range(DIRECTIONS):
        off = np.abs(angle - k)
        share = strength * np.clip(1 - np.minimum(off, DIRECTIONS - off), 0, 1)
        inner = share[:, : rows * CELL, : columns * CELL].reshape(n, rows, CELL, columns, CELL)
        cells[..., k] = inner.sum(axis=(2, 4))
    cells /= np.linalg.norm(cells, axis=-1, keepdims=True) + FLAT
    return cells.reshape(n, -1)


@dataclass(frozen=True)
class Domain:
    """Principal components of descriptors. Pixels and gradients weigh the same; features are scaled so that the pictures it was
    learnt from have a total variance of 1."""

    centres: tuple[Floats, Floats]
    spreads: tuple[Floats, Floats]
    axes: Floats
    """[descriptor, components]"""

    @classmethod
    def learnt(cls, pixels: Bytes, components: int = COMPONENTS) -> Domain:
        """From pictures, usually the training patients'; at most a component for every four of them."""
        blocks = descriptors(pixels)
        centres = tuple(b.mean(axis=0) for b in blocks)
        spreads = tuple(np.maximum(b.std(axis=0), 0.05 * b.std() + 1e-9) * np.sqrt(b.shape[1]) for b in blocks)
        scaled = np.concatenate([(b - c) / s for b, c, s in zip(blocks, centres, spreads, strict=True)], axis=1)
        _, weights, axes = np.linalg.svd(scaled, full_matrices=False)
        kept = max(2, min(components, len(pixels) // 4))
        total = np.sqrt((weights[:kept] ** 2).sum() / len(pixels))
        return cls((centres[0], centres[1]), (spreads[0], spreads[1]), axes[:kept].T / max(float(total), 1e-12))

    def of(self, pixels: Bytes) -> Floats:
        """[n, components]."""
        parts = zip(descriptors(pixels), self.centres, self.spreads, strict=True)
        return np.asarray(np.concatenate([(b - c) / s for b, c, s in parts], axis=1) @ self.axes)
