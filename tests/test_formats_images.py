"""Pictures in and out of files: declared scales, marks, and one clear sentence for each thing that must not be read."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels import apply_windowing

from synthgen.errors import ConfigError, DataError
from synthgen.formats import dicom, medmnist, nifti
from synthgen.formats.pixels import MOST_PIXELS
from synthgen.pictures import fitted, read_mark, read_picture, read_pictures, write_picture

MARK = {"synthetic": "yes", "generator": "images", "run": "2026-01-01-abc"}
GREY = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)


def refused(path: Path, size: int = 28) -> str:
    with pytest.raises(DataError) as error:
        read_picture(path, size, 1)
    (sentence,) = error.value.breaches
    assert sentence.startswith(f"{path.name}: ")
    return sentence


def dicom_file(path: Path, stored: np.ndarray, **attributes: Any) -> Path:
    """A small uncompressed file, de-identified unless attributes say otherwise."""
    write_picture(path, np.zeros(stored.shape[:2], dtype=np.uint8), {})
    file = pydicom.dcmread(path)
    bits = stored.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    file.Modality = "MR"
    for name, value in attributes.items():
        setattr(file, name, value)
    file.PixelData = stored.tobytes()
    file["PixelData"].VR = "OB" if bits == 8 else "OW"
    file.save_as(path)
    return path


# What is written is what is read, and carries its mark -----------------------------------------------------------------------
@pytest.mark.parametrize("ending", ["png", "PNG", "tif", "tiff", "dcm", "nii", "nii.gz"])
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
def test_pictures_come_back_as_they_were_with_their_mark(tmp_path, ending, pixels):
    path = tmp_path / f"a.{ending}"
    write_picture(path, pixels, MARK)
    assert np.array_equal(read_picture(path, 28, 1 if pixels.ndim == 2 else 3), pixels)
    assert read_mark(path) == MARK


def test_jpeg_comes_back_nearly_with_its_mark(tmp_path):
    smooth = np.add.outer(np.arange(28) * 4, np.arange(28) * 4).astype(np.uint8)
    write_picture(tmp_path / "a.jpg", smooth, MARK)
    assert np.abs(read_picture(tmp_path / "a.jpg", 28, 1).astype(int) - smooth).max() <= 4
    assert read_mark(tmp_path / "a.jpg") == MARK


def test_the_mark_of_a_png_is_text_that_any_program_shows(tmp_path):
    write_picture(tmp_path / "a.png", GREY, MARK)
    assert b"tEXtsynthetic\0yes" in (tmp_path / "a.png").read_bytes()


def test_dicom_says_that_it_is_synthetic_and_has_uids_of_its_own(tmp_path):
    files = []
    for name in ("a.dcm", "b.dcm"):
        write_picture(tmp_path / name, GREY, MARK | {"patient_id": "SYN-000001"})
        files.append(pydicom.dcmread(tmp_path / name))
    first, second = files
    assert first[0x0008, 0x001C].value == "YES"
    (equipment,) = first.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (equipment.Manufacturer, equipment.ManufacturerModelName) == ("synthgen", "images")
    assert (first.PatientID, str(first.PatientName)) == ("SYN-000001", "SYN-000001")
    for uid in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        assert first[uid].value != second[uid].value
    assert read_picture(tmp_path / "a.dcm", 28, 1).shape == (28, 28)  # and is no file that reading refuses


def test_nifti_is_marked_in_its_header_and_beside_it(tmp_path):
    write_picture(tmp_path / "a.nii.gz", GREY, MARK)
    assert nibabel.load(tmp_path / "a.nii.gz").header["descrip"].item().startswith(b"synthetic; generator=images")
    assert json.loads((tmp_path / "a.json").read_text()) == MARK
    (tmp_path / "a.json").unlink()
    assert read_mark(tmp_path / "a.nii.gz") == {"synthetic": "yes"}


def test_pictures_of_other_programs_carry_no_mark(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(GREY).save(tmp_path / "a.tif")
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    nibabel.save(nibabel.Nifti1Image(GREY, np.eye(4)), tmp_path / "a.nii")
    dicom_file(tmp_path / "a.dcm", GREY, SyntheticData="NO")
    assert [read_mark(tmp_path / f"a.{e}") for e in ("png", "tif", "jpg", "nii", "dcm")] == [{}] * 5


@pytest.mark.parametrize("pixels", [GREY.astype(float), GREY[None], COLOUR[..., :2], GREY[:0]])
def test_only_pictures_are_written(tmp_path, pixels):
    with pytest.raises(ConfigError, match="a picture is a uint8 array"):
        write_picture(tmp_path / "a.png", pixels, MARK)


# Declared scales -------------------------------------------------------------------------------------------------------------
def test_sixteen_bits_of_png_are_shares_of_65535(tmp_path):
    deep = np.array([[0, 257, 65535], [32768, 128 * 257, 300]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert fitted_read(tmp_path / "a.png").tolist() == np.rint(deep / 257).astype(int).tolist()


def fitted_read(path: Path) -> np.ndarray:
    """The picture in its own size."""
    from synthgen.pictures import _format

    return _format(path).read(path)


def test_palettes_transparency_and_bilevel_become_colours_and_grey(tmp_path):
    for mode, shape in (
        ("P", (28, 28, 3)),
        ("RGBA", (28, 28, 3)),
        ("LA", (28, 28)),
        ("1", (28, 28)),
        ("CMYK", (28, 28, 3)),
    ):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        Image.fromarray(COLOUR).convert(mode).save(path)
        assert fitted_read(path).shape == shape


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    wide = Image.fromarray(np.zeros((10, 20), dtype=np.uint8))
    wide.save(tmp_path / "a.jpg", exif=exif)
    assert fitted_read(tmp_path / "a.jpg").shape == (20, 10)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_dicom_windows_agree_with_pydicom(tmp_path, function):
    stored = np.random.default_rng(2).integers(-1024, 3000, (16, 16)).astype(np.int16)
    path = dicom_file(
        tmp_path / "a.dcm", stored, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="400", WindowWidth="1500",
        VOILUTFunction=function,
    )  # fmt: skip
    values = stored * 2.0 - 100
    mapped = apply_windowing(values, pydicom.dcmread(path))  # onto the range of the rescaled stored values
    low, high = -32768 * 2 - 100, 32767 * 2 - 100
    assert np.abs(fitted_read(path) - (mapped - low) / (high - low) * 255).max() <= 0.6


def test_dicom_without_a_window_uses_the_declared_bits_and_never_its_own_extremes(tmp_path):
    stored = np.full((4, 4), 1024, dtype=np.uint16)
    path = dicom_file(tmp_path / "a.dcm", stored, BitsStored=12, HighBit=11)
    assert set(fitted_read(path).ravel()) == {round(1024 / 4095 * 255)}


def test_monochrome1_is_inverted(tmp_path):
    plain = fitted_read(dicom_file(tmp_path / "a.dcm", GREY))
    inverse = fitted_read(dicom_file(tmp_path / "b.dcm", GREY, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(plain, GREY)
    assert np.array_equal(inverse, 255 - GREY)


def test_the_first_of_several_windows_counts(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    attributes = {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": [64, 200], "WindowWidth": [128, 20]}
    read = fitted_read(dicom_file(tmp_path / "a.dcm", stored, **attributes))
    assert read.ravel()[128] == 255
    assert read.ravel()[64] == 128


def test_pixel_spacing_is_made_square(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", np.zeros((10, 10), dtype=np.uint8), PixelSpacing=[2.0, 1.0])
    assert fitted_read(path).shape == (20, 10)
    affine = np.diag([1.0, 3.0, 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.zeros((10, 10), dtype=np.uint8), affine), tmp_path / "a.nii")
    assert fitted_read(tmp_path / "a.nii").shape == (30, 10)


def test_nifti_uses_slope_and_display_range_and_shows_up_as_up(tmp_path):
    steps = np.arange(12).reshape(4, 3)  # [x to the right, y to anterior]

    def saved(name: str, steps: np.ndarray, affine: np.ndarray) -> np.ndarray:
        image = nibabel.Nifti1Image(steps * 0.1 + 0.05, affine, dtype=np.int16)  # nibabel finds slope and intercept
        image.header["cal_min"], image.header["cal_max"] = 0.05, 1.15
        nibabel.save(image, tmp_path / name)
        return fitted_read(tmp_path / name)

    read = saved("a.nii", steps, np.eye(4))
    assert nibabel.load(tmp_path / "a.nii").dataobj.slope < 0.01
    assert np.array_equal(read, np.rint(steps.T[::-1] / 11 * 255))
    assert np.array_equal(saved("b.nii", steps[::-1], np.diag([-1.0, 1, 1, 1])), read)  # stored right to left


# Size and colour -------------------------------------------------------------------------------------------------------------
def test_shrinking_is_by_area_and_keeps_the_shape():
    tall = np.zeros((8, 4), dtype=np.uint8)
    tall[:4], tall[4:, ::2] = 200, 100
    assert fitted(tall, 4, 1).tolist() == [[0, 200, 200, 0], [0, 200, 200, 0], [0, 50, 50, 0], [0, 50, 50, 0]]


def test_channels_are_as_asked_for():
    assert np.array_equal(fitted(GREY, 28, 3), np.stack([GREY] * 3, axis=-1))
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fitted(COLOUR, 28, 1) - luma).max() <= 1
    assert fitted(GREY, 40, 1).shape == (40, 40)


# What must not be read -------------------------------------------------------------------------------------------------------
def png(width: int, height: int) -> bytes:
    """A PNG whose header promises so many pixels."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(40_000, 25_000), (10_000, 9_000), (2**31 - 1, 2**31 - 1)])
