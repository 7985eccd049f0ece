"""The phenotype generator and its checks, on a made-up ontology whose every number is known."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import tiny_hpo as tiny
import torch
from conftest import ROOT
from google.protobuf.json_format import Parse
from scipy import sparse, special, stats
from yardstick import at_most

from fidelity.phenotypes import profiles_of
from fidelity.phenotypes.prevalence import prevalence_error
from generators.phenotypes import PhenotypeBayes, breadth, calibration, evenness, facts, likeness, questions
from generators.phenotypes.evidence import SOURCES
from generators.phenotypes.foretelling import foretell
from generators.phenotypes.learning import learn_sizes
from generators.phenotypes.posterior import GRID, Levels, Posterior, likelihood, model
from generators.phenotypes.profiles import Frailty, Profile, closed, ends, own_hazards
from generators.phenotypes.public import Public
from generators.phenotypes.strategy import Strategy, fill, knowledge, strategy, told
from generators.phenotypes.strategy import model as joint_model
from privacy.charges import Charge
from privacy.journal import Journal, Query
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.formats.phenopackets import faults, packets
from synthgen.ontology import read_ontology

QUIET = dict.fromkeys(("phenotypes/facts", "phenotypes/breadth", "phenotypes/observed", "phenotypes/excluded"), 1e-3)


def silent(*_: object) -> None:
    """No progress."""


def door(records, noise: float = 1e-3, seed: int = 0, folder: Path | None = None, n: int = 300) -> Session:
    return Session(records, [Charge(c, noise) for c in QUIET], n, Noise(seed), Journal(folder))


@pytest.fixture(scope="module")
def hpo(tmp_path_factory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("hpo"))


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return tiny.dictionary()


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def made(dictionary: Dictionary, hpo: Path, cache: Path) -> PhenotypeBayes:
    generator = PhenotypeBayes(dictionary, {"hpo": str(hpo), "terms": 40})
    generator.pretrain(0, cache, silent)
    return generator


@pytest.fixture
def generator(dictionary: Dictionary, hpo: Path, cache: Path) -> PhenotypeBayes:
    return made(dictionary, hpo, cache)


@pytest.fixture(scope="module")
def real(dictionary: Dictionary) -> Cohort:
    return tiny.cohort(dictionary)


# Posterior -------------------------------------------------------------------------------------------------------------------
def test_without_noise_the_posterior_is_the_conjugate_beta():
    at = int(np.flatnonzero((GRID[:, 1] == 4.0) & (np.abs(GRID[:, 0] - 0.3) < 0.025))[0])
    weights = np.zeros((1, len(GRID)))
    weights[0, at] = 1
    p, kappa = GRID[at]
    level = np.zeros(3, dtype=np.int64)
    counts, n = np.array([0.0, 7.0, 20.0]), np.full(3, 20.0)
    found = Posterior.of(level, Levels(weights), likelihood(counts, n, np.zeros(3))).mean
    assert found == pytest.approx((p * kappa + counts) / (kappa + 20), abs=0.004)


def test_with_endless_noise_the_posterior_is_the_prior_and_with_little_noise_the_data():
    levels = Levels.assumed(np.array([0.2]))
    level, n = np.zeros(1, dtype=np.int64), np.array([1000.0])
    means = [
        Posterior.of(level, levels, likelihood(np.array([700.0]), n, np.array([noise]))).mean[0] for noise in (1e7, 1.0)
    ]
    assert means[0] == pytest.approx(levels.mean[0], abs=1e-3)
    assert means[1] == pytest.approx(0.7, abs=0.01)


def test_levels_are_learnt_from_many_noisy_pairs():
    rng = np.random.default_rng(0)
    f = rng.beta(0.4 * 8, 0.6 * 8, 3000)
    noisy = rng.binomial(30, f) + rng.normal(0, 10, 3000)
    level = np.zeros(3000, dtype=np.int64)
    learnt = Levels.vague(1).learn(level, likelihood(noisy, np.full(3000, 30.0), np.full(3000, 10.0)))
    assert learnt.mean[0] == pytest.approx(0.4, abs=0.02)
    assert learnt.weights[0] @ np.log(GRID[:, 1]) == pytest.approx(np.log(8), abs=0.8)


def test_intervals_cover_what_the_model_says_they_cover():
    rng = np.random.default_rng(1)
    f = rng.beta(1, 3, 600)
    n, noise = np.full(600, 40.0), np.full(600, 9.0)
    seen = likelihood(rng.binomial(40, f) + rng.normal(0, 9, 600), n, noise)
    level = np.zeros(600, dtype=np.int64)
    posterior = Posterior.of(level, Levels.vague(1).learn(level, seen), seen)
    low, high = posterior.predictive(40, rng).T
    new = rng.binomial(40, f) / 40
    covered = ((new >= low) & (new <= high)).mean()
    assert 0.87 < covered < 0.97  # discrete: a little more than 90%


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pyro_s_nuts_finds_the_posterior_that_quadrature_finds():
    import pyro
    from pyro.infer import MCMC, NUTS

    pyro.set_rng_seed(0)
    torch.manual_seed(0)
    chosen = [int(np.flatnonzero(GRID[:, 1] == 4.0)[k]) for k in (14, 20)]
    weights = np.zeros((1, len(GRID)))
    weights[0, chosen] = 0.5
    answer, n, noise = np.array([2.0, 14.0, 25.0]), np.full(3, 30.0), np.full(3, 5.0)
    level = np.zeros(3, dtype=np.int64)
    seen = likelihood(answer, n, noise)
    joint = [Posterior.of(level, Levels(np.eye(len(GRID))[[k]]), seen).mean for k in chosen]
    evidence = np.array(
        [np.log((Levels(np.eye(len(GRID))[[k]]).prior[level] * seen).sum(axis=1)).sum() for k in chosen]
    )
    share = np.exp(evidence - evidence.max())
    expected = (share / share.sum()) @ np.array(joint)
    sampler = MCMC(NUTS(model), num_samples=400, warmup_steps=150, disable_progbar=True)
    sampler.run(
        *(torch.as_tensor(a) for a in (level, weights[:, chosen], n, noise, answer)), torch.as_tensor(GRID[chosen])
    )
    drawn = sampler.get_samples()["frequency_0"]
    assert drawn.mean(dim=0).numpy() == pytest.approx(expected, abs=0.035)
    assert max(v.max() for k, v in sampler.diagnostics()["frequency_0"].items() if k == "r_hat") < 1.05


# Profiles --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("frailty", [Frailty(0.5, 2.0), Frailty(5.0, 0.4, share=0.2), Frailty(1e6, 1e6)])
def test_frailty_leaves_every_frequency_as_it_is(frailty: Frailty):
    wanted = np.array([0.01, 0.2, 0.6, 0.95])
    assert frailty.frequency(frailty.hazard(wanted)) == pytest.approx(wanted, rel=0.01)
    rng = np.random.default_rng(0)
    factor = frailty.draw(200_000, 1, rng)
    got = (rng.random((200_000, 4)) < -np.expm1(-frailty.hazard(wanted) * factor)).mean(axis=0)
    assert got == pytest.approx(wanted, abs=0.006)


def test_own_hazards_add_up_along_the_ontology():
    implies = sparse.csr_array(np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]]))  # 0 is the parent of 1 and 2
    own = own_hazards(np.array([1.0, 0.3, 0.2]), np.ones(3), implies)
    assert own == pytest.approx([0.5, 0.3, 0.2], abs=0.01)
    clash = own_hazards(np.array([0.1, 0.5, 0.5]), np.array([1e-6, 1.0, 1.0]), implies)
    assert clash[1:] == pytest.approx([0.5, 0.5], abs=0.02)  # the certain children correct the uncertain parent


def test_severity_makes_terms_of_one_patient_go_together():
    size = 4
    profile = Profile(
        sparse.csr_array(np.eye(size, dtype=np.float32)),
        np.zeros(size, dtype=np.int64),
        1,
        np.full(size, 0.7),
        np.zeros(size),
    )
    rng = np.random.default_rng(0)
    rho = []
    for shape in (0.5, 1e6):
        has, _ = profile.draw(20_000, (Frailty(shape, 1e6, share=1.0), Frailty(1, 1)), rng)
        rho.append(np.corrcoef(has.T)[0, 1])
    assert rho[0] > 0.2
    assert abs(rho[1]) < 0.03


# What is public --------------------------------------------------------------------------------------------------------------
def _level(public: Public, disease: int, term: str) -> str:
    place = public.of(disease).tolist().index(public.vocabulary.index(term))
    return SOURCES[int(public.level[disease, place]) // 6]


def test_rows_that_cite_the_cohort_s_publications_are_no_prior(generator: PhenotypeBayes, hpo: Path, cache: Path):
    public = generator.public
    assert public.strength.tolist() == [[6, 6, 3, 3]] * 3  # rows and counted rows, before and after
    assert _level(public, 0, tiny.LEAVES[0]) == "counted"
    assert _level(public, 0, tiny.LEAVES[1]) != "counted"
    trusting = made(tiny.dictionary(publications=[]), hpo, cache)
    assert _level(trusting.public, 0, tiny.LEAVES[1]) == "counted"


def test_the_prior_is_the_same_as_if_the_barred_rows_had_never_been_there(generator, dictionary, tmp_path):
    clean = made(dictionary, tiny.write(tmp_path, own_rows=False), tmp_path)
    for name in ("vocabulary", "terms", "level", "observed", "excluded", "fact_level"):
        assert np.array_equal(getattr(clean.public, name), getattr(generator.public, name)), name


def test_prior_only_samples_without_fit_and_opens_no_file_of_patients(dictionary, hpo, tmp_path):
    patients = tmp_path / "patients"
    patients.mkdir()
    (patients / "cohort.zip").symlink_to(patients / "nowhere")  # whoever opens it fails, root included
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    cohort = made(dictionary, hpo, tmp_path / "cache").sample(50, np.random.default_rng(0))
    seen = list(opened)
    assert len(cohort) == 50
    assert any("hp.obo" in name or "public" in name for name in seen)  # the hook does see files
    assert not [name for name in seen if str(patients) in name]
    with pytest.raises(FileNotFoundError):
        (patients / "cohort.zip").read_bytes()


def test_calibration_looks_at_unlikely_terms_whatever_was_counted_of_them():
    expected = np.r_[np.zeros(40_000), np.full(100, 0.5)]
    kept = calibration._some_of_the_unlikely("OMIM:1", expected)
    assert kept[:40_000].mean() == pytest.approx(0.05, abs=0.005)
    assert kept[40_000:].all()


# Learning --------------------------------------------------------------------------------------------------------------------
def _error(generator: PhenotypeBayes, real: Cohort) -> float:
    ontology = read_ontology(generator.settings.hpo)
    pictures = [
        profiles_of(c, generator.dictionary, ontology) for c in (real, generator.sample(6000, np.random.default_rng(0)))
    ]
    return float(np.mean([prevalence_error(*(p.prevalence(d) for p in pictures)) for d in tiny.DISEASES]))


def test_the_patients_bring_the_model_nearer_and_less_noise_nearer_still(generator: PhenotypeBayes, real: Cohort):
    errors = [_error(generator, real)]
    for noise in (4.0, 1e-3):
        generator.fit(door(generator.encode(real), noise), 0, silent)
        errors.append(_error(generator, real))
    assert errors[0] > 1.3 * errors[1] > 1.3 * errors[2]
    assert errors[2] < 0.05
    assert generator.beliefs.sizes == pytest.approx([100] * 3, rel=0.02)


def test_sizes_are_shrunk_towards_each_other_as_far_as_their_noise_asks():
    rng = np.random.default_rng(0)
    truth = np.exp(rng.normal(np.log(20), 0.6, 200))
    answer = truth + rng.normal(0, 10, 200)
    found, unsure = learn_sizes(answer, 10.0, float(truth.mean()))
    error = np.sqrt(((found - truth) ** 2).mean())
    linear = truth.var() / (truth.var() + 100) * (answer - truth.mean()) + truth.mean()  # the best that is linear
    assert error < 1.05 * np.sqrt(((linear - truth) ** 2).mean()) < np.sqrt(((answer - truth) ** 2).mean())
    assert unsure == pytest.approx(error, rel=0.25)
    assert learn_sizes(answer, 1e-3, 20.0)[0][answer > 1] == pytest.approx(answer[answer > 1], rel=0.01)
    assert (learn_sizes(answer[:1], 10.0, 20.0)[0], learn_sizes(answer[:1], 10.0, 20.0)[1]) == (20.0, 0.0)


def test_a_distribution_of_frequencies_moves_in_its_logit():
    narrow = Posterior.from_mass(likelihood(np.array([300.0, 20.0]), np.full(2, 1000.0), np.full(2, 8.0)))
    logit = special.logit(narrow.mean)
    assert narrow.shifted(np.zeros(2)).mean == pytest.approx(narrow.mean, abs=1e-3)
    assert special.logit(narrow.shifted(np.array([0.8, 0.8])).mean) == pytest.approx(logit + 0.8, abs=0.1)
    wide = Posterior.from_mass(np.ones((1, len(narrow.mass[0]))))
    wanted = special.expit(special.logit(wide.mean) + 1.0)
    gaps = [abs(p.mean - wanted)[0] for p in (wide.shifted(np.ones(1)), evenness._moved(wide, np.ones(1)))]
    assert gaps[1] < 0.5 * gaps[0]


def test_an_answer_of_noise_alone_makes_no_term_likelier_on_average_and_little_of_it_says_what_it_says():
    rng = np.random.default_rng(2)
    axes, sizes = rng.normal(0, 0.05, (30, 8)), np.full(4000, 15.0)
    error = 1.5 / sizes
    drawn = evenness.said(axes, rng.normal(0, 1, (4000, 8)) * error[:, None], error, sizes)
    assert np.exp(drawn).mean() == pytest.approx(1, abs=0.01)
    assert drawn.std() > 0.05
    beyond = np.full((2, 8), 0.1)
    error, many = np.array([1e-6, 1.0]), np.full(2, 1e6)
    quiet, loud = evenness.said(axes, beyond, error, many) - evenness.said(axes, 0 * beyond, error, many)
    assert quiet == pytest.approx(evenness._STEP * axes @ beyond[0], rel=1e-3)
    assert loud == pytest.approx(0.04 * quiet, rel=1e-3)  # (g / (g + 1)) squared


def test_noise_does_not_decide_how_many_terms_a_disease_has(generator: PhenotypeBayes, real: Cohort):
    logits = special.logit(np.array([[0.1, 0.4, 0.02], [0.3, 0.9, 0.5]]))
    count = np.array([0.9, 0.9])
    assert special.expit(logits + evenness.offsets(logits, count)[:, None]).sum(axis=1) == pytest.approx(
        count, rel=1e-3
    )
    counts = {}
    for noise in (0.01, 30.0):
        generator.fit(door(generator.encode(real), noise), 0, silent)
        counts[noise] = np.log(evenness.frequencies(generator.public, generator.beliefs).sum(axis=1))
    assert np.ptp(counts[30.0]) < 0.3 * np.ptp(counts[0.01])


def _alike(public: Public, answer: np.ndarray, noise: float) -> np.ndarray:
    known = np.tile(public.centre, (len(public.diseases), 1))
    return likeness.expected(public, known, answer, np.full(len(known), noise))


def test_patients_who_resemble_a_public_disease_are_expected_to_have_what_it_has(generator: PhenotypeBayes):
    public = generator.public
    target = public.alike.toarray()[3]
    away = (target - public.alike.toarray().mean(axis=0)) @ public.axes
    answer = np.tile(0.5 * away / np.linalg.norm(away), (3, 1))
    near, noise_alone = _alike(public, answer, 0.01), _alike(public, answer, 1e3)
    distance = [np.abs(e[0] - target).sum() for e in (near, noise_alone)]
    assert distance[0] < 0.7 * distance[1]
    # an answer that is all noise leaves the mean of those who look alike to begin with
    nothing = _alike(public, np.zeros_like(answer), 1e3)
    assert noise_alone == pytest.approx(nothing, abs=1e-3)


def test_the_terms_of_a_disease_follow_its_patients_and_another_fit_starts_anew(
    generator: PhenotypeBayes, real: Cohort
):
    before = generator.public
    few = before.asking(np.tile(np.arange(len(before.vocabulary)) == 5, (3, 1)).astype(float), 1)
    wanted = np.flatnonzero(before.implies[[5]].toarray()[0])
    assert all(few.of(i).tolist() == wanted.tolist() for i in range(3))
    assert few.level[0, : len(wanted)].tolist() == before.levels[0, wanted].tolist()
    beliefs = []
    for _ in range(2):
        generator.fit(door(generator.encode(real), 2.0), 0, silent)
        beliefs.append(generator.beliefs.observed.mass)
    assert np.array_equal(*beliefs)


def test_without_privacy_it_reveals_and_says_so(generator: PhenotypeBayes, real: Cohort, tmp_path: Path):
    generator.fit(Session(generator.encode(real), [], 300, journal=Journal(tmp_path)), 0, silent)
    assert Journal(tmp_path).marks() == ["revealed"]
    assert _error(generator, real) < 0.05


def test_replay_makes_the_same_model_without_any_patient(generator: PhenotypeBayes, real: Cohort, tmp_path: Path):
    records = generator.encode(real)
    generator.fit(door(records, 2.0, folder=tmp_path), 0, silent)
    live = generator.beliefs
    nobody = {k: torch.zeros((1, *v.shape[1:]), dtype=v.dtype) for k, v in records.items()}
    again = made(generator.dictionary, generator.settings.hpo, tmp_path)
    again.fit(door(nobody, 2.0, seed=9, folder=tmp_path), 0, silent)
    assert len(Journal(tmp_path)) == 4
    assert np.array_equal(again.beliefs.observed.mass, live.observed.mass)
    assert again.beliefs.frailties == live.frailties


def test_coupling_one_patient_s_rows_never_touch_another_s_vector(generator: PhenotypeBayes, real: Cohort):
    ids = list(real.ids)
    fewer = generator.encode(real.of(ids[:40] + ids[41:]))
    everyone = generator.encode(real)
    for name, tensor in everyone.items():
        assert torch.equal(fewer[name], torch.cat([tensor[:40], tensor[41:]])), name


def test_adding_a_patient_moves_an_answer_by_at_most_its_clip(generator: PhenotypeBayes, real: Cohort):
    class Spy(Journal):
        said: ClassVar[list[tuple[Query, np.ndarray]]] = []

        def record(self, query: Query, answer: np.ndarray) -> np.ndarray:
            self.said.append((query, answer))
            return super().record(query, answer)

    records = generator.encode(real)
    for data in (records, {k: v[1:] for k, v in records.items()}):
        session = Session(data, [Charge(c, 3.0) for c in QUIET], 300, Noise(4), Spy())
        generator.fit(session, 0, silent)
    # only the first question does not depend on earlier answers
    (query, a), (_, b) = Spy.said[0], Spy.said[len(QUIET)]
    assert query.charge == "phenotypes/facts"
    assert 0 < np.linalg.norm(a - b) <= query.clip_norm * (1 + 1e-6)


def test_facts_never_need_a_clip(real: Cohort):
    question = questions.facts_question(3)
    weighted = facts.encode(real) * question.weights[0]
    assert np.linalg.norm(weighted, axis=1).max() <= question.clip_norm
    assert facts.encode(real)[:, facts.slices()["variant_class"]].sum(axis=1).max() == 1  # two variants add half each


def test_charges_know_nothing_but_public_numbers_and_settings(generator: PhenotypeBayes):
    assert [c.name for c in generator.charges(20)] == list(QUIET)
    assert generator.charges(20) == generator.charges(20_000)
    assert all(c.sampling_rate == 1 and c.steps == 1 for c in generator.charges(20))


def test_unknown_terms_and_diseases_add_nothing(generator: PhenotypeBayes, real: Cohort):
    assert real.phenotypes is not None
    strange = replace(real, phenotypes=real.phenotypes.assign(term="HP:9999999"))
    records = generator.encode(strange)
    assert records["observed"].sum() == 0
    assert records["excluded"].sum() == 0
    elsewhere = {**records, "disease": torch.full_like(records["disease"], -1)}
    assert generator._beside(elsewhere, elsewhere["facts"]).sum() == 0


def test_observed_terms_are_closed_and_win_over_exclusions(generator: PhenotypeBayes, real: Cohort):
    assert real.phenotypes is not None
    leaf = tiny.LEAVES[0]
    rows = [
        ("P0-0", leaf, "observed", None),
        ("P0-0", tiny.parent(leaf), "excluded", None),
        ("P0-0", tiny.BRANCHES[4], "excluded", None),
    ]
    frame = pd.DataFrame(rows, columns=list(real.phenotypes.columns), dtype=object)
    records = generator.encode(replace(real, phenotypes=frame))
    names = generator.public.vocabulary
    has = {n for n, v in zip(names, records["observed"][0].tolist(), strict=False) if v}
    lacks = {n for n, v in zip(names, records["excluded"][0].tolist(), strict=False) if v}
    assert has == {leaf, tiny.parent(leaf), tiny.SYSTEMS[0]} & set(names)
    assert lacks == {tiny.BRANCHES[4], *(x for x in tiny.LEAVES if tiny.parent(x) == tiny.BRANCHES[4])} & set(names)
    assert not has & lacks


def test_water_filling_spends_its_budget_and_asks_little_of_the_hopeless():
    rise, floor, cost = np.array([1.2, 1.2, 7.0]), np.array([0.5, 0.5, 90.0]), np.array([0.7, 0.7, 0.02])
    weights = fill(rise, floor, cost)
    assert cost @ weights == pytest.approx(1, abs=1e-6)
    assert weights[2] == 0
    assert weights[0] == pytest.approx(weights[1])


def _chain() -> tuple[np.ndarray, np.ndarray, sparse.csr_array]:
    """A root, its child, the child's child, and one apart: mean, variance, closure."""
    implies = sparse.csr_array(np.array([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    return np.array([0.8, 0.5, 0.2, 0.3]), np.array([0.02, 0.04, 0.03, 0.03]), implies


def test_what_is_known_of_terms_together_keeps_their_variances_and_ties_a_term_to_its_ancestors():
    mean, variance, implies = _chain()
    known = knowledge(mean, variance, implies, np.array([0, 0, 0, 1]), np.zeros((4, 0)))
    assert np.diag(known.unsure) == pytest.approx(variance)
    assert known.unsure[1, 2] > 3 * abs(known.unsure[3, 2])
    for matrix in (known.unsure, known.patients):
        assert np.linalg.eigvalsh(matrix).min() > -1e-9
    assert np.diag(known.patients)[3] == pytest.approx(0.3 * 0.7, rel=0.25)  # and what frailty adds


def test_the_answer_tells_what_bayes_rule_says_it_tells():
    rng = np.random.default_rng(0)
    mean, variance, implies = _chain()
    known = knowledge(mean, variance, implies, np.array([0, 0, 0, 1]), np.zeros((4, 0)))
    asked = Strategy(rng.normal(size=(3, 4)), np.array([0.5, 0.5, 0.5, 0.0]))
    n, noise, answer = 30.0, 0.1, np.array([0.1, -0.2, 0.3])
    told_mean, told_variance = told(known, asked, answer, noise, n, 0.0)
    # by information: prior and answer as one normal density over frequencies
    inside = noise**2 * np.eye(3) + asked.directions @ known.patients @ asked.directions.T / n
    precision = np.linalg.inv(known.unsure) + asked.directions.T @ np.linalg.solve(inside, asked.directions)
    covariance = np.linalg.inv(precision)
    target = np.linalg.solve(known.unsure, mean)
    target += asked.directions.T @ np.linalg.solve(inside, answer + asked.directions @ asked.centre)
    posterior = covariance @ target
    joined = 1 / (1 / variance + 1 / told_variance)
    assert joined == pytest.approx(np.diag(covariance), rel=1e-6)
    assert joined * (mean / variance + told_mean / told_variance) == pytest.approx(posterior, abs=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pyro_s_nuts_is_told_what_the_closed_form_is_told():
    import pyro
    from pyro.infer import MCMC, NUTS

    pyro.set_rng_seed(0)
    torch.manual_seed(0)
    mean, variance, implies = _chain()
    known = knowledge(mean, variance, implies, np.array([0, 0, 0, 1]), np.zeros((4, 0)))
    asked = Strategy(np.random.default_rng(0).normal(size=(3, 4)), np.array([0.5, 0.5, 0.5, 0.0]))
    answer = np.array([0.1, -0.2, 0.3])
    told_mean, told_variance = told(known, asked, answer, 0.1, 30.0, 0.0)
    joined = 1 / (1 / variance + 1 / told_variance)
    sampler = MCMC(NUTS(joint_model), num_samples=300, warmup_steps=100, disable_progbar=True)
    sampler.run(known, asked, 0.1, 30.0, torch.as_tensor(answer))
    drawn = sampler.get_samples()["frequency"].numpy()
    assert drawn.mean(axis=0) == pytest.approx(joined * (mean / variance + told_mean / told_variance), abs=0.03)
    assert drawn.std(axis=0) == pytest.approx(np.sqrt(joined), rel=0.15)


def test_a_patient_s_combined_marks_are_their_own(generator: PhenotypeBayes, real: Cohort):
    records = generator.encode(real)
    asked = tuple(
        Strategy(
            np.eye(len(generator.public.of(i)))[:5], np.full(len(generator.public.of(i)), 0.5), generator.public.of(i)
        )
        for i in range(3)
    )
    question = questions.Question(np.ones((3, 5)), 1.0, asked)
    everyone = generator._combined(records, "observed", question)
    fewer = generator._combined({k: v[1:] for k, v in records.items()}, "observed", question)
    assert torch.equal(everyone[1:], fewer)
    assert torch.equal(everyone[0], records["observed"][0, generator.public.of(0)[:5]] - 0.5)
    nobody = generator._combined({**records, "disease": torch.full((300,), -1)}, "observed", question)
    assert not nobody.any()


def test_a_strategy_costs_a_norm_of_one_and_leaves_less_doubt_than_asking_each_term_as_loudly():
    mean, variance, implies = _chain()
    known = knowledge(mean, variance, implies, np.array([0, 0, 0, 1]), np.zeros((4, 0)))
    noise = 0.1
    best = strategy(known, noise)
    second = known.patients + known.unsure
    assert np.trace(best.directions @ second @ best.directions.T) == pytest.approx(1, abs=1e-3)
    each = Strategy(np.eye(4) / np.sqrt(np.trace(second)), mean)
    doubt = [(1 / (1 / variance + 1 / told(known, a, np.zeros(len(a.directions)), noise, 1e6, 0.0)[1])).sum()
             for a in (best, each)]  # fmt: skip
    assert doubt[0] < doubt[1]


# Samples ---------------------------------------------------------------------------------------------------------------------
def test_synthetic_patients_keep_to_dictionary_inheritance_and_ontology(generator: PhenotypeBayes):
    cohort = generator.sample(3000, np.random.default_rng(0))
    Cohort.checked(cohort.tables, generator.dictionary, "synthetic")
    assert cohort.origin == "synthetic"
    assert cohort.ids.str.startswith("SYN-").all()
    picture = profiles_of(cohort, generator.dictionary, read_ontology(generator.settings.hpo))
    assert picture.contradictions == 0
    assert cohort.variants is not None
    assert cohort.phenotypes is not None
    disease = cohort.patients.set_index("patient_id")["disease"].astype(str)
    state = cohort.variants.assign(disease=cohort.variants["patient_id"].map(disease))
    share = pd.crosstab(state["disease"], state["allele_state"], normalize="index")
    assert share.loc["OMIM:1", "heterozygous"] > 0.9
    assert share.loc["OMIM:3", "hemizygous"] > 0.35
    per_patient = state.groupby(["disease", "patient_id"]).size().groupby("disease").mean()
    assert per_patient["OMIM:2"] > 1.2 > per_patient["OMIM:1"]
    seen, onset = (cohort.patients[c].astype("Float64") for c in ("last_seen_days", "onset_days"))
    assert not (seen < onset).any()
    assert not cohort.phenotypes.duplicated(["patient_id", "term"]).any()


def test_only_the_ends_are_written(generator: PhenotypeBayes):
    cohort = generator.sample(500, np.random.default_rng(1))
    ontology = read_ontology(generator.settings.hpo)
    assert cohort.phenotypes is not None
    for _, rows in cohort.phenotypes.groupby("patient_id"):
        observed = set(rows["term"][rows["status"] == "observed"])
        excluded = set(rows["term"][rows["status"] == "excluded"])
        assert ontology.specific(observed) == observed
        assert ontology.general(excluded) == excluded


def test_where_fixes_a_column_and_refuses_what_does_not_exist(generator: PhenotypeBayes):
    cohort = generator.sample(40, np.random.default_rng(0), {"disease": "OMIM:2", "sex": "male"})
    assert set(cohort.patients["disease"]) == {"OMIM:2"}
    assert set(cohort.patients["sex"]) == {"male"}
    for wrong in ({"colour": "red"}, {"sex": "green"}):
        with pytest.raises(ConfigError, match="where"):
            generator.sample(4, np.random.default_rng(0), wrong)


def test_saved_and_loaded_it_samples_the_same(generator: PhenotypeBayes, real: Cohort, tmp_path: Path):
    generator.fit(door(generator.encode(real), 1.0), 0, silent)
    generator.save(tmp_path)
    other = PhenotypeBayes(generator.dictionary, {"hpo": str(generator.settings.hpo)})
    with pytest.raises(WorkspaceError, match="nothing is known"):
        other.sample(3, np.random.default_rng(0))
    other.load(tmp_path)
    generator.load(tmp_path)
    one, two = (g.sample(200, np.random.default_rng(5)) for g in (generator, other))
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, two.tables[name])
    (tmp_path / "beliefs.safetensors").write_bytes(b"broken")
    with pytest.raises(WorkspaceError, match="corrupt"):
        other.load(tmp_path)


def test_a_cohort_without_phenotypes_and_unknown_settings_are_refused(dictionary: Dictionary):
    with pytest.raises(ConfigError, match="nonsense"):
        PhenotypeBayes(dictionary, {"nonsense": 1})
    bare = dictionary.model_copy(update={"tables": {"patients": dictionary.tables["patients"]}})
    with pytest.raises(ConfigError, match="needs the table phenotypes"):
        PhenotypeBayes(bare, {})


@pytest.mark.slow
def test_a_hundred_thousand_patients_of_the_real_ontology_without_a_contradiction_in_a_minute(tmp_path: Path):
    from synthgen.dictionary import read_dictionary

    catalogue = read_dictionary(ROOT / "configs" / "phenopackets" / "cohort.yaml")
    some = dict(list(catalogue.knowledge.diseases.items())[::12])
    patients = catalogue.tables["patients"]
    column = patients.columns["disease"].model_copy(update={"categories": tuple(some)})
    smaller = catalogue.model_copy(
        update={
            "tables": catalogue.tables
            | {"patients": patients.model_copy(update={"columns": patients.columns | {"disease": column}})},
            "knowledge": catalogue.knowledge.model_copy(update={"diseases": some}),
        }
    )
    generator = PhenotypeBayes(smaller, {})
    generator.pretrain(0, tmp_path, silent)
    with at_most(1200):  # a minute on a quiet core
        cohort = generator.sample(100_000, np.random.default_rng(0))
    assert profiles_of(cohort, smaller, read_ontology()).contradictions == 0


def test_bins_hold_everything():
    marked = np.tri(60, 59, -1, dtype=bool)
    assert (breadth.breadth(marked, np.arange(59) % 23).sum(axis=1) == 2).all()
    assert stats.binom.pmf(0, 1, 0) == 1


def test_ends_and_closure_are_inverse():
    implies = sparse.csr_array(np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=np.float32))
    hits = np.array([[False, False, True], [True, True, False]])
    assert closed(hits, implies).tolist() == [[True, True, True], [True, True, False]]
    assert ends(closed(hits, implies), implies).tolist() == [[False, False, True], [False, True, False]]


def test_the_plan_can_say_in_advance_what_more_patients_or_less_noise_add(generator: PhenotypeBayes):
    public = generator.public
    usual = foretell(public, 300, 2.0, 0.4)
    assert usual.each == 100
    assert usual.before > usual.after
    assert usual.after > foretell(public, 3000, 2.0, 0.4).after
    assert usual.after > foretell(public, 300, 0.5, 0.4).after
    assert foretell(public, 300, 1e6, 0.4).after == pytest.approx(usual.before, rel=0.01)


def test_what_is_foretold_names_the_bare_diseases_and_needs_no_patient(generator: PhenotypeBayes):
    fresh = PhenotypeBayes(generator.dictionary, {"hpo": str(generator.settings.hpo), "terms": 40})
    (text,) = fresh.foretell(300, [Charge(c, 2.0) for c in QUIET])
    assert text.startswith("phenotypes: 0 of 3 diseases have no public annotation")
    assert "100 patients of each disease narrow that" in text


@pytest.mark.slow
def test_the_plan_of_the_demo_says_how_much_its_patients_will_add():
    from synthgen.config import load_job
    from synthgen.planning import plan

    job = load_job(ROOT / "configs" / "phenopackets.yaml")
    (told_,) = (w for w in plan(job, job.dictionary).warnings if w.startswith("phenotypes: "))
    assert "51 of 115 diseases" in told_


def test_every_synthetic_packet_parses_by_the_schema_and_has_no_fault(generator: PhenotypeBayes):
    schema = pytest.importorskip("phenopackets.schema.v2")
    ontology = read_ontology(generator.settings.hpo)
    cohort = generator.sample(200, np.random.default_rng(2))
    count = 0
    for packet in packets(cohort, ontology, generator.diseases, datetime(2020, 1, 1, tzinfo=UTC)):
        Parse(json.dumps(packet), schema.Phenopacket())
        assert faults(packet, ontology) == []
        count += 1
    assert count == 200
