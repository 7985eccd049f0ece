"""Everything public that the generator starts from: of each disease its terms, what is expected of them, how sure that is.

Built once from HPO's files and the dictionary (epsilon 0, no patient), then kept in the job's cache.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy import sparse

from generators.phenotypes import facts
from generators.phenotypes.calibration import assumed, calibrate
from generators.phenotypes.catalogue import Catalogue, build, directions
from generators.phenotypes.evidence import Evidence, gather
from generators.phenotypes.likeness import axes
from generators.phenotypes.posterior import Levels
from generators.phenotypes.settings import Settings
from privacy.files import write_durably
from synthgen.dictionary import Dictionary, MendelianDisease
from synthgen.errors import WorkspaceError
from synthgen.ontology import Annotation, Ontology, diseases_of_genes, read_annotations, read_ontology

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FACTORS = 40
"""Directions in which diseases differ that are kept."""
_SAYING = 3.0
"""Expected terms, with their ancestors, below which a public disease is not asked."""


@dataclass(frozen=True)
class Public:
    """Args:
    diseases: their ids.
    vocabulary: every term asked about, ancestors first.
    version: of hp.obo.
    terms: [diseases, width] positions in `vocabulary`, ascending, -1 beyond a disease's last.
    level: [diseases, width] level of evidence, -1 beyond.
    levels: [diseases, vocabulary] level of evidence of every term, asked or not.
    ancestry: [pairs, 2] positions (term, it or an ancestor of it) within the vocabulary.
    system: [vocabulary] organ system.
    directions: [vocabulary, factors] in which public diseases differ, each as long as they do.
    axes: [vocabulary, axes] directions of the question that all diseases are asked (`likeness`), about `centre` [vocabulary].
    others, others_at: public diseases outside the cohort: frequencies, and their [entries, 2] (public disease, term).
    observed, excluded: [levels, hypotheses] what is believed of each level.
    fact_level: [diseases, facts]; fact: [fact levels, hypotheses].
    strength: [diseases, 4] annotation rows, and rows that count patients: before and after those were left out that cite the
        cohort's own publications (rows, counted rows, rows left, counted rows left).
    """

    diseases: tuple[str, ...]
    vocabulary: tuple[str, ...]
    version: str
    terms: Ints
    level: Ints
    levels: Ints
    ancestry: Ints
    system: Ints
    directions: Floats
    axes: Floats
    centre: Floats
    others: Floats
    others_at: Ints
    observed: Floats
    excluded: Floats
    fact_level: Ints
    fact: Floats
    strength: Ints

    @property
    def asked(self) -> NDArray[np.bool_]:
        """[diseases, width] where there is a term."""
        return self.terms >= 0

    @cached_property
    def implies(self) -> sparse.csr_array:
        """[vocabulary, vocabulary] 1 where the row is or implies the column."""
        size = len(self.vocabulary)
        ones = np.ones(len(self.ancestry), dtype=np.float32)
        return sparse.csr_array((ones, (self.ancestry[:, 0], self.ancestry[:, 1])), shape=(size, size))

    @cached_property
    def excludes(self) -> sparse.csr_array:
        """[vocabulary, vocabulary] 1 where excluding the row excludes the column."""
        return self.implies.T.tocsr()

    def implies_of(self, disease: int) -> sparse.csr_array:
        """[terms, terms] the closure within one disease."""
        terms = self.of(disease)
        return self.implies[terms][:, terms].tocsr()

    @cached_property
    def alike(self) -> sparse.csr_array:
        """[public diseases, vocabulary] how often their patients have each term."""
        shape = (int(self.others_at[:, 0].max(initial=-1)) + 1, len(self.vocabulary))
        return sparse.csr_array(
            (self.others.astype(np.float64), (self.others_at[:, 0], self.others_at[:, 1])), shape=shape
        )

    def asking(self, likely: Floats, count: int) -> Public:
        """The same, with other terms asked of each disease: the `count` that are most `likely` [diseases, vocabulary], and all
        their ancestors."""
        best = np.argsort(-likely, axis=1, kind="stable")[:, :count]
        terms, level = _laid([np.flatnonzero(self.implies[row].sum(axis=0) > 0) for row in best], self.levels)
        return replace(self, terms=terms, level=level)

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.asked.sum(axis=1), dtype=np.int64)])

    def rows_of(self, disease: int) -> slice:
        """Where one disease stands among all (disease, term) pairs."""
        return slice(int(self._starts[disease]), int(self._starts[disease + 1]))

    def of(self, disease: int) -> Ints:
        """The positions of one disease's terms."""
        mine: Ints = self.terms[disease][self.asked[disease]]
        return mine


def diseases_of(dictionary: Dictionary) -> dict[str, MendelianDisease]:
    """Every disease of the cohort: the categories of the column whose role is `disease`, else what `knowledge` names."""
    known = dictionary.knowledge.diseases
    columns = dictionary.tables["patients"].columns.values()
    declared = next((c.categories for c in columns if c.role == "disease" and c.categories), None) or tuple(known)
    if not declared and dictionary.disease:
        declared = (dictionary.disease,)
    return {d: known.get(d, MendelianDisease(label="")) for d in declared}


_MADE: dict[str, Public] = {}


def made(dictionary: Dictionary, settings: Settings) -> Public:
    """What `make` makes; in one process the plan and the training make it once."""
    key = cache_key(dictionary, settings)
    if key not in _MADE:
        _MADE.clear()
        _MADE[key] = make(dictionary, settings)
    return _MADE[key]


