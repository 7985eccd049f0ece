"""Are synthetic phenotypes like the patients'? Terms are compared closed over the ontology: a patient has all that they imply.

`Profiles` is the one picture that every check looks at: which patient has (and lacks) which term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from fidelity.verdict import verdict
from synthgen.findings import Check, Evidence, Finding
from synthgen.ontology import Ontology, read_ontology

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Floats = NDArray[np.float64]
Section = Literal["fidelity", "utility", "rules"]
_COMMON = 0.1
"""A term counts as one of a disease's when a tenth of its patients have it."""
_FEWEST = 10
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


def prevalence_error(real: Floats, other: Floats) -> float:
    """Mean absolute difference of prevalence over the terms that a tenth of the real patients have."""
    common = real >= _COMMON
    return float(np.abs(real - other)[common].mean()) if common.any() else 0.0


def profile_distance(real: Floats, other: Floats) -> float:
    """Sum of the absolute differences over all terms, as a share of the real profile: invented terms count too."""
    return float(np.abs(real - other).sum() / max(real.sum(), 1e-9))


def cooccurrence_error(real: Profiles, other: Profiles, disease: str, most: int = 40) -> float:
    """Mean absolute difference of the correlations between the disease's most varied common terms."""
    prevalence = real.prevalence(disease)
    common = np.flatnonzero((prevalence >= _COMMON) & (prevalence <= 1 - _COMMON))
    chosen = np.sort(common[np.argsort(-(prevalence * (1 - prevalence))[common], kind="stable")[:most]])
    if len(chosen) < 2:
        return 0.0
    pairs = np.triu_indices(len(chosen), 1)
    both = [_correlations(p.observed[p.rows[disease]][:, chosen].toarray())[pairs] for p in (real, other)]
    return float(np.abs(both[0] - both[1]).mean())


def _correlations(x: Floats) -> Floats:
    """[terms, terms] phi coefficients; 0 where a term does not vary."""
    centred = x - x.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return np.asarray(scaled.T @ scaled)


def information(profiles: Profiles) -> Floats:
    """[terms] Resnik's information content: -log of how many of the diseases' profiles hold the term (a tenth of patients)."""
    share = np.mean([profiles.prevalence(d) >= _COMMON for d in profiles.rows], axis=0)
    return np.asarray(-np.log(np.maximum(share, 1 / (2 * max(len(profiles.rows), 1)))))


def similarity(of: Profiles, rows: NDArray[np.int64], profile: Floats, weight: Floats) -> Floats:
    """[rows] how well each patient fits a disease's profile: the share of the patient's information that is the disease's, and
    back (a symmetric, weighted Jaccard form of Resnik's measure: Pesquita et al. 2009, simGIC)."""
    own = of.observed[rows]
    shared = np.asarray(own @ (weight * profile)).ravel()
    total = np.asarray(own @ weight).ravel() + float(weight @ profile) - shared
    return np.asarray(np.divide(shared, total, out=np.zeros_like(shared), where=total > 0))


def rank(train: Profiles, test: Profiles, smoothing: float = 1.0) -> NDArray[np.int64]:
    """[test patients] place of the true disease (1 the best) by naive Bayes over terms, trained on `train`.

    A disease without training patients stands at the background's frequencies. Excluded and unassessed terms are not told
    apart: what counts is what was recorded.
    """
    diseases = sorted(set(test.rows) | set(train.rows))
    background = np.asarray(train.observed.mean(axis=0)).ravel()
    base = np.clip(background, 1e-4, 1 - 1e-4)
    frequencies = np.stack([_smoothed(train, d, base, smoothing) for d in diseases])
    seen = np.log(frequencies) - np.log1p(-frequencies)
    scores = np.asarray(test.observed @ seen.T) + np.log1p(-frequencies).sum(axis=1)
    truth = np.array([diseases.index(d) for d in test.disease])
    own = scores[np.arange(len(truth)), truth]
    return np.asarray(1 + (scores > own[:, None]).sum(axis=1))


def _smoothed(train: Profiles, disease: str, base: Floats, smoothing: float) -> Floats:
    rows = train.rows.get(disease, np.zeros(0, dtype=np.int64))
    counts = np.asarray(train.observed[rows].sum(axis=0)).ravel() if len(rows) else np.zeros(len(base))
    return np.asarray(np.clip((counts + smoothing * base) / (len(rows) + smoothing), 1e-4, 1 - 1e-4))


