"""The checks of phenotypes, on a made-up ontology and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_hpo as tiny

from fidelity.phenotypes import consistency, profiles, profiles_of
from fidelity.phenotypes.consistency import ExclusionConsistency
from fidelity.phenotypes.cooccurrence import TermCooccurrence
from fidelity.phenotypes.onset import OnsetDistribution
from fidelity.phenotypes.prevalence import TermPrevalence, prevalence_error, profile_distance
from fidelity.phenotypes.ranking import DiagnosisRanking, rank
from fidelity.phenotypes.similarity import SemanticSimilarity, information, similarity
from fidelity.phenotypes.terms_per_patient import TermsPerPatient
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.findings import Evidence
from synthgen.ontology import read_ontology


@pytest.fixture(scope="module")
def hpo(tmp_path_factory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("hpo"))


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return tiny.dictionary()


@pytest.fixture(scope="module")
def real(dictionary: Dictionary) -> Cohort:
    return tiny.cohort(dictionary)


def cohort_of(rows: list[tuple[str, str, list[str], list[str]]], origin: str = "synthetic") -> Cohort:
    """(id, disease, observed, excluded) -> a cohort."""
    patients = pd.DataFrame([(r[0], r[1]) for r in rows], columns=["patient_id", "disease"])
    terms = [(r[0], t, s, None) for r in rows for s, ts in (("observed", r[2]), ("excluded", r[3])) for t in ts]
    frame = pd.DataFrame(terms, columns=["patient_id", "term", "status", "onset_days"])
    patients["onset"] = pd.Categorical(["infantile"] * len(rows), ["infantile", "adult"])
    return Cohort(patients, phenotypes=frame, origin=origin)  # type: ignore[arg-type]


def test_four_patients_by_hand(dictionary: Dictionary, hpo: Path):
    leaf, sibling, other = tiny.LEAVES[0], tiny.LEAVES[1], tiny.LEAVES[9]
    rows = [("A", "OMIM:1", [leaf], []), ("B", "OMIM:1", [sibling], [tiny.SYSTEMS[1]]),
            ("C", "OMIM:2", [other, tiny.parent(other)], []), ("D", "OMIM:2", [other], [tiny.parent(other)])]  # fmt: skip
    picture = profiles_of(cohort_of(rows), dictionary, read_ontology(hpo))
    place = {t: j for j, t in enumerate(picture.terms)}
    first = picture.prevalence("OMIM:1")
    assert [first[place[t]] for t in (leaf, sibling, tiny.parent(leaf), tiny.SYSTEMS[0], other)] == [0.5, 0.5, 1, 1, 0]
    assert picture.contradictions == 1  # D
    assert picture.stated.tolist() == [1, 1, 1, 1]
    lacks = picture.excluded.toarray()[1].astype(bool)
    assert lacks[place[other]]
    assert rank(picture, picture).tolist() == [1, 1, 1, 1]
    assert prevalence_error(first, first) == 0
    assert profile_distance(first, np.zeros_like(first)) == 1
    weight = information(picture)
    fit = similarity(picture, np.array([0]), first, weight)
    assert similarity(picture, np.array([0]), picture.prevalence("OMIM:2"), weight)[0] < fit[0] <= 1


def _evidence(dictionary: Dictionary, real: Cohort, synthetic: Cohort) -> Evidence:
    ids = list(real.ids)
    return Evidence(
        dictionary, real.of(ids[::2]), real.of(ids[1::2]), synthetic, real.of(ids[::2]), np.random.default_rng(0)
    )


@pytest.fixture
def own_ontology(hpo: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (profiles, consistency):
        monkeypatch.setattr(module, "read_ontology", lambda: read_ontology(hpo))


CHECKS = [TermPrevalence, TermCooccurrence, TermsPerPatient, OnsetDistribution,
          SemanticSimilarity, ExclusionConsistency, DiagnosisRanking]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.usefixtures("own_ontology")
def test_every_check_tells_good_from_bad(check, dictionary: Dictionary, real: Cohort):
    ids = list(real.ids)
    good = replace(real, origin="synthetic")
    assert real.phenotypes is not None
    shuffled = dict(zip(ids, np.random.default_rng(0).permutation(ids), strict=True))
    wrong = real.phenotypes.assign(patient_id=real.phenotypes["patient_id"].map(shuffled))
    both = wrong.drop_duplicates("patient_id").assign(term=tiny.SYSTEMS[0], status="excluded")
    late = real.patients.assign(onset=pd.Categorical(["adult"] * len(ids), real.patients["onset"].cat.categories))
    terms = pd.concat([wrong.assign(status="observed"), both], ignore_index=True)
    bad = Cohort(late, phenotypes=terms, origin="synthetic")
    values = [check().run(_evidence(dictionary, real, c))[0] for c in (good, bad)]
    assert all(f.check == check.name for f in values)
    if values[0].better == "lower":
        assert values[0].value < values[1].value
    else:
        assert values[0].value > values[1].value
    if check is TermPrevalence:
        assert [f.verdict for f in values] == ["pass", "fail"]
    if check is ExclusionConsistency:
        assert [f.verdict for f in values] == ["pass", "fail"]


@pytest.mark.parametrize("check", CHECKS)
def test_no_check_has_anything_to_say_of_a_cohort_without_phenotypes(check, real: Cohort, dictionary: Dictionary):
    bare = dictionary.model_copy(update={"tables": {"patients": dictionary.tables["patients"]}})
    assert list(check().run(_evidence(bare, real, real))) == []
