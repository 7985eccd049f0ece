"""A Bayesian generator of phenotypes, variants and basic facts of patients with one of several Mendelian diseases.

    pretrain   HPO's annotations, without the cohort's own publications -> what is expected of each (disease, term)   epsilon 0
    fit        four noisy sums -> posterior of every frequency, noise-aware                                           charged
    sample     whole patients that keep to the ontology and to their disease's inheritance                            no patient

`pretrain` and then `sample`, without `fit`, is the public prior alone: epsilon 0, and no file of patients is touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from generators.phenotypes import facts, public
from generators.phenotypes.assembly import assemble
from generators.phenotypes.beliefs import Beliefs, closed_down, prior
from generators.phenotypes.breadth import BREADTH_CLIP, BREADTH_WIDTH, breadth, learn_frailties
from generators.phenotypes.evenness import evened
from generators.phenotypes.foretelling import foretell
from generators.phenotypes.learning import (
    learn_exactly,
    learn_excluded,
    learn_facts,
    learn_observed,
    likened,
    observed_question,
    terms_question,
)
from generators.phenotypes.posterior import Posterior
from generators.phenotypes.predictive import log_predictive
from generators.phenotypes.profiles import Frailty, closed, ends
from generators.phenotypes.public import Public
from generators.phenotypes.questions import Answer, Question, facts_question
from generators.phenotypes.settings import Settings
from privacy.charges import Charge
from privacy.files import write_durably
from synthgen.dictionary import parse
from synthgen.errors import ConfigError, WorkspaceError

if TYPE_CHECKING:
    from privacy.gradients import Records
    from privacy.session import Session
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.generator import Generator, Progress

__all__ = ["PhenotypeBayes", "Settings"]

_CHARGES = ("facts", "breadth", "observed", "excluded")


class PhenotypeBayes:
    """See the module."""

    modality: ClassVar[str] = "phenotypes"
    private: ClassVar[bool] = True

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any], device: str = "cpu") -> None:
        self.settings = parse(Settings, dict(settings), "generators.phenotypes")
        self.dictionary, self.device = dictionary, device
        self.diseases = public.diseases_of(dictionary)
        if "phenotypes" not in dictionary.tables or not self.diseases:
            raise ConfigError(
                "generators.phenotypes: needs the table phenotypes, and diseases: a column of patients with role: disease, or "
                "one entry in knowledge.diseases"
            )
        self._pristine: Public | None = None
        self._public: Public | None = None
        self._beliefs: Beliefs | None = None

    # What is public ----------------------------------------------------------------------------------------------------------
    def charges(self, declared_patients: int) -> Sequence[Charge]:
        """Four sums over all patients."""
        return [
            Charge(f"phenotypes/{name}", (1 / share) ** 0.5)
            for name, share in zip(_CHARGES, self.settings.shares, strict=True)
        ]

    def foretell(self, declared_patients: int, charges: Sequence[Charge]) -> Sequence[str]:
        """For the plan: how much patients of this number will add to public knowledge at these charges, from public numbers."""
        public_ = public.made(self.dictionary, self.settings)
        noise = next(c.noise_multiplier for c in charges if c.name == f"phenotypes/{_CHARGES[2]}")
        said = foretell(public_, declared_patients, noise, self.settings.clip_quantile)
        bare = int((public_.strength[:, 2] == 0).sum())
        return [
            f"phenotypes: {bare} of {len(self.diseases)} diseases have no public annotation that is free of this cohort's "
            f"publications. Public knowledge leaves the frequency of a disease's terms unsure by {said.before:.2f}; "
            f"{said.each:.0f} patients of each disease narrow that to {said.after:.2f}"
        ]

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        """Reads HPO's files; the same for every seed."""
        folder = cache / f"phenotypes-{public.cache_key(self.dictionary, self.settings)}"
        progress("public knowledge of phenotypes", 0, 1)
        if not (folder / "public.safetensors").exists():
            folder.mkdir(parents=True, exist_ok=True)
            public.write(public.made(self.dictionary, self.settings), folder)
        self._pristine = self._public = public.read(folder)
        self._beliefs = prior(self._public, self.dictionary.declared_patients)
        progress("public knowledge of phenotypes", 1, 1)

    @property
    def public(self) -> Public:
        """Public knowledge, and (after `fit`) the terms of each disease that its patients made likely. Raises WorkspaceError
        before `pretrain` or `load`."""
        if self._public is None:
            raise WorkspaceError("generators.phenotypes: nothing is known yet; pretrain or load it first")
        return self._public

    @property
    def beliefs(self) -> Beliefs:
        """What is believed now: the prior, or the posterior after `fit`."""
        if self._beliefs is None:
            raise WorkspaceError("generators.phenotypes: nothing is known yet; pretrain or load it first")
        return self._beliefs

    # Patients ----------------------------------------------------------------------------------------------------------------
    def encode(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        """`disease` [patients] (-1 for an unknown one), `facts` [patients, facts], `breadth` [patients, bins], and `observed`
        and `excluded` [patients, vocabulary], closed over the ontology; of an unknown disease, none."""
        known = self.public
        disease = self._disease_of(cohort)
        marked = self._marked(cohort)
        rows = np.flatnonzero(disease >= 0)
        has = closed(marked["observed"][rows], known.implies)
        stated = marked["excluded"][rows] & ~has
        out = {k: np.zeros((len(cohort), len(known.vocabulary)), dtype=np.float32) for k in ("observed", "excluded")}
        out["observed"][rows] = has
        out["excluded"][rows] = closed_down(stated, has, known.implies)
        spread = np.zeros((len(cohort), BREADTH_WIDTH))
        both = (ends(has, known.implies), ends(stated, known.excludes))
        spread[rows] = np.concatenate([breadth(m, known.system) for m in both], axis=1)
        return {
            "disease": torch.from_numpy(disease),
            "facts": torch.from_numpy(facts.encode(cohort)),
            "breadth": torch.from_numpy(spread),
            **{k: torch.from_numpy(v) for k, v in out.items()},
        }

    def _disease_of(self, cohort: Cohort) -> np.ndarray:
        if self._column is None:
            return np.zeros(len(cohort), dtype=np.int64)
        place = {d: i for i, d in enumerate(self.public.diseases)}
        return np.array([place.get(d, -1) for d in cohort.patients[self._column]], dtype=np.int64)

    @property
    def _column(self) -> str | None:
        columns = self.dictionary.tables["patients"].columns
        return next((name for name, c in columns.items() if c.role == "disease"), None)

    def _marked(self, cohort: Cohort) -> dict[str, np.ndarray]:
        """[patients, vocabulary] terms as they were stated; a term outside the vocabulary counts as what it implies in it."""
        from synthgen.ontology import read_ontology

        ontology = read_ontology(self.settings.hpo)
        place = {t: j for j, t in enumerate(self.public.vocabulary)}
        table = cohort.phenotypes
        out = {k: np.zeros((len(cohort), len(place)), dtype=bool) for k in ("observed", "excluded")}
        if table is None:
            return out
        patient = cohort.ids.get_indexer(pd.Index(table["patient_id"]))
        for i, term, status in zip(patient, table["term"], table["status"].astype(object), strict=True):
            current = ontology.current(term)
            if current is not None and status == "observed":
                out["observed"][i, [place[a] for a in ontology.ancestors(current) if a in place]] = True
            elif current in place:
                out["excluded"][i, place[current]] = True
        return out

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        """Everything learnt from patients: four sums, each over all of them, each patient's in their own disease."""
        if self._pristine is None:
            raise WorkspaceError("generators.phenotypes: nothing is known yet; pretrain it first")
        known, count = self._pristine, self.settings.terms
        now = prior(known, session.declared_patients)
        progress("counts of phenotypes", 0, 4)
        now = learn_facts(known, now, self._ask(session, "facts", facts_question(len(known.diseases))))
        progress("counts of phenotypes", 1, 4)
        breadth_ = self._ask(session, "breadth", Question(np.ones(BREADTH_WIDTH), BREADTH_CLIP))
        progress("counts of phenotypes", 2, 4)
        if session.private:
            known, now = self._learn_terms(session, now, breadth_)
        else:
            everything = Question(np.ones((len(known.diseases), len(known.vocabulary))), np.inf)
            counts = {s: self._ask(session, s, everything).values for s in ("observed", "excluded")}
            known, now = learn_exactly(known, now, counts, count)
            now = learn_frailties(known, now, breadth_)
        self._public, self._beliefs = known, now
        progress("counts of phenotypes", 4, 4)

    def _learn_terms(self, session: Session, now: Beliefs, breadth_: Answer) -> tuple[Public, Beliefs]:
        assert self._pristine is not None
        quantile = self.settings.clip_quantile
        observed = self._ask(session, "observed", observed_question(self._pristine, now, quantile))
        known, now = likened(self._pristine, now, observed, self.settings.terms)
        now = learn_observed(known, now, observed)
        loud = session.charge("phenotypes/excluded").noise_multiplier
        excluded = self._ask(session, "excluded", terms_question(known, now, "excluded", loud, quantile))
        now = learn_frailties(known, learn_excluded(known, now, excluded), breadth_)
        now = evened(known, learn_observed(known, now, observed), observed)  # of patients as unequal as they are
        return known, learn_excluded(known, now, excluded)

    def _ask(self, session: Session, name: str, question: Question) -> Answer:
        """The noisy sum over patients; without privacy the exact one, by `reveal`."""
        charge, shape = f"phenotypes/{name}", question.weights.shape
        if not session.private:
            return Answer(self._counted(session.reveal(), name) * question.weights, 0.0, question)

        def statistic(records: Records) -> torch.Tensor:
            if question.strategies:
                return self._beside(records, self._combined(records, name, question))
            vectors = records[name] if name == "breadth" else self._beside(records, records[name])
            return vectors * torch.from_numpy(question.weights).to(vectors).flatten()

        values = session.sum(statistic, question.clip_norm, charge).numpy().reshape(shape)
        return Answer(values, session.error(charge, question.clip_norm) * session.expected(charge), question)

    def _counted(self, records: Records, name: str) -> np.ndarray:
        """[diseases, numbers] sums over the patients of each disease; of `breadth` [numbers] over all."""
        vectors = records[name].double()
        if name == "breadth":
            return vectors.sum(dim=0).numpy()
        mine = records["disease"] >= 0
        sums = torch.zeros((len(self.public.diseases), vectors.shape[1]), dtype=torch.float64)
        return sums.index_add_(0, records["disease"][mine], vectors[mine]).numpy()

    def _beside(self, records: Records, mine: torch.Tensor) -> torch.Tensor:
        """[patients, diseases x numbers] a patient's numbers in the place of their disease, zero in all others."""
        out = torch.zeros((len(mine), len(self.public.diseases), mine.shape[1]), dtype=torch.float32)
        known = records["disease"] >= 0
        out[known, records["disease"][known]] = mine[known].to(torch.float32)
        return out.flatten(1)

    def _combined(self, records: Records, name: str, question: Question) -> torch.Tensor:
        """[patients, questions] each patient's marks, combined as their own disease's strategy says."""
        out = torch.zeros((len(records[name]), question.weights.shape[1]))
        for i in records["disease"].unique().tolist():
            rows = (records["disease"] == i).nonzero()[:, 0]
            if i >= 0:
                asked = question.strategies[i]
                marks = records[name][rows][:, asked.terms].double().numpy()
                vectors = torch.from_numpy(asked.vectors(marks)).to(out)
                out[rows.unsqueeze(1), torch.arange(vectors.shape[1])] = vectors
        return out

    # Synthetic patients ------------------------------------------------------------------------------------------------------
    def sample(self, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
        """Whole synthetic patients: what the public prior says before `fit`, the posterior after it."""
        return assemble(
            self.dictionary, self.diseases, self._column, self.public, self.beliefs, patients, rng, where or {},
            self.settings.hpo,
        )  # fmt: skip

    def log_likelihood(self, cohort: Cohort) -> np.ndarray:
        """[patients] log probability of what is recorded of each: terms, exclusions and facts, given the disease."""
        marked = self._marked(cohort)
        observed = closed(marked["observed"], self.public.implies)
        disease, told = self._disease_of(cohort), facts.encode(cohort)
        return log_predictive(self.public, self.beliefs, disease, observed, marked["excluded"], told)

    def intervals(
        self, disease: str, patients: int, rng: np.random.Generator, coverage: float = 0.9
    ) -> dict[str, tuple[float, float]]:
        """Of each asked term, between which shares of `patients` new ones of this disease it should be recorded."""
        known = self.public
        i = known.diseases.index(disease)
        mine = Posterior(self.beliefs.observed.mass[known.rows_of(i)])
        bounds = mine.predictive(patients, rng, coverage=coverage)
        return {known.vocabulary[j]: (float(a), float(b)) for j, (a, b) in zip(known.of(i), bounds, strict=True)}

    # Files -------------------------------------------------------------------------------------------------------------------
    def save(self, folder: Path) -> None:
        """`public.*`, `beliefs.safetensors` and `beliefs.json`."""
        now = self.beliefs
        public.write(self.public, folder)
        masses = {k: getattr(now, k).mass.astype(np.float32) for k in ("observed", "excluded", "facts")}
        rest = {f"rest_{k}": v.astype(np.float32) for k, v in zip(("observed", "excluded"), now.rest, strict=True)}
        write_durably(folder / "beliefs.safetensors", save({"sizes": now.sizes, **masses, **rest}))
        numbers = {"unsure": now.unsure, "frailties": [vars(f) for f in now.frailties]}
        write_durably(folder / "beliefs.json", json.dumps(numbers, allow_nan=False).encode())

    def load(self, folder: Path) -> None:
        """What `save` wrote."""
        self._pristine = self._public = public.read(folder)
        try:
            arrays = load((folder / "beliefs.safetensors").read_bytes())
            numbers = json.loads((folder / "beliefs.json").read_text(encoding="utf-8"))
            masses = {k: Posterior(arrays[k].astype(np.float64)) for k in ("observed", "excluded", "facts")}
            rest = (arrays["rest_observed"], arrays["rest_excluded"])
            first, second = (Frailty(**f) for f in numbers["frailties"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            raise WorkspaceError(f"{folder}: the model is missing or corrupt. Start a new run") from None
        self._beliefs = Beliefs(arrays["sizes"], numbers["unsure"], **masses, rest=rest, frailties=(first, second))


if TYPE_CHECKING:
    _: type[Generator] = PhenotypeBayes
