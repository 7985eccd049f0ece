"""GA4GH phenopackets v2 (Jacobsen et al. 2022), one JSON a patient, in a zip or a folder.

Read: subject, disease, onset, HPO terms observed and excluded, and of each variant its gene, class and allele state. HGVS,
VCF coordinates, publications and free text stay in the file: an exact variant of a rare disease names its carrier.

Written: synthetic cohorts only. Every packet carries the mark three times (`id` SYN-..., `createdBy`, `externalReferences`)
and no exact variant.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthgen.errors import ConfigError, DataError, WorkspaceError

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import MendelianDisease
    from synthgen.ontology import Ontology

CREATED_BY = "synthgen: synthetic patient, no real individual"
MARK = "synthgen:synthetic"

SEXES = {"MALE": "male", "FEMALE": "female", "OTHER_SEX": "other"}
VITAL = {"ALIVE": "alive", "DECEASED": "deceased"}

ONSETS = {
    "antenatal": ("HP:0030674", 0, 0),
    "congenital": ("HP:0003577", 0, 0),
    "neonatal": ("HP:0003623", 1, 28),
    "infantile": ("HP:0003593", 29, 365),
    "childhood": ("HP:0011463", 366, 1826),
    "juvenile": ("HP:0003621", 1827, 5844),
    "adult": ("HP:0003581", 5845, 36500),
}
"""Class of onset -> HPO term, first and last day of age."""
_FINER = {"HP:0011460": "antenatal", "HP:0011461": "antenatal", "HP:0034199": "antenatal", "HP:0034198": "antenatal",
          "HP:0034197": "antenatal", "HP:0011462": "adult", "HP:0003596": "adult", "HP:0003584": "adult",
          "HP:0025708": "adult", "HP:0025709": "adult", "HP:0025710": "adult", "HP:0410280": "childhood"}  # fmt: skip
"""HPO's finer onset terms (embryonal, fetal, trimesters; young, middle-aged, late adult) -> class."""

VARIANTS = {
    "missense": ("SO:0001583", "missense_variant"),
    "truncating": ("SO:0001906", "feature_truncation"),
    "splice": ("SO:0001629", "splice_site_variant"),
    "inframe": ("SO:0001650", "inframe_variant"),
    "deletion": ("SO:0000159", "deletion"),
    "structural": ("SO:0001537", "structural_variant"),
    "other": ("SO:0001060", "sequence_variant"),
}
"""Class of variant -> Sequence Ontology term."""

ALLELES = {
    "heterozygous": ("GENO:0000135", "heterozygous"),
    "homozygous": ("GENO:0000136", "homozygous"),
    "hemizygous": ("GENO:0000134", "hemizygous"),
}

Packet = Mapping[str, Any]


# Reading ------------------------------------------------------------------------------------------------------------------
def read(path: Path) -> dict[str, pd.DataFrame]:
    """The tables `patients`, `phenotypes` and `variants` of the packets in a zip or a folder.

    Raises:
        DataError: for a file that is no zip, no JSON or no phenopacket; it says how many, and never which patient.
    """
    patients, phenotypes, variants, broken = [], [], [], 0
    for text in _texts(path):
        try:
            packet = json.loads(text)
            patients.append(_patient(packet))
            phenotypes += _phenotypes(packet)
            variants += _variants(packet)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            broken += 1
    if broken:
        raise DataError(
            f"{path.name}: {broken} files are no phenopackets of version 2 with one disease; mend or remove them."
        )
    if not patients:
        raise DataError(f"{path.name}: holds no phenopacket (.json).")
    return {
        "patients": pd.DataFrame(patients, dtype=object),
        "phenotypes": pd.DataFrame(phenotypes, columns=["patient_id", "term", "status", "onset_days"], dtype=object),
        "variants": pd.DataFrame(
            variants, columns=["patient_id", "gene", "variant_class", "allele_state", "position"], dtype=object
        ),
    }  # fmt: skip


def _texts(path: Path) -> Iterator[bytes]:
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield file.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".json"):
                    yield archive.read(name)
    except zipfile.BadZipFile:
        raise DataError(f"{path.name}: is no zip, or is damaged; fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror}); check that you may read it.") from None


