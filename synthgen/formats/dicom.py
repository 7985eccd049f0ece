"""DICOM, one picture a file, by pydicom (extra `imaging`).

Read: stored values through rescale slope and intercept (or the modality table), then the file's first window (or its VOI table;
without either, the full range that BitsStored declares), MONOCHROME1 inverted, pixel spacing made square. The header is looked
at for identifying attributes only: no attribute becomes a column.

A file whose header names a patient, or whose pixels may, is refused; so are the attributes' values in the message.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = (".dcm", ".dicom")

IDENTIFYING = (
    "PatientName", "PatientBirthDate", "PatientBirthTime", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "PatientTelecomInformation", "PatientInsurancePlanCodeSequence", "OtherPatientIDs",
    "OtherPatientNames", "OtherPatientIDsSequence", "IssuerOfPatientID", "MedicalRecordLocator", "MilitaryRank",
    "CountryOfResidence", "RegionOfResidence", "ResponsiblePerson", "ResponsibleOrganization", "PatientID", "AccessionNumber",
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "RequestingPhysician",
    "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "OperatorsName", "InstitutionName",
    "InstitutionAddress", "PersonName", "PersonAddress", "PersonTelephoneNumbers", "AdmissionID", "PatientComments",
    "AdditionalPatientHistory",
)  # fmt: skip
"""Attributes that name a patient or lead to one (of PS3.15, table E.1-1): filled, they are refused wherever they stand.
`PatientID`, and a `PatientName` that repeats it, may hold a pseudonym where PatientIdentityRemoved says YES."""

LIKELY_BURNED_IN = ("US", "SC")
"""Modalities that print names into the picture so often (PS3.15, E.3.1) that the file has to say that it has none."""

_PROCESSING_EQUIPMENT = ("109102", "DCM", "Processing Equipment")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, NotImplementedError,
           RuntimeError)  # fmt: skip
"""What pydicom raises on a damaged file, beside its own errors and OSError."""


def read(path: Path) -> Pixels:
    """[height, width] or [height, width, 3].

    Raises:
        DataError: when the file identifies a patient (attribute names, never values), is damaged, compressed in a way that is
            not installed, too large, or holds several frames.
        ConfigError: when pydicom is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on odd elements quote their values
        header = _parsed(path)
        if fault := identifies(header):
            raise DataError(f"{path.name}: {fault}")
        try:
            return _pixels(path, header)
        except _DAMAGE:
            raise damaged(path, "DICOM") from None


def identifies(header: Dataset) -> str | None:
    """Why a file may not be used: one sentence with the attributes at fault, or None."""
    found = sorted({e.keyword for e in header.iterall() if e.keyword in IDENTIFYING and not e.is_empty})
    if _said(header, "PatientIdentityRemoved") == "YES":
        pseudonym = _said(header, "PatientID")
        repeated = _said(header, "PatientName").replace("^", " ").strip() in ("", pseudonym)
        found = [name for name in found if name != "PatientID" and not (name == "PatientName" and repeated)]
    if found:
        return f"identifying attributes are filled ({', '.join(found)}); de-identify the file (PS3.15, annex E) first."
    if _said(header, "BurnedInAnnotation") == "YES":
        return "BurnedInAnnotation is YES: the pixels may name the patient; blank the text, then set it to NO."
    if _said(header, "RecognizableVisualFeatures") == "YES":
        return (
            "RecognizableVisualFeatures is YES: the patient can be recognised; deface the picture, then set it to NO."
        )
    if _said(header, "Modality") in LIKELY_BURNED_IN and _said(header, "BurnedInAnnotation") != "NO":
        return (
            f"modality {_said(header, 'Modality')} often prints names into the picture and BurnedInAnnotation does not say NO; "
            "look at it, then set it to NO."
        )
    return None


def write(path: Path, pixels: Pixels, mark: Mapping[str, str]) -> None:
    """A secondary capture with SyntheticData = YES, the mark in ContributingEquipmentSequence, and UIDs of its own.

    Args:
        mark: `generator` and `run` are named there; `patient_id`, if given, becomes PatientID and PatientName.
    """
    _, uid, Dataset, FileMetaDataset = _pydicom()
    pixels = must_be_pixels(pixels)
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = _SECONDARY_CAPTURE
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = uid.generate_uid()
    file.StudyInstanceUID, file.SeriesInstanceUID = uid.generate_uid(), uid.generate_uid()
    file.PatientID = file.PatientName = mark.get("patient_id", "SYNTHETIC")
    file.PatientBirthDate = file.PatientSex = file.StudyDate = file.StudyTime = file.StudyID = ""
    file.AccessionNumber = file.ReferringPhysicianName = file.SeriesNumber = file.InstanceNumber = ""
    file.PatientIdentityRemoved, file.DeidentificationMethod = "YES", "Synthetic: no patient"
    file.Modality, file.ConversionType = "OT", "SYN"
    file.SyntheticData, file.BurnedInAnnotation = "YES", "NO"
    file.ContributingEquipmentSequence = [_equipment(mark)]
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    file.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    data = pixels.tobytes()
    file.PixelData = data + b"\0" * (len(data) % 2)
    file.save_as(path, enforce_file_format=True)


