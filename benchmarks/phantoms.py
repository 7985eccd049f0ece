"""Drawn chest radiographs: what a text-book says of one, without a picture of anybody.

Two dark lungs between bright soft tissue, a heart, ribs, clavicles, diaphragm; `pneumonia` adds blurred opacities in the lungs.
They stand for public images, and are what the image generator's settings were chosen on. Whoever wrote them had seen chest
radiographs, as whoever writes a prior has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

FINE = 4
"""Drawn so many times finer, then averaged."""


def phantoms(count: int, side: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 [count, side, side], and labels: 0 normal, 1 pneumonia, half each."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    return np.stack([_phantom(rng, side, bool(label)) for label in labels]), labels


def _phantom(rng: np.random.Generator, side: int, ill: bool) -> NDArray[np.uint8]:
    size = FINE * side
    y, x = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    x, y = x + rng.normal(0, 0.05), y + rng.normal(0, 0.05)
    angle = rng.normal(0, 0.05)
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    wide, tall = rng.normal(0.30, 0.03), rng.normal(0.62, 0.06)
    soft = rng.normal(0.62, 0.06)
    picture = np.full((size, size), soft) - 0.35 * (np.abs(x) > rng.normal(0.93, 0.05))  # air beside the chest
    lungs = np.zeros_like(picture)
    for sign in (-1, 1):
        middle = sign * rng.normal(0.45, 0.03)
        lean = x - middle + sign * 0.12 * y * -1
        lungs = np.maximum(lungs, _edge(1 - (lean / wide) ** 2 - ((y - rng.normal(0, 0.04)) / tall) ** 2, 0.15))
    air = rng.normal(0.38, 0.05)
    picture -= air * lungs
    heart = _edge(1 - ((x - rng.normal(0.13, 0.03)) / rng.normal(0.33, 0.04)) ** 2 - ((y - 0.35) / 0.36) ** 2, 0.3)
    picture += 0.22 * heart * lungs + 0.12 * heart
    picture += rng.normal(0.14, 0.03) * np.exp(-((x / 0.13) ** 2))  # spine
    ribs = np.cos(2 * np.pi * (y + 0.25 * np.abs(x)) / rng.normal(0.26, 0.02) + rng.uniform(0, 6))
    picture += 0.035 * ribs * lungs
    for sign in (-1, 1):
        line = y + 0.68 + 0.25 * (sign * x - 0.3) + rng.normal(0, 0.02)
        picture += 0.10 * np.exp(-((line / 0.05) ** 2)) * (sign * x > 0.05)  # clavicles
    picture += 0.25 * _edge(y - rng.normal(0.62, 0.05) - 0.1 * np.cos(3 * x), 0.15)  # diaphragm
    if ill:
        picture += _opacities(rng, x, y, size) * (0.25 + 0.75 * lungs)
    picture += gaussian_filter(rng.normal(0, 1, picture.shape), FINE) * 0.06
    picture = (picture - 0.5) * rng.normal(1.0, 0.1) + 0.5 + rng.normal(0, 0.03)
    small = zoom(gaussian_filter(picture, FINE / 2), 1 / FINE, order=1)[:side, :side]
    return (255 * np.clip(small, 0, 1)).astype(np.uint8)


def _edge(inside: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """1 inside, 0 outside, soft between."""
    soft: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(inside / width * 4, -30, 30)))
    return soft


def _opacities(
    rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    total = np.zeros_like(x) + rng.gamma(2.0, 0.03)  # haze everywhere
    for _ in range(rng.integers(1, 4)):
        middle, height = rng.choice([-1, 1]) * rng.normal(0.4, 0.12), rng.normal(0.15, 0.3)
        reach = rng.uniform(0.15, 0.4)
        total += rng.uniform(0.08, 0.28) * np.exp(-(((x - middle) / reach) ** 2) - ((y - height) / reach) ** 2)
    return gaussian_filter(total, size / 40)