def references(path: Path) -> frozenset[str]:
    """The publications that the packets cite: what `publications` in the dictionary has to list."""
    found = (json.loads(text).get("metaData", {}).get("externalReferences", []) for text in _texts(path))
    return frozenset(r["id"] for each in found for r in each)


def _patient(packet: Packet) -> dict[str, Any]:
    subject, (disease,) = packet["subject"], packet["diseases"]
    onset, days = _onset(disease.get("onset"))
    status = subject.get("vitalStatus", {}).get("status", "")
    return {
        "patient_id": packet["id"],
        "disease": disease["term"]["id"],
        "sex": SEXES.get(subject.get("sex", "")),
        "onset": onset,
        "onset_days": days,
        "last_seen_days": _onset(subject.get("timeAtLastEncounter"))[1],
        "vital_status": VITAL.get(status),
    }


def _onset(element: Packet | None) -> tuple[str | None, int | None]:
    """(class, days of age) of a time element; a class alone has no days."""
    if not element:
        return None, None
    if "gestationalAge" in element:
        return "antenatal", 0
    if "age" in element:
        days = days_of(element["age"]["iso8601duration"])
        return next((c for c, (_, _, last) in list(ONSETS.items())[1:] if days <= last), "adult"), days
    term = element.get("ontologyClass", {}).get("id", "")
    return next((c for c, (code, _, _) in ONSETS.items() if code == term), _FINER.get(term)), None


_DURATION = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T.*)?")


def days_of(duration: str) -> int:
    """Days in an ISO 8601 duration such as P3Y6M. Raises ValueError when it is none."""
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError("no ISO 8601 duration")
    years, months, weeks, days = (int(part or 0) for part in match.groups())
    return round(years * 365.25 + months * 30.4375) + 7 * weeks + days


def duration_of(days: int) -> str:
    """The ISO 8601 duration of these days, in years, months and days: `days_of` reads it back to within a day."""
    years, rest = divmod(days, 365.25)
    months, rest = divmod(rest, 30.4375)
    parts = [(int(years), "Y"), (int(months), "M"), (round(rest), "D")]
    return "P" + ("".join(f"{n}{unit}" for n, unit in parts if n) or "0D")


def _phenotypes(packet: Packet) -> list[tuple[Any, ...]]:
    """One row a term; of a term stated twice or both ways, observed wins and one row stays."""
    found: dict[str, tuple[Any, ...]] = {}
    for feature in packet.get("phenotypicFeatures", []):
        term = feature["type"]["id"]
        status = "excluded" if feature.get("excluded") else "observed"
        if found.get(term, ("", "", "excluded"))[2] == "excluded":
            found[term] = (packet["id"], term, status, _onset(feature.get("onset"))[1])
    return list(found.values())


def _variants(packet: Packet) -> list[tuple[Any, ...]]:
    found = []
    for interpretation in packet.get("interpretations", []):
        for genomic in interpretation.get("diagnosis", {}).get("genomicInterpretations", []):
            descriptor = genomic.get("variantInterpretation", {}).get("variationDescriptor")
            if descriptor:
                gene = descriptor.get("geneContext", {}).get("symbol")
                state = descriptor.get("allelicState", {}).get("label")
                found.append((packet["id"], gene, variant_class(descriptor), state if state in ALLELES else None, None))
    return found


def variant_class(descriptor: Packet) -> str:
    """What kind of variant a descriptor says it is; nothing of where it lies."""
    structural = descriptor.get("structuralType", {}).get("label", "")
    if structural:
        return "deletion" if "deletion" in structural else "structural"
    hgvs = {e["syntax"]: e["value"].rpartition(":")[2] for e in descriptor.get("expressions", [])}
    protein, coding = hgvs.get("hgvs.p", ""), hgvs.get("hgvs.c", "")
    if re.search(r"\d[+-][12](?!\d)", coding):
        return "splice"
    if re.search(r"Ter|fs|\*|Met1", protein):
        return "truncating"
    if re.fullmatch(r"p\.\(?[A-Z][a-z]{2}\d+[A-Z][a-z]{2}\)?", protein):
        return "missense"
    if re.search(r"del|ins|dup", protein):
        return "inframe"
    return "splice" if re.search(r"\d[+-]\d", coding) else "other"


