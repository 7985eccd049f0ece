"""Notes rendered from records: what they say is the record's, and the banks teach each other nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.errors import ConfigError
from synthgen.notes import phrases
from synthgen.notes.facts import charts
from synthgen.notes.rendering import render, rendered
from synthgen.simulation import simulate

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
BANKS = ("public", "derived", "pilot")


@pytest.fixture(scope="module")
def pbc() -> Dictionary:
    return read_dictionary(CONFIGS / "pbc-notes" / "cohort.yaml")


@pytest.fixture(scope="module")
def simulated(pbc: Dictionary) -> Cohort:
    return simulate(pbc, 60, np.random.default_rng(3))


def words(name: str) -> list[list[str]]:
    """The literal words of every phrase, a run between placeholders each."""
    runs = [run for p in phrases.phrases(name) for run in re.split(r"\{.*?\}", p.lower())]
    return [re.findall(r"[a-z][a-z-]*", run) for run in runs]


def grams(name: str, length: int) -> set[tuple[str, ...]]:
    return {tuple(run[i : i + length]) for run in words(name) for i in range(len(run) - length + 1)}


@pytest.mark.parametrize("other", ["derived", "pilot"])
def test_banks_share_no_phrase_beyond_declared_common_words(other: str) -> None:
    common = phrases.common_words()
    assert {w for (w,) in grams("public", 1) & grams(other, 1)} <= common
    assert not grams("public", 3) & grams(other, 3)
    assert len(common) < 40  # a list that grew would make the test empty
    assert len(grams(other, 1)) > 100


@pytest.mark.parametrize("bank", BANKS)
def test_banks_hold_no_number(bank: str) -> None:
    assert not [p for p in phrases.phrases(bank) if re.search(r"\d", p)]


@pytest.mark.parametrize("bank", BANKS)
def test_banks_have_the_same_parts(bank: str) -> None:
    def shape(part: object) -> object:
        return {k: shape(v) for k, v in part.items() if k != "orders"} if isinstance(part, dict) else None

    assert shape(phrases.bank(bank)) == shape(phrases.bank("public"))


@pytest.mark.parametrize("bank", BANKS)
def test_every_number_and_unit_is_the_records(simulated: Cohort, pbc: Dictionary, bank: str) -> None:
    records = {c.patient_id: c for c in charts(simulated, pbc)}
    units = {c.unit for c in pbc.measurements.values() if c.unit}
    for note in rendered(simulated, pbc, np.random.default_rng(0), bank):
        facts = records[note.patient_id].at(note.day, note.kind == "closing")
        known = {f.value for f in facts} | {str(note.day)}
        text = note.text
        for unit in units:
            text = text.replace(f" {unit}", " ")
        assert set(re.findall(r"\d+(?:\.\d+)?", text)) <= known
        pairs = {(f.value, f.unit) for f in facts}
        assert set(re.findall(r"(\d+(?:\.\d+)?) (mg/dL|g/dL|U/L)", note.text)) <= pairs


def test_claims_are_what_the_record_says(simulated: Cohort, pbc: Dictionary) -> None:
    records = {c.patient_id: c for c in charts(simulated, pbc)}
    seen: set[str] = set()
    for note in rendered(simulated, pbc, np.random.default_rng(0)):
        facts = {(f.kind, f.column): f for f in records[note.patient_id].at(note.day, note.kind == "closing")}
        for claim in note.claims:
            seen.add(claim.kind)
            if claim.kind in ("flag", "trend"):
                assert getattr(facts["lab", claim.column], claim.kind) == claim.value
            elif claim.kind not in ("course", "day"):
                fact = facts[claim.kind, claim.column]  # type: ignore[index]
                assert (fact.value, fact.unit, fact.negated) == (claim.value, claim.unit, claim.negated)
                if claim.kind == "lab":
                    assert f"{claim.value} {claim.unit}" in note.text
    assert seen >= {
        "age",
        "sex",
        "diagnosis",
        "lab",
        "sign",
        "grade",
        "stage",
        "outcome",
        "flag",
        "trend",
        "course",
        "day",
    }


def test_some_facts_are_omitted_and_absent_signs_denied(simulated: Cohort, pbc: Dictionary) -> None:
    notes = rendered(simulated, pbc, np.random.default_rng(0))
    signs = [c for n in notes for c in n.claims if c.kind == "sign"]
    assert any(c.negated for c in signs)
    assert any(not c.negated for c in signs)
    told = len([c for n in notes for c in n.claims if c.kind == "lab"])
    assert 0.5 < told / (7 * len(notes)) < 0.9


def test_two_rows_worked_by_hand() -> None:
    """A first visit and the end of follow-up of one patient of an invented disease."""
    dictionary = read_dictionary(CONFIGS / "simulated" / "cohort.yaml")
    cohort = simulate(dictionary, 1, np.random.default_rng(0))
    row = {"age_at_diagnosis": 40, "sex": "f", "variant": None, "followup_days": 800, "status": "dead"}
    patients = cohort.patients.assign(**row)
    visits = cohort.visits.iloc[[0, 0]].assign(  # type: ignore[union-attr]
        day=[0, 366], creatine_kinase=[100.0, 500.0], walk_distance=[300, None], mobility="walks", ventilation="no"
    )
    events = cohort.events.iloc[:0]  # type: ignore[union-attr]
    (chart,) = charts(Cohort(patients, visits, events, origin="synthetic"), dictionary)
    facts = {f.column: f for f in chart.at(800, closing=True)}
    assert facts["age_at_diagnosis"].value == "42"  # 40 years + 800 days
    assert (facts["creatine_kinase"].value, facts["creatine_kinase"].unit) == ("500", "U/L")
    assert (facts["creatine_kinase"].flag, facts["creatine_kinase"].trend) == ("high", "rising")
    assert facts["ventilation"].negated
    assert facts["status"].value == "dead"
    assert "walk_distance" not in facts
    assert "variant" not in facts
    assert "status" not in {f.column for f in chart.at(366)}


def test_notes_keep_to_the_dictionary(simulated: Cohort, pbc: Dictionary) -> None:
    notes = render(simulated, pbc, np.random.default_rng(0))
    checked = Cohort.checked({**simulated.tables, "notes": notes}, pbc, "synthetic")
    assert checked.notes is not None
    assert 100 < len(checked.notes) < 300
    assert checked.notes["patient_id"].nunique() < len(simulated)  # some have none


def test_the_same_seed_writes_the_same(simulated: Cohort, pbc: Dictionary) -> None:
    first, second = (render(simulated, pbc, np.random.default_rng(1)) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first["text"].equals(render(simulated, pbc, np.random.default_rng(2))["text"])


def test_drugs_with_dose_and_a_cohort_without_visits() -> None:
    dictionary = read_dictionary(CONFIGS / "simulated" / "cohort.yaml")
    cohort = simulate(dictionary, 50, np.random.default_rng(0))
    claims = [c for n in rendered(cohort, dictionary, np.random.default_rng(0)) for c in n.claims]
    doses = [c for c in claims if c.kind == "drug" and c.unit == "mg"]
    assert doses
    assert all(float(c.value) > 0 for c in doses)
    bare = dictionary.model_copy(
        update={"tables": {"patients": dictionary.tables["patients"]}, "rules": (), "tasks": ()}
    )
    notes = rendered(Cohort(cohort.patients, origin="synthetic"), bare, np.random.default_rng(0))
    assert {n.kind for n in notes} == {"first_visit", "closing"}


def test_an_unknown_bank_is_named(simulated: Cohort, pbc: Dictionary) -> None:
    with pytest.raises(ConfigError, match="no phrase bank secret"):
        render(simulated, pbc, np.random.default_rng(0), "secret")


def test_the_demos_notes_are_what_the_command_writes(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from synthgen.cli import app

    out = tmp_path / "notes.csv"
    done = CliRunner().invoke(app, ["render", str(CONFIGS / "pbc_notes.yaml"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_text() == (CONFIGS / "pbc-notes" / "notes.csv").read_text()
    again = CliRunner().invoke(app, ["render", str(CONFIGS / "pbc-notes" / "cohort.yaml"), "--out", str(out)])
    assert isinstance(again.exception, ConfigError)
    assert "exists already" in str(again.exception)


def test_the_demos_dictionary_is_pbcs_but_for_notes(pbc: Dictionary) -> None:
    plain = read_dictionary(CONFIGS / "pbc" / "cohort.yaml")
    assert {k: t.columns for k, t in pbc.tables.items() if k != "notes"} == {
        k: t.columns for k, t in plain.tables.items()
    }
    for part in ("name", "declared_patients", "outcome", "rules", "knowledge"):
        assert getattr(pbc, part) == getattr(plain, part)
