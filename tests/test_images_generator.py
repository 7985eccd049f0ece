"""The image generator: what it learns, from whom, under which charges, and that a killed fit goes on."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from generators.images import ImageDiffusion, contact_sheet, write_contact_sheet
from generators.images import moments as moments_file
from generators.images.diffusion import denoise, to_bytes, to_unit
from generators.images.encoding import encode, flat
from generators.images.fitting import GRADIENT
from generators.images.layout import Layout
from generators.images.moments import Moments
from generators.images.network import Denoiser, parameters, weights
from generators.images.pretraining import public_pictures
from generators.images.private_loss import patient_loss
from generators.images.settings import Settings
from generators.images.spectrum import Spectrum
from generators.images.training import Pictures, Trainer
from privacy.accounting import calibrate, epsilon
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.gradients import check_rows, per_patient_gradients
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError, WorkspaceError

SIDE = 28
TINY = {
    "channels": [8, 16], "steps": 6, "pretrain_steps": 6, "batch_size": 8, "gradient_steps": 6, "sampling_rate": 0.5,
    "noise_multiplicity": 2, "low_frequencies": 8, "sampling_steps": 4, "checkpoint_every": 4, "precision": "float32",
}  # fmt: skip
QUIET = 1e-9


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dictionary(channels: int = 1, side: int = SIDE) -> Dictionary:
    return Dictionary.model_validate(
        {
            "name": "pictures", "title": "made-up pictures", "declared_patients": 40,
            "tables": {
                "patients": {"columns": {
                    "patient_id": {"type": "id"},
                    "label": {"type": "categorical", "categories": ["dark", "bright"]},
                    "age": {"type": "continuous", "bounds": [0, 100], "missing": True},
                }},
                "images": {"columns": {
                    "patient_id": {"type": "id"},
                    "side": {"type": "categorical", "categories": ["left", "right"]},
                    "picture": {"type": "image", "size": side, "channels": channels},
                }},
            },
        }
    )  # fmt: skip


def cohort(patients: int = 40, channels: int = 1, seed: int = 0, side: int = SIDE) -> Cohort:
    """Dark and bright pictures, none to three a patient."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i}" for i in range(patients)]
    bright = rng.integers(0, 2, patients)
    owner = np.repeat(np.arange(patients), rng.integers(0, 4, patients))
    shape = (side, side) if channels == 1 else (side, side, channels)
    pictures = np.empty(len(owner), dtype=object)
    pictures[:] = [
        np.clip(rng.normal(70 + 110 * bright[i] + rng.normal(0, 10), 15, shape), 0, 255).astype(np.uint8) for i in owner
    ]
    sides = pd.Categorical.from_codes(rng.integers(0, 2, len(owner)).tolist(), ["left", "right"])
    return Cohort(
        patients=pd.DataFrame(
            {
                "patient_id": ids,
                "label": pd.Categorical.from_codes(bright.tolist(), ["dark", "bright"]),
                "age": np.where(np.arange(patients) % 5 == 0, np.nan, rng.uniform(0, 100, patients)),
            }
        ),
        images=pd.DataFrame({"patient_id": [ids[i] for i in owner], "side": sides, "picture": pictures}),
    )


def silent(*_: object) -> None:
    """No progress bar."""


def door(generator: ImageDiffusion, patients: Cohort, noise: float = 1.0, **kwargs) -> Session:
    charges = [c.scaled(noise) for c in generator.charges(40)]
    return Session(generator.encode(patients), charges, 40, Noise(1), **kwargs)


def fitted(tmp_path: Path, patients: Cohort, session: Session | None = None, **settings) -> ImageDiffusion:
    generator = ImageDiffusion(dictionary(), TINY | settings)
    generator.pretrain(0, tmp_path / "cache", silent)
    generator.fit(session or door(generator, patients), 3, silent)
    return generator


