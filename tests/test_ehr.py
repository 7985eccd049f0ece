"""The EHR generator: what it learns goes through the session, and what it makes keeps to the dictionary by construction."""

from __future__ import annotations

import math
import resource
from dataclasses import replace
from pathlib import Path

import cohorts
import numpy as np
import pytest
import torch
from torch import Tensor

from generators.ehr import EHRVAE, inference, loadings, marginals, network, process
from generators.ehr.charges import GRADIENT
from generators.ehr.fitted import Fitted
from generators.ehr.loadings import Goal
from generators.ehr.moments import Centre, blocks, moments, split
from generators.ehr.process import Chance
from generators.ehr.rules import breakers
from generators.ehr.scores import whitened
from generators.ehr.transport import fit as fit_transport
from privacy.charges import Charge
from privacy.errors import ConfigError, Unaccounted, WorkspaceError
from privacy.gradients import per_patient_gradients
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.conformance import conform
from synthgen.dictionary import DiseaseKnowledge, Rule, Schedule

TINY = {
    "populations": 8, "pretrain_patients": 240, "pretrain_epochs": 2, "hidden": 16, "latent": 4,
    "known_populations": 12, "finetune_epochs": 3, "max_visits": 16, "max_events": 32,
    "reference_patients": 200,
}  # fmt: skip
PATIENTS = 60
NAMES = list(cohorts.DICTIONARIES)


def silent(what: str, done: int, total: int) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def make(name: str, cache: Path, **settings: object) -> EHRVAE:
    generator = EHRVAE(cohorts.DICTIONARIES[name](), TINY | settings)
    generator.pretrain(0, cache, silent)
    return generator


def session_of(generator: EHRVAE, cohort: Cohort, factor: float = 1.0, journal: Journal | None = None) -> Session:
    charges = [c.scaled(factor) for c in generator.charges(PATIENTS)]
    return Session(generator.encode(cohort), charges, PATIENTS, Noise(seed=1), journal)


