"""`configs/rules/every-kind.yaml`: each kind of rule binds, is broken by a patient made to break it, and by nobody else."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from synthgen.dictionary import Dictionary, parse
from synthgen.rule_packs import bind, read_pack
from synthgen.rules import broken
from synthgen.screening.clinical import rule_flags

CODES = ["metformin", "haemodialysis", "prostatectomy", "methotrexate", "transplantation", "rejection", "death"]
KEPT: dict[str, Any] = {
    "age": 52.0, "sex": "f", "onset": 40.0, "diagnosis": 41.0,
    "albumin": [38.0, 36.0], "hb": [13.0, 12.5], "hct": [39.0, 38.0], "rate": [70.0, 80.0], "crea": [90.0, 110.0],
    "ascites": ["no", "yes"], "m": ["M0", "M1"], "day": [0, 30],
    "events": [(5, "methotrexate", 15.0), (10, "transplantation", None), (20, "rejection", None), (30, "death", None)],
}  # fmt: skip
BREAKS: dict[str, dict[str, Any]] = {
    "never_value": {"albumin": [72.0, 36.0]},
    "range_by_sex": {"hb": [13.0, 23.0], "hct": [39.0, 70.0]},
    "range_by_age": {"rate": [70.0, 260.0]},
    "onset_before_diagnosis": {"onset": 45.0},
    "stage_does_not_regress": {"m": ["M1", "M0"]},
    "implication": {"albumin": [38.0, 52.0]},
    "measurements_agree": {"hct": [39.0, 12.0]},
    "limit_of_change": {"crea": [90.0, 9100.0]},
    "recorded_together": {"hb": [None, 12.5]},
    "limit_of_dose": {"events": [(5, "methotrexate", 15000.0)]},
    "drug_against_condition": {"events": [(5, "haemodialysis", None), (9, "metformin", 500.0)]},
    "sex_against_condition": {"events": [(5, "prostatectomy", 1.0)]},
    "order_of_events": {"events": [(5, "rejection", 1.0), (9, "transplantation", None)]},
    "nothing_after_death": {"events": [(5, "death", None), (9, "methotrexate", 15.0)]},
}


def about() -> Dictionary:
    def number(unit: str, code: str, high: float, **more: Any) -> dict[str, Any]:
        return {"type": "continuous", "unit": unit, "code": code, "bounds": [0, high], "missing": True, **more}

    def words(code: str, *categories: str) -> dict[str, Any]:
        return {"type": "categorical", "code": code, "categories": list(categories)}

    day = {"type": "integer", "bounds": [0, 4000]}
    patients = {
        "patient_id": {"type": "id"},
        "age": number("years", "LOINC:30525-0", 120, role="static"),
        "sex": words("LOINC:46098-0", "f", "m"),
        "onset": number("years", "SNOMED:445518008", 120, role="static"),
        "diagnosis": number("years", "SNOMED:423493009", 120, role="static"),
    }
    visits = {
        "patient_id": {"type": "id"}, "day": day, "albumin": number("g/L", "LOINC:1751-7", 100),
        "hb": number("g/dL", "LOINC:718-7", 40), "hct": number("%", "LOINC:4544-3", 100),
        "rate": number("/min", "LOINC:8867-4", 400), "crea": number("umol/L", "LOINC:14682-9", 20000),
        "ascites": words("HP:0001541", "no", "yes"), "m": words("LOINC:21907-1", "M0", "M1"),
    }  # fmt: skip
    events = {
        "patient_id": {"type": "id"}, "day": day, "code": {"type": "categorical", "role": "code", "categories": CODES},
        "dose": {"type": "continuous", "role": "dose", "unit": "mg", "bounds": [0, 20000], "missing": True},
    }  # fmt: skip
    tables = {"patients": patients, "visits": visits, "events": events}
    content = {
        "name": "k",
        "title": "K",
        "declared_patients": 9,
        "tables": {t: {"columns": c} for t, c in tables.items()},
    }
    return parse(Dictionary, content, "k")


def tables(**change: Any) -> dict[str, pd.DataFrame]:
    """Two patients: one who keeps to every rule, and one who is changed."""
    frames: dict[str, list[pd.DataFrame]] = {"patients": [], "visits": [], "events": []}
    for patient, one in (("KEEPS", KEPT), ("BREAKS", KEPT | change)):
        static = {k: one[k] for k in ("age", "sex", "onset", "diagnosis")}
        visits = {k: one[k] for k in ("day", "albumin", "hb", "hct", "rate", "crea", "ascites", "m")}
        events = pd.DataFrame(one["events"], columns=["day", "code", "dose"])
        for name, frame in (("patients", pd.DataFrame([static])), ("visits", pd.DataFrame(visits)), ("events", events)):
            numbers = {c: "float64" for c in ("dose", "hb") if c in frame}
            frames[name].append(frame.astype(numbers).assign(patient_id=patient))
    return {name: pd.concat(parts, ignore_index=True) for name, parts in frames.items()}


def test_every_rule_of_the_pack_is_tried_here_and_binds() -> None:
    bound = bind(read_pack("every-kind"), about())
    assert {b.name for b in bound if b.rule is not None} == set(BREAKS)


@pytest.mark.parametrize("kind", BREAKS)
def test_the_patient_made_to_break_it_breaks_it_alone(kind: str) -> None:
    dictionary = about()
    rules = [b.rule for b in bind(read_pack("every-kind"), dictionary) if b.rule is not None]
    made = tables(**BREAKS[kind])
    found = {}
    for rule in rules:
        rows = broken(rule, made, dictionary)
        assert rows is not None
        found[rule.name.split("/")[1]] = set(rows.loc[rows["broken"], "patient_id"])
    assert found[kind] == {"BREAKS"}
    assert {name for name, who in found.items() if who} == {kind}


@pytest.mark.parametrize("kind", BREAKS)
def test_its_flag_says_why_in_the_packs_words(kind: str) -> None:
    dictionary = about()
    rules = tuple(b.rule for b in bind(read_pack("every-kind"), dictionary) if b.rule is not None)
    [flag] = rule_flags(tables(**BREAKS[kind]), dictionary.model_copy(update={"rules": rules}))
    [rule] = [r for r in rules if r.name.endswith(f"/{kind}")]
    assert flag.patient_id == "BREAKS"
    assert flag.text.startswith(rule.text)
    assert not flag.reads_real_data
