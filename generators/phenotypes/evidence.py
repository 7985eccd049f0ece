"""What is publicly known of each (disease, term), sorted into levels of evidence.

A level is a source and a band of expected frequency: "counted in five or more published patients, 30 to 60%", "implied by an
annotated term", "seen in diseases that look like this one, below 2%". Terms of one level share one distribution of recorded
frequency (`posterior.py`), so that a cohort teaches how far to trust each kind of public knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes.catalogue import Catalogue, Floats, Stated, stated
from synthgen.dictionary import MendelianDisease
from synthgen.ontology import Annotation

SOURCES = ("counted", "few", "class", "unstated", "title", "implied", "relative", "neighbours")
"""From most to least direct: counted in >= 5 patients, in fewer, a frequency class, no frequency, the disease's own name, an
ancestor of one of these, another disease of the same gene, diseases that look alike."""
BANDS = np.array([0.02, 0.1, 0.3, 0.6, 0.85])
LEVELS = len(SOURCES) * (len(BANDS) + 1)
_MANY = 5
_TITLE = 0.8
_RELATIVE = 0.05
_NAMED = {
    "intellectual developmental disorder": "HP:0001249",
    "neurodevelopmental disorder": "HP:0012759",
    "neurodevelopmental syndrome": "HP:0012759",
    "developmental delay": "HP:0001263",
    "epileptic encephalopathy": "HP:0200134",
    "epilepsy": "HP:0001250",
    "retinitis pigmentosa": "HP:0000510",
    "polycystic kidney disease": "HP:0000113",
    "parkinson disease": "HP:0001300",
    "muscular dystrophy": "HP:0003560",
    "dysmorphic facies": "HP:0001999",
    "brain abnormalities": "HP:0012443",
}
"""What names of diseases say in other words than HPO's."""


@dataclass(frozen=True)
class Evidence:
    """`level` and `expected` are [terms]; every term has a level."""

    level: NDArray[np.int64]
    expected: Floats


def level_of(source: str, expected: Floats) -> NDArray[np.int64]:
    """The level of a source and expected frequencies."""
    return SOURCES.index(source) * (len(BANDS) + 1) + np.searchsorted(BANDS, expected, side="right")


def gather(
    catalogue: Catalogue,
    disease: str,
    rows: list[Annotation],
    known: MendelianDisease | None,
    genes: Mapping[str, frozenset[str]],
) -> Evidence:
    """All that is public about one disease.

    Args:
        rows: the disease's own annotations; of a calibration disease, those outside the publication to be foretold.
        genes: diseases of each gene; the disease's relatives are those of its own gene.
    """
    said = stated(rows, catalogue.ontology)
    titled = {t: _TITLE for t in title_terms(known.label, catalogue) if t not in said} if known else {}
    direct = {t: s.frequency for t, s in said.items()} | titled
    implied = catalogue.vector(direct)
    relatives = sorted((genes.get(known.gene, frozenset()) if known and known.gene else frozenset()) - {disease})
    kin = _mean_of(catalogue, relatives)
    known_so_far = np.maximum(implied, kin)
    alike = catalogue.neighbours(known_so_far, frozenset({disease}))
    level, expected = level_of("neighbours", alike), alike.copy()
    _lay(level, expected, "relative", kin, (kin >= _RELATIVE) & (kin >= alike))
    _lay(level, expected, "implied", np.maximum(implied, kin), implied > 0)
    place = catalogue.place
    for term, share in titled.items():
        _lay_one(level, expected, place[term], "title", share)
    for term, one in said.items():
        _lay_one(level, expected, place[term], _source(one), max(one.frequency, 0.0))
    return Evidence(level, expected)


def _source(said: Stated) -> str:
    if said.assessed:
        return "counted" if said.assessed >= _MANY else "few"
    return "class" if said.shares else "unstated"


def _lay(level: NDArray[np.int64], expected: Floats, source: str, values: Floats, where: NDArray[np.bool_]) -> None:
    level[where] = level_of(source, values[where])
    expected[where] = values[where]


def _lay_one(level: NDArray[np.int64], expected: Floats, place: int, source: str, value: float) -> None:
    level[place] = int(level_of(source, np.array([value]))[0])
    expected[place] = value


def _mean_of(catalogue: Catalogue, diseases: list[str]) -> Floats:
    places = [catalogue.diseases[d] for d in diseases if d in catalogue.diseases]
    if not places:
        return np.zeros(len(catalogue.terms))
    return np.asarray(catalogue.frequency[places].mean(axis=0)).ravel()


def title_terms(title: str, catalogue: Catalogue) -> frozenset[str]:
    """The terms that a disease's name spells out, longest first ("Optic atrophy 12" -> optic atrophy)."""
    words = re.findall(r"[a-z'/]+", title.lower())
    found: set[str] = set()
    taken = [False] * len(words)
    names = catalogue.ontology.synonyms
    for length in range(min(6, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            phrase = " ".join(words[start : start + length])
            term = _NAMED.get(phrase) or names.get(phrase, "")
            if term in catalogue.ontology.abnormalities and len(phrase) > 3 and not any(taken[start : start + length]):
                found.add(term)
                taken[start : start + length] = [True] * length
    return frozenset(found)