# Checks ----------------------------------------------------------------------------------------------------------------------
def _pictures(evidence: Evidence) -> tuple[Profiles, Profiles, Profiles, Profiles] | None:
    """(train, holdout, synthetic, floor), or None where there are no phenotypes."""
    if "phenotypes" not in evidence.dictionary.tables or evidence.synthetic.phenotypes is None:
        return None
    ontology = read_ontology()
    cohorts = (evidence.train, evidence.holdout, evidence.synthetic, evidence.floor)
    return tuple(profiles_of(c, evidence.dictionary, ontology) for c in cohorts)  # type: ignore[return-value]


def _told(profiles: Sequence[Profiles]) -> list[str]:
    """Diseases with enough patients in each."""
    return [d for d in profiles[0].rows if all(len(p.rows.get(d, ())) >= _FEWEST for p in profiles)]


def _bootstrap(values: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """95% interval of the mean of one value a disease."""
    means = rng.choice(values, size=(500, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _judged(
    check: str, metric: str, values: Floats, ceiling: Floats, floor: Floats, rng: np.random.Generator, text: str
) -> Finding:
    """A mean over diseases, lower is better; its interval is over diseases."""
    value, best, worst = float(values.mean()), float(ceiling.mean()), float(floor.mean())
    low, high = _bootstrap(values, rng) if len(values) > 1 else (0.0, 1.0)
    return Finding(check, metric, value, verdict(value, low, best, worst, "lower"), text, low=low, high=high, n=len(values),
                   ceiling=best, floor=worst, better="lower")  # fmt: skip


class TermPrevalence:
    """Share of each disease's patients who have each HPO term, ancestors included: mean absolute difference to the holdout over
    terms that a tenth have. Ceiling: training patients. Floor: the whole synthetic cohort's prevalence, whatever the disease."""

    name: str = "phenotype-prevalence"
    section: Section = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        pictures = _pictures(evidence)
        if pictures is None or not (diseases := _told(pictures[:3])):
            return []
        train, holdout, synthetic, _ = pictures
        anyone = np.asarray(synthetic.observed.mean(axis=0)).ravel()
        real = {d: holdout.prevalence(d) for d in diseases}
        value, ceiling = (
            np.array([prevalence_error(real[d], other.prevalence(d)) for d in diseases]) for other in (synthetic, train)
        )
        floor = np.array([prevalence_error(real[d], anyone) for d in diseases])
        text = (
            f"Over {len(diseases)} diseases, a term's prevalence is off by {value.mean():.3f} "
            f"(training patients: {ceiling.mean():.3f})."
        )
        return [_judged(self.name, "error", value, ceiling, floor, evidence.rng, text)]


class TermCooccurrence:
    """Correlations between a disease's common terms: mean absolute difference to the holdout's. Ceiling: training patients.
    Floor: each term drawn on its own."""

    name: str = "phenotype-cooccurrence"
    section: Section = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        pictures = _pictures(evidence)
        if pictures is None or not (diseases := _told(pictures[:3])):
            return []
        train, holdout, synthetic, _ = pictures
        value, ceiling, floor = (
            np.array([cooccurrence_error(holdout, other, d) for d in diseases])
            for other in (synthetic, train, _independent(train, evidence.rng))
        )
        text = f"Over {len(diseases)} diseases, correlations between terms are off by {value.mean():.3f}."
        return [_judged(self.name, "error", value, ceiling, floor, evidence.rng, text)]


def _independent(profiles: Profiles, rng: np.random.Generator) -> Profiles:
    """The same prevalences, each term shuffled over the patients of its disease."""
    columns = sparse.csc_array(profiles.observed)
    rows = np.array(columns.indices)
    for j in np.flatnonzero(np.diff(columns.indptr)):
        part = slice(columns.indptr[j], columns.indptr[j + 1])
        labels, counts = np.unique(profiles.disease[rows[part]], return_counts=True)
        rows[part] = np.concatenate(
            [rng.choice(profiles.rows[str(d)], size=c, replace=False) for d, c in zip(labels, counts, strict=True)]
        )
    shuffled = sparse.csc_array((columns.data, rows, columns.indptr), shape=columns.shape).tocsr()
    return Profiles(profiles.disease, shuffled, profiles.excluded, profiles.stated, profiles.terms)


class TermsPerPatient:
    """How many (most specific) terms a patient has: Kolmogorov-Smirnov distance to the holdout. Ceiling: training patients."""

    name: str = "phenotype-terms-per-patient"
    section: Section = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        pictures = _pictures(evidence)
        if pictures is None:
            return []
        train, holdout, synthetic, _ = pictures
        distance = float(stats.ks_2samp(holdout.stated, synthetic.stated).statistic)
        ceiling = float(stats.ks_2samp(holdout.stated, train.stated).statistic)
        text = (
            f"The number of terms a patient has differs by {distance:.2f} (largest gap between the two distributions)."
        )
        return [
            Finding(
                self.name,
                "distance",
                distance,
                "information",
                text,
                n=len(holdout.stated),
                ceiling=ceiling,
                better="lower",
            )
        ]


class OnsetDistribution:
    """Class of onset (HPO's antenatal to adult) among those with one: total variation distance to the holdout, over all
    diseases. Ceiling: training patients."""

    name: str = "phenotype-onset"
    section: Section = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if _pictures(evidence) is None or "onset" not in evidence.dictionary.tables["patients"].columns:
            return []
        shares = [
            c.patients["onset"].value_counts(normalize=True, sort=False).to_numpy()
            for c in (evidence.holdout, evidence.synthetic, evidence.train)
        ]
        distance, ceiling = (float(np.abs(shares[0] - other).sum() / 2) for other in shares[1:])
        text = f"{distance:.0%} of the patients would have to change their class of onset for the two cohorts to agree."
        n = int(evidence.holdout.patients["onset"].notna().sum())
        return [
            Finding(
                self.name,
                "distance",
                distance,
                "information",
                text,
                n=n,
                ceiling=ceiling,
                column="onset",
                better="lower",
            )
        ]


class SemanticSimilarity:
    """How well patients fit their disease's profile in the training patients: simGIC, the weighted Jaccard form of Resnik's
    measure. Reported as the synthetic mean, beside the holdout's (ceiling) and that of patients of other diseases (floor)."""

    name: str = "phenotype-similarity"
    section: Section = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        pictures = _pictures(evidence)
        if pictures is None or len(diseases := _told(pictures[:3])) < 2:
            return []
        train, holdout, synthetic, _ = pictures
        weight = information(train)
        mean = [_fit(p, train, diseases, diseases, weight) for p in (synthetic, holdout)]
        other = _fit(holdout, train, diseases, [*diseases[1:], diseases[0]], weight)
        low, high = _bootstrap(mean[0], evidence.rng)
        text = f"Synthetic patients fit their disease's profile at {mean[0].mean():.2f}, real ones at {mean[1].mean():.2f}."
        return [Finding(self.name, "similarity", float(mean[0].mean()), "information", text, low=low, high=high, n=len(diseases),
                        ceiling=float(mean[1].mean()), floor=float(other.mean()), better="target")]  # fmt: skip


def _fit(of: Profiles, train: Profiles, diseases: list[str], against: list[str], weight: Floats) -> Floats:
    """[diseases] mean similarity of each disease's patients to the profile of `against`."""
    pairs = zip(diseases, against, strict=True)
    return np.array([similarity(of, of.rows[d], train.prevalence(a), weight).mean() for d, a in pairs])


class ExclusionConsistency:
    """No synthetic patient has an excluded term that an observed one implies. Reads synthetic patients alone."""

    name: str = "phenotype-consistency"
    section: Section = "rules"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if "phenotypes" not in evidence.dictionary.tables or evidence.synthetic.phenotypes is None:
            return []
        found = profiles_of(evidence.synthetic, evidence.dictionary, read_ontology()).contradictions
        text = f"{found} synthetic patients have a term excluded that another of their terms implies."
        return [Finding(self.name, "contradictions", float(found), "fail" if found else "pass", text, section="rules",
                        n=len(evidence.synthetic), bound=0.0, better="lower", audience="release")]  # fmt: skip


class DiagnosisRanking:
    """Rank the disease from the phenotype: naive Bayes over terms, trained on synthetic and tested on real patients. Share with
    the right disease first, and among the first ten. Ceiling: trained on real patients. Floor: guessing."""

    name: str = "diagnosis-ranking"
    section: Section = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        pictures = _pictures(evidence)
        if pictures is None or len(pictures[0].rows) < 2:
            return []
        train, holdout, synthetic, _ = pictures
        places, best = rank(synthetic, holdout), rank(train, holdout)
        found = []
        for metric, first in (("top-1", 1), ("top-10", 10)):
            hits, ceiling = (places <= first).mean(), (best <= first).mean()
            half = 1.96 * float(np.sqrt(hits * (1 - hits) / len(places)))
            text = f"Trained on synthetic patients, the right disease is among the first {first} for {hits:.0%} of real ones."
            found.append(
                Finding(
                    self.name,
                    metric,
                    float(hits),
                    "information",
                    text,
                    section="utility",
                    low=max(0.0, hits - half),
                    high=min(1.0, hits + half),
                    n=len(places),
                    ceiling=float(ceiling),
                    floor=min(1.0, first / len(train.rows)),
                )
            )
        return found


if TYPE_CHECKING:
    _: list[Check] = [TermPrevalence(), TermCooccurrence(), TermsPerPatient(), OnsetDistribution(), SemanticSimilarity(),
                      ExclusionConsistency(), DiagnosisRanking()]  # fmt: skip