# Writing ------------------------------------------------------------------------------------------------------------------
def write(
    cohort: Cohort,
    path: Path,
    ontology: Ontology,
    diseases: Mapping[str, MendelianDisease],
    created: datetime | None = None,
) -> None:
    """A zip with one packet a patient.

    Raises:
        ConfigError: for a cohort that is not synthetic; WorkspaceError when the file cannot be written.
    """
    if cohort.origin != "synthetic":
        raise ConfigError("phenopackets: only synthetic cohorts are written; real ones never leave")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for packet in packets(cohort, ontology, diseases, created or datetime.now(UTC)):
                archive.writestr(f"{packet['id']}.json", json.dumps(packet, indent=1))
        partial.replace(path)
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be written ({error.strerror}). Free some space or rights") from None
    finally:
        partial.unlink(missing_ok=True)


def packets(
    cohort: Cohort, ontology: Ontology, diseases: Mapping[str, MendelianDisease], created: datetime
) -> Iterator[dict[str, Any]]:
    """The packets of a cohort as JSON objects, in the order of `patients`."""
    features = _grouped(cohort.phenotypes)
    alleles = _grouped(cohort.variants)
    for row in cohort.patients.to_dict("records"):
        patient = str(row["patient_id"])
        yield {
            "id": patient,
            "subject": _subject(row),
            "phenotypicFeatures": [_feature(f, ontology) for f in features.get(patient, [])],
            "interpretations": _interpretations(row, alleles.get(patient, []), diseases),
            "diseases": [_disease(row, diseases)],
            "metaData": _metadata(created, ontology),
        }