# Encoding -----------------------------------------------------------------------------------------------------------------
def test_row_i_is_patient_i_alone_and_padding_is_zero():
    patients = cohort()
    layout = Layout(dictionary())
    whole = encode(patients, layout, 2)
    half = encode(patients.of(list(patients.ids)[::2]), layout, 2)
    assert all(torch.equal(half[k], v[::2]) for k, v in whole.items())
    assert whole["images"].shape == (40, 2, 1, SIDE, SIDE)
    assert patients.images is not None
    counts = patients.images["patient_id"].value_counts().reindex(patients.ids, fill_value=0).clip(upper=2)
    assert whole["count"].tolist() == counts.tolist()
    assert not whole["images"][whole["count"] == 0].any()


def test_conditions_hold_categories_numbers_and_what_is_missing():
    patients, layout = cohort(), Layout(dictionary())
    assert list(layout.condition) == ["side", "label", "age"]
    assert layout.width == 1 + 2 + 2 + 2
    assert patients.images is not None
    vectors = layout.conditions(patients.images, patients.patients)
    first = patients.images.iloc[0]
    owner = patients.patients.set_index("patient_id").loc[first["patient_id"]]
    told = [
        1.0,
        first["side"] == "left",
        first["side"] == "right",
        owner["label"] == "dark",
        owner["label"] == "bright",
    ]
    assert vectors[0, :5].tolist() == [float(x) for x in told]
    ages = patients.patients.set_index("patient_id")["age"].reindex(patients.images["patient_id"]).to_numpy()
    assert np.allclose(vectors[:, 5], np.nan_to_num(ages / 50 - 1))
    assert np.array_equal(vectors[:, 6] == 0, np.isnan(ages))
    assert float(np.linalg.norm(vectors[:, 1:], axis=1).max()) <= layout.longest


def test_colour_pictures_come_out_as_they_went_in():
    patients = cohort(10, channels=3)
    records = encode(patients, Layout(dictionary(3)), 3)
    images, conditions, weight = flat(records)
    assert patients.images is not None
    assert torch.equal(images[0].permute(1, 2, 0), torch.from_numpy(patients.images["picture"].iloc[0]))
    assert len(images) == len(conditions) == len(patients.images)
    assert np.isclose(float(weight.sum()), (records["count"] > 0).sum())  # every patient weighs as much as another


def test_what_cannot_be_learnt_is_refused():
    with pytest.raises(ConfigError, match=r"condition: stage is no category or number .* side, label, age"):
        ImageDiffusion(dictionary(), {"condition": ["stage"]})
    with pytest.raises(ConfigError, match="size needs to be 28 to 256"):
        ImageDiffusion(dictionary(side=300))
    with pytest.raises(ConfigError, match="no table images"):
        ImageDiffusion(dictionary().without(["images"]))
    with pytest.raises(ConfigError, match="multiples of 8"):
        ImageDiffusion(dictionary(), {"channels": [12]})
    with pytest.raises(ConfigError, match="did you mean steps"):
        ImageDiffusion(dictionary(), {"step": 3})


# Gradients ----------------------------------------------------------------------------------------------------------------
def ragged() -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(0)
    return {
        "images": torch.randint(0, 256, (6, 3, 1, SIDE, SIDE), dtype=torch.uint8, generator=stream),
        "count": torch.tensor([1, 2, 3, 0, 3, 1]),
        "condition": torch.randn(6, 3, 7, generator=stream),
        "key": torch.randint(0, 2**30, (6,), generator=stream),
    }


def shipped(trainable: str = "all", **settings) -> tuple[Denoiser, Settings]:
    chosen = Settings(noise_multiplicity=4, precision="float32", **settings)
    torch.manual_seed(0)
    model = Denoiser(1, SIDE, 7, chosen.size).train()
    model.choose(trainable)
    return model, chosen


