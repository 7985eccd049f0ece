"""From a file's grey values to 8-bit pixels, by what the format or the file *declares* and never by a picture's own extremes:
two pictures that were acquired alike stay comparable, and no pixel of one patient depends on its brightest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError, DataError

Pixels = NDArray[np.uint8]
"""[height, width] grey or [height, width, 3] red, green, blue."""

MOST_PIXELS = 2**26
"""67 million: the largest detectors stay well below it, a decompression bomb does not."""
SQUARE = 1.01
"""Pixels whose sides differ by less than this factor count as square."""


def within_limit(path: Path, width: int, height: int) -> None:
    """Raises DataError for a picture of more than `MOST_PIXELS`; to be asked before a pixel is decoded."""
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{path.name}: the picture has {width} x {height} pixels, more than the {MOST_PIXELS:,} that are read; such a file "
            "is a decompression bomb or a whole slide: cut or shrink it first."
        )


def to_eight_bits(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Grey values -> 0 at `low` and below, 255 at `high` and above, linear between."""
    share = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(np.nan_to_num(share), 0, 1) * 255).astype(np.uint8)


def squared(pixels: Pixels, height: float, width: float) -> Pixels:
    """The picture with square pixels, where one pixel's sides (any unit) differ; the longer side is sampled finer.

    Args:
        height: distance between rows.
        width: distance between columns.
    """
    if not (height > 0 and width > 0) or max(height, width) / min(height, width) < SQUARE:
        return pixels
    from PIL import Image

    rows, columns = pixels.shape[:2]
    finest = min(height, width)
    size = (round(columns * width / finest), round(rows * height / finest))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def must_be_pixels(array: NDArray[Any]) -> Pixels:
    """Raises ConfigError unless the array is a picture, as `write` wants it."""
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or 0 in array.shape:
        raise ConfigError(
            f"a picture is a uint8 array [height, width] or [height, width, 3]. Got {array.dtype} {list(array.shape)}"
        )
    return np.ascontiguousarray(array)


def damaged(path: Path, kind: str) -> DataError:
    """The error for a file that cannot be decoded."""
    return DataError(f"{path.name}: is no {kind} file, or is damaged; export it again.")


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that cannot be opened."""
    return DataError(f"{path.name}: cannot be read ({error.strerror}); check that it is a file you may read.")


def missing_extra(package: str) -> ConfigError:
    """The error where an optional package is not installed."""
    return ConfigError(f"{package} is needed for this format: pip install 'synthgen[imaging]'")
