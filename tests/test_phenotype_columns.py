"""Phenotypes as static columns: conditions of pictures and notes, and columns of another generator of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_hpo as tiny

from generators.ehr import EHRVAE
from generators.images.layout import Layout
from generators.phenotypes import PhenotypeBayes
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.conformance import conform
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError
from synthgen.notes.facts import charts
from synthgen.ontology import read_ontology
from synthgen.ontology_columns import term_columns, with_terms

BRANCH = tiny.BRANCHES[0]
BELOW, BESIDE = next(t for t in tiny.LEAVES if tiny.parent(t) == BRANCH), tiny.BRANCHES[1]


def silent(*_: object) -> None:
    """No progress."""


def dictionary(**column: object) -> Dictionary:
    """The made-up cohort with one term as a column, and a table of pictures."""
    data = tiny.dictionary().model_dump(exclude_none=True, exclude_unset=True)
    term = {"type": "categorical", "categories": ["observed", "excluded"], "code": BRANCH, "missing": True} | column
    data["tables"]["patients"]["columns"]["sign"] = term
    picture = {"type": "image", "size": 28}
    data["tables"]["images"] = {"columns": {"patient_id": {"type": "id"}, "picture": picture}}
    return Dictionary.model_validate(data)


@pytest.fixture(scope="module")
def hpo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("hpo"))


@pytest.fixture(scope="module")
def record(hpo: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A synthetic phenotype record whose patients have the column."""
    generator = PhenotypeBayes(dictionary(), {"hpo": str(hpo), "terms": 40})
    generator.pretrain(0, tmp_path_factory.mktemp("cache"), silent)
    return generator.sample(600, np.random.default_rng(0))


def test_a_column_says_what_descendants_and_ancestors_say(hpo: Path) -> None:
    asked = dictionary()
    rows = [("P0-0", BELOW, "observed"), ("P0-1", tiny.SYSTEMS[0], "excluded"), ("P0-2", BELOW, "excluded"),
            ("P0-3", BESIDE, "observed"), ("P0-4", BRANCH, "excluded")]  # fmt: skip
    cohort = tiny.cohort(tiny.dictionary())
    terms = pd.DataFrame(rows, columns=["patient_id", "term", "status"])
    five = Cohort(cohort.patients.iloc[:5].reset_index(drop=True), phenotypes=terms, origin="real")
    told = with_terms(five, asked, read_ontology(hpo)).patients["sign"].astype(object)
    assert told.where(told.notna(), None).tolist() == ["observed", "excluded", None, None, "excluded"]


@pytest.mark.parametrize("wrong", [{"categories": ["observed", "absent"]}, {"missing": False}])
def test_a_column_that_cannot_say_it_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"patients\.sign: a column with the code of an HPO term"):
        term_columns(dictionary(**wrong))


def test_a_synthetic_record_s_columns_agree_with_its_terms(record: Cohort, hpo: Path) -> None:
    ontology = read_ontology(hpo)
    assert record.phenotypes is not None
    below = record.phenotypes["term"].isin(ontology.descendants(BRANCH)) & (record.phenotypes["status"] == "observed")
    has = set(record.phenotypes.loc[below, "patient_id"])
    assert 50 < len(has) < 550
    assert set(record.ids[(record.patients["sign"] == "observed").to_numpy()]) == has
    breaches = conform(record.tables, dictionary(), "synthetic")[1]
    assert [b for b in breaches if not str(b).startswith("images: the table is missing")] == []


def test_a_phenotype_record_conditions_pictures_and_notes(record: Cohort) -> None:
    layout = Layout(dictionary(), ("sign", "disease"))
    rows = pd.DataFrame({"patient_id": record.ids})
    told = layout.conditions(rows, record.patients)
    seen = record.patients["sign"].astype(object).to_numpy()
    alike = {w: told[seen == w][:, : 1 + 3] for w in ("observed", "excluded")}
    assert not np.array_equal(alike["observed"].mean(axis=0), alike["excluded"].mean(axis=0))
    for chart, word in zip(charts(record, dictionary()), seen, strict=True):
        facts = {f.column: f.value for f in chart.at(0)}
        assert facts.get("sign") == (word if isinstance(word, str) else None)


def test_the_generator_of_records_learns_terms_as_static_columns(hpo: Path, tmp_path: Path) -> None:
    asked = dictionary()
    patients = asked.tables["patients"]
    kept = {k: c for k, c in patients.columns.items() if k in ("patient_id", "disease", "sign")}
    static = asked.model_copy(update={"tables": {"patients": patients.model_copy(update={"columns": kept})}})
    real = with_terms(tiny.cohort(tiny.dictionary()), asked, read_ontology(hpo))
    real = Cohort(real.patients[list(kept)], origin="real")
    tiny_model = {
        "pretrain_patients": 300,
        "pretrain_epochs": 2,
        "populations": 8,
        "gradient_steps": 2,
        "latent": 4,
        "hidden": 16,
    }
    generator = EHRVAE(static, tiny_model)
    generator.pretrain(0, tmp_path, silent)
    before = generator.sample(1000, np.random.default_rng(0)).patients
    charges = [c.scaled(1e-3) for c in generator.charges(300)]
    generator.fit(Session(generator.encode(real), charges, 300, Noise(seed=1)), 0, silent)
    made = generator.sample(1000, np.random.default_rng(0)).patients
    told = [
        p["sign"].astype(object).eq(w).mean() for p in (real.patients, before, made) for w in ("observed", "excluded")
    ]
    assert told[1] == 0  # nobody of the real ones has it excluded: public knowledge cannot say so, the patients do
    assert told[3] > 0.1
    assert told[5] < 0.03
    assert told[4] > 0.25