@pytest.mark.slow
@pytest.mark.parametrize("fast", ["hooks", "vmap"])
def test_per_patient_gradients_of_the_shipped_model_equal_a_loops(fast: str):
    """Several pictures a patient, ragged, several timesteps each; the network is the preset's, attention and all."""
    model, settings = shipped()
    loss, records = patient_loss(settings, "cpu"), ragged()
    check_rows(model, loss, records)

    def rows(backend) -> Tensor:
        torch.manual_seed(5)
        return per_patient_gradients(model, loss, records, backend)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # vmap warns where it falls back to a slow loop
        got = rows(fast)
    expected = rows("loop")
    scale = expected.abs().max()
    assert float((got - expected).abs().max() / scale) < 1e-5
    start = 0
    for name, p in model.named_parameters():  # hooks once gave seven convolutions nothing
        assert got[0, start : start + p.numel()].any(), name
        start += p.numel()
    assert not got[3].any()  # nobody's pictures: nothing


def test_a_patients_gradient_depends_on_nobody_else_wherever_they_stand():
    model, settings = shipped(channels=(8, 16))
    loss, records = patient_loss(settings, "cpu"), ragged()

    def rows(kept: list[int]) -> Tensor:
        torch.manual_seed(5)
        return per_patient_gradients(model, loss, {k: v[kept] for k, v in records.items()}, "hooks")

    whole = rows(list(range(6)))
    assert torch.allclose(rows([4, 2, 0]), whole[[4, 2, 0]], atol=1e-5 * float(whole.abs().max()))


def test_patients_are_noised_differently_and_anew_at_each_step():
    settings = Settings(noise_multiplicity=3)
    seen: list[Tensor] = []

    def model(noisy: Tensor, timesteps: Tensor, conditions: Tensor) -> Tensor:
        del conditions
        seen.append(timesteps.view(3, -1).T)
        return torch.zeros_like(noisy)

    loss, records = patient_loss(settings, "cpu"), ragged()
    for step in range(2):
        torch.manual_seed(step)
        loss(model, records)
    first, second = seen
    assert len({tuple(r.tolist()) for r in first}) == 6
    assert not torch.equal(first, second)
    assert bool(((first >= torch.tensor([0, 333, 666])) & (first < torch.tensor([334, 667, 1000]))).all())


def test_few_weights_are_moved_where_few_are_chosen():
    every = parameters(shipped()[0])
    for trainable in ("conditioning", "norms", "head"):
        assert 0 < parameters(shipped(trainable)[0]) < 0.2 * every


