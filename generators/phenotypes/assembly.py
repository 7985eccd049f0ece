"""Drawn arrays -> the tables of a cohort: patients with their disease's facts, terms, and variants that fit its inheritance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes import facts
from generators.phenotypes.beliefs import Beliefs, profile
from generators.phenotypes.profiles import ends
from generators.phenotypes.public import Public
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, MendelianDisease
from synthgen.errors import ConfigError
from synthgen.formats.phenopackets import ONSETS, VARIANTS
from synthgen.ontology import read_ontology
from synthgen.ontology_columns import with_terms
from synthgen.values import table

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 5000
"""Patients of one disease drawn at a time."""
Ints = NDArray[np.int64]


def assemble(
    dictionary: Dictionary,
    diseases: Mapping[str, MendelianDisease],
    column: str | None,
    public: Public,
    now: Beliefs,
    patients: int,
    rng: np.random.Generator,
    where: Mapping[str, str],
    hpo: Path | None = None,
) -> Cohort:
    """Synthetic patients, each disease as often as is believed; `where` fixes columns of `patients`. Columns that are HPO terms
    say what the patient's phenotypes say."""
    _check(dictionary, where)
    share = now.sizes / now.sizes.sum()
    disease = rng.choice(len(share), size=patients, p=share)
    if column and column in where:
        disease = np.full(patients, public.diseases.index(where[column]))
    drawn = _facts(public, now, disease, where, rng)
    values: dict[str, NDArray[Any]] = {"patient_id": _ids(patients), **drawn}
    if column:
        values[column] = disease
    columns = dictionary.tables["patients"].columns
    tables = {
        "patients": table(
            columns, {k: v for k, v in values.items() if k in columns} | _blank(columns, values, patients), patients
        ),
        "phenotypes": _phenotypes(dictionary, public, now, disease, values["patient_id"], rng),
    }
    if "variants" in dictionary.tables:
        tables["variants"] = _variants(dictionary, list(diseases.values()), disease, drawn, values["patient_id"], rng)
    return with_terms(Cohort(**tables, origin="synthetic"), dictionary, read_ontology(hpo))


def _check(dictionary: Dictionary, where: Mapping[str, str]) -> None:
    columns = dictionary.tables["patients"].columns
    for name, value in where.items():
        if name not in columns or not columns[name].discrete:
            raise ConfigError(f"where: {name} is no column of patients with categories")
        if value not in (columns[name].categories or ()):
            raise ConfigError(f"where: {value} is no category of {name}")


def _ids(patients: int) -> NDArray[Any]:
    return np.array([f"SYN-{i:07d}" for i in range(1, patients + 1)], dtype=object)


def _blank(columns: Mapping[str, Any], values: Mapping[str, Any], patients: int) -> dict[str, NDArray[Any]]:
    """Columns that this generator knows nothing of are missing."""
    return {
        name: np.full(patients, -1 if c.discrete else np.nan)
        for name, c in columns.items()
        if name not in values and (c.discrete or c.numeric)
    }


def _facts(
    public: Public, now: Beliefs, disease: Ints, where: Mapping[str, str], rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Category numbers (-1 missing) of each group, and days that lie within them."""
    means = now.facts.mean.reshape(len(public.diseases), facts.WIDTH)[disease]
    drawn: dict[str, NDArray[Any]] = {}
    for group, part in facts.slices().items():
        drawn[group] = _category(means[:, part], rng)
        if group in where:
            drawn[group] = np.full(len(disease), facts.GROUPS[group].index(where[group]))
    low, high = (np.array([ONSETS[c][k] for c in ONSETS], dtype=float) for k in (1, 2))
    drawn["onset_days"] = _days(drawn["onset"], low, high, rng)
    drawn["last_seen_days"] = _days(drawn["last_seen"], facts.SEEN_DAYS[:-1], facts.SEEN_DAYS[1:] - 1, rng)
    early = drawn["last_seen_days"] < drawn["onset_days"]
    drawn["last_seen_days"][early] = drawn["onset_days"][early]
    return drawn


def _category(shares: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """[patients] one category each, -1 with what the shares leave."""
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    chosen = (np.cumsum(shares, axis=1) < rng.random((len(shares), 1))).sum(axis=1)
    return np.where(chosen < shares.shape[1], chosen, -1)


def _days(category: Ints, low: NDArray[Any], high: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Days within each category, evenly on a log scale; NaN where there is none."""
    u = rng.random(len(category))
    first, last = low[category] + 1.0, high[category] + 1.0
    days = np.floor(first * (last / first) ** u) - 1
    return np.where(category < 0, np.nan, days)


def _phenotypes(
    dictionary: Dictionary, public: Public, now: Beliefs, disease: Ints, ids: NDArray[Any], rng: np.random.Generator
) -> pd.DataFrame:
    patient, term, excluded = [], [], []
    vocabulary = np.array(public.vocabulary, dtype=object)
    for i in np.unique(disease).tolist():
        one = profile(public, now, i)
        rows = np.flatnonzero(disease == i)
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            has, lacks = one.draw(len(part), now.frailties, rng)
            for marked, is_excluded in ((ends(has, one.implies), False), (ends(lacks, public.excludes), True)):
                who, which = np.nonzero(marked)
                patient.append(part[who])
                term.append(vocabulary[which])
                excluded.append(np.full(len(who), is_excluded))
    who = np.concatenate(patient)
    order = np.argsort(who, kind="stable")
    status = np.array(["observed", "excluded"])
    columns = dictionary.tables["phenotypes"].columns
    categories = list(columns["status"].categories or ())
    code = np.array([categories.index(s) for s in status])[np.concatenate(excluded).astype(int)]
    values = {"patient_id": ids[who[order]], "term": np.concatenate(term)[order], "status": code[order]}
    return table(columns, values | _blank(columns, values, len(who)), len(who))


def _variants(
    dictionary: Dictionary, known: list[MendelianDisease], disease: Ints, drawn: Mapping[str, NDArray[Any]],
    ids: NDArray[Any], rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """One row a variant: two for a compound heterozygote, none where the alleles are not said. Positions are simulated."""
    pattern = drawn["alleles"]
    patterns = facts.GROUPS["alleles"]
    rows = np.flatnonzero(pattern >= 0)
    rows = np.sort(np.concatenate([rows, rows[pattern[rows] == patterns.index("compound")]]))
    columns = dictionary.tables["variants"].columns
    states = list(columns["allele_state"].categories or ())
    state_of = np.array([states.index("heterozygous" if p == "compound" else p) for p in patterns])
    kinds = list(columns["variant_class"].categories or ())
    kind = drawn["variant_class"][rows]
    names = np.array([*VARIANTS, "other"], dtype=object)[kind]  # -1: the class is not said
    genes = np.array([m.gene for m in known], dtype=object)
    values: dict[str, NDArray[Any]] = {
        "patient_id": ids[rows],
        "gene": genes[disease[rows]],
        "variant_class": np.array([kinds.index(n) for n in names], dtype=np.int64),
        "allele_state": state_of[pattern[rows]],
        "position": np.round(rng.random(len(rows)), 3),
    }
    return table(
        columns, {k: v for k, v in values.items() if k in columns} | _blank(columns, values, len(rows)), len(rows)
    )