def test_a_png_of_a_billion_pixels_is_a_bomb(tmp_path, width, height):
    (tmp_path / "bomb.png").write_bytes(png(width, height))
    assert "decompression bomb" in refused(tmp_path / "bomb.png")


def test_the_limit_holds_in_every_format(tmp_path):
    side = int(MOST_PIXELS**0.5) + 100
    path = dicom_file(tmp_path / "a.dcm", GREY, Rows=side, Columns=side)
    assert "decompression bomb" in refused(path)
    header = nibabel.Nifti1Header()
    header.set_data_shape((side, side))
    header.set_data_dtype(np.uint8)
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))
    assert "decompression bomb" in refused(tmp_path / "a.nii")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_sixteen_bit_tiff_says_nothing_of_its_range(tmp_path, order):
    deep = (GREY.astype(np.uint16) * 16).astype(f"{order}u2")
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "a.tif")
    assert "more than 8 bits" in refused(tmp_path / "a.tif")


def test_a_float_tiff_and_a_sixteen_bit_colour_tiff_neither(tmp_path):
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tif")
    assert "more than 8 bits" in refused(tmp_path / "a.tif")
    (tmp_path / "b.tif").write_bytes(_colour_tiff())
    assert "more than 8 bits" in refused(tmp_path / "b.tif")


