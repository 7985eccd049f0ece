"""All that HPO's annotation file says of all diseases, as one matrix: who has which term, closed over ancestors.

Rows that cite the cohort's own publications were left out before this is built (`read_annotations(without=...)`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from synthgen.ontology import FREQUENCY_CLASSES, Annotation, Ontology

Floats = NDArray[np.float64]
UNSTATED = 0.5
"""An annotation without a frequency: the disease is known for it, how often is not said."""


@dataclass(frozen=True)
class Stated:
    """What one disease's annotations say of one term."""

    observed: int
    assessed: int
    shares: tuple[float, ...]
    """Middles of stated frequency classes, percentages; 0 for NOT."""

    @property
    def frequency(self) -> float:
        """The share of patients: counts where there are any (half a patient added to each side), else classes."""
        if self.assessed:
            return (self.observed + 0.5) / (self.assessed + 1)
        return float(np.mean(self.shares)) if self.shares else UNSTATED


def stated(annotations: Iterable[Annotation], ontology: Ontology) -> dict[str, Stated]:
    """What the rows of one disease say together, by current term."""
    found: dict[str, Stated] = {}
    for row in annotations:
        term = ontology.current(row.term)
        if row.aspect != "P" or term not in ontology.abnormalities:
            continue
        before = found.get(term, Stated(0, 0, ()))
        found[term] = Stated(
            before.observed + (row.observed or 0), before.assessed + (row.assessed or 0), before.shares + _shares(row)
        )
    return found


def _shares(row: Annotation) -> tuple[float, ...]:
    if row.absent:
        return (0.0,)
    if row.frequency in FREQUENCY_CLASSES:
        return (sum(FREQUENCY_CLASSES[row.frequency]) / 2,)
    if row.frequency and row.frequency.endswith("%"):
        return (min(1.0, float(row.frequency[:-1]) / 100),)
    return ()


@dataclass(frozen=True)
class Catalogue:
    """Args:
    ontology: HPO.
    terms: every term that a patient can have, ancestors first.
    closure: [terms, terms] 1 where the column is the row or its ancestor.
    rows: annotations by disease.
    diseases: the row of each disease in `frequency`.
    frequency: [diseases, terms] how often a patient of the disease has the term or one that implies it.
    background: [terms] the mean over diseases.
    """

    ontology: Ontology
    terms: tuple[str, ...]
    closure: sparse.csr_array
    rows: dict[str, list[Annotation]]
    diseases: dict[str, int]
    frequency: sparse.csr_array
    background: Floats

    @cached_property
    def place(self) -> dict[str, int]:
        """Term -> column."""
        return {t: j for j, t in enumerate(self.terms)}

    @cached_property
    def information(self) -> Floats:
        """[terms] how much a term tells of the disease: -log of how common it is (Resnik 1995)."""
        return -np.log(np.maximum(self.background, 1e-4))

    @cached_property
    def _informed(self) -> tuple[sparse.csr_array, Floats]:
        """`frequency` weighted by information, and the norm of each disease."""
        weighted = self.frequency.multiply(self.information[None, :]).tocsr()
        return weighted, np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())

    def vector(self, shares: dict[str, float]) -> Floats:
        """[terms] shares closed over ancestors: a patient has the ancestor unless all that imply it are lacking."""
        place = self.place
        direct = np.zeros(len(self.terms))
        for term, share in shares.items():
            direct[place[term]] = share
        return np.asarray(close(sparse.csr_array(direct[None, :]), self.closure).toarray()[0])

    def neighbours(self, known: Floats, but: frozenset[str], count: int = 40) -> Floats:
        """[terms] what diseases that look like this one have: mean of the nearest by cosine, weighted by information.

        Args:
            known: [terms] what is known of the disease; all zero gives the background.
            but: diseases that must not be asked (the disease itself).
        """
        query = known * self.information
        norm = np.linalg.norm(query)
        if norm == 0:
            return self.background
        weighted, norms = self._informed
        likeness = np.asarray(weighted @ query).ravel() / np.maximum(norms * norm, 1e-12)
        likeness[[self.diseases[d] for d in but if d in self.diseases]] = 0
        nearest = np.argsort(-likeness, kind="stable")[:count]
        weight = likeness[nearest] ** 2
        seen = np.asarray(weight @ self.frequency[nearest]).ravel()
        mean: Floats = (seen + 0.2 * self.background) / (weight.sum() + 0.2)
        return mean


def directions(frequency: sparse.csr_array, count: int) -> Floats:
    """[terms, count] in which directions diseases differ, each as long as they differ along it (principal components)."""
    count = min(count, min(frequency.shape) - 1)
    start = np.ones(min(frequency.shape))
    _, size, axes = svds(frequency.astype(np.float64), k=count, v0=start)
    loadings: Floats = axes.T * size / np.sqrt(frequency.shape[0])
    return loadings


def close(direct: sparse.csr_array, closure: sparse.csr_array) -> sparse.csr_array:
    """[rows, terms] shares of terms -> shares of terms or whatever implies them, as if independent: 1 - prod (1 - share)."""
    hazard = direct.copy()
    hazard.data = -np.log1p(-np.clip(hazard.data, 0, 0.995))
    closed: sparse.csr_array = (hazard @ closure).tocsr()
    closed.data = -np.expm1(-closed.data)
    return closed


def build(ontology: Ontology, annotations: Iterable[Annotation]) -> Catalogue:
    """The catalogue of all diseases in these annotations."""
    terms = tuple(t for t in ontology.ids if t in ontology.abnormalities)
    closure = ontology.closure_matrix(terms)
    rows: dict[str, list[Annotation]] = defaultdict(list)
    for row in annotations:
        rows[row.disease].append(row)
    place = {t: j for j, t in enumerate(terms)}
    entries = [
        (i, place[term], said.frequency)
        for i, disease in enumerate(rows)
        for term, said in stated(rows[disease], ontology).items()
    ]
    i, j, value = zip(*entries, strict=True)
    direct = sparse.csr_array((value, (i, j)), shape=(len(rows), len(terms)))
    frequency = close(direct, closure)
    background = np.asarray(frequency.mean(axis=0)).ravel()
    return Catalogue(ontology, terms, closure, dict(rows), {d: i for i, d in enumerate(rows)}, frequency, background)
