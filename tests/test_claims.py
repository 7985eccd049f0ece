"""What is read from a clinical sentence, and what a record worked out by hand says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clinic import CLINIC, clinic
from cohorts import events_only, no_outcome, two_labs

from synthgen.dictionary import read_dictionary
from synthgen.notes import units
from synthgen.notes.claims import Claim, ClaimExtractor
from synthgen.notes.rendering import rendered
from synthgen.notes.support import check_notes
from synthgen.simulation import simulate

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
EXTRACTOR = ClaimExtractor(CLINIC)


def read(text: str) -> list[tuple[str, str, object, bool, str]]:
    """(kind, column or code, value, denied, when) of each claim."""
    return [(c.kind, c.code or c.column, c.value, c.negated, c.when) for c in EXTRACTOR.claims(text)]


def found(text: str, kind: str) -> list[Claim]:
    return [c for c in EXTRACTOR.claims(text) if c.kind == kind]


@pytest.mark.parametrize(
    ("text", "column", "value", "unit"),
    [
        ("Bilirubin was 2.4 mg/dL.", "bilirubin", 2.4, "mg/dL"),
        ("total bilirubin in serum has come back at 2.4", "bilirubin", 2.4, None),
        ("Albumin: 3.35 g/dl", "albumin", 3.35, "g/dl"),
        ("Platelets 1,250 x10^9/L", "platelets", 1250, "x10^9/L"),
        ("PT 11.0 sec", "prothrombin_time", 11.0, "sec"),
        ("prothrombin time (PT) of 11.0 s", "prothrombin_time", 11.0, "s"),
        ("We measured 2.4 mg/dL of bilirubin.", "bilirubin", 2.4, "mg/dL"),
        ("bilirubin 2.4 (reference 0.1-1.2)", "bilirubin", 2.4, None),
        ("Bilirubin, which two years ago was fine, is 2.4 mg/dL", "bilirubin", 2.4, "mg/dL"),
        ("bilirubin 3 days ago was 2.4", "bilirubin", 2.4, None),
    ],
)
def test_a_number_belongs_to_the_name_before_it(text: str, column: str, value: float, unit: str | None):
    (claim,) = found(text, "lab")
    assert (claim.column, claim.value, claim.unit) == (column, value, unit)
    assert str(value).rstrip("0").rstrip(".") in text[claim.start : claim.end].replace(",", "")


def test_two_names_keep_their_own_numbers():
    text = "Bilirubin 2.4 mg/dL, albumin 3.35 g/dL; platelets 180, PT 11.0."
    assert [(c.column, c.value) for c in found(text, "lab")] == [
        ("bilirubin", 2.4), ("albumin", 3.35), ("platelets", 180.0), ("prothrombin_time", 11.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Bilirubin to be repeated in 6 weeks.",
        "Bilirubin was not measured. 3.4 kg were lost.",
        "The reference range of bilirubin is 0.1-1.2 mg/dL.",
        "If bilirubin rises above 4.0 she will be listed.",
        "Bilirubin on 12/03 pending.",
    ],
)
def test_other_numbers_are_no_values(text: str):
    assert found(text, "lab") == []


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Bilirubin rose from 0.9 to 2.4 mg/dL.", [(0.9, "earlier"), (2.4, "now")]),
        ("Bilirubin 2.4 mg/dL (previously 0.9).", [(2.4, "now"), (0.9, "earlier")]),
        ("Bilirubin 0.9 -> 2.4", [(0.9, "earlier"), (2.4, "now")]),
        ("Previous bilirubin 0.9.", [(0.9, "earlier")]),
    ],
)
def test_an_earlier_value_is_told_from_the_present_one(text: str, values: list[tuple[float, str]]):
    assert [(c.value, c.when) for c in found(text, "lab")] == values


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("Elevated bilirubin, low albumin.", [("bilirubin", "high"), ("albumin", "low")]),
        ("Bilirubin 2.4 mg/dL (H), albumin 3.35, low.", [("bilirubin", "high"), ("albumin", "low")]),
        ("Albumin within normal limits.", [("albumin", "normal")]),
        ("Bilirubin 2.4 mg/dL, low albumin 3.35", [("albumin", "low")]),
        ("Bilirubin is not elevated.", []),
    ],
)
def test_words_beside_a_reference_range(text: str, flags: list[tuple[str, str]]):
    assert [(c.column, c.value) for c in found(text, "flag")] == flags


PRESENT, DENIED = False, True


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("There is ascites.", {"ascites": PRESENT}),
        (
            "No ascites, hepatomegaly or spider angiomas.",
            {"ascites": DENIED, "hepatomegaly": DENIED, "spiders": DENIED},
        ),
        ("No ascites, but hepatomegaly.", {"ascites": DENIED, "hepatomegaly": PRESENT}),
        ("No ascites. Hepatomegaly noted.", {"ascites": DENIED, "hepatomegaly": PRESENT}),
        ("No ascites, hepatomegaly present.", {"ascites": DENIED, "hepatomegaly": PRESENT}),
        ("No hepatomegaly was found.", {"hepatomegaly": DENIED}),
        ("She denies ascites.", {"ascites": DENIED}),
        ("Negative for spiders.", {"spiders": DENIED}),
        ("Without evidence of ascites.", {"ascites": DENIED}),
        ("Ascites was not seen; spiders are evident.", {"ascites": DENIED, "spiders": PRESENT}),
        ("Ascites: no\nHepatomegaly: yes", {"ascites": DENIED, "hepatomegaly": PRESENT}),
        ("Ascites -. Spiders +.", {"ascites": DENIED, "spiders": PRESENT}),
        ("Ascites has resolved.", {"ascites": DENIED}),
        ("No change in her ascites.", {"ascites": PRESENT}),
        ("Ascites not only persists, it grows.", {"ascites": PRESENT}),
        ("Neither ascites nor hepatomegaly.", {"ascites": DENIED, "hepatomegaly": DENIED}),
        ("I looked for ascites, without success.", {"ascites": DENIED}),
        (
            "The abdomen is clear of ascites, hepatomegaly, or spiders.",
            {"ascites": DENIED, "hepatomegaly": DENIED, "spiders": DENIED},
        ),
        ("Resolution of ascites; resolved spiders.", {"ascites": DENIED, "spiders": DENIED}),
        ("Question of ascites.", {}),
        ("Watch for ascites.", {}),
        ("Risk of ascites discussed.", {}),
        ("Possible ascites on ultrasound.", {}),
        ("Her mother had ascites.", {}),
    ],
)
def test_signs_are_present_denied_or_merely_pondered(text: str, signs: dict[str, bool]):
    assert {c.column: c.negated for c in found(text, "sign")} == signs


@pytest.mark.parametrize(
    ("text", "kind", "column", "value"),
    [
        ("Histologic stage 3.", "stage", "histologic_stage", "3"),
        ("Stage III disease.", "stage", "histologic_stage", "3"),
        ("Stage at the last review was 4", "stage", "histologic_stage", "4"),
        ("The slides say 3 for histologic stage.", "stage", "histologic_stage", "3"),
        ("Oedema despite diuretics.", "grade", "edema", "despite_diuretics"),
        ("Edema, no diuretics so far.", "grade", "edema", "no_diuretics"),
        ("No oedema.", "grade", "edema", "none"),
        ("Edema: none", "grade", "edema", "none"),
        ("There is edema.", "grade", "edema", None),
        ("Mobility: walks with aid.", "grade", "mobility", "walks_with_aid"),
        ("Uses a wheelchair.", "grade", "mobility", "wheelchair"),
        ("Randomised treatment was feverine.", "static", "arm", "feverine"),
        ("She had been given placebo.", "static", "arm", "placebo"),
    ],
)
def test_categories(text: str, kind: str, column: str, value: str | None):
    (claim,) = found(text, kind)
    assert (claim.column, claim.value) == (column, value)


@pytest.mark.parametrize(
    ("text", "age", "sexes"),
    [
        ("A 54-year-old woman.", [54.0], ["f"]),
        ("This pleasant lady of 54 years", [54.0], ["f"]),
        ("54F with fever", [54.0], ["f"]),
        ("Gentleman aged 54. He feels well.", [54.0], ["m", "m"]),
        ("54 yo M", [54.0], ["m"]),
        ("She or he is on ursodiol.", [], []),
        ("She came with her husband, who is 60 years old. He drove.", [], ["m"]),
        ("On ursodiol for 5 years.", [], []),
        ("Walked 369 m", [], []),
    ],
)
def test_age_and_sex(text: str, age: list[float], sexes: list[str]):
    assert [c.value for c in found(text, "age")] == age
    assert [c.value for c in found(text, "sex")] == sexes


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        (
            "Ursodiol 750 mg daily.",
            [("drug", "ursodiol", "ursodiol", False, "ever"), ("dose", "ursodiol", 750.0, False, "ever")],
        ),
        (
            "She is on prednisone.",
            [("sex", "sex", "f", False, "now"), ("drug", "prednisone", "prednisone", False, "now")],
        ),
        ("Prednisone was stopped.", [("drug", "prednisone", "stopped", True, "now")]),
        ("No longer on prednisone.", [("drug", "prednisone", "stopped", True, "now")]),
        ("Not taking ursodiol.", [("drug", "ursodiol", "ursodiol", True, "now")]),
        ("No previous biopsy.", [("event", "biopsy", "biopsy", True, "earlier")]),
        ("Biopsy done.", [("event", "biopsy", "biopsy", False, "ever")]),
        ("Plan: consider ursodiol.", []),
        ("Died.", [("outcome", "status", "dead", False, "now")]),
        ("Referred to the transplant team.", []),
        ("Wandering fever confirmed.", [("diagnosis", "", None, False, "now")]),
    ],
)
def test_drugs_events_outcome_and_diagnosis(text: str, claims: list[tuple[object, ...]]):
    assert read(text) == claims


@pytest.mark.parametrize("make", [two_labs, no_outcome, events_only])
def test_any_dictionary_has_a_lexicon(make):
    text = "Ferritin 300, hemoglobin 9.1. Pain: much. Attack on day 3. She is 40 years old."
    heard = {c.code or c.column for c in ClaimExtractor(make()).claims(text)} - {"day"}
    assert (
        heard
        == {"two_labs": {"ferritin", "haemoglobin"}, "no_outcome": {"pain", "sex"}, "events_only": {"attack"}}[
            make.__name__
        ]
    )


def supports(day: int, text: str, **patient: object) -> list[tuple[str, str]]:
    return [(c.claim.kind, c.support.verdict) for c in check_notes(clinic([(day, text)], **patient), CLINIC)]


YES, NO, OPEN = "supported", "contradicted", "unsupported"


@pytest.mark.parametrize(
    ("day", "text", "verdict"),
    [
        (200, "Bilirubin 2.4 mg/dL", YES),
        (200, "Bilirubin 2 mg/dL", YES),  # written without a digit after the point: 2.4 rounds to 2
        (200, "Bilirubin 2.5 mg/dL", NO),
        (200, "Bilirubin about 2.6 mg/dL", YES),
        (200, "Bilirubin about 2.7 mg/dL", NO),
        (200, "Bilirubin 2.4 g/L", NO),
        (250, "Bilirubin 2.4 mg/dL", YES),  # the last visit before
        (200, "Previous bilirubin 0.9", YES),
        (200, "Previous bilirubin 1.9", NO),
        (200, "Elevated bilirubin", YES),
        (0, "Elevated bilirubin", NO),
        (400, "Albumin 3.35 g/dL", OPEN),  # not measured at that visit
        (400, "Ascites", YES),
        (200, "Ascites", NO),
        (400, "No ascites", NO),
        (400, "Spiders", OPEN),
        (400, "There is edema", YES),
        (200, "There is edema", NO),
        (400, "Edema despite diuretics", YES),
        (400, "Edema, no diuretics", NO),
        (0, "Stage 2", YES),
        (0, "Stage IV", NO),
        (0, "A 54-year-old", YES),
        (400, "A 55-year-old", YES),
        (400, "A 57-year-old", NO),
        (0, "This woman", YES),
        (0, "This man", NO),
        (0, "Randomised treatment: placebo", NO),
        (200, "Ursodiol 750 mg", YES),
        (5, "Ursodiol", NO),  # begun on day 10
        (350, "She remains on prednisone", NO),  # stopped on day 300
        (200, "She remains on prednisone", YES),
        (350, "Prednisone was stopped", YES),
        (200, "Prednisone was stopped", NO),
        (5, "No longer on prednisone", NO),  # what is stopped was given before
        (5, "Not on prednisone", YES),
        (5, "Without prednisone", YES),
        (200, "No biopsy before", NO),
        (50, "No previous biopsy", YES),
        (400, "Alive", YES),
        (400, "Died", NO),  # told before it happened
        (800, "Died", YES),
        (800, "Alive", NO),
        (800, "Transplanted", NO),
        (200, "Seen on day 100", YES),
        (200, "Seen on day 300", NO),
    ],
)
def test_the_record_of_the_day_decides(day: int, text: str, verdict: str):
    assert supports(day, text)[-1][1] == verdict


def test_a_dose_is_compared_apart_from_its_drug():
    assert supports(200, "Ursodiol 500 mg") == [("drug", YES), ("dose", NO)]
    assert supports(200, "Ursodiol 750 g") == [("drug", YES), ("dose", NO)]
    assert supports(5, "Ursodiol 750 mg") == [("drug", NO), ("dose", OPEN)]
    assert supports(350, "Earlier prednisone 20 mg") == [("drug", YES), ("dose", YES)]


def test_what_is_missing_in_the_record_supports_nothing():
    assert supports(0, "A 54-year-old woman", age=None, sex=None) == [("age", OPEN), ("sex", OPEN)]


def test_spans_cut_the_claim_out_of_the_note():
    text = "Bloods: bilirubin came back at 2.4 mg/dL [raised]. No ascites."
    cut = [text[c.start : c.end] for c in EXTRACTOR.claims(text)]
    assert cut == ["bilirubin came back at 2.4 mg/dL", "bilirubin came back at 2.4 mg/dL [raised", "ascites"]


def test_units_that_mean_the_same():
    assert units.plain("µg/L") == "ug/l"
    assert {"iu/l", "u/l"} <= units.forms("U/L")
    assert "g/l" not in units.forms("g/dL")
    assert "day" in units.TIME
    assert "s" not in units.TIME


@pytest.mark.parametrize("bank", ["public", "pilot", "derived"])
@pytest.mark.parametrize("config", ["pbc-notes", "simulated"])
def test_claims_of_rendered_notes_are_found_and_supported(config: str, bank: str):
    """The renderer knows what it said. Flags and courses have words of their own in each bank, which no dictionary holds."""
    dictionary = read_dictionary(CONFIGS / config / "cohort.yaml")
    cohort = simulate(dictionary.without(["notes"]), 40, np.random.default_rng(5))
    extractor = ClaimExtractor(dictionary)
    said = told = right = 0
    for note in rendered(cohort, dictionary, np.random.default_rng(6), bank):
        truth = {_of_renderer(c) for c in note.claims if c.kind not in ("flag", "trend", "course")}
        heard = {_of_extractor(c) for c in extractor.claims(note.text) if c.kind not in ("flag", "dose")}
        said, told, right = said + len(truth), told + len(heard), right + len(truth & heard)
    assert said > 500
    assert right / said > 0.98
    assert right / told > 0.99


def _of_renderer(claim) -> tuple[str, str, bool]:
    if claim.kind in ("drug", "event"):
        return "event", claim.column, claim.negated
    value = f"{float(claim.value):g}" if claim.kind in ("lab", "age", "day") else claim.value
    return claim.column or claim.kind, "" if claim.kind == "diagnosis" else value, claim.negated


def _of_extractor(claim: Claim) -> tuple[str, str, bool]:
    if claim.kind in ("drug", "event"):
        return "event", str(claim.code), claim.negated or (claim.kind == "drug" and claim.when == "earlier")
    value = f"{claim.value:g}" if isinstance(claim.value, float) else str(claim.value)
    return claim.column or claim.kind, "" if claim.kind == "diagnosis" else value, claim.negated
