"""The EHR generator: what it learns goes through the session, and what it makes keeps to the dictionary by construction."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import cohorts
import numpy as np
import pytest
import torch

from generators.ehr import EHRVAE
from generators.ehr.charges import GRADIENT
from generators.ehr.private_fit import directions
from generators.ehr.release import ask, expect
from generators.ehr.rules import breakers
from generators.ehr.transport import Centre, moments, split
from generators.ehr.transport import fit as fit_transport
from privacy.charges import Charge
from privacy.errors import ConfigError, Unaccounted, WorkspaceError
from privacy.gradients import per_patient_gradients
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.conformance import conform
from synthgen.dictionary import Rule

TINY = {
    "populations": 8, "pretrain_patients": 240, "pretrain_epochs": 2, "hidden": 16, "latent": 4, "gradient_steps": 3,
    "gradient_numbers": 8, "finetune_epochs": 3, "max_visits": 16, "max_events": 32,
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
        if what == "DP-SGD" and done == 2:
            raise Killed

    first = make("pbc", cache)
    with pytest.raises(Killed):
        first.fit(session_of(first, cohort, journal=Journal(tmp_path / "journal")), 7, dies)
    answered = len(Journal(tmp_path / "journal"))
    assert answered == 4  # location, scale, two steps
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


def test_charges_depend_on_public_numbers_only() -> None:
    charges = EHRVAE(cohorts.pbc(), {"sampling_rate": 0.25, "gradient_steps": 7}).charges(312)
    step = next(c for c in charges if c.name == GRADIENT)
    assert (step.sampling_rate, step.steps) == (0.25, 7)
    squares = sum(c.steps / c.noise_multiplier**2 for c in charges)
    assert squares == pytest.approx(1)  # the shares are of mu squared


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
        {"latents": 4}, {"latent": 1}, {"sampling_rate": 0.0}, {"sampling_rate": 1.5}, {"learning_rate": -1}, {"hidden": "many"},
        {"shares": {"location": 0.9}}, {"gradient_steps": 0},
    ],
)  # fmt: skip
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"generators\.ehr\."):
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


def test_a_belief_is_shrunk_as_a_gaussian_posterior() -> None:
    """One number, no clipping: the answer between prior mean and noisy mean that Bayes' rule gives."""
    rng = np.random.default_rng(0)
    groups = torch.arange(40).repeat_interleave(50)
    simulated = torch.from_numpy(rng.normal(0, 1, (2000, 1)) + 0.5 * rng.normal(0, 1, 40).repeat(50)[:, None])
    expected = replace(expect(simulated, groups, 0.5), clip_norm=1e6, clipped=torch.zeros(1), kept=1.0)
    truth = 0.8
    records = {"value": torch.full((400, 1), truth)}
    session = Session(records, [Charge("ehr/x", 1e-9)], 400, Noise(seed=0))
    belief = ask(session, lambda rows: rows["value"], expected, "ehr/x")
    prior = float(expected.covariance[0, 0] * expected.scale[0] ** 2)
    noise = float(expected.scale[0] ** 2) / 400
    wanted = expected.centre[0] + prior / (prior + noise) * (truth - expected.centre[0])
    assert float(belief.mean) == pytest.approx(float(wanted), rel=1e-3)
    assert float(belief.covariance) == pytest.approx(prior * noise / (prior + noise), rel=1e-3)


def test_the_directions_are_whitened_and_lead_with_what_populations_differ_by() -> None:
    rng = np.random.default_rng(0)
    groups = torch.arange(50).repeat_interleave(40)
    gradients = torch.from_numpy(rng.normal(0, 1, (2000, 5)) * np.array([1, 10, 0.1, 1, 1]))
    gradients[:, 3] += torch.from_numpy(rng.normal(0, 1, 50).repeat(40))
    basis, variance = directions(gradients, groups, 2)
    assert basis.shape == (5, 2)
    assert int(basis[:, 0].abs().argmax()) == 3
    assert variance[0] > 4 * variance[1]
    assert float((gradients @ basis[:, 0].double()).std()) == pytest.approx(1, abs=0.1)


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
    moved = fit_transport(parts, centre, target).move(a, layout)
    after = moments(split({**a, "x": moved}, layout), centre).mean(dim=0)
    numeric = len(layout.numeric)
    own = slice(0, numeric + numeric * (numeric + 1) // 2)  # means, and second moments between patients
    assert (after - target)[own].abs().max() < 0.15 * (before - target)[own].abs().max()
    assert (after - target).norm() < 0.3 * (before - target).norm()
