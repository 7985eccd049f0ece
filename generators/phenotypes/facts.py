"""What is recorded of a patient beside terms: one vector of ones and zeros, at most one 1 in each group.

| group | categories |
|---|---|
| present | 1 for every patient: the size of each disease |
| sex, onset, vital_status | as in the dictionary |
| last_seen | age when last seen, in bins |
| alleles | homozygous, heterozygous, compound (two variants), hemizygous |
| variant_class | as in the dictionary; two variants add half each |

A patient adds at most 1 to each group, so the vector's norm is at most sqrt(groups): it is never clipped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from generators.phenotypes.catalogue import Catalogue
from generators.phenotypes.posterior import Levels
from synthgen.dictionary import MendelianDisease
from synthgen.formats.phenopackets import ONSETS, VARIANTS

if TYPE_CHECKING:
    from synthgen.cohort import Cohort

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEN_DAYS = np.array([0, 365, 1826, 4383, 6575, 14610, 40000])
"""Edges of the bins of age when last seen: 1, 5, 12, 18 and 40 years."""
GROUPS: dict[str, tuple[str, ...]] = {
    "present": ("present",),
    "sex": ("female", "male", "other"),
    "onset": tuple(ONSETS),
    "vital_status": ("alive", "deceased"),
    "last_seen": ("0", "1", "5", "12", "18", "40"),
    "alleles": ("homozygous", "heterozygous", "compound", "hemizygous"),
    "variant_class": tuple(VARIANTS),
}
WIDTH = sum(map(len, GROUPS.values()))
CLIP = math.sqrt(len(GROUPS))
MODES = ("dominant", "recessive", "x-linked")

_ALLELES = {
    "dominant": (0.02, 0.9, 0.02, 0.01),
    "recessive": (0.45, 0.1, 0.4, 0.01),
    "x-linked": (0.02, 0.4, 0.02, 0.5),
}
_EVEN = ("sex", "onset", "vital_status", "last_seen", "variant_class")
"""Groups of which nothing is presumed: each category, and not being recorded, is expected equally often."""
_ONSET_STATED, _ONSET_OTHER = 0.45, 0.06


def slices() -> dict[str, slice]:
    """Where each group stands in the vector."""
    found, start = {}, 0
    for group, categories in GROUPS.items():
        found[group] = slice(start, start + len(categories))
        start += len(categories)
    return found


def levels(catalogue: Catalogue, diseases: dict[str, MendelianDisease]) -> tuple[Ints, Levels]:
    """([diseases, WIDTH] level of each fact, what is believed of each level) from public knowledge."""
    names: list[tuple[str, float]] = []
    where = np.zeros((len(diseases), WIDTH), dtype=np.int64)
    for i, (disease, known) in enumerate(diseases.items()):
        mode = known.inheritance or _mode(catalogue, disease)
        stated_onset = _onsets(catalogue, disease)
        for group, part in slices().items():
            for j, category in enumerate(GROUPS[group]):
                key = _level(group, j, category, mode, stated_onset)
                if key not in names:
                    names.append(key)
                where[i, part.start + j] = names.index(key)
    return where, Levels.assumed(np.array([p for _, p in names]))


def _level(group: str, j: int, category: str, mode: str, onsets: frozenset[str]) -> tuple[str, float]:
    if group == "present":
        return ("present", 0.98)
    if group == "alleles":
        return (f"alleles {category} {mode}", _ALLELES[mode][j])
    if group == "sex" and mode == "x-linked":
        return (f"sex {category} x-linked", (0.2, 0.6, 0.01)[j])
    if group == "onset" and onsets:
        return ("onset stated", _ONSET_STATED) if category in onsets else ("onset other", _ONSET_OTHER)
    assert group in _EVEN
    return (f"{group} {category}", 1 / (1 + len(GROUPS[group])))


def _mode(catalogue: Catalogue, disease: str) -> str:
    names = {catalogue.ontology.name(a.term).lower() for a in catalogue.rows.get(disease, []) if a.aspect == "I"}
    text = " ".join(sorted(names))
    return "x-linked" if "x-linked" in text else "recessive" if "recessive" in text else "dominant"


def _onsets(catalogue: Catalogue, disease: str) -> frozenset[str]:
    by_code = {code: name for name, (code, _, _) in ONSETS.items()}
    rows = (a for a in catalogue.rows.get(disease, []) if a.aspect == "C" and not a.absent)
    return frozenset(by_code[a.term] for a in rows if a.term in by_code)


def encode(cohort: Cohort) -> Floats:
    """[patients, WIDTH] each patient's own facts."""
    out = np.zeros((len(cohort), WIDTH))
    where = slices()
    out[:, where["present"]] = 1
    for group in ("sex", "onset", "vital_status"):
        if group in cohort.patients:
            _mark(out, where[group], GROUPS[group], cohort.patients[group].astype(object).to_numpy())
    if "last_seen_days" in cohort.patients:
        days = cohort.patients["last_seen_days"].to_numpy(dtype=np.float64, na_value=np.nan)
        bins = np.searchsorted(SEEN_DAYS[1:-1], days, side="right").astype(float)
        known = ~np.isnan(days)
        out[np.flatnonzero(known), where["last_seen"].start + bins[known].astype(int)] = 1
    if cohort.variants is not None and len(cohort.variants):
        _mark_variants(out, where, cohort)
    return out


def _mark(out: Floats, part: slice, categories: tuple[str, ...], cells: NDArray[Any]) -> None:
    for j, category in enumerate(categories):
        out[cells == category, part.start + j] = 1


def _mark_variants(out: Floats, where: dict[str, slice], cohort: Cohort) -> None:
    assert cohort.variants is not None
    patient = cohort.ids.get_indexer(pd.Index(cohort.variants["patient_id"]))
    count = np.bincount(patient, minlength=len(cohort))
    kinds = cohort.variants["variant_class"].astype(object).to_numpy()
    state = cohort.variants["allele_state"].astype(object).to_numpy()
    for i, kind, allele in zip(patient, kinds, state, strict=True):
        if kind in VARIANTS:
            out[i, where["variant_class"].start + list(VARIANTS).index(kind)] += 1 / count[i]
        pattern = "compound" if count[i] > 1 else allele
        if pattern in GROUPS["alleles"]:
            out[i, where["alleles"].start + GROUPS["alleles"].index(pattern)] = 1