@pytest.fixture(scope="module")
def fitted(cache: Path) -> dict[str, EHRVAE]:
    out = {}
    for name in NAMES:
        out[name] = make(name, cache)
        out[name].fit(session_of(out[name], cohorts.simulated(out[name].dictionary)), 0, silent)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_encoding_is_coupled(name: str) -> None:
    """A patient's tensors depend on that patient and nobody else."""
    dictionary = cohorts.DICTIONARIES[name]()
    generator = EHRVAE(dictionary, TINY)
    cohort, others = cohorts.simulated(dictionary, 12), cohorts.simulated(dictionary, 12, seed=9)
    together = generator.encode(cohort)
    for row, patient in enumerate(cohort.ids):
        alone = generator.encode(cohort.of([patient]))
        for key, value in alone.items():
            assert torch.equal(torch.nan_to_num(value[0]), torch.nan_to_num(together[key][row])), key
    assert not all(
        torch.equal(torch.nan_to_num(generator.encode(others)[k]), torch.nan_to_num(v)) for k, v in together.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_synthetic_patients_keep_to_the_dictionary(name: str, fitted: dict[str, EHRVAE]) -> None:
    """Bounds, categories, order of days, first day 0, nothing after the end, stop after start: `conform` finds no breach."""
    generator = fitted[name]
    cohort = generator.sample(5000, np.random.default_rng(0))
    _, breaches = conform(cohort.tables, generator.dictionary, "synthetic")
    assert breaches == []
    assert list(cohort.ids[[0, -1]]) == ["SYN-000001", "SYN-005000"]
    assert cohort.origin == "synthetic"
    assert breakers(cohort.tables, generator.dictionary) == set()
    if cohort.visits is not None:
        assert cohort.visits["patient_id"].nunique() == 5000
        assert (cohort.visits.groupby("patient_id", sort=False)["day"].min() == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_before_it_meets_a_patient_it_samples_public_knowledge(
    name: str, cache: Path, fitted: dict[str, EHRVAE]
) -> None:
    generator = make(name, cache)
    cohort = generator.sample(300, np.random.default_rng(0))
    assert conform(cohort.tables, generator.dictionary, "synthetic")[1] == []
    again = make(name, cache).sample(300, np.random.default_rng(0))
    after = fitted[name].sample(300, np.random.default_rng(0))
    table = "visits" if cohort.visits is not None else "events"
    assert cohort.tables[table].equals(again.tables[table])
    assert not cohort.tables[table].equals(after.tables[table])


def test_every_kind_of_event_is_made(fitted: dict[str, EHRVAE]) -> None:
    events = fitted["registry"].sample(3000, np.random.default_rng(0)).events
    assert events is not None
    assert set(events["code"].unique()) == {"enzyme_therapy", "steroid", "rhabdomyolysis", "gastrostomy"}
    assert events.groupby(["patient_id", "code"], observed=True).size().max() > 1  # they recur
    stopped = events.dropna(subset=["stop"])
    assert (stopped["stop"] >= stopped["day"]).all()
    assert len(stopped) > 100
    assert events["dose"].dropna().between(1, 5000).all()
    assert 0 < events["dose"].isna().mean() < 1


@pytest.mark.parametrize("name", ["pbc", "registry"])
def test_replay_without_patients_makes_the_same_model(name: str, cache: Path, tmp_path: Path) -> None:
    """Given the recorded answers and no patient at all, `fit` ends in the same model: nothing else was learnt."""
    cohort = cohorts.simulated(cohorts.DICTIONARIES[name](), PATIENTS)
    first = make(name, cache)
    first.fit(session_of(first, cohort, journal=Journal(tmp_path / "journal")), 7, silent)
    second = make(name, cache)
    nobody = {k: torch.zeros_like(v)[:1] for k, v in second.encode(cohort).items()}
    replay = Session(nobody, list(second.charges(PATIENTS)), PATIENTS, Noise(seed=99), Journal(tmp_path / "journal"))
    second.fit(replay, 7, silent)
    assert saved(first, tmp_path / "one") == saved(second, tmp_path / "two")


def saved(generator: EHRVAE, folder: Path) -> tuple[bytes, ...]:
    folder.mkdir()
    generator.save(folder)
    return tuple(path.read_bytes() for path in sorted(folder.iterdir()))


def test_a_killed_fit_goes_on_with_its_answers(cache: Path, tmp_path: Path) -> None:
    """A fit that dies after some answers and starts again gives these answers again, and ends as its full journal says."""
    cohort = cohorts.simulated(cohorts.pbc(), PATIENTS)

    class Killed(Exception):
        pass

    def dies(what: str, done: int, total: int) -> None:  # noqa: ARG001
        if what == "frequencies and moments":
            raise Killed

    first = make("pbc", cache)
    with pytest.raises(Killed):
        first.fit(session_of(first, cohort, journal=Journal(tmp_path / "journal")), 7, dies)
    answered = len(Journal(tmp_path / "journal"))
    assert answered == 2  # location and scale
    before = [(tmp_path / "journal" / f"{k:06d}.safetensors").read_bytes() for k in range(answered)]
    resumed = make("pbc", cache)
    resumed.fit(session_of(resumed, cohort, journal=Journal(tmp_path / "journal")), 7, silent)
    assert [(tmp_path / "journal" / f"{k:06d}.safetensors").read_bytes() for k in range(answered)] == before
    again = make("pbc", cache)
    again.fit(session_of(again, cohort, journal=Journal(tmp_path / "journal")), 7, silent)
    assert saved(resumed, tmp_path / "one") == saved(again, tmp_path / "two")


@pytest.mark.parametrize("name", NAMES)
def test_every_charge_is_used_and_no_more(name: str, cache: Path) -> None:
    generator = make(name, cache)
    session = session_of(generator, cohorts.simulated(generator.dictionary))
    generator.fit(session, 0, silent)
    for charge in generator.charges(PATIENTS):
        with pytest.raises(Unaccounted, match="all are used"):
            session.sum(lambda rows: rows["end"].unsqueeze(1), 1.0, charge.name)


def test_dp_sgd_is_offered(cache: Path) -> None:
    """A share of the budget buys steps on the model's own numbers; all of them are taken, and move it."""
    shares = {"location": 0.05, "scale": 0.1, "gradient": 0.2, "summary": 0.65}
    generator = make("pbc", cache, shares=shares, gradient_steps=3, gradient_numbers=8)
    charge = next(c for c in generator.charges(PATIENTS) if c.name == GRADIENT)
    assert charge.steps / charge.noise_multiplier**2 == pytest.approx(0.2)
    session = session_of(generator, cohorts.simulated(generator.dictionary))
    generator.fit(session, 0, silent)
    with pytest.raises(Unaccounted, match="all are used"):
        session.sum(lambda rows: rows["end"].unsqueeze(1), 1.0, GRADIENT)
    assert generator._fitted is not None
    assert generator._fitted.model.parameters_of.step.abs().max() > 0


def test_charges_depend_on_public_numbers_only() -> None:
    shares = {"location": 0.1, "scale": 0.15, "summary": 0.75}
    charges = EHRVAE(cohorts.pbc(), {"shares": shares}).charges(312)
    found = {c.name: c.steps / c.noise_multiplier**2 for c in charges}
    assert found == pytest.approx(
        {f"ehr/{name}": share for name, share in shares.items()}
    )  # the shares are of mu squared


@pytest.mark.parametrize("name", ["pbc", "registry"])
def test_per_patient_gradients_are_those_of_a_loop(name: str, cache: Path) -> None:
    generator = make(name, cache)
    model = generator._model
    assert model is not None
    model.train()
    model.requires_grad_(False)
    model.parameters_of.values.requires_grad_(True)
    records = generator.encode(cohorts.simulated(generator.dictionary, 6))
    draws = torch.randn(1, model.latent)

    def loss(bound: torch.nn.Module, rows: object) -> torch.Tensor:
        return -bound(rows, draws)

    fast, slow = (per_patient_gradients(model, loss, records, backend) for backend in ("vmap", "loop"))
    assert slow.abs().max() > 1e-2
    assert torch.allclose(fast, slow, rtol=1e-4, atol=1e-5)


def test_with_hardly_any_noise_the_model_moves_to_the_cohort(cache: Path) -> None:
    """A cohort whose numbers lie far from the public expectation: nearly noiseless sums find them, heavy noise does not."""
    dictionary = cohorts.pbc()
    cohort = cohorts.simulated(dictionary, PATIENTS, seed=4)
    visits = cohort.visits.copy()
    visits["albumin"] = (visits["albumin"] + 1.0).clip(0.5, 10)
    moved = replace(cohort, visits=visits)
    error = {}
    for factor in (1e-3, 1e3):
        generator = make("pbc", cache)
        generator.fit(session_of(generator, moved, factor), 0, silent)
        made = generator.sample(2000, np.random.default_rng(0))
        error[factor] = abs(made.visits["albumin"].mean() - visits["albumin"].mean())
    assert error[1e-3] < 0.15, error
    assert error[1e3] > 0.4, error


def test_without_privacy_it_reveals_and_says_so(cache: Path, tmp_path: Path) -> None:
    generator = make("pbc", cache)
    cohort = cohorts.simulated(cohorts.pbc(), PATIENTS)
    journal = Journal(tmp_path)
    generator.fit(Session(generator.encode(cohort), (), PATIENTS, Noise(seed=1), journal), 0, silent)
    assert "revealed" in journal.marks()
    made = generator.sample(1500, np.random.default_rng(0))
    assert conform(made.tables, generator.dictionary, "synthetic")[1] == []
    assert made.visits["albumin"].mean() == pytest.approx(cohort.visits["albumin"].mean(), abs=0.1)


@pytest.mark.parametrize("private", [True, False])
def test_a_cohort_of_nothing_but_static_columns(private: bool, tmp_path: Path) -> None:
    """What a cohort of images with a label is to this generator."""
    dictionary = cohorts._dictionary("static", {"label": {"type": "categorical", "categories": ["a", "b", "c"]}})
    generator = EHRVAE(dictionary, TINY)
    generator.pretrain(0, tmp_path, silent)
    cohort = cohorts.simulated(dictionary, 200)
    charges = [c.scaled(1e-3) for c in generator.charges(200)] if private else []
    generator.fit(Session(generator.encode(cohort), charges, 200, Noise(seed=1)), 0, silent)
    made = generator.sample(4000, np.random.default_rng(0))
    assert list(made.tables) == ["patients"]
    wanted, found = (c.patients["label"].value_counts(normalize=True).sort_index() for c in (cohort, made))
    assert found.to_numpy() == pytest.approx(wanted.to_numpy(), abs=0.05)


def test_static_numbers_keep_their_correlations(tmp_path: Path) -> None:
    """Height and weight of children: nothing in the dictionary says that they go together."""
    numbers = {"type": "continuous", "bounds": [0, 100], "decimals": 1}
    dictionary = cohorts._dictionary("children", {"height": numbers, "weight": numbers, "age": numbers})
    grown = np.random.default_rng(0).normal(0, 10, 300)
    own = np.random.default_rng(1).normal(0, 4, (2, 300))
    frame = cohorts.simulated(dictionary, 300).patients.assign(height=45 + grown + own[0], weight=55 - grown + own[1])
    cohort = replace(cohorts.simulated(dictionary, 300), patients=frame.round(1))
    generator = EHRVAE(dictionary, TINY | {"known_populations": 48, "pretrain_patients": 960})
    generator.pretrain(0, tmp_path, silent)
    charges = [c.scaled(1e-3) for c in generator.charges(300)]
    generator.fit(Session(generator.encode(cohort), charges, 300, Noise(seed=1)), 0, silent)
    made = generator.sample(2000, np.random.default_rng(0)).patients
    assert made["height"].corr(made["weight"]) == pytest.approx(frame["height"].corr(frame["weight"]), abs=0.1)
    assert made["weight"].std() == pytest.approx(frame["weight"].std(), rel=0.15)


def test_a_trial_ends_for_all_at_once_and_keeps_its_days(tmp_path: Path) -> None:
    """Follow-up that nothing ends but the plan, visits without jitter, and one kind of event."""
    dictionary = cohorts._dictionary(
        "trial",
        {
            "end": {"type": "integer", "role": "outcome", "bounds": [0, 400]},
            "status": {"type": "categorical", "role": "outcome", "categories": ["observed"]},
        },
        visits={"score": {"type": "ordinal", "categories": ["1", "2", "3"]}},
        events={"code": {"type": "categorical", "role": "code", "categories": ["infection"]}},
        outcome={"time": "end", "status": "status", "censored": "observed"},
    )  # fmt: skip
    plan = Schedule(source="protocol", days=(0, 60, 120), every=300, jitter=0, missed=0.02, follow_up=(180, 190))
    dictionary = dictionary.model_copy(update={"knowledge": DiseaseKnowledge(schedule=plan)})
    cohort = cohorts.simulated(dictionary, 150)
    assert set(cohort.visits["day"]) <= {0, 60, 120}
    generator = EHRVAE(dictionary, TINY | {"pretrain_patients": 600, "pretrain_epochs": 20})
    generator.pretrain(0, tmp_path, silent)
    generator.fit(Session(generator.encode(cohort), (), 150, Noise(seed=1)), 0, silent)
    made = generator.sample(500, np.random.default_rng(0))
    assert made.patients["end"].between(170, 200).mean() > 0.9
    gap = made.visits.groupby("patient_id")["day"].diff().dropna().to_numpy(dtype=float)
    assert (np.abs(gap[:, None] - [60, 120]).min(axis=1) <= 2).mean() > 0.95
    assert len(made.events) == pytest.approx(len(cohort.events) * 500 / 150, rel=0.3)


def test_a_newton_step_is_believed_only_so_far(cache: Path) -> None:
    """A cohort far from every simulated one: its events neither explode nor does any factor leave its reach."""
    generator = make("registry", cache)
    cohort = cohorts.simulated(cohorts.registry(), PATIENTS)
    first = cohort.events.groupby(["patient_id", "code"], observed=True).head(1)
    before = generator._model.parameters_of.values.detach().clone()
    generator.fit(session_of(generator, replace(cohort, events=first), 1e-2), 0, silent)
    made = generator.sample(500, np.random.default_rng(0))
    assert made.events.groupby("patient_id").size().max() < 60
    after, sizes = generator._fitted.model.parameters_of, generator._model.parameters_of.sizes
    for name, old, new in zip(sizes, before.split(list(sizes.values())), after().values(), strict=True):
        if name.endswith("gain"):
            assert (new - old).abs().max() <= 0.7 + 1e-6


def test_the_clip_pays_for_what_it_keeps() -> None:
    """Much noise: cut more; hardly any: cut nothing, and say the means of populations as they are."""
    stream = torch.Generator().manual_seed(0)
    population = torch.arange(20).repeat_interleave(50)
    put = torch.randn(20, 3, generator=stream, dtype=torch.float64).repeat_interleave(50, 0)
    put = put + torch.randn(1000, 3, generator=stream, dtype=torch.float64).exp()
    (low, *_), (high, cut, kept) = (inference.clipped(put, population, noise) for noise in (0.3, 1e-4))
    assert low < high
    assert high == pytest.approx(float(torch.linalg.vector_norm(put, dim=1).max()))
    assert torch.equal(cut, put)
    assert kept == pytest.approx(1.0)


def test_a_model_survives_saving(fitted: dict[str, EHRVAE], tmp_path: Path) -> None:
    first = fitted["registry"]
    first.save(tmp_path)
    second = EHRVAE(first.dictionary, TINY)
    second.load(tmp_path)
    one, two = (g.sample(50, np.random.default_rng(5)) for g in (first, second))
    for name, frame in one.tables.items():
        assert frame.equals(two.tables[name])


@pytest.mark.parametrize("file", ["model.safetensors", "model.json"])
def test_a_corrupt_model_is_refused(file: str, fitted: dict[str, EHRVAE], tmp_path: Path) -> None:
    fitted["two_labs"].save(tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(WorkspaceError, match="corrupt"):
        EHRVAE(cohorts.two_labs(), TINY).load(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(WorkspaceError, match="missing"):
        EHRVAE(cohorts.two_labs(), TINY).load(tmp_path)


def test_a_model_of_other_settings_is_refused(fitted: dict[str, EHRVAE], tmp_path: Path) -> None:
    fitted["two_labs"].save(tmp_path)
    with pytest.raises(WorkspaceError, match="other settings"):
        EHRVAE(cohorts.two_labs(), TINY | {"latent": 5}).load(tmp_path)
    with pytest.raises(WorkspaceError, match="another dictionary"):
        EHRVAE(cohorts.no_outcome(), TINY).load(tmp_path)


def test_a_corrupt_cache_is_made_again(tmp_path: Path) -> None:
    make("two_labs", tmp_path)
    (path,) = tmp_path.glob("*/model.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    make("two_labs", tmp_path)
    (path,) = tmp_path.glob("*/model.safetensors")
    assert path.read_bytes() == whole


def test_conditional_sampling(fitted: dict[str, EHRVAE]) -> None:
    where = {"sex": "m", "age": "40..60"}
    made = fitted["pbc"].sample(300, np.random.default_rng(0), where)
    assert len(made) == 300
    assert (made.patients["sex"] == "m").all()
    assert made.patients["age"].between(40, 60).all()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"sexe": "f"}, "no static column"),
        ({"sex": "female"}, "no such category"),
        ({"age": "old"}, "needs a number or a range"),
        ({"age": "60..40"}, "needs a number or a range"),
        ({"age": "1..2"}, "within 18 and 95"),
        ({"status": "dead"}, "no static column"),
    ],
)
def test_impossible_conditions_are_refused(where: dict[str, str], message: str, fitted: dict[str, EHRVAE]) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted["pbc"].sample(10, np.random.default_rng(0), where)


def test_hopeless_conditions_are_given_up(fitted: dict[str, EHRVAE], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generators.ehr.sampling.PROPOSALS", 8192)
    with pytest.raises(ConfigError, match="fewer than one in"):
        fitted["pbc"].sample(
            10, np.random.default_rng(0), {"age": "50.04..50.04"}
        )  # has one decimal: nobody can be this old


def test_a_rule_nobody_can_keep_is_said(cache: Path) -> None:
    rule = Rule(name="never", expression="score > 100", severity="hard", text="Nobody.")
    dictionary = cohorts.no_outcome().model_copy(update={"rules": (rule,)})
    generator = EHRVAE(dictionary, TINY)
    generator.pretrain(0, cache, silent)
    generator.fit(session_of(generator, cohorts.simulated(dictionary)), 0, silent)
    with pytest.raises(ConfigError, match="hard rules refuse"):
        generator.sample(5, np.random.default_rng(0))


@pytest.mark.parametrize(
    "expression", ["score >", "score.max() > 3", "height > 3", "previous(score, 2) > 1", "score in (1, 2)"]
)
def test_an_unreadable_rule_is_refused_at_once(expression: str) -> None:
    rule = Rule(name="odd", expression=expression, severity="hard", text="?")
    with pytest.raises(ConfigError, match=r"rules\.odd"):
        EHRVAE(cohorts.no_outcome().model_copy(update={"rules": (rule,)}), TINY)


@pytest.mark.parametrize(
    "settings",
    [
        {"latents": 4}, {"latent": 1}, {"clip_quantile": 0.0}, {"clip_quantile": 1.5}, {"learning_rate": -1}, {"hidden": "many"},
        {"shares": {"location": 0.9}}, {"known_populations": 0},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"generators\.ehr: "):
        EHRVAE(cohorts.pbc(), settings)


def test_before_it_is_fitted_it_says_so() -> None:
    generator = EHRVAE(cohorts.pbc(), TINY)
    with pytest.raises(WorkspaceError, match="no model yet"):
        generator.sample(1, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="pretrain first"):
        generator.fit(session_of(generator, cohorts.simulated(cohorts.pbc())), 0, silent)


@pytest.mark.slow
def test_memory_stays_flat(fitted: dict[str, EHRVAE]) -> None:
    """Beyond the tables themselves (some 70 bytes a cell), 20,000 patients take no more memory than 4,096."""
    generator = fitted["two_labs"]
    generator.sample(4096, np.random.default_rng(0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = generator.sample(20_000, np.random.default_rng(0))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    tables = sum(t.memory_usage(deep=True).sum() for t in made.tables.values()) / 2**20
    assert grown < 3 * tables + 60


def test_a_belief_is_shrunk_as_a_gaussian_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """One number, no clipping: the answer between prior mean and noisy mean that Bayes' rule gives; and what follows from it
    is told as far as the two go together over populations."""
    monkeypatch.setattr(inference, "TRUST", (1.0,))
    monkeypatch.setattr(inference, "EXTRAS", (1e-6,))
    rng = np.random.default_rng(0)
    groups, shift = torch.arange(40).repeat_interleave(50), 0.5 * rng.normal(0, 1, 40).repeat(50)[:, None]
    simulated = torch.from_numpy(rng.normal(0, 1, (2000, 1)) + shift)
    follows = torch.from_numpy(3 * shift)
    known = inference.knowledge(simulated, groups, 1e-9, follows)
    known = replace(known, clip_norm=1e6, clipped=torch.zeros(1), kept=1.0, sampling=torch.tensor([[40.0]]))
    truth = 0.8
    records = {"value": torch.full((400, 1), truth)}
    session = Session(records, [Charge("ehr/x", 1e-9)], 400, Noise(seed=0))
    belief = inference.ask(session, lambda rows: rows["value"], known, "ehr/x")
    prior = float(known.covariance[0, 0] * known.scale[0] ** 2)
    noise = float(40 / 400 * known.scale[0] ** 2 / known.query[0, 0] ** 2)
    wanted = known.centre[0] + prior / (prior + noise) * (truth - known.centre[0])
    assert float(belief.asked) == pytest.approx(float(wanted), rel=1e-3)
    assert float(belief.covariance) == pytest.approx(prior * noise / (prior + noise), rel=1e-3)
    told = float((belief.inferred - known.inferred) / (belief.asked - known.centre))
    assert told == pytest.approx(3 * inference.OFF_DIAGONAL, rel=0.1)


@pytest.mark.parametrize(("shift", "wider"), [(0.0, False), (0.5, True)])
def test_the_prior_widens_for_a_cohort_that_is_far_off(shift: float, wider: bool) -> None:
    """Empirical Bayes: 30 numbers near what is expected, or all far from it."""
    rng = np.random.default_rng(0)
    groups = torch.arange(40).repeat_interleave(50)
    simulated = torch.from_numpy(rng.normal(0, 1, (2000, 30)) + 0.2 * rng.normal(0, 1, (40, 30)).repeat(50, axis=0))
    known = inference.knowledge(simulated, groups, 0.05)
    records = {"value": torch.from_numpy(rng.normal(0, 1, (200, 30)) + shift * np.sign(rng.normal(size=30)))}
    session = Session(records, [Charge("ehr/x", 3.0)], 200, Noise(seed=0))
    belief = inference.ask(session, lambda rows: rows["value"], known, "ehr/x")
    told = (belief.asked - known.centre).abs().mean()
    assert bool(told > 0.6 * 0.5) is wider


def test_the_budget_goes_where_populations_differ() -> None:
    """Waterfilling: as much is left to learn where little is known as Lagrange's condition says, and nothing is asked of what
    is known already."""
    prior, patients = torch.diag(torch.tensor([1.0, 0.04, 1e-6])).double(), torch.eye(3).double()
    query = inference.allocate(prior, patients, 0.1)
    shares = (query**2).sum(dim=1)
    assert query.shape == (2, 3)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-6)
    best = min(
        np.linspace(0.01, 0.99, 981), key=lambda b: 1 / (1 + b / 0.01) + 0.04 / (1 + 0.04 * (1 - b) / 0.01)
    )  # of shares b and 1 - b
    assert sorted(shares.tolist()) == pytest.approx(sorted([best, 1 - best]), abs=2e-3)


def test_scores_are_whitened() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(0, 1, (4000, 5)) * np.array([1, 10, 0.1, 1, 1]) + 2)
    basis, white = whitened(scores)
    assert torch.cov(white.T).numpy() == pytest.approx(np.eye(5), abs=0.1)
    assert torch.allclose(white, (scores - scores.mean(dim=0)) @ basis.double(), atol=1e-4)


def test_transport_brings_the_moments_of_one_cohort_to_another(fitted: dict[str, EHRVAE]) -> None:
    generator = fitted["pbc"]
    layout = generator.layout
    raw = [generator.encode(cohorts.simulated(cohorts.pbc(), 800, seed)) for seed in (0, 1)]
    a, b = ({**r, "full": torch.nan_to_num(r["x"])} for r in raw)
    for r in (a, b):
        r["x"] = torch.where((r["seen"] > 0).unsqueeze(-1), torch.nan_to_num(r["x"]), torch.nan)
    parts = split(a, layout)
    centre = Centre.of(parts)
    target = moments(split(b, layout), centre).mean(dim=0)
    before = moments(parts, centre).mean(dim=0)
    moved = split({**a, "x": fit_transport(parts, centre, target).move(a, layout)}, layout)
    assert torch.allclose(moved.mean, parts.mean, atol=1e-3)  # means of patients stay
    off, was = (blocks(v - target, parts) for v in (moments(moved, centre).mean(dim=0), before))
    for name in ("within", "cross_within"):
        assert off[name].norm() < 0.35 * was[name].norm(), name


def test_loadings_bring_what_goes_together_to_another_cohort(fitted: dict[str, EHRVAE]) -> None:
    generator = fitted["pbc"]
    layout, own = generator.layout, replace(generator._ready(), transport=None)
    cohort = cohorts.simulated(cohorts.pbc(), 2000, 5)
    parts = split(own.calibration.apply(generator.encode(cohort), layout), layout)
    centre = Centre.of(parts)
    vectors = moments(parts, centre)
    goal = Goal(centre, vectors.mean(dim=0), torch.cov(vectors.T) / len(vectors))

    def far_off(model: Fitted) -> dict[str, Tensor]:
        made = split(model.patients(*model.latents(4000, Chance.seeded(9)), Chance.seeded(9)), layout)
        return blocks((moments(made, centre).mean(dim=0) - goal.mean) / vectors.std(dim=0).clamp(min=1e-3), made)

    before, after = far_off(own), far_off(loadings.match(own, goal, 2000, 0))
    matched = ("mean", "square", "outcome", "slope_outcome")
    for name in matched:
        assert after[name].norm() < 0.8 * before[name].norm(), name
    assert sum(after[name].norm() ** 2 for name in matched) < 0.65**2 * sum(
        before[name].norm() ** 2 for name in matched
    )
    assert far_off(own)["square"].equal(before["square"])  # it works on a copy


def test_visits_are_told_how_near_the_event_is() -> None:
    time, end, cause = torch.tensor([[0.0, 0.3]] * 3), torch.full((3,), 0.3), torch.arange(3)
    near = network.approach(time, end, cause, 3)  # two events, and the plain end
    assert near[:, 1].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert near[0, 0, :2].tolist() == pytest.approx([math.exp(-0.3 / lasting) for lasting in network.NEAR])


def test_categories_repeat_as_often_as_in_the_cohort(fitted: dict[str, EHRVAE]) -> None:
    generator = fitted["pbc"]
    layout, own = generator.layout, replace(generator._ready(), transport=None)

    def repeats(model: Fitted) -> Tensor:
        made = model.patients(*model.latents(2000, Chance.seeded(9)), Chance.seeded(9))
        return marginals.frequencies(made, layout)["ordered_keep"].mean(dim=0)

    made = own.patients(*own.latents(2000, Chance.seeded(9)), Chance.seeded(9))
    target = {name: value.mean(dim=0) for name, value in marginals.frequencies(made, layout).items()}
    target["ordered_keep"] = target["ordered_keep"] - 0.1
    moved = marginals.match(own, torch.cat(list(target.values())), 2000, 0)
    assert (repeats(own) - target["ordered_keep"]).abs().max() > 0.08
    assert (repeats(moved) - target["ordered_keep"]).abs().max() < 0.04


@pytest.mark.parametrize("times", [50.0, 1e6])
def test_loadings_stay_finite_whatever_is_believed(times: float, fitted: dict[str, EHRVAE]) -> None:
    generator = fitted["pbc"]
    own = replace(generator._ready(), transport=None)
    made = split(own.patients(*own.latents(400, Chance.seeded(9)), Chance.seeded(9)), generator.layout)
    centre = Centre.of(made)
    vectors = moments(made, centre)
    goal = Goal(centre, times * vectors.abs().mean(dim=0), 1e-6 * torch.eye(vectors.shape[1], dtype=torch.float64))
    moved = loadings.match(own, goal, 200, 0)
    assert all(v.isfinite().all() for v in moved.model.state_dict().values())
    drawn = moved.patients(*moved.latents(50, Chance.seeded(1)), Chance.seeded(1))
    assert drawn["end"].isfinite().all()


def test_a_line_search_that_runs_away_meets_a_bound(fitted: dict[str, EHRVAE]) -> None:
    model = fitted["pbc"]._ready().model
    tilt = torch.full((10, len(model.layout.causes) - 1), 200.0, requires_grad=True)
    expected = loadings.expected_outcome(model, torch.zeros(10, model.latent), tilt)
    (gradient,) = torch.autograd.grad(expected.sum(), tilt)
    assert expected.isfinite().all()
    assert gradient.isfinite().all()


def test_the_expected_outcome_is_that_of_many_draws(fitted: dict[str, EHRVAE]) -> None:
    model = fitted["pbc"]._ready().model
    events, patients = len(model.layout.causes) - 1, 20_000
    z = torch.randn(1, model.latent, generator=torch.Generator().manual_seed(3)).expand(patients, -1)
    expected = loadings.expected_outcome(model, z[:1], torch.zeros(1, events))[0]
    end, cause = process._ends(model, z, Chance.seeded(0))
    assert float((end.clamp(max=1) + 0.05).log().mean()) == pytest.approx(float(expected[0]), abs=0.05)
    for k in range(events):
        assert float((cause == k).float().mean()) == pytest.approx(float(expected[1 + k]), abs=0.02)