def make(dictionary: Dictionary, settings: Settings) -> Public:
    """From HPO's files. Rows that cite the cohort's publications are left out before anything is built."""
    ontology = read_ontology(settings.hpo)
    rows = read_annotations(settings.hpo, without=dictionary.publications)
    genes = diseases_of_genes(settings.hpo)
    diseases = diseases_of(dictionary)
    catalogue = build(ontology, rows)
    observed, excluded = calibrate(catalogue, frozenset(diseases), genes) if diseases else assumed()
    evidence = [gather(catalogue, d, catalogue.rows.get(d, []), m, genes) for d, m in diseases.items()]
    chosen = [_chosen(catalogue, e, observed, settings.terms) for e in evidence]
    fact_level, fact = facts.levels(catalogue, diseases)
    strength = _strength(tuple(diseases), read_annotations(settings.hpo), rows)
    return _assemble(tuple(diseases), catalogue, evidence, chosen, (observed, excluded), (fact_level, fact), strength)


def _chosen(catalogue: Catalogue, evidence: Evidence, observed: Levels, count: int) -> Ints:
    """The terms most likely to be recorded, with their ancestors: columns of the catalogue, ascending."""
    likely = observed.mean[evidence.level] * (1 + 1e-3 * evidence.expected)
    best = np.argsort(-likely, kind="stable")[:count]
    return np.flatnonzero(np.asarray(catalogue.closure[best].sum(axis=0)).ravel() > 0)


def _assemble(
    diseases: tuple[str, ...],
    catalogue: Catalogue,
    evidence: list[Evidence],
    chosen: list[Ints],
    believed: tuple[Levels, Levels],
    facts_: tuple[Ints, Levels],
    strength: Ints,
) -> Public:
    union = np.unique(np.concatenate(chosen))
    inside = catalogue.closure[union][:, union].tocoo()
    vocabulary = tuple(catalogue.terms[j] for j in union)
    levels = np.stack([e.level[union] for e in evidence])
    usual = believed[0].mean[levels].mean(axis=0)
    others = _others(catalogue, frozenset(diseases), union)
    at = others.tocoo()
    return Public(
        diseases, vocabulary, catalogue.ontology.version, *_laid([np.searchsorted(union, c) for c in chosen], levels),
        levels=levels, ancestry=np.stack([inside.row, inside.col], axis=1).astype(np.int64),
        system=_systems(vocabulary, catalogue.ontology), directions=directions(catalogue.frequency, FACTORS)[union],
        axes=axes(others.toarray(), usual).astype(np.float32), centre=usual, others=at.data.astype(np.float32),
        others_at=np.stack([at.row, at.col], axis=1).astype(np.int64), observed=believed[0].weights,
        excluded=believed[1].weights, fact_level=facts_[0], fact=facts_[1].weights, strength=strength,
    )  # fmt: skip


def _laid(chosen: list[Ints], levels: Ints) -> tuple[Ints, Ints]:
    """(`terms`, `level`) of diseases with these terms each."""
    terms, level = (np.full((len(chosen), max(map(len, chosen))), -1, dtype=np.int64) for _ in range(2))
    for i, columns in enumerate(chosen):
        terms[i, : len(columns)] = columns
        level[i, : len(columns)] = levels[i, columns]
    return terms, level


def _others(catalogue: Catalogue, declared: frozenset[str], columns: Ints) -> sparse.csr_array:
    """[public diseases, columns] frequencies of the diseases outside the cohort that say more than a term or two."""
    rows = [i for disease, i in catalogue.diseases.items() if disease not in declared]
    found: sparse.csr_array = catalogue.frequency[rows][:, columns].tocsr()
    return found[np.asarray(found.sum(axis=1)).ravel() > _SAYING]


def _systems(vocabulary: tuple[str, ...], ontology: Ontology) -> Ints:
    """[vocabulary] the first organ system of each term."""
    place = {s: i for i, s in enumerate(ontology.systems)}
    return np.array([min((place[a] for a in ontology.ancestors(t) if a in place), default=0) for t in vocabulary])


def _strength(diseases: tuple[str, ...], before: list[Annotation], after: list[Annotation]) -> Ints:
    tables = []
    for rows in (before, after):
        phenotypes = [a for a in rows if a.aspect == "P"]
        tables += [Counter(a.disease for a in phenotypes), Counter(a.disease for a in phenotypes if a.assessed)]
    return np.array([[t[d] for t in tables] for d in diseases], dtype=np.int64).reshape(len(diseases), 4)


_TEXTS = ("diseases", "vocabulary", "version")


def write(public: Public, folder: Path) -> None:
    """`public.safetensors` and `public.json`."""
    values = {f.name: getattr(public, f.name) for f in fields(public)}
    arrays = {k: np.ascontiguousarray(v) for k, v in values.items() if k not in _TEXTS}
    write_durably(folder / "public.json", json.dumps({k: values[k] for k in _TEXTS}).encode())
    write_durably(folder / "public.safetensors", save(arrays))


def read(folder: Path) -> Public:
    """What `write` wrote. Raises WorkspaceError when it is missing or corrupt."""
    try:
        texts = json.loads((folder / "public.json").read_text(encoding="utf-8"))
        arrays = load((folder / "public.safetensors").read_bytes())
        return Public(tuple(texts["diseases"]), tuple(texts["vocabulary"]), texts["version"], **arrays)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        raise WorkspaceError(f"{folder}: the model's public part is missing or corrupt. Start a new run") from None


def cache_key(dictionary: Dictionary, settings: Settings) -> str:
    """Everything that `make` depends on."""
    ontology = read_ontology(settings.hpo)
    parts = [dictionary.fingerprint, settings.model_dump_json(), ontology.version, _code()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _code() -> str:
    """The text of this folder: a cache of older code is never read."""
    texts = [p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()
