"""A made-up ontology of 3 organ systems, 9 branches and 27 leaves, and annotations of made-up diseases: small, fast, known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary

ROOT = "HP:0000118"
SYSTEMS = [f"HP:1{s}00000" for s in range(3)]
BRANCHES = [f"HP:1{s}0{b}000" for s in range(3) for b in range(1, 4)]
LEAVES = [f"HP:1{s}0{b}00{k}" for s in range(3) for b in range(1, 4) for k in range(1, 4)]
DISEASES = ["OMIM:1", "OMIM:2", "OMIM:3"]
OWN = "PMID:1"
"""The publication in which the cohort's own patients stand."""


def parent(term: str) -> str:
    if term in SYSTEMS:
        return ROOT
    return f"{term[:6]}0000" if term in BRANCHES else f"{term[:7]}000"


def write(folder: Path, own_rows: bool = True) -> Path:
    """hp.obo, phenotype.hpoa and genes_to_phenotype.txt in `folder`."""
    stanzas = ["format-version: 1.2\ndata-version: hp/releases/2001-01-01\n", "[Term]\nid: HP:0000001\nname: All\n"]
    stanzas.append(f"[Term]\nid: {ROOT}\nname: Phenotypic abnormality\nis_a: HP:0000001\n")
    stanzas += [f"[Term]\nid: {t}\nname: sign {t[3:]}\nis_a: {parent(t)}\n" for t in SYSTEMS + BRANCHES + LEAVES]
    (folder / "hp.obo").write_text("\n".join(stanzas))
    rng = np.random.default_rng(0)
    lines = [
        "database_id\tdisease_name\tqualifier\thpo_id\treference\tevidence\tonset\tfrequency\tsex\tmodifier\taspect\tx"
    ]

    def say(disease: str, term: str, reference: str, frequency: str, aspect: str = "P") -> None:
        lines.append(f"{disease}\tDisease {disease}\t\t{term}\t{reference}\tPCS\t\t{frequency}\t\t\t{aspect}\tx")

    for i, disease in enumerate(DISEASES):
        for leaf in LEAVES[9 * i : 9 * i + 6 : 2]:
            say(disease, leaf, "PMID:2", "8/10")
        for leaf in LEAVES[9 * i + 1 : 9 * i + 6 : 2] if own_rows else []:
            say(disease, leaf, f"PMID:5;{OWN}", "9/10")
        say(disease, ["HP:0000006", "HP:0000007", "HP:0001417"][i], "PMID:2", "", "I")
    for d in range(20):
        for leaf in rng.choice(LEAVES, 14, replace=False):
            say(f"OMIM:9{d:02}", str(leaf), str(rng.choice(["PMID:3", "PMID:4"])), f"{rng.integers(1, 21)}/20")
    (folder / "phenotype.hpoa").write_text("\n".join(lines) + "\n")
    (folder / "genes_to_phenotype.txt").write_text(
        "a\tb\tc\td\te\tf\n1\tABC1\tHP:1\tx\t-\tOMIM:901\n1\tABC1\tHP:1\tx\t-\tOMIM:1\n"
    )
    return folder


def dictionary(**changes: object) -> Dictionary:
    """Three diseases: dominant, recessive, X-linked."""
    modes = ["dominant", "recessive", "x-linked"]
    words = {"type": "categorical", "missing": True}
    days = {"type": "integer", "bounds": [0, 40000], "missing": True}
    data = {
        "name": "tiny",
        "title": "tiny",
        "declared_patients": 300,
        "publications": [OWN],
        "tables": {
            "patients": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "disease": {"type": "categorical", "role": "disease", "categories": DISEASES},
                    "sex": words | {"categories": ["female", "male", "other"]},
                    "onset": words
                    | {
                        "type": "ordinal",
                        "categories": [
                            "antenatal",
                            "congenital",
                            "neonatal",
                            "infantile",
                            "childhood",
                            "juvenile",
                            "adult",
                        ],
                    },
                    "onset_days": days,
                    "last_seen_days": days,
                    "vital_status": words | {"categories": ["alive", "deceased"]},
                }
            },
            "phenotypes": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "term": {"type": "text", "role": "hpo"},
                    "status": {"type": "categorical", "categories": ["observed", "excluded"]},
                    "onset_days": days,
                }
            },
            "variants": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "gene": {"type": "text", "role": "gene", "missing": True},
                    "variant_class": {
                        "type": "categorical",
                        "categories": [
                            "missense",
                            "truncating",
                            "splice",
                            "inframe",
                            "deletion",
                            "structural",
                            "other",
                        ],
                    },
                    "allele_state": words | {"categories": ["heterozygous", "homozygous", "hemizygous"]},
                    "position": {"type": "continuous", "bounds": [0, 1], "decimals": 3, "missing": True},
                }
            },
        },
        "knowledge": {
            "diseases": {
                d: {"label": f"Disease {d}", "gene": f"ABC{i + 1}", "hgnc": f"HGNC:{i + 1}", "inheritance": modes[i]}
                for i, d in enumerate(DISEASES)
            }
        },
    }
    return Dictionary.model_validate(data | changes)


def cohort(dictionary: Dictionary) -> Cohort:
    """100 patients of each disease: leaves of the disease's own system at .7, ... .1, others at .02."""
    rng = np.random.default_rng(3)
    patients, terms, variants = [], [], []
    for i, disease in enumerate(DISEASES):
        chance = np.full(27, 0.02)
        chance[9 * i : 9 * i + 9] = np.linspace(0.7, 0.1, 9)
        for p in range(100):
            name = f"P{i}-{p}"
            patients.append((name, disease, "female" if p % 2 else "male", "neonatal", 10, 900, "alive"))
            has = rng.random(27) < chance
            terms += [(name, t, "observed", None) for t, h in zip(LEAVES, has, strict=True) if h]
            terms += [
                (name, t, "excluded", None) for t, h in zip(LEAVES, has, strict=True) if not h and rng.random() < 0.1
            ]
            variants += [(name, f"ABC{i + 1}", "missense", "heterozygous", None)] * (2 if i == 1 else 1)
    columns = {n: list(t.columns) for n, t in dictionary.tables.items()}
    tables = {"patients": patients, "phenotypes": terms, "variants": variants}
    return Cohort.checked(
        {n: pd.DataFrame(rows, columns=columns[n], dtype=object) for n, rows in tables.items()}, dictionary, "real"
    )