# Moments ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 40)])
def test_coefficients_lose_nothing_below_the_band_and_keep_what_lies_above(channels: int, side: int):
    spectrum = Spectrum(channels, side)
    x = torch.randn(5, channels, side, side, generator=torch.Generator().manual_seed(0))
    z = spectrum.coefficients(x)
    assert z.shape == (5, spectrum.numbers)
    assert torch.allclose(spectrum.images(z, x), x, atol=1e-5)
    if side <= 32:
        assert torch.allclose(z.norm(dim=1), x.flatten(1).norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_without_noise_moments_are_those_of_the_pictures(share: float):
    """Also where only half of the patients have pictures at all."""
    rng = np.random.default_rng(0)
    spectrum, n = Spectrum(1, SIDE), 600
    label = torch.from_numpy(rng.integers(0, 2, n))
    told = torch.cat([torch.ones(n, 1), torch.nn.functional.one_hot(label, 2).float()], dim=1)
    z = torch.from_numpy(rng.normal(size=(n, spectrum.numbers))).float() * 0.3 * spectrum.scale
    z[label == 1, 100:] *= 1.5
    z[:, 1] += 0.8 * z[:, 0] * spectrum.scale[1] / spectrum.scale[0]
    z[:, 2] += (2.0 * label - 1) * 0.4 * spectrum.scale[2]
    x = to_bytes(spectrum.images(z))
    records = {"images": x.unsqueeze(1), "count": torch.ones(n, dtype=torch.int64), "condition": told.unsqueeze(1)}
    if share < 1:
        records = {name: torch.cat([v, torch.zeros_like(v)]) for name, v in records.items()}
    session = Session(records, [Charge(name, QUIET) for name in moments_file.QUESTIONS], int(n / share), Noise(0))
    learnt = moments_file.learn(moments_file.Questions(spectrum, session, share), 3, 1.0, 6, None)
    true = spectrum.coefficients(to_unit(x))
    means = torch.stack([true[label == k].mean(dim=0) for k in (0, 1)])
    got = torch.eye(3)[1:] @ learnt.regression + learnt.regression[0]
    assert float(((got - means) / spectrum.scale)[:, :20].abs().max()) < 0.05
    drawn = spectrum.coefficients(moments_file.draw(spectrum, learnt, told, torch.Generator().manual_seed(0)))
    rest = lambda c: c - torch.stack([c[label == k].mean(dim=0) for k in (0, 1)])[label]  # noqa: E731
    assert torch.allclose(torch.cov(rest(drawn)[:, :6].T), torch.cov(rest(true)[:, :6].T), rtol=0.2, atol=0.12)
    for coefficients in (drawn, true):
        sizes = spectrum.block_means(coefficients.square())[:, spectrum.block.unique()[-5:]].sqrt()
        assert 1.4 < float(sizes[label == 1].mean() / sizes[label == 0].mean()) < 1.6


def test_moved_pictures_have_the_moments_they_are_moved_to():
    spectrum, n = Spectrum(1, SIDE), 500
    stream = torch.Generator().manual_seed(1)
    told = torch.ones(n, 1)
    base = (0.2 * torch.randn(n, 1, SIDE, SIDE, generator=stream)).clamp(-1, 1)
    own = moments_file.of_public(spectrum, base, told, 4)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=stream))[0]
    dependence = turn @ torch.diag(torch.tensor([1.6, 1.2, 0.8, 0.4])) @ turn.T
    none, spread = torch.zeros(1, spectrum.numbers), torch.full((spectrum.numbers,), 0.15)
    wanted = Moments(none, spread, none, dependence)
    moved = moments_file.move(spectrum, wanted, base, own, told, told)
    z = spectrum.coefficients(moved) / 0.15
    assert torch.allclose(torch.cov(z[:, :4].T), dependence, atol=0.1)
    assert float((z.std(dim=0) - 1).abs()[4:].max()) < 0.1


def test_public_moments_know_that_classes_differ_in_contrast_and_moving_takes_it_along():
    spectrum, n = Spectrum(1, SIDE), 600
    stream = torch.Generator().manual_seed(2)
    label = torch.arange(n) % 2
    told = torch.cat([torch.ones(n, 1), torch.eye(2)[label]], dim=1)
    base = (0.1 + 0.1 * label.view(-1, 1, 1, 1)) * torch.randn(n, 1, SIDE, SIDE, generator=stream)
    own = moments_file.of_public(spectrum, base, told, 4)
    ratio = own.unit(told[1:2]) / own.unit(told[:1])
    assert float((ratio - 2).abs().max()) < 0.4
    assert float((ratio - 2).mean().abs()) < 0.05
    z = own.standardised(spectrum.coefficients(base), told)
    assert all(abs(float(z[label == k].std()) - 1) < 0.03 for k in (0, 1))
    assert torch.allclose(own.coloured(z, told), spectrum.coefficients(base), atol=1e-4)


def test_every_statistic_keeps_to_its_row():
    """The coupling test of the audit, on every charge of a fit."""
    from synthgen.auditing.replay import Witness

    patients = cohort()
    generator = ImageDiffusion(dictionary(), TINY | {"trainable": "all"})
    generator.pretrain(0, Path(), silent)
    witness = Witness(generator.encode(patients), generator.charges(40), 40, Journal())
    generator.fit(witness, 3, silent)
    assert witness.seen == {c.name for c in generator.charges(40)}
    assert witness.coupled == []


# Charges and resuming -----------------------------------------------------------------------------------------------------
def test_charges_follow_from_settings_alone_and_are_all_used(tmp_path: Path):
    generator = ImageDiffusion(dictionary(), TINY)
    charges = calibrate(generator.charges(40), Budget(3.0, 1e-4))
    assert 2.9 < epsilon(charges, 1e-4) <= 3.0
    journal = Journal(tmp_path / "a")
    fitted(tmp_path, cohort(), door(generator, cohort(), journal=journal))
    assert len(journal) == sum(c.steps for c in charges)


