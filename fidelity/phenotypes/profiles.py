"""The one picture that every check of phenotypes looks at: which patient has (and lacks) which term, closed over the ontology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from fidelity.verdict import verdict
from synthgen.findings import Evidence, Finding
from synthgen.ontology import Ontology, read_ontology

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Floats = NDArray[np.float64]
COMMON = 0.1
"""A term counts as one of a disease's when a tenth of its patients have it."""
FEWEST = 10
"""Patients of a disease below which nothing is said of it."""


@dataclass(frozen=True)
class Profiles:
    """Args:
    disease: [patients].
    observed: [patients, terms] closed upwards; excluded: [patients, terms] closed downwards.
    stated: [patients] how many most specific terms were observed.
    terms: every abnormality of the ontology, ancestors first.
    """

    disease: NDArray[np.str_]
    observed: sparse.csr_array
    excluded: sparse.csr_array
    stated: NDArray[np.int64]
    terms: tuple[str, ...]

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """The patients of each disease."""
        return {d: np.flatnonzero(self.disease == d) for d in np.unique(self.disease).tolist()}

    def prevalence(self, disease: str) -> Floats:
        """[terms] share of the disease's patients who have each."""
        rows = self.rows.get(disease, np.zeros(0, dtype=np.int64))
        if not len(rows):
            return np.zeros(len(self.terms))
        return np.asarray(self.observed[rows].mean(axis=0)).ravel()

    @property
    def contradictions(self) -> int:
        """Patients with an excluded term that an observed one implies."""
        both = self.observed.multiply(self.excluded)
        return int((np.asarray(both.sum(axis=1)).ravel() > 0).sum())


def profiles_of(cohort: Cohort, dictionary: Dictionary, ontology: Ontology) -> Profiles:
    """The picture of a cohort; terms unknown to the ontology are left out."""
    assert cohort.phenotypes is not None
    terms = tuple(t for t in ontology.ids if t in ontology.abnormalities)
    place = {t: j for j, t in enumerate(terms)}
    closure = ontology.closure_matrix(terms)
    patient = cohort.ids.get_indexer(pd.Index(cohort.phenotypes["patient_id"]))
    column = np.array([place.get(ontology.current(t) or "", -1) for t in cohort.phenotypes["term"]], dtype=np.int64)
    status = cohort.phenotypes["status"].astype(str).to_numpy()
    shape = (len(cohort), len(terms))

    def marks(which: str) -> sparse.csr_array:
        keep = (status == which) & (column >= 0)
        return sparse.csr_array((np.ones(keep.sum(), np.float32), (patient[keep], column[keep])), shape=shape)

    hits = marks("observed")
    implied = (hits @ (closure - sparse.eye_array(len(terms)))) > 0
    stated = (hits > 0).astype(np.int8) - (hits > 0).multiply(implied).astype(np.int8)
    name = next((n for n, c in dictionary.tables["patients"].columns.items() if c.role == "disease"), None)
    disease = cohort.patients[name].astype(str).to_numpy() if name else np.full(len(cohort), "all")
    return Profiles(
        disease.astype(np.str_),
        _ones(hits @ closure),
        _ones(marks("excluded") @ closure.T),
        np.asarray(stated.sum(axis=1)).ravel().astype(np.int64),
        terms,
    )


def _ones(counts: sparse.csr_array) -> sparse.csr_array:
    marked = sparse.csr_array(counts > 0).astype(np.float32)
    marked.eliminate_zeros()
    return marked


def pictures(evidence: Evidence) -> tuple[Profiles, Profiles, Profiles, Profiles] | None:
    """(train, holdout, synthetic, floor), or None where there are no phenotypes."""
    if "phenotypes" not in evidence.dictionary.tables or evidence.synthetic.phenotypes is None:
        return None
    ontology = read_ontology()
    cohorts = (evidence.train, evidence.holdout, evidence.synthetic, evidence.floor)
    return tuple(profiles_of(c, evidence.dictionary, ontology) for c in cohorts)  # type: ignore[return-value]


def told(profiles: Sequence[Profiles]) -> list[str]:
    """Diseases with enough patients in each."""
    return [d for d in profiles[0].rows if all(len(p.rows.get(d, ())) >= FEWEST for p in profiles)]


def interval(values: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95% interval of the mean of one value a disease."""
    means = rng.choice(values, size=(500, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def judged(
    check: str, metric: str, values: Floats, ceiling: Floats, floor: Floats, rng: np.random.Generator, text: str
) -> Finding:
    """A mean over diseases, lower is better; its interval is over diseases."""
    value, best, worst = float(values.mean()), float(ceiling.mean()), float(floor.mean())
    low, high = interval(values, rng) if len(values) > 1 else (0.0, 1.0)
    return Finding(check, metric, value, verdict(value, low, best, worst, "lower"), text, low=low, high=high, n=len(values),
                   ceiling=best, floor=worst, better="lower")  # fmt: skip
