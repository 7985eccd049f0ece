"""Phenopackets in and out: what is read, what never is, the mark, the protobuf schema."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import tiny_hpo
from conftest import ROOT
from google.protobuf.json_format import Parse

from synthgen.cohort import Cohort
from synthgen.dictionary import MendelianDisease, read_dictionary
from synthgen.errors import ConfigError, DataError
from synthgen.formats import phenopackets as format_
from synthgen.ontology import read_annotations, read_ontology
from synthgen.storage import read_cohort

SEIZURE, NERVOUS, HEART = "HP:0001250", "HP:0000707", "HP:0001626"
WHEN = datetime(2020, 1, 2, tzinfo=UTC)
DISEASES = {"OMIM:1": MendelianDisease(label="First disease", gene="ABC1", hgnc="HGNC:1")}


def raw(**changes):
    descriptor = {
        "id": "secret-id",
        "geneContext": {"valueId": "HGNC:1", "symbol": "ABC1"},
        "expressions": [
            {"syntax": "hgvs.c", "value": "NM_1.1:c.10C>T"},
            {"syntax": "hgvs.p", "value": "NP_1.1:p.(Arg4Cys)"},
        ],
        "vcfRecord": {"chrom": "1", "pos": 12345},
        "allelicState": {"id": "GENO:0000135", "label": "heterozygous"},
    }
    packet = {
        "id": "PMID_1_A",
        "subject": {"id": "A", "sex": "FEMALE", "timeAtLastEncounter": {"age": {"iso8601duration": "P2Y"}}},
        "phenotypicFeatures": [
            {"type": {"id": SEIZURE, "label": "Seizure"}, "onset": {"age": {"iso8601duration": "P1M"}}},
            {"type": {"id": HEART, "label": "Heart"}, "excluded": True},
        ],
        "diseases": [{"term": {"id": "OMIM:1", "label": "x"}, "onset": {"ontologyClass": {"id": "HP:0003593"}}}],
        "interpretations": [
            {"diagnosis": {"genomicInterpretations": [{"variantInterpretation": {"variationDescriptor": descriptor}}]}}
        ],
        "metaData": {"externalReferences": [{"id": "PMID:1"}]},
    }
    return packet | changes


def zipped(folder: Path, *packets) -> Path:
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        for i, packet in enumerate(packets):
            archive.writestr(f"x/{i}.json", packet if isinstance(packet, str) else json.dumps(packet))
    return folder / "in.zip"


@pytest.fixture
def synthetic() -> Cohort:
    return Cohort(
        patients=pd.DataFrame(
            [
                ("SYN-1", "OMIM:1", "female", "infantile", 100, 800, "alive"),
                ("SYN-2", "OMIM:1", None, "adult", None, None, None),
            ],
            columns=["patient_id", "disease", "sex", "onset", "onset_days", "last_seen_days", "vital_status"],
        ),
        phenotypes=pd.DataFrame(
            [("SYN-1", SEIZURE, "observed", 40), ("SYN-1", HEART, "excluded", None)],
            columns=["patient_id", "term", "status", "onset_days"],
        ),
        variants=pd.DataFrame(
            [("SYN-1", "ABC1", "missense", "heterozygous", 0.25), ("SYN-2", None, "deletion", None, None)],
            columns=["patient_id", "gene", "variant_class", "allele_state", "position"],
        ),
        origin="synthetic",
    )


def test_a_packet_becomes_rows_and_its_exact_variant_is_left_behind(tmp_path: Path):
    tables = format_.read(zipped(tmp_path, raw()))
    assert tables["patients"].values.tolist() == [["PMID_1_A", "OMIM:1", "female", "infantile", None, 730, None]]
    assert tables["phenotypes"].values.tolist() == [
        ["PMID_1_A", SEIZURE, "observed", 30],
        ["PMID_1_A", HEART, "excluded", None],
    ]
    assert tables["variants"].values.tolist() == [["PMID_1_A", "ABC1", "missense", "heterozygous", None]]
    text = "".join(t.to_csv() for t in tables.values())
    assert not any(secret in text for secret in ("c.10", "Arg4", "12345", "NM_1", "secret-id"))


@pytest.mark.parametrize(
    ("hgvs", "structure", "kind"),
    [
        ({"hgvs.p": "NP_1:p.(Trp5Ter)"}, None, "truncating"),
        ({"hgvs.p": "NP_1:p.(Pro22GlnfsTer18)", "hgvs.c": "NM_1:c.66del"}, None, "truncating"),
        ({"hgvs.c": "NM_1:c.513-1G>A"}, None, "splice"),
        ({"hgvs.c": "NM_1:c.293-13C>G"}, None, "splice"),
        ({"hgvs.p": "NP_1:p.(Lys5del)"}, None, "inframe"),
        ({"hgvs.p": "NP_1:p.(Lys5Arg)"}, None, "missense"),
        ({}, "chromosomal_deletion", "deletion"),
        ({}, "chromosome_structure_variation", "structural"),
        ({"hgvs.g": "NC_1:g.5A>G"}, None, "other"),
    ],
)
def test_the_class_of_a_variant(hgvs, structure, kind):
    descriptor = {"expressions": [{"syntax": k, "value": v} for k, v in hgvs.items()]}
    if structure:
        descriptor["structuralType"] = {"label": structure}
    assert format_.variant_class(descriptor) == kind
    assert kind in format_.VARIANTS


@pytest.mark.parametrize(
    ("text", "days"), [("P1Y", 365), ("P2M", 61), ("P3W", 21), ("P1Y2M3D", 429), ("P0D", 0), ("P1DT4H", 1)]
)
def test_durations(text, days):
    assert format_.days_of(text) == days


def test_durations_come_back_to_within_a_day():
    assert all(abs(format_.days_of(format_.duration_of(d)) - d) <= 1 for d in range(0, 30000, 7))
    with pytest.raises(ValueError, match="duration"):
        format_.days_of("2 years")


@pytest.mark.parametrize("broken", ["{", "[]", json.dumps({"id": "SECRET"}), json.dumps(raw(diseases=[]))])
def test_files_that_are_no_phenopackets_are_counted_and_not_quoted(tmp_path: Path, broken):
    with pytest.raises(DataError, match=r"1 files are no phenopackets") as error:
        format_.read(zipped(tmp_path, raw(), broken))
    assert "SECRET" not in str(error.value)


def test_what_is_no_zip_is_refused(tmp_path: Path):
    (tmp_path / "a.zip").write_text("no")
    with pytest.raises(DataError, match="no zip"):
        format_.read(tmp_path / "a.zip")
    with pytest.raises(DataError, match="cannot be read"):
        format_.read(tmp_path / "absent.zip")


def test_written_packets_parse_by_the_protobuf_schema_and_carry_the_mark(tmp_path: Path, synthetic: Cohort):
    schema = pytest.importorskip("phenopackets.schema.v2")
    real = read_ontology()
    format_.write(synthetic, tmp_path / "out.zip", real, DISEASES, WHEN)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert len(texts) == 2
    for text in texts:
        parsed = Parse(text, schema.Phenopacket())  # an unknown field is an error
        assert parsed.id.startswith("SYN-")
        assert parsed.meta_data.created_by == format_.CREATED_BY
        assert parsed.meta_data.external_references[0].id == format_.MARK
        assert format_.faults(json.loads(text), real) == []
    first = Parse(texts[0], schema.Phenopacket())
    assert [f.excluded for f in first.phenotypic_features] == [False, True]
    genomic = first.interpretations[0].diagnosis.genomic_interpretations[0]
    assert "simulated" in genomic.variant_interpretation.variation_descriptor.label
    assert not genomic.variant_interpretation.variation_descriptor.expressions


def test_what_is_written_is_read_back(tmp_path: Path, synthetic: Cohort):
    format_.write(synthetic, tmp_path / "out.zip", read_ontology(), DISEASES, WHEN)
    back = format_.read(tmp_path / "out.zip")
    assert back["patients"]["disease"].tolist() == synthetic.patients["disease"].tolist()
    assert back["patients"]["onset"].tolist() == ["infantile", "adult"]
    assert abs(back["patients"]["last_seen_days"][0] - 800) <= 1
    assert back["phenotypes"]["term"].tolist() == [SEIZURE, HEART]
    assert back["variants"]["gene"].tolist() == ["ABC1", None]


def test_a_real_cohort_is_never_written(tmp_path: Path, synthetic: Cohort):
    real = Cohort(synthetic.patients, phenotypes=synthetic.phenotypes, origin="real")
    with pytest.raises(ConfigError, match="only synthetic"):
        format_.write(real, tmp_path / "out.zip", read_ontology(), DISEASES)
    assert list(tmp_path.iterdir()) == []


def test_our_own_check_finds_each_fault(synthetic: Cohort):
    real = read_ontology()
    good = next(format_.packets(synthetic, real, DISEASES, WHEN))
    assert format_.faults(good, real) == []
    assert format_.faults(good | {"id": "A"}, real) == ["the id does not start with SYN-"]
    assert format_.faults(good | {"metaData": {}}, real) == ["the synthetic mark is missing"]
    clash = [{"type": {"id": SEIZURE}}, {"type": {"id": NERVOUS}, "excluded": True}]
    assert format_.faults(good | {"phenotypicFeatures": clash}, real) == [
        "an excluded term is implied by an observed one"
    ]
    assert format_.faults(good | {"phenotypicFeatures": [{"type": {"id": "HP:9"}}]}, real) == [
        "a term is unknown to the ontology"
    ]
    twice = [{"type": {"id": SEIZURE}}, {"type": {"id": SEIZURE}}]
    assert format_.faults(good | {"phenotypicFeatures": twice}, real) == ["a term stands twice"]
    assert format_.faults(good | {"interpretations": raw()["interpretations"]}, real) == ["it holds an exact variant"]


def test_a_zip_is_a_cohort_s_data(tmp_path: Path):
    dictionary = tiny_hpo.dictionary()
    packets = [raw(id=f"P{i}", diseases=[{"term": {"id": d}}]) for i, d in enumerate(tiny_hpo.DISEASES)]
    cohort = read_cohort(zipped(tmp_path, *packets), dictionary)
    assert cohort.origin == "real"
    assert [len(t) for t in cohort.tables.values()] == [3, 6, 3]
    with pytest.raises(DataError, match=r"patients\.disease"):
        read_cohort(zipped(tmp_path, raw() | {"diseases": [{"term": {"id": "OMIM:4"}}]}, *packets), dictionary)


SHARED = Path(os.environ.get("SYNTHGEN_SHARED", ROOT.parent / "shared")) / "data" / "phenopackets" / "rare_diseases.zip"


@pytest.mark.skipif(
    not SHARED.is_file(), reason=f"{SHARED} is absent: fetch a release of phenopacket-store, set SYNTHGEN_SHARED"
)
def test_the_demo_s_dictionary_fits_the_published_store_and_bars_all_its_publications():
    dictionary = read_dictionary(ROOT / "configs" / "phenopackets" / "cohort.yaml")
    assert format_.references(SHARED) == set(dictionary.publications)
    cohort = read_cohort(SHARED, dictionary)
    assert len(cohort) == dictionary.declared_patients
    assert cohort.variants is not None
    assert set(cohort.variants["gene"].dropna()) == {m.gene for m in dictionary.knowledge.diseases.values()} - {None}
    barred = set(dictionary.publications)
    left = [a for a in read_annotations(without=dictionary.publications) if a.disease in dictionary.knowledge.diseases]
    assert not [a for a in left if barred & set(a.reference.split(";"))]
    assert 1000 < sum(a.aspect == "P" for a in left) < 2000
