"""Flags that need neither a rule nor a real patient, on patients worked out by hand among simulated ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohorts import DICTIONARIES, pbc, simulated

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.flagging import flag, screened
from synthgen.flags import Flag
from synthgen.screening.usual import Tail, usual_of
from synthgen.screening.view import View
from synthgen.screening.words import CONVERSIONS, seldom, slip

ABOUT = pbc()
DAYS = [0, 180, 365, 730, 1100, 1460, 1830]
LABS = {"bilirubin": 1.4, "cholesterol": 310.0, "albumin": 3.4, "alkaline_phosphatase": 1200.0, "ast": 110.0,
        "platelets": 240.0, "prothrombin_time": 10.6}  # fmt: skip
SCATTER = np.array([0.0, 0.8, -0.7, 0.5, -0.4, 1.1, -0.9])
"""In public standard deviations of one patient's values."""


@pytest.fixture(scope="module")
def crowd() -> Cohort:
    return simulated(ABOUT, 300, seed=4)


def patient(crowd: Cohort, **change: Any) -> tuple[Cohort, str]:
    """The crowd with one more patient, dull but for the change: a column's seven values, `days`, or a column of `patients`."""
    days = change.pop("days", DAYS)
    rows = {"patient_id": "X", "day": np.array(days, dtype=np.float64)}
    for name in LABS:
        rows[name] = course(name)[: len(days)]
    signs = {"ascites": "no", "hepatomegaly": "yes", "spiders": "no", "edema": "none", "histologic_stage": "3"}
    person = {
        "patient_id": "X",
        "age": 52.0,
        "sex": "f",
        "treatment": "placebo",
        "followup_days": 2000.0,
        "status": "alive",
    }
    for name, value in change.items():
        (person if name in person else rows)[name] = value  # type: ignore[index]
    assert crowd.visits is not None
    visits = pd.concat(
        [_plain(crowd.visits), pd.DataFrame(rows | signs | {k: v for k, v in rows.items() if k in signs})]
    )
    patients = pd.concat([_plain(crowd.patients), pd.DataFrame([person])])
    return replace(crowd, patients=patients.reset_index(drop=True), visits=visits.reset_index(drop=True)), "X"


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {n: v.astype("float64") if pd.api.types.is_numeric_dtype(v) else v.astype(object) for n, v in frame.items()}
    )


def raised(crowd: Cohort, **change: Any) -> dict[str, Flag]:
    """The flags of X, by reason."""
    made, who = patient(crowd, **change)
    return {f.reason: f for f in flag(made, ABOUT) if f.patient_id == who}


def course(name: str, **at: float) -> np.ndarray[Any, Any]:
    """The dull course of a measurement with some visits changed: course("bilirubin", v3=14)."""
    column = ABOUT.measurements[name]
    assert column.knowledge is not None
    moved = (column.knowledge.within or 0) * np.roll(SCATTER, list(LABS).index(name))
    values = LABS[name] * np.exp(moved) if column.scale == "log" else LABS[name] + moved
    for visit, value in at.items():
        values[int(visit[1:])] = value
    return np.asarray(values).round(column.decimals or 0)


def test_a_dull_patient_has_no_flag(crowd: Cohort) -> None:
    assert raised(crowd) == {}


