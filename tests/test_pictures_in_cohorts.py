"""A cell of an image column is the picture itself; in a folder it is a path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from synthgen.cohort import Cohort, concatenate
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError, DataError
from synthgen.floor import independent
from synthgen.pictures import read_mark
from synthgen.storage import fingerprint, read_cohort, read_synthetic, write_cohort


def dictionary(**image: object) -> Dictionary:
    return Dictionary.model_validate(
        {
            "name": "pictures",
            "title": "Simulated pictures",
            "declared_patients": 4,
            "tables": {
                "patients": {
                    "columns": {"patient_id": {"type": "id"}, "sex": {"type": "categorical", "categories": ["f", "m"]}}
                },
                "images": {
                    "columns": {
                        "patient_id": {"type": "id"},
                        "image": {"type": "image", "size": 16, "source": "file", "missing": True} | image,
                    }
                },
            },
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three patients; the first has two pictures of unequal size, the last has a row without one."""
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("one", (16, 16)), ("two", (40, 30)), ("three", (16, 16))):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / "scans" / f"{name}.png")
    (tmp_path / "patients.csv").write_text("patient_id,sex\nP1,f\nP2,m\nP3,f\n")
    (tmp_path / "images.csv").write_text(
        "patient_id,file\nP1,scans/one.png\nP1,scans/two.png\nP2,scans/three.png\nP3,\n"
    )
    return tmp_path


def test_pictures_are_read_at_the_declared_size(folder: Path):
    cohort = read_cohort(folder, dictionary())
    assert cohort.images is not None
    cells = cohort.images["image"].tolist()
    assert [c.shape if c is not None else None for c in cells] == [(16, 16)] * 3 + [None]
    assert np.array_equal(cells[0], np.asarray(Image.open(folder / "scans" / "one.png")))
    colour = read_cohort(folder, dictionary(channels=3)).images
    assert colour is not None
    assert colour["image"][0].shape == (16, 16, 3)


def test_what_is_written_is_read_again_and_carries_its_mark(folder: Path, tmp_path: Path):
    real = read_cohort(folder, dictionary())
    patients = real.patients.assign(patient_id=["SYN-1", "SYN-2", "SYN-3"])
    assert real.images is not None
    images = real.images.assign(patient_id=["SYN-1", "SYN-1", "SYN-2", "SYN-3"])
    synthetic = Cohort(patients=patients, images=images, origin="synthetic")
    out = tmp_path / "out"
    write_cohort(synthetic, out)
    assert sorted(p.name for p in (out / "synthetic_images").iterdir()) == ["SYN-1-1.png", "SYN-1-2.png", "SYN-2-1.png"]
    assert read_mark(out / "synthetic_images" / "SYN-1-1.png")["synthetic"] == "yes"
    assert fingerprint(read_synthetic(out, dictionary())) == fingerprint(synthetic)
    assert not [p for p in out.rglob("*") if "partial" in p.name]


def test_a_table_that_is_left_out_leaves_its_file_alone(folder: Path):
    cohort = read_cohort(folder, dictionary().without(["images"]))
    assert list(cohort.tables) == ["patients"]
    with pytest.raises(DataError, match=r"does not declare images\.csv"):
        read_cohort(folder, dictionary().without(["images"]).model_copy(update={"ignore": ()}))


def test_one_pixel_changes_the_fingerprint(folder: Path):
    before = fingerprint(read_cohort(folder, dictionary()))
    pixels = np.asarray(Image.open(folder / "scans" / "three.png")).copy()
    pixels[3, 4] ^= 1
    Image.fromarray(pixels).save(folder / "scans" / "three.png")
    assert fingerprint(read_cohort(folder, dictionary())) != before


def test_cohorts_with_pictures_are_taken_apart_and_put_together(folder: Path):
    cohort = read_cohort(folder, dictionary())
    parts = [cohort.of([i]) for i in cohort.ids]
    assert fingerprint(concatenate(parts)) == fingerprint(cohort)
    floor = independent(cohort, dictionary(), np.random.default_rng(0)).images
    assert floor is not None
    assert sum(cell is not None for cell in floor["image"]) == 3


def test_every_faulty_picture_is_told_by_row_and_no_name_is_said(folder: Path):
    (folder / "scans" / "three.png").write_bytes(b"no picture")
    (folder / "images.csv").write_text(
        "patient_id,file\nP1,scans/one.png\nP1,../secret.png\nP2,scans/three.png\nP3,scans/absent.png\n"
    )
    with pytest.raises(DataError) as error:
        read_cohort(folder, dictionary())
    text = str(error.value)
    assert "images.image (file in the file): rows 2 and 4 of the index: no such file inside the cohort's folder" in text
    assert "row 3 of the index" in text
    assert "three" not in text
    assert "absent" not in text


def test_an_array_of_another_shape_is_a_breach():
    tables = {
        "patients": pd.DataFrame({"patient_id": ["a", "b"], "sex": ["f", "m"]}),
        "images": pd.DataFrame({"patient_id": ["a"], "image": [np.zeros((8, 8), dtype=np.uint8)]}),
    }
    with pytest.raises(DataError, match="hold no picture of 16 x 16 bytes"):
        Cohort.checked(tables, dictionary(), "real")


@pytest.mark.parametrize("image", [{"size": None}, {"type": "text"}, {"size": 4}])
def test_a_column_says_what_its_pictures_are(image: dict[str, object]):
    from synthgen.dictionary import parse

    content = dictionary().model_dump(mode="json")
    content["tables"]["images"]["columns"]["image"] |= image
    with pytest.raises(ConfigError):
        parse(Dictionary, content, "cohort.yaml")
