"""Rule packs: bound by code and unit, not applicable where a column is absent; and the command line's rules."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from synthgen.dictionary import Dictionary, parse, read_dictionary
from synthgen.errors import ConfigError
from synthgen.rule_mining import mine
from synthgen.rule_packs import SHIPPED, RulePack, bind, read_pack, with_packs
from synthgen.rules import broken, broken_in
from synthgen.simulation import simulate
from synthgen.storage import read_cohort

UNCHECKED = "textbook value, to be confirmed by a clinician"
ALBUMIN = {"type": "continuous", "bounds": [5, 90], "unit": "g/L", "code": "LOINC:1751-7"}


def dictionary(packs: list[str] | None = None, **visits: Any) -> Dictionary:
    patients = {
        "patient_id": {"type": "id"},
        "age": {"type": "continuous", "bounds": [0, 130], "unit": "years", "code": "LOINC:30525-0"},
        "gender": {"type": "categorical", "categories": ["F", "M"], "code": "LOINC:46098-0"},
    }
    base = {"patient_id": {"type": "id"}, "day": {"type": "integer", "bounds": [0, 4000]}}
    tables = {"patients": {"columns": patients}, "visits": {"columns": base | visits}}
    return parse(
        Dictionary,
        {"name": "small", "title": "Small", "declared_patients": 9, "tables": tables, "rule_packs": packs or []},
        "x",
    )


PACK = parse(
    RulePack,
    {
        "name": "p",
        "title": "A pack",
        "columns": {
            "albumin": {"codes": ["LOINC:1751-7"], "units": {"g/dL": 1, "g/L": 0.1}},
            "protein": {"codes": ["LOINC:2885-2"], "units": {"g/dL": 1}},
            "sex": {"codes": ["LOINC:46098-0"], "words": {"female": ["f", "F"], "male": ["m", "M"], "other": ["x"]}},
        },
        "rules": [
            {"name": "range", "expression": "0.6 < albumin < 7", "text": "A range."},
            {"name": "part", "expression": "albumin < protein", "text": "A part."},
            {"name": "men", "expression": 'implies(sex == "male", albumin > 1)', "text": "Men."},
            {"name": "others", "expression": 'implies(sex == "other", albumin > 1)', "text": "Others."},
            {"name": "still", "expression": "albumin < 3 * previous(albumin)", "text": "Slow."},
        ],
    },
    "p",
)


def test_bound_in_the_dictionarys_names_words_and_units() -> None:
    bound = {b.name: b for b in bind(PACK, dictionary(alb=ALBUMIN))}
    expressions = {name: b.rule.expression for name, b in bound.items() if b.rule}
    assert expressions == {
        "range": "0.6 < 0.1 * alb < 7",
        "men": 'implies(gender == "M", 0.1 * alb > 1)',
        "still": "0.1 * alb < 3 * previous(0.1 * alb)",
    }
    assert bound["range"].rule is not None
    assert bound["range"].rule.name == "p/range"
    assert "protein (LOINC:2885-2)" in bound["part"].why
    assert bound["others"].why == "no category means other"


def test_another_unit_is_another_column() -> None:
    bound = bind(PACK, dictionary(alb=ALBUMIN | {"unit": "umol/L"}))
    assert all(b.rule is None for b in bound)


def test_a_bound_rule_is_told_in_the_packs_unit() -> None:
    about = dictionary(alb=ALBUMIN)
    [bound] = [b.rule for b in bind(PACK, about) if b.name == "range"]
    assert bound is not None
    visits = pd.DataFrame({"patient_id": ["A", "B", "C", "D"], "day": 0, "alb": [40.0, 5.5, 71.0, np.nan]})
    patients = pd.DataFrame({"patient_id": ["A", "B", "C", "D"], "age": 50.0, "gender": "F"})
    rows = broken(bound, {"patients": patients, "visits": visits}, about)
    assert rows is not None
    assert dict(zip(rows["patient_id"], rows["broken"], strict=True)) == {"A": False, "B": True, "C": True}


def test_packs_join_the_dictionarys_rules_once() -> None:
    about = with_packs(dictionary(["adult-labs"], alb=ALBUMIN))
    names = [r.name for r in about.rules]
    assert "adult-labs/albumin_compatible_with_life" in names
    assert with_packs(about) == about


def test_a_pack_beside_the_dictionary_comes_first(tmp_path) -> None:
    (tmp_path / "rules").mkdir()
    pack = PACK.model_dump(mode="json", exclude_defaults=True) | {"name": "adult-labs"}
    (tmp_path / "rules" / "adult-labs.yaml").write_text(yaml.safe_dump(pack))
    assert read_pack("adult-labs", tmp_path).title == "A pack"


def test_a_pack_that_is_nowhere() -> None:
    with pytest.raises(ConfigError, match=r"there is no pack nowhere; write nowhere\.yaml .*adult-labs"):
        read_pack("nowhere")


def test_a_rule_of_a_pack_that_names_no_column_of_it() -> None:
    content = PACK.model_dump(mode="json", exclude_defaults=True)
    content["rules"].append({"name": "bad", "expression": "weight < 1", "text": "Bad."})
    with pytest.raises(ConfigError, match="rule bad: weight is no column of the pack"):
        parse(RulePack, content, "p")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_packs_can_be_read_and_say_where_they_are_from(path) -> None:
    pack = read_pack(path.stem)
    assert pack.name == path.stem
    for rule in pack.rules:
        assert rule.text.endswith("."), rule.name
        assert rule.severity != "hard", rule.name  # a pack never makes a generator draw again
        assert rule.source in ("by definition", UNCHECKED) or "confirmed by" in (rule.source or ""), rule.name


def test_the_demo_binds_what_speaks_of_its_columns_and_its_patients_keep_to_it() -> None:
    about = read_dictionary(ROOT / "configs/pbc/cohort.yaml")
    bound = [r for r in about.rules if r.name.startswith("adult-labs/")]
    assert {r.name.split("/")[1] for r in bound} == {
        "albumin_compatible_with_life", "prothrombin_time_not_before_coagulation", "age_of_a_person",
        "cholesterol_of_an_adult", "alkaline_phosphatase_of_an_adult", "platelets_of_an_adult",
    }  # fmt: skip
    tables = read_cohort(ROOT / "configs/pbc", about).tables
    for rule, rows in broken_in(bound, tables, about):
        assert rows is not None
        assert len(rows) > 300
        assert rows["broken"].sum() <= 1, rule.name  # one albumin of the file is above 7


def test_drugs_and_conditions_that_exclude_each_other() -> None:
    """Metformin before dialysis is fine; from its first day on it is not, and another patient's dialysis says nothing."""
    about = dictionary()
    columns = {
        "patient_id": {"type": "id"},
        "day": {"type": "integer", "bounds": [0, 4000]},
        "code": {"type": "categorical", "role": "code", "categories": ["metformin", "haemodialysis"]},
    }
    content = about.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    content["tables"]["events"] = {"columns": columns}
    about = parse(Dictionary, content, "d")
    bound = {b.name: b.rule for b in bind(read_pack("adult-drugs"), about)}
    rule = bound["no_metformin_on_dialysis"]
    assert rule is not None
    assert bound["no_pregnancy_after_hysterectomy"] is None
    rows = [("A", 10, "metformin"), ("A", 400, "haemodialysis"), ("A", 500, "metformin"), ("B", 600, "metformin")]
    tables = {
        "patients": pd.DataFrame({"patient_id": ["A", "B"], "age": [50.0, 60.0], "gender": ["F", "M"]}),
        "events": pd.DataFrame(rows, columns=["patient_id", "day", "code"]),
    }
    told = broken(rule, tables, about)
    assert told is not None
    assert told["broken"].tolist() == [False, False, True, False]


