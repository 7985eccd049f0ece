"""The ontology: closure against a walk by hand, exclusion downwards, annotations without a cohort's own publications."""

from __future__ import annotations

from pathlib import Path

import pytest
from yardstick import at_most

from synthgen import ontology as hpo
from synthgen.errors import ConfigError, DataError

OBO = """format-version: 1.2
data-version: hp/releases/2000-01-01

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001 ! All

[Term]
id: HP:0000005
name: Small left ear
synonym: "Microtia, left" EXACT []
is_a: HP:0000003 ! Ear
is_a: HP:0000004 ! Left

[Term]
id: HP:0000003
name: Ear
def: "An \\"outer\\" ear." [PMID:1]
alt_id: HP:0000099
is_a: HP:0000118

[Term]
id: HP:0000004
name: Left
is_a: HP:0000118

[Term]
id: HP:0000098
name: obsolete Ear
is_obsolete: true
replaced_by: HP:0000003

[Typedef]
id: part_of
name: part of
"""
HEADER = "database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\tmodifier\taspect\tbiocuration"
ROWS = [
    "OMIM:1\tA\t\tHP:0000003\tPMID:7\tPCS\t\t3/4\t\t\tP\tx",
    "OMIM:1\tA\t\tHP:0000005\tPMID:8;PMID:7\tPCS\t\t1/2\t\t\tP\tx",
    "OMIM:1\tA\tNOT\tHP:0000004\tPMID:8\tPCS\t\tHP:0040283\t\t\tP\tx",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hp.obo").write_text(OBO)
    (tmp_path / "phenotype.hpoa").write_text("\n".join(["#version: 1", HEADER, *ROWS]) + "\n")
    return tmp_path


@pytest.fixture
def tiny(folder: Path) -> hpo.Ontology:
    return hpo.read_ontology(folder)


def test_a_term_implies_its_ancestors_and_excludes_its_descendants(tiny: hpo.Ontology):
    assert tiny.ancestors("HP:0000005") == {"HP:0000005", "HP:0000003", "HP:0000004", "HP:0000118", "HP:0000001"}
    assert tiny.descendants("HP:0000003") == {"HP:0000003", "HP:0000005"}
    assert tiny.contradictions(["HP:0000005"], ["HP:0000004"]) == {"HP:0000004"}
    assert not tiny.contradictions(["HP:0000003"], ["HP:0000005"])


def test_old_ids_stand_for_current_ones_and_unknown_ones_are_refused(tiny: hpo.Ontology):
    assert tiny.current("HP:0000099") == tiny.current("HP:0000098") == "HP:0000003"
    assert tiny.current("HP:9999999") is None
    with pytest.raises(DataError, match=r"unknown to hp\.obo"):
        tiny.name("HP:9999999")
    assert "part_of" not in tiny.ids


def test_a_term_has_the_definition_that_hpo_gives_it_or_none(tiny: hpo.Ontology):
    assert tiny.definition("HP:0000003") == 'An "outer" ear.'
    assert tiny.definition("HP:0000099") == 'An "outer" ear.'  # an old id of the same term
    assert tiny.definition("HP:0000004") == ""
    with pytest.raises(DataError, match="unknown"):
        tiny.definition("HP:7777777")


def test_specific_and_general_are_the_two_ends_of_a_set(tiny: hpo.Ontology):
    both = {"HP:0000003", "HP:0000005"}
    assert tiny.specific(both) == {"HP:0000005"}
    assert tiny.general(both) == {"HP:0000003"}
    assert tiny.synonyms["microtia, left"] == "HP:0000005"
    assert tiny.abnormalities == {"HP:0000003", "HP:0000004", "HP:0000005"}


def test_closure_matrix_is_the_closure(tiny: hpo.Ontology):
    terms = ["HP:0000005", "HP:0000003"]
    assert tiny.closure_matrix(terms).toarray().tolist() == [[1, 1], [0, 1]]


def test_rows_that_cite_a_barred_publication_are_left_out(folder: Path):
    assert [a.term for a in hpo.read_annotations(folder, without=["PMID:7"])] == ["HP:0000004"]
    everything = hpo.read_annotations(folder)
    assert [(a.observed, a.assessed, a.absent) for a in everything] == [
        (3, 4, False),
        (1, 2, False),
        (None, None, True),
    ]
    assert everything[2].frequency == "HP:0040283"


def test_a_folder_without_the_files_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no hp\.obo"):
        hpo.read_ontology(tmp_path)
    (tmp_path / "phenotype.hpoa").write_text("nonsense\n")
    with pytest.raises(DataError, match="no header"):
        hpo.read_annotations(tmp_path)


def test_the_installed_ontology_is_read_and_closed_quickly_and_right():
    with at_most(20):  # a second on a quiet core
        real = hpo.read_ontology()
        _ = real._closures
    assert len(real.ids) > 15_000
    walked: set[str] = set()  # an independent walk over the file's own is_a lines
    todo = [real.position["HP:0001250"]]
    while todo:
        place = todo.pop()
        walked.add(real.ids[place])
        todo += real.parents[place]
    assert real.ancestors("HP:0001250") == walked
    assert hpo.read_ontology() is real  # parsed once
    assert all(max(p, default=-1) < i for i, p in enumerate(real.parents))
