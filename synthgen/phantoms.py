"""Simulated pictures: phantoms whose lesions follow a severity, for tests and for cohorts that are simulated throughout.

A phantom is no patient's: it is drawn from the numbers in this file, which are invented. It shows an axial slice of an abdomen:
skin, fat and muscle, spine, aorta, kidneys, liver and spleen. With the stage the liver's texture coarsens, its nodules become
more, larger and brighter, and the spleen grows, as in a chronic liver disease. Everything else varies without the stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError

if TYPE_CHECKING:
    from synthgen.formats.pixels import Pixels

Floats = NDArray[np.float64]

FINENESS = 2
"""Drawn so many times finer than asked for and averaged, so that edges are soft."""
_FAT, _MUSCLE, _BONE, _BLOOD, _KIDNEY, _LIVER, _SPLEEN = 0.30, 0.50, 0.92, 0.60, 0.56, 0.58, 0.62
_WARMTH = np.array([1.0, 0.86, 0.78])
"""Tint of grey tissue in a colour phantom, red first; lesions lose green and blue beside it."""


@dataclass(frozen=True)
class _Canvas:
    """Coordinates of a picture under construction: x to the right and y downwards, both -1 to 1 at the body's reach."""

    x: Floats
    y: Floats

    def ellipse(self, x: float, y: float, width: float, height: float, turn: float = 0.0, soft: float = 0.04) -> Floats:
        """[pixels, pixels] share of each pixel inside: 1 within, 0 without, `soft` the width of the edge."""
        across, down = self.x - x, self.y - y
        u = (across * np.cos(turn) + down * np.sin(turn)) / width
        v = (down * np.cos(turn) - across * np.sin(turn)) / height
        return np.asarray(np.clip((1 - np.hypot(u, v)) * min(width, height) / soft + 0.5, 0, 1))


def phantom(stage: float, size: int, rng: np.random.Generator, channels: int = 1) -> Pixels:
    """One simulated picture, uint8 [size, size] or, with three channels, [size, size, 3].

    Args:
        stage: severity, 0 (healthy) to 1 (end stage). Nodules expected: 0.3 at 0, 6.3 at 1.
        size: side in pixels, 8 or more.
        rng: whatever varies between pictures of one stage comes from it.

    Raises:
        ConfigError: for a stage outside 0 to 1, a size below 8, or channels other than 1 and 3.
    """
    if not (0 <= stage <= 1 and size >= 8 and channels in (1, 3)):
        raise ConfigError(
            f"a phantom needs 0 <= stage <= 1, size >= 8 and 1 or 3 channels. Got {stage}, {size}, {channels}"
        )
    canvas = _canvas(size * FINENESS, rng)
    picture, liver = _anatomy(canvas, stage, rng)
    lesions = _lesions(canvas, liver, stage, rng)
    picture += lesions * (0.16 + 0.22 * stage)
    picture = _averaged(picture) + _grain(size, 0.8, rng) * 0.025
    grey = np.clip(picture * rng.normal(1, 0.03) + rng.normal(0, 0.01), 0, 1)
    if channels == 3:
        redness = 1 - _averaged(lesions)[..., None] * np.array([0.0, 0.35, 0.45])
        grey = grey[..., None] * _WARMTH * redness
    return np.rint(grey * 255).astype(np.uint8)


def _canvas(side: int, rng: np.random.Generator) -> _Canvas:
    """Bodies differ in size and place, and lie a little turned."""
    steps = (np.arange(side) + 0.5) / side * 2 - 1
    reach, turn = rng.normal(0.93, 0.03), rng.normal(0, 0.04)
    x, y = (steps[None, :] - rng.normal(0, 0.02)) / reach, (steps[:, None] - rng.normal(0, 0.02)) / reach
    return _Canvas(x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn))


def _anatomy(canvas: _Canvas, stage: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(picture without lesions, [pixels, pixels] share of liver). The liver lies to the left, as radiologists see it."""
    side = len(canvas.x)
    picture = np.zeros((side, side))
    flat, fat = rng.normal(0.78, 0.03), abs(rng.normal(0.07, 0.03)) + 0.02

    def lay(organ: Floats, brightness: float) -> None:
        picture[:] = picture * (1 - organ) + brightness * rng.normal(1, 0.03) * organ

    lay(canvas.ellipse(0, 0, 1, flat), _FAT)
    lay(canvas.ellipse(0, 0, 1 - fat, flat - fat), _MUSCLE)
    lay(canvas.ellipse(0, 0, 0.90 - fat, flat - fat - 0.1), _FAT + 0.08)
    lay(canvas.ellipse(0, 0.42 * flat / 0.78, 0.16, 0.14), _BONE)
    lay(canvas.ellipse(0, 0.46 * flat / 0.78, 0.06, 0.05), _MUSCLE)
    lay(canvas.ellipse(rng.normal(0.06, 0.015), rng.normal(0.20, 0.015), 0.07, 0.07), _BLOOD)
    for flank in (-1, 1):
        at = (flank * rng.normal(0.40, 0.03), rng.normal(0.32, 0.03))
        lay(canvas.ellipse(*at, 0.13, 0.17, flank * 0.3), _KIDNEY)
    grown = rng.normal(0.19 + 0.11 * stage, 0.02)
    lay(canvas.ellipse(0.60, 0.02, max(grown, 0.1) * 0.75, max(grown, 0.1) * 1.2, -0.2), _SPLEEN)
    lobes = canvas.ellipse(rng.normal(-0.44, 0.02), -0.06, rng.normal(0.36, 0.02), rng.normal(0.40, 0.025), 0.25)
    left_lobe = canvas.ellipse(rng.normal(-0.08, 0.03), -0.30, rng.normal(0.34, 0.03), 0.17, 0.15)
    liver = np.maximum(lobes, left_lobe)
    lay(liver, _LIVER)
    picture += _grain(side, side * 0.012, rng) * 0.02
    picture += liver * _grain(side, side * (0.012 + 0.02 * stage), rng) * (0.015 + 0.05 * stage)
    return picture, liver


def _lesions(canvas: _Canvas, liver: Floats, stage: float, rng: np.random.Generator) -> Floats:
    """[pixels, pixels] share of each pixel in a nodule; nodules lie in the liver."""
    inside = np.argwhere(liver > 0.99)
    lesions = np.zeros_like(liver)
    for _ in range(rng.poisson(0.3 + 6 * stage)):
        row, column = inside[rng.integers(len(inside))]
        radius = (0.035 + 0.05 * stage) * rng.lognormal(0, 0.25)
        x, y = canvas.x[row, column], canvas.y[row, column]
        oval = canvas.ellipse(float(x), float(y), radius, radius * rng.uniform(0.7, 1.0), rng.uniform(0, np.pi), 0.03)
        lesions = np.maximum(lesions, oval)
    return lesions * liver


def _grain(side: int, width: float, rng: np.random.Generator) -> Floats:
    """[side, side] smooth noise of standard deviation 1 whose grains are about `width` pixels wide."""
    from scipy.ndimage import gaussian_filter

    noise: Floats = gaussian_filter(rng.normal(size=(side, side)), width, mode="wrap")
    return noise / max(float(noise.std()), 1e-9)


def _averaged(fine: Floats) -> Floats:
    side = len(fine) // FINENESS
    return np.asarray(fine.reshape(side, FINENESS, side, FINENESS).mean(axis=(1, 3)))
