"""A page of synthetic pictures, a row or more for each class, and how one of each comes out of noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from generators.images.encoding import channels_last
from synthgen.errors import WorkspaceError

if TYPE_CHECKING:
    from generators.images.generator import ImageDiffusion

GAP = 2
"""Pixels between two pictures."""
FRAMES = 8
"""Pictures of a strip."""


def contact_sheet(
    generator: ImageDiffusion, rng: np.random.Generator, across: int = 12, rows: int = 2
) -> NDArray[np.uint8]:
    """[height, width, channels or none] white page: for each category of the first discrete condition `rows` rows of pictures,
    then a strip from noise to picture. Synthetic pictures only: it may leave with a release.
    """
    blocks = []
    for told in _conditions(generator, across * rows):
        pictures = [channels_last(p) for p in generator.pictures(told, rng).numpy()]
        blocks += [_row(pictures[k * across : (k + 1) * across]) for k in range(rows)]
        steps = [channels_last(p[0].numpy()) for p in generator.denoising(told[:1], rng)]
        shown = np.linspace(0, len(steps) - 1, min(FRAMES, len(steps), across)).round().astype(int)
        blocks.append(_row([steps[k] for k in shown], across))
    return np.concatenate(blocks)


def write_contact_sheet(path: Path, page: NDArray[np.uint8], zoom: int = 2) -> None:
    """A PNG, each pixel `zoom` times as large, with a text chunk that says it is synthetic."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark = PngInfo()
    mark.add_text("Description", "Synthetic pictures, drawn by a model: no patient is shown.")
    large = Image.fromarray(page).resize((page.shape[1] * zoom, page.shape[0] * zoom), Image.Resampling.NEAREST)
    try:
        large.save(path, format="PNG", pnginfo=mark)
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be written ({error.strerror})") from None


def _conditions(generator: ImageDiffusion, count: int) -> list[torch.Tensor]:
    """For each category of the first discrete condition [count, width], all else drawn evenly."""
    layout, stream = generator.layout, torch.Generator().manual_seed(0)
    found = []
    for place, numbers in layout.each_category().values():
        told = layout.any_conditions(count, stream)
        told[:, place] = numbers
        found.append(told)
    return found or [layout.any_conditions(count, stream)]


def _row(pictures: list[NDArray[np.uint8]], across: int = 0) -> NDArray[np.uint8]:
    missing = [np.full_like(pictures[0], 255)] * max(0, across - len(pictures))
    border = [(0, GAP), (0, GAP)] + [(0, 0)] * (pictures[0].ndim - 2)
    framed = [np.pad(p, border, constant_values=255) for p in [*pictures, *missing]]
    return np.concatenate(framed, axis=1)