def test_the_clinic_binds_drugs_and_sexes() -> None:
    names = {r.name for r in read_dictionary(ROOT / "benchmarks/clinic.yaml").rules}
    assert {"adult-drugs/prostatectomy_is_male", "adult-labs/creatinine_rises_slowly"} <= names


def test_mined_candidates_hold_and_find_what_is_there() -> None:
    """A sign that caps a measurement, an order of two measurements, and nothing that one in fifty breaks."""
    about = dictionary(
        alb=ALBUMIN,
        protein={"type": "continuous", "bounds": [5, 130], "unit": "g/L"},
        ascites={"type": "categorical", "categories": ["no", "yes"]},
    )
    cohort = simulate(about, 300, np.random.default_rng(0))
    assert cohort.visits is not None
    rng = np.random.default_rng(1)
    sick = rng.random(len(cohort.visits)) < 0.3
    kind = cohort.visits["ascites"].dtype
    cohort.visits["ascites"] = pd.Series(np.where(sick, "yes", "no"), cohort.visits.index).astype(kind)
    cohort.visits["alb"] = np.where(sick, rng.uniform(10, 25, len(sick)), rng.uniform(10, 60, len(sick)))
    cohort.visits["protein"] = cohort.visits["alb"] + rng.uniform(5, 30, len(sick))
    found = {c.rule.name: c for c in mine(cohort, about)}
    assert "alb_at_most_protein" in found
    assert "protein_at_most_alb" not in found
    assert found["alb_with_ascites_yes"].rule.expression.startswith('implies(ascites == "yes", alb < ')
    for candidate in found.values():
        assert candidate.broken <= 0.01 * candidate.patients
        assert candidate.broken < candidate.at_most * candidate.patients