def _colour_tiff() -> bytes:
    """4 x 4 pixels of three 16-bit samples."""
    entries = [(256, 4), (257, 4), (258, None), (259, 1), (262, 2), (273, None), (277, 3), (278, 4), (279, 96)]
    bits = 8 + 2 + 12 * len(entries) + 4
    at = {258: bits, 273: bits + 6}
    body = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, value in entries:
        kind, count = (3, 3) if tag == 258 else (4, 1)
        body += struct.pack("<HHII", tag, kind, count, at.get(tag, value or 0))
    return body + struct.pack("<IHHH", 0, 16, 16, 16) + bytes(96)


def test_nifti_without_a_display_range_neither(tmp_path):
    nibabel.save(nibabel.Nifti1Image(GREY.astype(np.int16), np.eye(4)), tmp_path / "a.nii")
    assert "cal_min and cal_max" in refused(tmp_path / "a.nii")


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "dcm", "nii", "nii.gz"])
def test_corrupt_files_give_one_clear_error_wherever_they_are_cut_or_changed(tmp_path, ending):
    write_picture(tmp_path / f"a.{ending}", COLOUR, MARK)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / f"b.{ending}"
    for cut in [0, 1, 10, 130, 140, *rng.integers(len(whole) // 2, size=30), len(whole) * 9 // 10]:
        path.write_bytes(whole[: int(cut)])
        refused(path)
    path.write_bytes(b"this is no picture" * 100)
    refused(path)
    for _ in range(60):  # a changed byte may leave a picture; what it may not do is raise anything else
        changed = bytearray(whole)
        changed[int(rng.integers(min(len(changed), 1500)))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            read_picture(path, 28, 1)


def test_volumes_and_stacks_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 5, 5), dtype=np.uint8), np.eye(4)), tmp_path / "a.nii")
    assert "2-D slice" in refused(tmp_path / "a.nii")
    frames = dicom_file(tmp_path / "a.dcm", GREY, NumberOfFrames="2")
    assert "several frames" in refused(frames)
    Image.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(GREY)])
    assert "several pictures" in refused(tmp_path / "a.tif")


def test_unknown_endings_and_files_without_one(tmp_path):
    (tmp_path / "a.bmp").write_bytes(b"BM")
    assert "convert it" in refused(tmp_path / "a.bmp")
    assert "cannot be read" in refused(tmp_path / "absent.png")
    dicom_file(tmp_path / "a.dcm", GREY).rename(tmp_path / "IM0001")
    assert np.array_equal(read_picture(tmp_path / "IM0001", 28, 1), GREY)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"PatientName": "Doe^Jane"}, "PatientName"),
        ({"PatientBirthDate": "19701231"}, "PatientBirthDate"),
        ({"AccessionNumber": "A4711"}, "AccessionNumber"),
        ({"PatientID": "4711", "PatientName": "4711", "PatientIdentityRemoved": "NO"}, "PatientID, PatientName"),
        ({"InstitutionName": "Mercy"}, "InstitutionName"),
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation"),
        ({"RecognizableVisualFeatures": "YES"}, "RecognizableVisualFeatures"),
        ({"Modality": "US", "BurnedInAnnotation": None}, "BurnedInAnnotation"),
    ],
)
def test_files_that_may_name_a_patient_are_refused_without_saying_the_name(tmp_path, attributes, named):
    sentence = refused(dicom_file(tmp_path / "a.dcm", GREY, **attributes))
    assert named in sentence
    assert not any(str(v) in sentence for v in attributes.values() if v and v not in ("YES", "NO", "US"))


