"""Synthetic pictures by class: a row for each category of what they depend on. No real picture is ever shown."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.formats.pixels import Pixels

ACROSS = 12
"""Pictures of a row at most."""
SIDE = 84
"""Pixels of a side on the page, about."""


def contact_sheet(cohort: Cohort, dictionary: Dictionary) -> list[tuple[str, str]]:
    """(category, picture of the row as a data: address); none for a cohort without pictures.

    Raises:
        ValueError: for real patients.
    """
    if cohort.origin != "synthetic":
        raise ValueError("a contact sheet shows synthetic pictures only")
    if cohort.images is None or "images" not in dictionary.tables:
        return []
    name = next(n for n, c in dictionary.tables["images"].columns.items() if c.type == "image")
    shown = cohort.images[cohort.images[name].map(lambda cell: isinstance(cell, np.ndarray))]
    return [(word, address(row(pictures[:ACROSS]))) for word, pictures in _classes(shown, name, cohort, dictionary)]


def row(pictures: list[Pixels]) -> Pixels:
    """Pictures side by side on white, each pixel enlarged to a whole number of pixels."""
    zoom = max(1, SIDE // pictures[0].shape[0])
    gap = np.full((pictures[0].shape[0] * zoom, 2, *pictures[0].shape[2:]), 255, dtype=np.uint8)
    parts = [part for p in pictures for part in (p.repeat(zoom, axis=0).repeat(zoom, axis=1), gap)]
    return np.concatenate(parts[:-1], axis=1)


def _classes(shown: pd.DataFrame, name: str, cohort: Cohort, dictionary: Dictionary) -> list[tuple[str, list[Pixels]]]:
    found = _class_column(dictionary)
    if found is None:
        return [("", shown[name].tolist())] if len(shown) else []
    table, key, column = found
    words = shown[key] if table == "images" else shown["patient_id"].map(cohort.patients.set_index("patient_id")[key])
    label = column.label or key.replace("_", " ")
    rows = [
        (f"{label}: {word}", shown.loc[(words == word).to_numpy(), name].tolist()) for word in column.categories or ()
    ]
    return [(word, pictures) for word, pictures in rows if pictures]


def _class_column(dictionary: Dictionary) -> tuple[str, str, Column] | None:
    """What rows are made of: a category of the picture itself, else a stage of the patient, else any category of theirs."""
    columns = [("images", n, c) for n, c in dictionary.tables["images"].columns.items() if c.discrete]
    statics = [("patients", n, c) for n, c in dictionary.static.items() if c.discrete]
    statics.sort(key=lambda found: found[2].type != "ordinal")
    return next(iter([*columns, *statics]), None)


def address(pixels: Pixels) -> str:
    """The picture as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def png(pixels: Pixels) -> bytes:
    """The picture as a PNG file that says that it is synthetic."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    mark, file = PngInfo(), io.BytesIO()
    mark.add_text("synthetic", "yes")
    Image.fromarray(pixels).save(file, "PNG", pnginfo=mark)
    return file.getvalue()