@pytest.mark.parametrize(
    ("reason", "words", "change"),
    [
        ("spike", "14 mg/dL on day 730, .* about .* times as high as expected .*decimal point or of the unit",
         {"bilirubin": course("bilirubin", v3=14.0)}),
        ("spike", "Platelets in blood is 24 .* times lower than expected", {"platelets": course("platelets", v2=24.0)}),
        ("leap", "Alkaline phosphatase in serum leaps from .* within 370 days",
         {"alkaline_phosphatase": course("alkaline_phosphatase", v6=12000.0)}),
        ("swapped", "On day 365 Aspartate.* and Prothrombin time .*look swapped",
         {"prothrombin_time": course("prothrombin_time", v2=110.0), "ast": course("ast", v2=10.6)}),
        ("swings", "Albumin in serum swings up and down", {"albumin": np.array([2.2, 4.8, 2.1, 4.9, 2.2, 4.7, 2.3])}),
        ("frozen", "Total cholesterol in serum always 310", {"cholesterol": np.full(7, 310.0)}),
        ("calm", "Total cholesterol in serum hardly moves", {"cholesterol": np.array([310, 311, 310, 310, 311, 310, 311.0])}),
        ("straight line", "Total cholesterol in serum changes along a straight line",
         {"cholesterol": np.round(300 + np.array(DAYS) / 20)}),
        ("round numbers", "Every value of Platelets in blood is a round number",
         {"platelets": np.array([240, 260, 230, 250, 220, 210, 270.0])}),
        ("level", "Prothrombin time is, at most visits, 25.* far above", {"prothrombin_time": course("prothrombin_time") * 2.4}),
        ("crowded visits", "7 visits within 12 days", {"days": [0, 2, 4, 6, 8, 10, 12]}),
        ("never recorded", "Platelets in blood.*never recorded in 7 visits", {"platelets": np.full(7, np.nan)}),
        ("drift", "Alkaline phosphatase in serum drifts from 1213",
         {"alkaline_phosphatase": np.array([1213, 1011, 702, 333, 121, 62, 21.0])}),
    ],
)  # fmt: skip
def test_a_fault_is_named(crowd: Cohort, reason: str, words: str, change: dict[str, Any]) -> None:
    found = raised(crowd, **change)
    assert reason in found, {r: f.text for r, f in found.items()}
    assert pd.Series([found[reason].text]).str.contains(words).all(), found[reason].text
    assert not found[reason].reads_real_data
    assert found[reason].severity != "severe"  # what is improbable is for a person to judge


@pytest.mark.parametrize(
    ("reason", "words", "change"),
    [
        ("out of bounds visits.albumin", "Albumin in serum is 34 g/dL on day 365: outside 0.5 to 10, .*decimal point",
         {"albumin": course("albumin", v2=34.0)}),
        ("out of bounds patients.age", "Age at the first visit is 150 years: outside 18 to 95", {"age": 150.0}),
        ("no number visits.ast", "holds no number", {"ast": course("ast", v2=np.inf)}),
        ("missing visits.ast", "is missing, which it must not be", {"ast": course("ast", v2=np.nan)}),
        ("decimals visits.albumin", "more digits than the assay has", {"albumin": course("albumin") + 0.0013}),
        ("unknown category visits.ascites", "Ascites is perhaps on day 0: no category", {"ascites": "perhaps"}),
        ("visit day after the end", "A visit lies on day 1460, after day 1400, the patient was dead",
         {"followup_days": 1400.0, "status": "dead"}),
        ("day twice", "Two visits stand on the same day", {"days": [0, 180, 180, 730, 1100, 1460, 1830]}),
        ("visits out of order", "day 180 stands after that of day 365", {"days": [0, 365, 180, 730, 1100, 1460, 1830]}),
        ("no first visit", "first visit lies on day 30", {"days": [30, 180, 365, 730, 1100, 1460, 1830]}),
    ],
)  # fmt: skip
def test_a_breach_of_the_dictionary_is_severe_and_named(
    crowd: Cohort, reason: str, words: str, change: dict[str, Any]
) -> None:
    found = raised(crowd, **change)
    assert reason in found, {r: f.text for r, f in found.items()}
    assert pd.Series([found[reason].text]).str.contains(words).all(), found[reason].text
    assert found[reason].severity == "severe"


def test_a_copied_visit(crowd: Cohort) -> None:
    copied = {name: np.concatenate([course(name)[:3], course(name)[2:3], course(name)[4:]]) for name in LABS}
    assert "day 730 repeat those of the visit before" in raised(crowd, **copied)["repeated visit"].text


def test_few_simulated_patients_are_flagged() -> None:
    """Chance flags few: 13 detectors at 5 in 1,000. Rules are left out: the simulator does not know them."""
    bare = ABOUT.model_copy(update={"rules": ()})
    flagged = [len({f.patient_id for f in flag(simulated(bare, 400, seed=seed), bare)}) for seed in (1, 2, 3)]
    assert sum(flagged) / 1200 < 0.08


