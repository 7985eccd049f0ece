"""MedMNIST archives (Yang et al. 2023): `train_images`, `train_labels`, `val_...`, `test_...` in one npz.

MedMNIST has no patient ids. Every picture is taken for a patient of its own, which is not so in most of its sets: a cohort read
from here is a stand-in, and what is promised per patient is promised per picture.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import DataError
from synthgen.formats.pixels import unreadable

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test")


def read(path: Path) -> dict[str, pd.DataFrame]:
    """The tables `patients` (`patient_id` such as TRAIN-00001, `split`, `label` as a word, or `label_1`, `label_2`, ... where
    pictures have several) and `images` (`patient_id`, `image` with cells uint8 [height, width] or [height, width, 3]).

    Raises:
        DataError: when it is damaged or no such archive.
    """
    import pandas as pd

    patients, images = [], []
    for split, pictures, labels in _splits(path):
        ids = [f"{split.upper()}-{i:05d}" for i in range(1, len(pictures) + 1)]
        names = ["label"] if labels.shape[1] == 1 else [f"label_{k + 1}" for k in range(labels.shape[1])]
        words = pd.DataFrame(labels.astype(str), columns=names, dtype=object)
        words.insert(0, "patient_id", ids)
        words.insert(1, "split", split)
        patients.append(words)
        images.append(pd.DataFrame({"patient_id": ids, "image": list(pictures)}))
    return {
        "patients": pd.concat(patients, ignore_index=True),
        "images": pd.concat(images, ignore_index=True),
    }


def _splits(path: Path) -> list[tuple[str, NDArray[np.uint8], NDArray[Any]]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = [split for split in SPLITS if f"{split}_images" in archive.files]
            parts = [(split, archive[f"{split}_images"], archive[f"{split}_labels"]) for split in found]
    except OSError as error:
        raise (unreadable(path, error) if error.errno else _wrong(path)) from None
    except (ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        raise _wrong(path) from None
    if not parts or any(not _fits(pictures, labels) for _, pictures, labels in parts):
        raise _wrong(path)
    return [(split, pictures, labels.reshape(len(pictures), -1)) for split, pictures, labels in parts]


def _fits(pictures: NDArray[Any], labels: NDArray[Any]) -> bool:
    shaped = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] == 3)
    return shaped and pictures.dtype == np.uint8 and labels.ndim in (1, 2) and len(pictures) == len(labels)


def _wrong(path: Path) -> DataError:
    return DataError(
        f"{path.name}: is no MedMNIST archive, or is damaged; it needs train_images (uint8 [n, height, width] or "
        "[n, height, width, 3]) and train_labels [n, 1]. 3-D sets are not read."
    )