def _grouped(table: pd.DataFrame | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in [] if table is None else table.to_dict("records"):
        found.setdefault(str(row["patient_id"]), []).append({str(k): v for k, v in row.items()})
    return found


def _given(row: Mapping[Any, Any], key: str) -> Any:
    """The cell, or None where the column or the value is missing."""
    value = row.get(key)
    return None if value is None or pd.isna(value) else value


def _subject(row: Mapping[Any, Any]) -> dict[str, Any]:
    back = {v: k for k, v in SEXES.items()}
    subject: dict[str, Any] = {"id": str(row["patient_id"]), "sex": back.get(_given(row, "sex"), "UNKNOWN_SEX")}
    if (age := _given(row, "last_seen_days")) is not None:
        subject["timeAtLastEncounter"] = {"age": {"iso8601duration": duration_of(int(age))}}
    if vital := _given(row, "vital_status"):
        subject["vitalStatus"] = {"status": vital.upper()}
    return subject


def _feature(row: Mapping[str, Any], ontology: Ontology) -> dict[str, Any]:
    feature: dict[str, Any] = {"type": {"id": row["term"], "label": ontology.name(row["term"])}}
    if row["status"] == "excluded":
        feature["excluded"] = True
    if (days := _given(row, "onset_days")) is not None:
        feature["onset"] = {"age": {"iso8601duration": duration_of(int(days))}}
    return feature


def _term(disease: str, diseases: Mapping[str, MendelianDisease]) -> dict[str, str]:
    return {"id": disease, "label": diseases[disease].label if disease in diseases else disease}


def _disease(row: Mapping[Any, Any], diseases: Mapping[str, MendelianDisease]) -> dict[str, Any]:
    disease: dict[str, Any] = {"term": _term(row["disease"], diseases)}
    if (days := _given(row, "onset_days")) is not None:
        disease["onset"] = {"age": {"iso8601duration": duration_of(int(days))}}
    elif onset := _given(row, "onset"):
        disease["onset"] = {"ontologyClass": {"id": ONSETS[onset][0], "label": f"{onset.capitalize()} onset"}}
    return disease


def _interpretations(
    row: Mapping[Any, Any], alleles: list[dict[str, Any]], diseases: Mapping[str, MendelianDisease]
) -> list[dict[str, Any]]:
    if not alleles:
        return []
    patient = str(row["patient_id"])
    genomic = [
        {
            "subjectOrBiosampleId": patient,
            "interpretationStatus": "CAUSATIVE",
            "variantInterpretation": {"variationDescriptor": _descriptor(f"{patient}-V{i}", allele, row, diseases)},
        }
        for i, allele in enumerate(alleles, start=1)
    ]
    diagnosis = {"disease": _term(row["disease"], diseases), "genomicInterpretations": genomic}
    return [{"id": f"{patient}-I1", "progressStatus": "SOLVED", "diagnosis": diagnosis}]


def _descriptor(
    identifier: str, allele: Mapping[str, Any], row: Mapping[Any, Any], diseases: Mapping[str, MendelianDisease]
) -> dict[str, Any]:
    """A class at a simulated relative position; there is no exact variant behind it."""
    code, label = VARIANTS[allele["variant_class"]]
    where = _given(allele, "position")
    place = "" if where is None else f" at {where:.2f} of the gene's length"
    descriptor: dict[str, Any] = {
        "id": identifier,
        "label": f"simulated {allele['variant_class']} variant{place}; no real variant",
        "moleculeContext": "genomic",
        "structuralType": {"id": code, "label": label},
    }
    if state := _given(allele, "allele_state"):
        descriptor["allelicState"] = dict(zip(("id", "label"), ALLELES[state], strict=True))
    if gene := _given(allele, "gene"):
        known = diseases.get(row["disease"])
        descriptor["geneContext"] = {"valueId": (known.hgnc if known else None) or f"symbol:{gene}", "symbol": gene}
    return descriptor


def _metadata(created: datetime, ontology: Ontology) -> dict[str, Any]:
    version = ontology.version.rpartition("/")[2] or "unknown"
    return {
        "created": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "createdBy": CREATED_BY,
        "phenopacketSchemaVersion": "2.0.2",
        "externalReferences": [{"id": MARK, "description": "Synthetic patient. Describes no real individual."}],
        "resources": [
            _resource("hp", "human phenotype ontology", "http://purl.obolibrary.org/obo/hp.owl", version, "HP"),
            _resource("geno", "Genotype Ontology", "http://purl.obolibrary.org/obo/geno.owl", "unversioned", "GENO"),
            _resource("so", "Sequence types and features ontology", "http://purl.obolibrary.org/obo/so.owl", "unversioned", "SO"),
            _resource("omim", "Online Mendelian Inheritance in Man", "https://www.omim.org", "unversioned", "OMIM"),
            _resource("hgnc", "HUGO Gene Nomenclature Committee", "https://www.genenames.org", "unversioned", "HGNC"),
        ],
    }  # fmt: skip


def _resource(identifier: str, name: str, url: str, version: str, prefix: str) -> dict[str, str]:
    iri = f"http://purl.obolibrary.org/obo/{prefix}_" if "obolibrary" in url else f"{url}/{prefix}:"
    return {
        "id": identifier,
        "name": name,
        "url": url,
        "version": version,
        "namespacePrefix": prefix,
        "iriPrefix": iri,
    }


# Checking -----------------------------------------------------------------------------------------------------------------
def faults(packet: Packet, ontology: Ontology) -> list[str]:
    """What is wrong with a packet that claims to be synthetic: a mark that is missing, an unknown term, a contradiction
    between terms, an exact variant. Empty when all is well."""
    meta = packet.get("metaData", {})
    marks = [r.get("id") for r in meta.get("externalReferences", [])]
    found = [] if packet.get("id", "").startswith("SYN-") else ["the id does not start with SYN-"]
    found += [] if meta.get("createdBy") == CREATED_BY and MARK in marks else ["the synthetic mark is missing"]
    found += ["it holds an exact variant"] if re.search(r'"(expressions|vcfRecord|hgvs)', json.dumps(packet)) else []
    features = packet.get("phenotypicFeatures", [])
    unknown = [f for f in features if f["type"]["id"] not in ontology.position]
    if unknown:
        return [*found, "a term is unknown to the ontology"]
    observed = [f["type"]["id"] for f in features if not f.get("excluded")]
    excluded = [f["type"]["id"] for f in features if f.get("excluded")]
    if len({*observed, *excluded}) < len(features):
        found.append("a term stands twice")
    if ontology.contradictions(observed, excluded):
        found.append("an excluded term is implied by an observed one")
    return found
