"""Pictures of a cohort: files of any format in, arrays of the declared size out, and back.

Resizing is public: the whole picture is fitted into a square, its shape kept and the rest black; by area where it shrinks, by
Lanczos' filter where it grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthgen.errors import DataError
from synthgen.formats import dicom, nifti, pictures

if TYPE_CHECKING:
    from types import ModuleType

    from synthgen.formats.pixels import Pixels

_FORMATS: dict[str, ModuleType] = {suffix: module for module in (pictures, dicom, nifti) for suffix in module.SUFFIXES}
SUFFIXES = tuple(_FORMATS)
"""Endings that are read and written."""


def read_picture(path: Path, size: int, channels: int) -> Pixels:
    """A picture file -> uint8 [size, size] (one channel) or [size, size, 3].

    Raises:
        DataError: one sentence that names the file and the fix, for what cannot or must not be read.
        ConfigError: when the format's package is not installed.
    """
    return fitted(_format(path).read(path), size, channels)


def read_pictures(
    folder: Path, cells: Sequence[Any], size: int, channels: int
) -> tuple[list[Pixels | None], list[str]]:
    """The pictures that an index names, and every fault of every file at once.

    Args:
        folder: the cohort's; paths that lead out of it are faults.
        cells: relative paths, one a row of the index; what is no text (a missing cell) gives None.

    Returns:
        a picture for each cell, None at fault; sentences by row of the index (from 1, its header not counted), because a file's
        name may be a patient's.
    """
    root = folder.resolve()
    found: list[Pixels | None] = [None] * len(cells)
    faults: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            continue
        path = (root / cell).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            faults.setdefault("no such file inside the cohort's folder; write paths relative to it.", []).append(row)
            continue
        try:
            found[row] = read_picture(path, size, channels)
        except DataError as error:
            faults.setdefault(error.breaches[0].removeprefix(f"{path.name}: "), []).append(row)
    return found, [f"{_rows(rows)}: {fault}" for fault, rows in faults.items()]


def write_picture(path: Path, pixels: Pixels, mark: Mapping[str, str]) -> None:
    """A synthetic picture in the format of its ending, with its mark (`synthetic`, `generator`, `run`) inside the file.

    Raises:
        ConfigError: when it is no picture, or the format's package is not installed.
    """
    _format(path).write(path, pixels, mark)


def read_mark(path: Path) -> dict[str, str]:
    """What `write_picture` marked a file with; empty for a file of another program. Raises DataError."""
    mark: dict[str, str] = _format(path).read_mark(path)
    return mark


def fitted(pixels: Pixels, size: int, channels: int) -> Pixels:
    """[height, width] or [height, width, 3] -> [size, size] or [size, size, 3], as the module says. Grey: luma of BT.601."""
    from PIL import Image

    picture = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    scale = size / max(picture.size)
    if scale != 1:
        inner = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(inner, Image.Resampling.BOX if scale < 1 else Image.Resampling.LANCZOS)
    if picture.size != (size, size):
        square = Image.new(picture.mode, (size, size))
        square.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
        picture = square
    return np.asarray(picture)


def _format(path: Path) -> ModuleType:
    name = path.name.lower()
    suffix = next((ending for ending in sorted(_FORMATS, key=len, reverse=True) if name.endswith(ending)), None)
    if suffix is None and _is_dicom(path):  # archives store DICOM without an ending
        return dicom
    if suffix is None:
        raise DataError(f"{path.name}: pictures end in {', '.join(SUFFIXES)}; convert it, or rename it.")
    return _FORMATS[suffix]


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _rows(rows: Iterable[int]) -> str:
    numbers = [str(row + 1) for row in rows]
    if len(numbers) == 1:
        return f"row {numbers[0]} of the index"
    return f"rows {', '.join(numbers[:-1])} and {numbers[-1]} of the index"