class Killed(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("at", ["training on drawn pictures 4", "private training 3"])
def test_a_killed_private_fit_goes_on_and_makes_the_same_model(tmp_path: Path, at: str, monkeypatch):
    from privacy import journal as journal_file

    monkeypatch.setattr(journal_file, "KEPT_BYTES", 0)
    settings = TINY | {"checkpoint_every": 2, "pretrain_steps": 20}
    patients = cohort()

    def kill(what: str, done: int, total: int) -> None:
        del total
        if what == at.rsplit(" ", 1)[0] and (done >= int(at[-1]) if "drawn" not in what else True):
            raise Killed

    def run(folder: Path, progress) -> ImageDiffusion:
        generator = ImageDiffusion(dictionary(), settings)
        generator.pretrain(0, tmp_path / "cache", silent)
        journal = Journal(folder, tmp_path / f"{folder.name}.mark")
        generator.fit(door(generator, patients, journal=journal), 3, progress)
        return generator

    with pytest.raises(Killed):
        run(tmp_path / "killed", kill)
    given = int((tmp_path / "killed.mark").read_text())
    resumed = run(tmp_path / "killed", silent)
    total = sum(c.steps for c in resumed.charges(40))
    assert 0 < given < total
    assert (tmp_path / "killed.mark").read_text() == f"{total}\n"  # every charge answered once, none twice
    again = ImageDiffusion(dictionary(), settings)
    again.pretrain(0, tmp_path / "cache", silent)
    blank = Session({k: v[:1] * 0 for k, v in again.encode(patients).items()}, again.charges(40), 40,
                    journal=Journal(tmp_path / "killed"))  # fmt: skip
    again.fit(blank, 3, silent)
    one, other = (weights(g._fitted) for g in (resumed, again))  # type: ignore[arg-type]
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_without_privacy_a_killed_fit_goes_on_to_the_same_weights():
    patients = cohort()
    pictures = Pictures(*flat(encode(patients, Layout(dictionary()), 4)))
    settings = Settings.model_validate(TINY | {"steps": 9})

    def trainer() -> Trainer:
        torch.manual_seed(0)
        return Trainer(Denoiser(1, SIDE, 7, settings.size), settings)

    whole = trainer()
    whole.run(pictures, 9, 3, silent, "x", None)
    states = []
    first = trainer()
    first.run(pictures, 9, 3, silent, "x", lambda: states.append(first.state()))
    second = trainer()
    second.restore(states[0])
    assert second.step == 4
    second.run(pictures, 9, 3, silent, "x", None)
    assert all(torch.equal(a, b) for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True))


def test_given_only_its_answers_the_fit_makes_the_same_model(tmp_path: Path):
    patients = cohort()
    generator = ImageDiffusion(dictionary(), TINY)
    live = fitted(tmp_path, patients, door(generator, patients, journal=Journal(tmp_path / "a")))
    blank = {k: v[:1] * 0 for k, v in generator.encode(patients).items()}
    journal = Journal(tmp_path / "a", from_start=True)
    replayed = fitted(tmp_path, patients, Session(blank, generator.charges(40), 40, journal=journal))
    one, other = (weights(g._fitted) for g in (live, replayed))  # type: ignore[arg-type]
    assert all(torch.allclose(one[k], other[k], atol=1e-6) for k in one)


