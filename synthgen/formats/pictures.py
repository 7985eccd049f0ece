"""PNG, JPEG and TIFF, by Pillow.

8-bit samples are taken as they are. PNG defines 16-bit samples as shares of 65535, so they are divided by 257; a TIFF of more
than 8 bits says nothing of its range (a 12-bit detector fills a sixteenth of it), so it is refused. Transparency is dropped,
a palette becomes its colours, EXIF orientation is applied; nothing else of EXIF is read or kept.
"""

from __future__ import annotations

import json
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from synthgen.errors import DataError
from synthgen.formats.pixels import Pixels, damaged, must_be_pixels, to_eight_bits, unreadable, within_limit

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_READ = ("PNG", "JPEG", "TIFF")
_GREY = ("1", "L", "LA", "La")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_BITS_PER_SAMPLE = 258
_DESCRIPTION = 270
_DAMAGE = (SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error, zlib.error)
"""What Pillow's decoders raise on a damaged file, beside OSError."""


def read(path: Path) -> Pixels:
    """[height, width] or [height, width, 3].

    Raises:
        DataError: when it is damaged, too large, of several frames, or of more than 8 bits without a declared range.
    """
    with _opened(path) as picture:
        if getattr(picture, "n_frames", 1) > 1:
            raise DataError(f"{path.name}: holds several pictures; write one picture a file.")
        if max(_tags(picture).get(_BITS_PER_SAMPLE, (8,))) > 8:
            raise _no_range(path)
        upright = ImageOps.exif_transpose(picture)
        if picture.format == "PNG" and upright.mode.startswith("I"):
            return to_eight_bits(np.asarray(upright), 0, 65535)
        if upright.mode in _GREY:
            return np.asarray(upright.convert("L"))
        if upright.mode in _COLOUR:
            return np.asarray(upright.convert("RGB"))
    raise _no_range(path)


def write(path: Path, pixels: Pixels, mark: Mapping[str, str]) -> None:
    """The picture with its mark: PNG in tEXt chunks, TIFF in ImageDescription (JSON), JPEG in its comment (JSON)."""
    picture = Image.fromarray(must_be_pixels(pixels))
    kind = path.suffix.lower()
    if kind == ".png":
        text = PngInfo()
        for key, value in mark.items():
            text.add_text(key, value)
        picture.save(path, "PNG", pnginfo=text)
    elif kind in (".tif", ".tiff"):
        tags = ImageFileDirectory_v2()
        tags[_DESCRIPTION] = json.dumps(dict(mark))
        picture.save(path, "TIFF", tiffinfo=tags)
    else:
        picture.save(path, "JPEG", quality=95, comment=json.dumps(dict(mark)).encode())


def read_mark(path: Path) -> dict[str, str]:
    """What `write` marked the file with; empty for a file of another program. Raises DataError."""
    with _opened(path) as picture:
        if picture.format == "PNG":
            return {str(key): str(value) for key, value in getattr(picture, "text", {}).items()}
        said: Any = picture.info.get("comment") if picture.format == "JPEG" else _tags(picture).get(_DESCRIPTION)
    try:
        found = json.loads(said)
    except (TypeError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture, nothing of it decoded yet; whatever goes wrong inside is said in one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit of pixels and its remarks on odd metadata
            with Image.open(path, formats=_READ) as picture:
                within_limit(path, *picture.size)
                yield picture
    except Image.DecompressionBombError:
        raise _bomb(path) from None
    except OSError as error:
        raise (unreadable(path, error) if error.errno else damaged(path, "PNG, JPEG or TIFF")) from None
    except _DAMAGE:
        raise damaged(path, "PNG, JPEG or TIFF") from None


def _bomb(path: Path) -> DataError:
    """Pillow refused to open it: far more pixels than it reads. It does not say how many."""
    return DataError(
        f"{path.name}: the picture has far more pixels than are read; such a file is a decompression bomb or a whole slide: "
        "cut or shrink it first."
    )


def _no_range(path: Path) -> DataError:
    return DataError(
        f"{path.name}: has more than 8 bits a sample and declares no grey scale, so that nobody can say which value is white; "
        "convert it to 8 bits with a window you chose, or hand in the DICOM file."
    )


def _tags(picture: Image.Image) -> Mapping[int, Any]:
    return getattr(picture, "tag_v2", {})