def test_identifying_attributes_are_found_inside_sequences(tmp_path):
    inner = pydicom.Dataset()
    inner.PatientBirthDate = "19701231"
    path = dicom_file(tmp_path / "a.dcm", GREY, RequestAttributesSequence=[inner])
    assert "PatientBirthDate" in refused(path)


def test_pseudonyms_of_deidentified_files_are_let_through(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", GREY, PatientID="P-17", PatientName="P-17", PatientIdentityRemoved="YES")
    assert np.array_equal(read_picture(path, 28, 1), GREY)
    assert dicom.identifies(pydicom.dcmread(path)) is None


# An index of pictures --------------------------------------------------------------------------------------------------------
def test_an_index_gives_every_fault_of_every_file_at_once_and_no_file_name(tmp_path):
    folder = tmp_path / "cohort"
    folder.mkdir()
    write_picture(folder / "good.png", GREY, MARK)
    write_picture(tmp_path / "outside.png", GREY, MARK)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    for name in ("doe_jane.dcm", "roe_richard.dcm"):
        dicom_file(folder / name, GREY, PatientName="Doe^Jane")
    (folder / "broken.dcm").write_bytes(b"no")
    cells = ["good.png", "../outside.png", "link.png", str(tmp_path / "outside.png"), None, "doe_jane.dcm", "roe_richard.dcm",
             "broken.dcm", "gone.png"]  # fmt: skip
    pictures, faults = read_pictures(folder, cells, 14, 1)
    assert [p is not None for p in pictures] == [True] + [False] * 8
    assert pictures[0] is not None
    assert pictures[0].shape == (14, 14)
    assert [f.split(" of the index: ")[0] for f in faults] == ["rows 2, 3, 4 and 9", "rows 6 and 7", "row 8"]
    assert "inside the cohort's folder" in faults[0]
    assert "PatientName" in faults[1]
    assert not any(word in " ".join(faults).lower() for word in ("jane", "roe", "outside.png"))


# MedMNIST --------------------------------------------------------------------------------------------------------------------
def archive(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_medmnist_gives_each_picture_a_patient(tmp_path):
    pictures, labels = (
        np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28),
        np.array([[0], [1], [1]], dtype=np.uint8),
    )
    path = archive(
        tmp_path / "a.npz", test_images=pictures[:1], test_labels=labels[:1], train_images=pictures, train_labels=labels
    )
    tables = medmnist.read(path)
    assert tables["patients"].to_numpy().tolist() == [
        ["TRAIN-00001", "train", "0"], ["TRAIN-00002", "train", "1"], ["TRAIN-00003", "train", "1"], ["TEST-00001", "test", "0"],
    ]  # fmt: skip
    assert np.array_equal(tables["images"]["image"][1], pictures[1])
    assert list(tables["images"]["patient_id"]) == list(tables["patients"]["patient_id"])


def test_medmnist_with_several_labels(tmp_path):
    path = archive(tmp_path / "a.npz", train_images=COLOUR[None], train_labels=np.array([[0, 1]]))
    assert list(medmnist.read(path)["patients"].columns) == ["patient_id", "split", "label_1", "label_2"]


def test_what_is_no_medmnist_archive(tmp_path):
    pickled = io.BytesIO()
    np.savez(pickled, train_images=np.array([object()], dtype=object), train_labels=np.zeros((1, 1)))
    paths = [
        archive(tmp_path / "a.npz", x=np.zeros(3)),
        archive(tmp_path / "b.npz", train_images=GREY[None]),
        archive(tmp_path / "c.npz", train_images=GREY[None].astype(float), train_labels=np.zeros((1, 1))),
        archive(tmp_path / "d.npz", train_images=np.zeros((1, 4, 4, 4, 4), np.uint8), train_labels=np.zeros((1, 1))),
    ]
    for name, content in (("e.npz", b"PK no zip"), ("f.npz", pickled.getvalue())):
        (tmp_path / name).write_bytes(content)
        paths.append(tmp_path / name)
    for path in paths:
        with pytest.raises(DataError, match="is no MedMNIST archive"):
            medmnist.read(path)


def test_formats_say_when_their_package_is_missing(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.dcm", GREY, MARK)
    write_picture(tmp_path / "a.nii", GREY, MARK)
    for name in ("pydicom", "nibabel"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    for read, path in ((dicom.read, tmp_path / "a.dcm"), (nifti.read, tmp_path / "a.nii")):
        with pytest.raises(ConfigError, match=r"synthgen\[imaging\]"):
            read(path)