# Drawing ------------------------------------------------------------------------------------------------------------------
def test_synthetic_patients_get_pictures_that_keep_to_the_dictionary(tmp_path: Path):
    patients = cohort()
    generator = fitted(tmp_path, patients, Session(ImageDiffusion(dictionary(), TINY).encode(patients), [], 40))
    record = Cohort(patients=patients.patients.assign(patient_id=[f"SYN-{i}" for i in range(40)]), origin="synthetic")
    made = generator.extend(record, np.random.default_rng(0))
    checked = Cohort.checked(made.tables, dictionary(), "synthetic")
    assert checked.images is not None
    assert 0 < len(checked.images) < 160
    picture = checked.images["picture"].iloc[0]
    assert picture.shape == (SIDE, SIDE)
    assert picture.dtype == np.uint8
    again = generator.extend(record, np.random.default_rng(0))
    assert made.images is not None
    assert again.images is not None
    assert all(np.array_equal(a, b) for a, b in zip(made.images["picture"], again.images["picture"], strict=True))
    rows = made.images[["patient_id", "side"]].iloc[:3]
    few = generator.extend(record, np.random.default_rng(0), rows)
    assert few.images is not None
    assert few.images["patient_id"].tolist() == rows["patient_id"].tolist()


@pytest.mark.slow
def test_bright_patients_get_bright_pictures_with_and_without_privacy(tmp_path: Path):
    patients = cohort(200)
    longer = {
        "channels": [16, 16],
        "steps": 250,
        "pretrain_steps": 250,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "ema": 0.98,
    }
    for noise in (QUIET, None):
        generator = ImageDiffusion(dictionary(), TINY | longer)
        charges = [] if noise is None else [c.scaled(noise) for c in generator.charges(200)]
        session = Session(generator.encode(patients), charges, 200, Noise(0))
        made = fitted(tmp_path, patients, session, **longer)
        told = made.layout.any_conditions(60, torch.Generator().manual_seed(0))
        place, dark = made.layout.each_category()["left"]
        assert place == slice(1, 3)
        assert dark.tolist() == [1, 0]
        light = made.pictures(told, np.random.default_rng(0)).float().mean(dim=(1, 2, 3))
        bright = told[:, 4] == 1
        assert float(light[bright].mean() - light[~bright].mean()) > 60  # 110 in the patients


def test_a_perfect_predictor_is_sampled_back_exactly():
    """With the true velocity of a single picture every sampler returns that picture."""
    from generators.images.diffusion import alphas

    target = torch.linspace(-0.9, 0.9, 64).view(1, 1, 8, 8)
    alpha, sigma = alphas()

    def velocity(noisy: Tensor, timesteps: Tensor, conditions: Tensor) -> Tensor:
        del conditions
        a, s = (x[timesteps].view(-1, 1, 1, 1) for x in (alpha, sigma))
        return (a * noisy - target) / s

    start = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for sampler in ("dpm", "ddim"):
        *_, last = denoise(velocity, start, torch.zeros(4, 1), 20, sampler, "v_prediction")
        assert float((last - target).abs().max()) < 0.02, sampler


def test_a_model_is_saved_and_loaded_and_a_corrupt_one_refused(tmp_path: Path):
    patients = cohort()
    generator = fitted(tmp_path, patients)
    (tmp_path / "m").mkdir()
    generator.save(tmp_path / "m")
    loaded = ImageDiffusion(dictionary(), TINY)
    loaded.load(tmp_path / "m")
    record = Cohort(patients=patients.patients, origin="synthetic")
    one, other = (g.extend(record, np.random.default_rng(2)).images for g in (generator, loaded))
    assert one is not None
    assert other is not None
    assert all(np.array_equal(a, b) for a, b in zip(one["picture"], other["picture"], strict=True))
    with pytest.raises(WorkspaceError, match="other settings"):
        ImageDiffusion(dictionary(), TINY | {"guidance": 2.0}).load(tmp_path / "m")
    file = tmp_path / "m" / "denoiser.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(WorkspaceError, match="missing or corrupt"):
        ImageDiffusion(dictionary(), TINY).load(tmp_path / "m")


