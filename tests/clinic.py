"""A dictionary with something for every kind of claim, and one patient whose record is worked out by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary

DAY = {"type": "integer", "role": "time", "bounds": [0, 4000]}
ID = {"type": "id"}
YES = {"type": "categorical", "categories": ["no", "yes"], "missing": True}

CLINIC = Dictionary.model_validate(
    {
        "name": "clinic",
        "title": "An invented clinic",
        "disease": "wandering fever (ORPHA:0)",
        "declared_patients": 20,
        "outcome": {"time": "days", "status": "status", "censored": "alive"},
        "tasks": [{"name": "death", "event": ["dead"], "horizon_days": 900, "landmark_days": 100}],
        "tables": {
            "patients": {
                "columns": {
                    "patient_id": ID,
                    "age": {"type": "continuous", "unit": "years", "bounds": [0, 100], "decimals": 1, "missing": True},
                    "sex": {"type": "categorical", "categories": ["f", "m"], "missing": True},
                    "arm": {"type": "categorical", "label": "Randomised treatment", "categories": ["placebo", "feverine"]},
                    "days": {"type": "integer", "bounds": [0, 4000]},
                    "status": {"type": "categorical", "categories": ["alive", "transplanted", "dead"]},
                }
            },
            "visits": {
                "columns": {
                    "patient_id": ID,
                    "day": DAY,
                    "bilirubin": {"type": "continuous", "label": "Total bilirubin in serum", "unit": "mg/dL", "decimals": 1,
                                  "bounds": [0.1, 80], "reference": [0.1, 1.2], "missing": True},
                    "albumin": {"type": "continuous", "unit": "g/dL", "decimals": 2, "bounds": [0.5, 10],
                                "reference": [3.5, 5.0], "missing": True},
                    "platelets": {"type": "integer", "unit": "10*3/uL", "bounds": [5, 2000], "missing": True},
                    "prothrombin_time": {"type": "continuous", "unit": "s", "bounds": [5, 120], "missing": True},
                    "ascites": YES,
                    "spiders": YES | {"label": "Spider angiomas"},
                    "hepatomegaly": YES,
                    "edema": {"type": "ordinal", "label": "Peripheral oedema", "missing": True,
                              "categories": ["none", "no_diuretics", "despite_diuretics"]},
                    "histologic_stage": {"type": "ordinal", "label": "Histologic stage of the latest biopsy (Ludwig)",
                                         "categories": ["1", "2", "3", "4"], "missing": True},
                    "mobility": {"type": "ordinal", "categories": ["walks", "walks_with_aid", "wheelchair"], "missing": True},
                }
            },
            "events": {
                "columns": {
                    "patient_id": ID,
                    "day": DAY,
                    "code": {"type": "categorical", "role": "code", "categories": ["ursodiol", "prednisone", "biopsy"]},
                    "stop": {"type": "integer", "role": "stop", "bounds": [0, 4000], "missing": True},
                    "dose": {"type": "continuous", "role": "dose", "unit": "mg", "bounds": [1, 5000], "missing": True},
                }
            },
            "notes": {"columns": {"patient_id": ID, "day": DAY, "text": {"type": "text"}}},
        },
        "knowledge": {
            "events": {
                "biopsy": {"source": "invented", "per_year": 0.1},
                "ursodiol": {"source": "invented", "per_year": 0.5, "dose": 750},
                "prednisone": {"source": "invented", "per_year": 0.5, "dose": 10},
            }
        },
    }
)  # fmt: skip


def clinic(notes: list[tuple[int, str]], patient_id: str = "SYN-1", **patient: Any) -> Cohort:
    """A woman of 54.6 years, on ursodiol 750 mg from day 10 on, prednisone 20 mg from day 100 to 300, biopsied on day 90, who
    dies on day 800; visits on days 0, 200 and 400 (bilirubin 0.9, 2.4, 3.1). Her notes are (day, text)."""
    visits = {
        "day": [0, 200, 400],
        "bilirubin": [0.9, 2.4, 3.1],
        "albumin": [4.1, 3.35, None],
        "platelets": [210, 180, 90],
        "prothrombin_time": [10.6, 11.0, 12.5],
        "ascites": ["no", "no", "yes"],
        "spiders": ["no", "yes", None],
        "hepatomegaly": ["no", "yes", "no"],
        "edema": ["none", "none", "despite_diuretics"],
        "histologic_stage": ["2", "3", "3"],
        "mobility": ["walks", "walks", "wheelchair"],
    }
    row = {"age": 54.6, "sex": "f", "arm": "feverine", "days": 800, "status": "dead"} | patient
    tables = {
        "patients": pd.DataFrame([{"patient_id": patient_id, **row}]),
        "visits": pd.DataFrame({"patient_id": patient_id, **visits}),
        "events": pd.DataFrame(
            {
                "patient_id": patient_id,
                "day": [10, 90, 100],
                "code": ["ursodiol", "biopsy", "prednisone"],
                "stop": [None, 90, 300],
                "dose": [750.0, None, 20.0],
            }
        ),
        "notes": pd.DataFrame(
            {"patient_id": patient_id, "day": [day for day, _ in notes], "text": [text for _, text in notes]}
        ),
    }
    return Cohort.checked(tables, CLINIC, "synthetic")
