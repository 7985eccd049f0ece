"""Patients -> tensors: their pictures, padded, and what is known of each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from generators.images.layout import TABLE, Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort

Records = dict[str, Tensor]
KEY_BITS = 30


def encode(cohort: Cohort, layout: Layout, most: int) -> Records:
    """Row i from patient i and the dictionary alone.

    Returns:
        images: uint8 [patients, most, channels, side, side]; the first `most` of each patient, then zeros.
        count: int64 [patients] how many are there.
        condition: float32 [patients, most, width].
        key: int64 [patients], a hash of the patient's pictures: which of the random draws of a step are this patient's
            (`draws`), wherever the patient stands.
    """
    patients = len(cohort)
    images = np.zeros((patients, most, layout.channels, layout.side, layout.side), dtype=np.uint8)
    condition = np.zeros((patients, most, layout.width), dtype=np.float32)
    count = np.zeros(patients, dtype=np.int64)
    table = cohort.tables.get(TABLE)
    if table is not None and len(table):
        vectors = layout.conditions(table, cohort.patients)
        place = cohort.ids.get_indexer(pd.Index(table["patient_id"]))
        for row, (patient, picture) in enumerate(zip(place, table[layout.picture], strict=True)):
            if isinstance(picture, np.ndarray) and count[patient] < most:
                images[patient, count[patient]] = channels_first(picture)
                condition[patient, count[patient]] = vectors[row]
                count[patient] += 1
    key = [_key(of_patient[:n]) for of_patient, n in zip(images, count, strict=True)]
    return {
        "images": torch.from_numpy(images),
        "count": torch.from_numpy(count),
        "condition": torch.from_numpy(condition),
        "key": torch.tensor(key, dtype=torch.int64),
    }


def channels_first(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[side, side] or [side, side, 3] -> [1 or 3, side, side]."""
    return picture[None] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)


def channels_last(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The way back."""
    return picture[0] if len(picture) == 1 else np.moveaxis(picture, 0, -1)


def _key(pictures: NDArray[np.uint8]) -> int:
    digest = hashlib.blake2b(np.ascontiguousarray(pictures).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - KEY_BITS)


def flat(records: Records) -> tuple[Tensor, Tensor, Tensor]:
    """Every picture that is there: uint8 [N, channels, side, side], conditions [N, width] and weights [N], 1 / the number of its
    patient's pictures."""
    there = torch.arange(records["images"].shape[1]) < records["count"].unsqueeze(1)  # [patients, most]
    weight = (1 / records["count"].clamp(min=1)).unsqueeze(1).expand_as(there)
    return records["images"][there], records["condition"][there], weight[there]