def test_given_weights_are_the_start_and_must_fit(tmp_path: Path):
    first = fitted(tmp_path, cohort())
    (tmp_path / "m").mkdir()
    first.save(tmp_path / "m")
    second = ImageDiffusion(dictionary(), TINY | {"pretrained": str(tmp_path / "m")})
    second.pretrain(9, tmp_path / "cache", silent)
    assert second.pictures(torch.zeros(1, 7), np.random.default_rng(0)).shape == (1, 1, SIDE, SIDE)
    other = ImageDiffusion(dictionary(), TINY | {"pretrained": str(tmp_path / "m"), "channels": [8, 8]})
    with pytest.raises(ConfigError, match="holds another network"):
        other.pretrain(9, tmp_path / "cache", silent)
    with pytest.raises(WorkspaceError, match="no model yet"):
        ImageDiffusion(dictionary(), TINY).pictures(torch.zeros(1, 7), np.random.default_rng(0))


def public_folder(folder: Path, side: int = SIDE, categories: tuple[str, ...] = ("dark", "bright")) -> Path:
    """A public cohort on disk, with only the condition `label`."""
    import yaml
    from PIL import Image

    patients = cohort(12, side=side)
    assert patients.images is not None
    folder.mkdir()
    names = [f"{k}.png" for k in range(len(patients.images))]
    for name, picture in zip(names, patients.images["picture"], strict=True):
        Image.fromarray(picture).save(folder / name)
    patients.images[["patient_id"]].assign(picture=names).to_csv(folder / "images.csv", index=False)
    patients.patients[["patient_id", "label"]].to_csv(folder / "patients.csv", index=False)
    described = dictionary(side=side).model_dump(mode="json", exclude_defaults=True)
    del described["tables"]["images"]["columns"]["side"], described["tables"]["patients"]["columns"]["age"]
    described["tables"]["patients"]["columns"]["label"]["categories"] = list(categories)
    (folder / "cohort.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return folder


def test_public_pictures_are_what_it_knows_before_it_meets_a_patient(tmp_path: Path):
    settings = TINY | {"condition": ["label"], "public": str(public_folder(tmp_path / "public"))}
    generator = ImageDiffusion(dictionary(), settings)
    generator.pretrain(0, tmp_path / "cache", silent)
    before = generator.pictures(torch.ones(1, 3), np.random.default_rng(0))
    seen: list[str] = []
    again = ImageDiffusion(dictionary(), settings)
    again.pretrain(0, tmp_path / "cache", lambda what, *_: seen.append(what))
    assert torch.equal(again.pictures(torch.ones(1, 3), np.random.default_rng(0)), before)
    assert seen == []  # it came from the cache
    generator.fit(door(generator, cohort()), 0, silent)
    assert not torch.equal(generator.pictures(torch.ones(1, 3), np.random.default_rng(0)), before)


def test_public_pictures_of_another_kind_are_refused(tmp_path: Path):
    large = TINY | {"condition": ["label"], "public": str(public_folder(tmp_path / "large", side=32))}
    with pytest.raises(ConfigError, match="its pictures are 32 pixels of 1 channels, those of this cohort 28 of 1"):
        ImageDiffusion(dictionary(), large).pretrain(0, tmp_path / "cache", silent)
    turned = public_folder(tmp_path / "turned", categories=("bright", "dark"))
    other = TINY | {"condition": ["label"], "public": str(turned)}
    with pytest.raises(ConfigError, match="its column label has other categories or bounds"):
        ImageDiffusion(dictionary(), other).pretrain(0, tmp_path / "cache", silent)


@pytest.mark.parametrize(("channels", "side"), [(1, 30), (3, 37)])
def test_odd_sizes_and_colour_go_through(tmp_path: Path, channels: int, side: int):
    made = _through(tmp_path, TINY, channels, side)
    assert made.shape == ((side, side) if channels == 1 else (side, side, 3))


@pytest.mark.slow
def test_colour_pictures_of_256_pixels_go_through_in_pieces(tmp_path: Path, monkeypatch):
    from generators.images import fitting

    monkeypatch.setattr(fitting, "DRAWN", 20)
    monkeypatch.setattr(fitting, "AT_ONCE", 7 * 3 * 256**2)
    settings = TINY | {
        "patch": 8,
        "pretrain_steps": 2,
        "gradient_steps": 2,
        "sampling_steps": 2,
        "images_per_patient": 1,
    }
    assert _through(tmp_path, settings, 3, 256).shape == (256, 256, 3)


def _through(tmp_path: Path, settings: dict, channels: int, side: int) -> np.ndarray:
    """The first picture that a private fit on eight patients draws."""
    described, patients = dictionary(channels, side), cohort(8, channels, side=side)
    generator = ImageDiffusion(described, settings)
    generator.pretrain(0, tmp_path, silent)
    generator.fit(Session(generator.encode(patients), generator.charges(8), 8, Noise(0)), 0, silent)
    made = generator.extend(Cohort(patients=patients.patients, origin="synthetic"), np.random.default_rng(0))
    assert made.images is not None
    picture: np.ndarray = made.images["picture"].iloc[0]
    return picture


@pytest.mark.parametrize("public", [False, True])
def test_pictures_that_are_drawn_in_pieces_are_the_same(tmp_path: Path, monkeypatch, public: bool):
    from generators.images import fitting

    settings = TINY | {"condition": ["label"]} | ({"public": str(public_folder(tmp_path / "p"))} if public else {})
    monkeypatch.setattr(fitting, "DRAWN", 50)

    def drawn() -> Tensor:
        fit = fitting.Fit(
            Layout(dictionary(), ("label",)), Settings.model_validate(settings), None, None,  # type: ignore[arg-type]
            public_pictures(dictionary(), Settings.model_validate(settings)), "cpu", 0, silent,
        )  # fmt: skip
        spectrum = Spectrum(1, SIDE)
        flat_spectrum = Moments(
            torch.zeros(3, spectrum.numbers), 0.3 * spectrum.scale, torch.zeros(3, spectrum.numbers), torch.eye(4)
        )
        return fit._drawn(flat_spectrum).images

    whole = drawn()
    monkeypatch.setattr(fitting, "AT_ONCE", 16 * SIDE**2)
    assert torch.equal(drawn(), whole)
    assert whole.float().std() > 10


def test_label_stage_age_and_laterality_are_told_to_the_network():
    """Of patient and picture, by name, each in its own numbers of the condition vector."""
    described = dictionary().model_dump(mode="json", exclude_defaults=True)
    columns = described["tables"]["patients"]["columns"], described["tables"]["images"]["columns"]
    columns[0]["stage"] = {"type": "ordinal", "categories": ["I", "II", "III"]}
    columns[1]["laterality"] = columns[1].pop("side")
    told = Dictionary.model_validate(described)
    layout = Layout(told, ("label", "stage", "age", "laterality"))
    patients = pd.DataFrame(
        {
            "patient_id": ["p0", "p1"],
            "label": pd.Categorical(["dark", "bright"], ["dark", "bright"]),
            "stage": pd.Categorical(["I", "II"], ["I", "II", "III"], ordered=True),
            "age": [10.0, 75.0],
        }
    )
    rows = pd.DataFrame({"patient_id": ["p1"], "laterality": pd.Categorical(["right"], ["left", "right"])})
    vector = layout.conditions(rows, patients)[0]
    #                          told, label, stage,   age,    laterality
    assert vector.tolist() == [1.0, 0, 1, 0, 1, 0, 0.5, 1, 0, 1]
    chosen = {"condition": ["label", "stage", "age", "laterality"]}
    assert ImageDiffusion(told, TINY | chosen).layout.width == len(vector)


def test_the_contact_sheet_is_a_marked_picture(tmp_path: Path):
    from PIL import Image

    page = contact_sheet(fitted(tmp_path, cohort()), np.random.default_rng(0), across=5, rows=1)
    assert page.shape == (2 * 2 * (SIDE + 2), 5 * (SIDE + 2))  # for each side a row and a strip
    write_contact_sheet(tmp_path / "sheet.png", page)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert "Synthetic" in picture.text["Description"]
    assert len(GRADIENT)
