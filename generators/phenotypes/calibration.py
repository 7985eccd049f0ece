"""How far each level of evidence can be trusted, from public diseases that are not in the cohort.

Of each such disease one publication is set aside, the evidence is gathered from all its other annotations, and what the
publication counted is the outcome: recorded in k of N patients, excluded in m of N. Nothing here has seen a patient.

The file gives one row to a term of a disease, so a publication that is set aside takes its terms with it: what this says of a
disease's own annotations would be too low. Those levels are assumed instead: six in ten patients who have a term have it
recorded, one in ten who lack it have it excluded.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from generators.phenotypes.catalogue import Catalogue, Floats
from generators.phenotypes.evidence import BANDS, LEVELS, SOURCES, gather
from generators.phenotypes.posterior import Levels, likelihood
from synthgen.dictionary import MendelianDisease
from synthgen.ontology import Annotation

Bools = NDArray[np.bool_]

DISEASES = 150
"""How many public diseases are enough."""
WORTH = 30.0
"""Public evidence on a level counts as much as this many of the cohort's own (disease, term) pairs."""
_SMALLEST = 8
_UNLIKELY = 0.05
"""Share of the terms in the lowest band that calibration looks at."""
_RECORDED, _EXCLUDED = 0.6, 0.1
_WIDTH = len(BANDS) + 1
_OWN = ("counted", "few", "class", "unstated")


def calibrate(
    catalogue: Catalogue, declared: frozenset[str], genes: Mapping[str, frozenset[str]]
) -> tuple[Levels, Levels]:
    """(levels of recorded frequency, levels of excluded frequency)."""
    observed, excluded = assumed()
    level, counts, absent, sizes = [], [], [], []
    for disease, held, rest in _publications(catalogue, declared):
        evidence = gather(catalogue, disease, rest, _as_mendelian(held[0], genes), genes)
        patients, seen, gone = _counted(catalogue, held)
        keep = _some_of_the_unlikely(disease, evidence.expected) & (evidence.level >= len(_OWN) * _WIDTH)
        level.append(evidence.level[keep])
        counts.append(seen[keep])
        absent.append(gone[keep])
        sizes.append(np.full(keep.sum(), float(patients)))
    if not level:
        return observed, excluded
    where, n, zero = np.concatenate(level), np.concatenate(sizes), np.zeros(sum(map(len, level)))
    worth = np.full(LEVELS, WORTH)
    return (
        observed.learn(where, likelihood(np.concatenate(counts), n, zero), worth),
        excluded.learn(where, likelihood(np.concatenate(absent), n, zero), worth),
    )


def assumed() -> tuple[Levels, Levels]:
    """What is expected before any calibration."""
    middle = np.tile((np.concatenate([[0.0], BANDS]) + np.concatenate([BANDS, [1.0]])) / 2, len(SOURCES))
    return Levels.assumed(_RECORDED * middle), Levels.assumed(_EXCLUDED * (1 - middle))


def _publications(
    catalogue: Catalogue, declared: frozenset[str]
) -> Iterator[tuple[str, list[Annotation], list[Annotation]]]:
    """(disease, rows of its largest publication, its other rows), for public diseases in an order that means nothing."""
    found = 0
    for disease in sorted(catalogue.rows, key=lambda d: hashlib.sha256(d.encode()).digest()):
        rows = catalogue.rows[disease]
        if disease in declared or found == DISEASES:
            continue
        by_reference = defaultdict(list)
        for row in rows:
            if row.aspect == "P" and row.assessed and row.reference.startswith("PMID:"):
                by_reference[row.reference].append(row)
        largest = max(by_reference, key=lambda r: (max(a.assessed or 0 for a in by_reference[r]), r), default="")
        held = by_reference.get(largest, [])
        if len(held) >= _SMALLEST and max(a.assessed or 0 for a in held) >= _SMALLEST:
            found += 1
            yield disease, held, [r for r in rows if r.reference != largest]


def _as_mendelian(row: Annotation, genes: Mapping[str, frozenset[str]]) -> MendelianDisease:
    gene = next((g for g, diseases in genes.items() if row.disease in diseases), None)
    return MendelianDisease(label=row.title, gene=gene)


def _counted(catalogue: Catalogue, held: list[Annotation]) -> tuple[int, Floats, Floats]:
    """(patients of the publication, [terms] how many have each term, [terms] how many it was excluded in)."""
    patients = max(a.assessed or 0 for a in held)
    share: dict[str, float] = {}
    gone = np.zeros(len(catalogue.terms))
    most = np.zeros(len(catalogue.terms))
    for row in held:
        term = catalogue.ontology.current(row.term)
        if term in catalogue.place:
            share[term] = (row.observed or 0) / patients
            gone[catalogue.place[term]] = (row.assessed or 0) - (row.observed or 0)
            for above in catalogue.ontology.ancestors(term) & catalogue.place.keys():
                most[catalogue.place[above]] = max(most[catalogue.place[above]], row.observed or 0)
    independent = patients * catalogue.vector(share)
    return patients, np.round((most + np.minimum(independent, patients)) / 2), gone


def _some_of_the_unlikely(disease: str, expected: Floats) -> Bools:
    """All terms with some expectation, and a few of the rest, whatever was counted of them: eighteen thousand zeros would teach
    nothing more, and zeros left out would teach that unlikely terms are likely."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(disease.encode()).digest()[:8], "big"))
    return np.asarray((expected > BANDS[0]) | (rng.random(len(expected)) < _UNLIKELY))