class TestCommandLine:
    def test_list_names_what_is_not_applicable(self, cli) -> None:
        code, out, _ = cli("rules", "list", str(ROOT / "benchmarks/clinic.yaml"), "--json")
        said = json.loads(out)
        assert code == 0
        assert any(a["rule"] == "adult-labs/glucose_compatible_with_life" for a in said["not_applicable"])

    def test_check_says_how_often_real_patients_break_each(self, cli) -> None:
        code, out, _ = cli("rules", "check", str(ROOT / "configs/pbc"), "--json")
        shares = {r["rule"]: r["share"] for r in json.loads(out)["rules"]}
        assert code == 0
        assert shares["visit_within_follow_up"] == 0
        assert 0 < shares["albumin_jump"] < 0.01

    def test_suggest_wants_a_source_that_may_be_looked_at(self, cli) -> None:
        pbc = str(ROOT / "configs/pbc")
        assert cli("rules", "suggest", pbc)[0] == 2
        code, _, err = cli("rules", "suggest", pbc, "--public", pbc)
        assert code == 2
        assert "--source" in err

    def test_suggest_from_a_public_cohort(self, cli) -> None:
        pbc = str(ROOT / "configs/pbc")
        code, out, _ = cli("rules", "suggest", pbc, "--public", pbc, "--source", "Fleming & Harrington 1991", "--json")
        said = json.loads(out)
        assert code == 0
        assert said["rules"]
        assert all(r["source"] == "mined from Fleming & Harrington 1991" for r in said["rules"])

    def test_suggest_from_a_run_with_a_guarantee(self, cli, tmp_path) -> None:
        """The patients are the run's synthetic ones; where the run has no guarantee nothing is mined."""
        import shutil

        from review_run import finished

        from synthgen.workspace import Workspace

        about = read_dictionary(ROOT / "configs/pbc/cohort.yaml")
        made = simulate(about, 150, np.random.default_rng(0))
        place = Workspace(tmp_path / "w")
        run = finished(place, cohort=made, dictionary=about)
        asked = ["rules", "suggest", str(ROOT / "configs/pbc"), "--run", run.id, "--json"]
        code, out, err = cli(*asked, "--workspace", str(place.root))
        said = json.loads(out)
        assert code == 0, err
        assert said["source"].startswith(f"synthetic patients of run {run.id}, epsilon ")
        assert said["rules"]
        assert {s["patients"] <= 150 for s in said["support"]} == {True}
        (tmp_path / "elsewhere/runs").mkdir(parents=True)
        shutil.copytree(run.folder, tmp_path / "elsewhere/runs" / run.id)  # a ledger that never charged it
        code, out, err = cli(*asked, "--workspace", str(tmp_path / "elsewhere"))
        assert code == 2
        assert "no privacy guarantee" in out + err
        assert "limits" in out + err
