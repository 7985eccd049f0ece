"""NIfTI-1 and -2, one 2-D slice a file, by nibabel (extra `imaging`).

Read: stored values through scl_slope and scl_inter, then the display range of the header (cal_min, cal_max); 8-bit values
without one are taken as they are, others are refused, for nobody could say which value is white. Up is up (the axis that
points to superior, or to anterior in an axial slice), spacing is made square.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import DataError
from synthgen.formats.pixels import (
    Pixels,
    damaged,
    missing_extra,
    must_be_pixels,
    squared,
    to_eight_bits,
    unreadable,
    within_limit,
)

SUFFIXES = (".nii", ".nii.gz")
_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_DESCRIPTION = 80
"""Bytes of the header's descrip, one of which ends it."""
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, zlib.error)


def read(path: Path) -> Pixels:
    """[height, width] or [height, width, 3].

    Raises:
        DataError: when it is damaged, too large, a volume, or of more than 8 bits without a display range.
        ConfigError: when nibabel is not installed.
    """
    image = _loaded(path)
    sides = [side for side in image.shape if side != 1]
    if len(sides) != 2 or any(side != 1 for side in image.shape[3:]):
        raise DataError(f"{path.name}: holds a volume or no picture; write one 2-D slice a file.")
    within_limit(path, *sides)
    try:
        return _pixels(path, image)
    except _DAMAGE:
        raise damaged(path, "NIfTI") from None
    except OSError as error:
        raise (unreadable(path, error) if error.errno else damaged(path, "NIfTI")) from None


def write(path: Path, pixels: Pixels, mark: Mapping[str, str]) -> None:
    """The picture with its mark in descrip (cut to what fits) and, whole, in a JSON file beside it."""
    nibabel = _nibabel()
    pixels = must_be_pixels(pixels)
    # [width, height, ...]: first axis to the right, second up
    upright: NDArray[Any] = np.ascontiguousarray(pixels[::-1].swapaxes(0, 1))
    if pixels.ndim == 3:
        upright = upright.view(_COLOUR)[..., 0]
    image = nibabel.Nifti1Image(upright, np.eye(4), dtype=upright.dtype)
    said = "; ".join(["synthetic", *(f"{key}={value}" for key, value in mark.items() if key != "synthetic")])
    image.header["descrip"] = said.encode()[: _DESCRIPTION - 1]
    image.header["cal_min"], image.header["cal_max"] = 0, 255
    nibabel.save(image, path)
    sidecar(path).write_text(json.dumps(dict(mark), indent=1) + "\n")


def read_mark(path: Path) -> dict[str, str]:
    """What `write` marked the file with, `synthetic` alone where the file beside it is gone; else empty. Raises DataError."""
    said = bytes(_loaded(path).header["descrip"].item()).rstrip(b"\0")
    if not said.startswith(b"synthetic"):
        return {}
    try:
        return {str(key): str(value) for key, value in json.loads(sidecar(path).read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {"synthetic": "yes"}


def sidecar(path: Path) -> Path:
    """The JSON file beside a NIfTI file."""
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def _pixels(path: Path, image: Any) -> Pixels:
    nibabel = _nibabel()
    shape = (*image.shape, 1, 1)[:3]
    towards = nibabel.io_orientation(image.affine)  # of each stored axis: which axis of the body, in which direction
    stored = nibabel.apply_orientation(np.asarray(image.dataobj).reshape(shape), towards)
    spacing = dict(zip(towards[:, 0].astype(int), (*image.header.get_zooms(), 1.0, 1.0), strict=False))
    across, up = (axis for axis in range(3) if stored.shape[axis] != 1)
    displayed: Any = stored.reshape([side for side in stored.shape if side != 1]).T[::-1]  # to the right; upwards
    sides = float(spacing[up]), float(spacing[across])
    if displayed.dtype.names:
        colours = np.stack([displayed[name] for name in ("R", "G", "B")], axis=-1)
        return squared(np.ascontiguousarray(colours), *sides)
    return squared(to_eight_bits(displayed, *_display_range(path, image.header, displayed)), *sides)


def _display_range(path: Path, header: Any, values: NDArray[Any]) -> tuple[float, float]:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    if high > low:
        return low, high
    if values.dtype == np.uint8:
        return 0.0, 255.0
    raise DataError(
        f"{path.name}: has more than 8 bits and no display range, so that nobody can say which value is white; set cal_min and "
        "cal_max in its header to the window you choose."
    )


def _loaded(path: Path) -> Any:
    nibabel = _nibabel()
    try:
        return nibabel.load(path)
    except OSError as error:
        raise (unreadable(path, error) if error.errno else damaged(path, "NIfTI")) from None
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *_DAMAGE):
        raise damaged(path, "NIfTI") from None


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise missing_extra("nibabel") from None
    return nibabel