def test_parts_make_the_same_flags_as_the_whole(crowd: Cohort) -> None:
    usual = usual_of(crowd, ABOUT)
    ids = list(crowd.ids)
    whole, twins = screened([crowd], ABOUT, usual)
    parts, same_twins = screened([crowd.of(ids[:100]), crowd.of(ids[100:])], ABOUT, usual)
    rules = {f.reason for f in whole if f.reason.startswith("rule ")}  # their evidence holds the share within the part
    assert {(f.patient_id, f.text) for f in whole} == {(f.patient_id, f.text) for f in parts}
    assert twins == same_twins
    assert rules


def test_flags_do_not_depend_on_the_order_of_patients(crowd: Cohort) -> None:
    turned = crowd.of(crowd.ids)
    order = np.random.default_rng(0).permutation(len(crowd))
    turned = replace(turned, patients=crowd.patients.iloc[order].reset_index(drop=True))
    assert {(f.patient_id, f.reason) for f in flag(crowd, ABOUT)} == {
        (f.patient_id, f.reason) for f in flag(turned, ABOUT)
    }


def test_the_tail_says_how_often_chance_goes_so_far() -> None:
    scores = np.random.default_rng(0).exponential(size=20_000)
    tail = Tail.of(scores)
    fresh = np.random.default_rng(1).exponential(size=200_000)
    for chance in (0.01, 0.001):
        assert np.mean(tail.chance(fresh) <= chance) == pytest.approx(chance, rel=0.25)
    assert tail.chance(np.array([-np.inf, 0.0]))[0] == 1


@pytest.mark.parametrize(("value", "said"), [(14.0, True), (0.14, True), (1.4, False), (4.0, False), (140.0, True)])
def test_slips_are_powers_of_ten_or_another_unit(value: float, said: bool) -> None:
    column = ABOUT.measurements["albumin"].model_copy(update={"code": None})
    assert bool(slip(column, value, 1.4)) is said
    bilirubin = ABOUT.measurements["bilirubin"]
    assert "17.1" not in slip(bilirubin, 1.4 * CONVERSIONS["LOINC:1975-2"], 1.4)
    assert "about 17 times" in slip(bilirubin, 1.4 * 17.1, 1.4)


def test_chances_as_words() -> None:
    assert seldom(1e-9) == "fewer than 1 in 1,000,000 simulated patients do"
    assert seldom(0.004) == "about 1 in 250 simulated patients does"


def test_a_view_keeps_breaches_apart() -> None:
    about = Dictionary.model_validate(
        {"name": "v", "title": "V", "declared_patients": 4, "tables": {
            "patients": {"columns": {"patient_id": {"type": "id"}}},
            "visits": {"columns": {"patient_id": {"type": "id"}, "day": {"type": "integer", "bounds": [0, 100]},
                                   "lab": {"type": "continuous", "bounds": [1, 100], "scale": "log"}}}}}
    )  # fmt: skip
    visits = pd.DataFrame({"patient_id": ["b", "a", "a", "?"], "day": [0, 10, 0, 0], "lab": [1000.0, 10.0, -1.0, 5.0]})
    view = View({"patients": pd.DataFrame({"patient_id": ["a", "b"]}), "visits": visits}, about)
    assert view.visits is not None
    ordered = view.visits["patient_id"].tolist()
    assert ordered[-3:] == ["a", "a", "b"]  # by patient and day; strangers apart
    np.testing.assert_allclose(np.exp(view.values["lab"])[-3:], [np.nan, 10.0, np.nan])
    np.testing.assert_allclose(np.exp(view.raw["lab"])[-3:], [np.nan, 10.0, 1000.0])


@pytest.mark.parametrize("name", DICTIONARIES)
def test_any_cohort_can_be_screened(name: str) -> None:
    """No outcome, no visits, one patient, tables without rows: no warning, and no flag that reads real data."""
    about = DICTIONARIES[name]()
    made = simulated(about, 110)
    tables = {t: f.iloc[:0] for t, f in made.tables.items() if t != "patients"}
    for cohort in (made, made.of(made.ids[:1]), replace(made, **tables)):  # type: ignore[arg-type]
        flags = flag(cohort, about)
        assert not any(f.reads_real_data for f in flags)
        for raised_ in flags:
            assert raised_.as_json()