def read_mark(path: Path) -> dict[str, str]:
    """What `write` marked the file with; `synthetic` alone where another program set SyntheticData; else empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _parsed(path)
        if _said(header, "SyntheticData") != "YES":
            return {}
        mark = {"synthetic": "yes"}
        for equipment in header.get("ContributingEquipmentSequence", []):
            if _said(equipment, "Manufacturer") == "synthgen":
                mark["generator"] = _said(equipment, "ManufacturerModelName")
                mark["run"] = _said(equipment, "DeviceSerialNumber")
        return mark


def _parsed(path: Path) -> Dataset:
    dcmread, *_ = _pydicom()
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        header: Dataset = dcmread(path)
        list(header.iterall())  # elements are decoded when asked for
    except (InvalidDicomError, BytesLengthException, *_DAMAGE):
        raise damaged(path, "DICOM") from None
    except OSError as error:
        raise (unreadable(path, error) if error.errno else damaged(path, "DICOM")) from None
    return header


def _pixels(path: Path, header: Dataset) -> Pixels:
    if "PixelData" not in header:
        raise DataError(f"{path.name}: holds no PixelData, or is cut short; export it again, or leave it out.")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise DataError(f"{path.name}: holds several frames; write one frame a file.")
    within_limit(path, int(header.Columns), int(header.Rows))
    stored = _decoded(path, header)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        return _square(header, _narrowed(apply_color_lut(stored, header)))
    if stored.ndim == 3:
        return _square(header, _narrowed(stored))
    grey = _windowed(header, stored)
    return _square(header, 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey)


def _decoded(path: Path, header: Dataset) -> NDArray[Any]:
    """Stored values; colours as RGB."""
    from pydicom.pixels import pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    try:
        return np.asarray(pixel_array(header))
    except RuntimeError:
        if not syntax.is_compressed:
            raise
        raise DataError(
            f"{path.name}: its pixels are damaged, or no decoder of {syntax.name} is installed; store it uncompressed."
        ) from None


def _windowed(header: Dataset, stored: NDArray[Any]) -> Pixels:
    """PS3.3, C.11.1 (modality) and C.11.2 (values of interest), onto 0 to 255."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, header)
    if "VOILUTSequence" in header:
        table = header.VOILUTSequence[0]
        return to_eight_bits(apply_voi(values, header), 0, 2 ** int(table.LUTDescriptor[2]) - 1)
    if header.get("WindowCenter") is None or header.get("WindowWidth") is None:
        return to_eight_bits(values, *_declared_range(header))
    centre, width = (float(np.ravel(header[k].value)[0]) for k in ("WindowCenter", "WindowWidth"))
    function = header.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return to_eight_bits(1 / (1 + np.exp(-4 * (values - centre) / width)), 0, 1)
    if function == "LINEAR":  # the standard counts a window in whole grey values, both ends included
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return to_eight_bits(values > centre, 0, 1)
    return to_eight_bits(values, centre - width / 2, centre + width / 2)


def _declared_range(header: Dataset) -> tuple[float, float]:
    """The values that BitsStored and PixelRepresentation allow, rescaled; of a modality table, what its entries allow."""
    if "ModalityLUTSequence" in header:
        return 0.0, 2.0 ** int(header.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(header.BitsStored)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    low, high = sorted(slope * end + intercept for end in ends)
    return low, high


def _narrowed(colours: NDArray[Any]) -> Pixels:
    """[height, width, 3] of 8 or 16 bits; an alpha plane is dropped."""
    return to_eight_bits(colours[..., :3], 0, np.iinfo(colours.dtype).max)


def _square(header: Dataset, pixels: Pixels) -> Pixels:
    """By the first declared of the distances in the patient, on the detector, and of the bare ratio; rows come first."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        if header.get(name):
            height, width = (float(side) for side in header[name].value)
            return squared(pixels, height, width)
    return pixels


def _equipment(mark: Mapping[str, str]) -> Dataset:
    _, _, Dataset, _ = _pydicom()
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _PROCESSING_EQUIPMENT
    made_by = Dataset()
    made_by.PurposeOfReferenceCodeSequence = [purpose]
    made_by.Manufacturer = "synthgen"
    made_by.ManufacturerModelName = mark.get("generator", "")
    made_by.DeviceSerialNumber = mark.get("run", "")
    made_by.ContributionDescription = "Synthetic image: shows no patient"
    return made_by


def _said(header: Dataset, name: str) -> str:
    value = header.get(name)
    return "" if value is None else str(value).strip()


def _pydicom() -> tuple[Any, Any, Any, Any]:
    """(dcmread, uid, Dataset, FileMetaDataset)."""
    try:
        from pydicom import dcmread, uid
        from pydicom.dataset import Dataset, FileMetaDataset
    except ImportError:
        raise missing_extra("pydicom") from None
    return dcmread, uid, Dataset, FileMetaDataset
