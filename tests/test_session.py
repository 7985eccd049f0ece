"""The one door: what it answers, what it charges, what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from privacy.charges import Charge
from privacy.errors import ConfigError, PrivacyError, Unaccounted, WorkspaceError
from privacy.journal import Journal
from privacy.noise import Noise
from privacy.session import Session, clip

EXACT = 1e-12  # a noise multiplier so small that the sum can be read off


def values(records) -> Tensor:
    return records["x"]


def session(x: Tensor, *charges: Charge, n: int = 100, **kwargs) -> Session:
    return Session({"x": x}, charges, declared_patients=n, **kwargs)


def test_sum_is_the_clipped_sum_plus_noise():
    x = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, -10.0]])
    got = session(x, Charge("a", EXACT)).sum(values, clip_norm=1.0, charge="a")
    assert torch.allclose(got, torch.tensor([0.6 + 0.3, 0.8 + 0.4 - 1.0], dtype=torch.float64))


def test_clip_holds_to_a_millionth_for_any_size():
    vectors = torch.randn(1000, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * torch.logspace(
        -8, 8, 1000, dtype=torch.float64
    ).unsqueeze(1)
    norms = clip(vectors, 0.3).norm(dim=1)
    assert float(norms.max()) <= 0.3 * (1 + 1e-6)
    small = vectors.norm(dim=1) < 0.3
    assert torch.equal(clip(vectors, 0.3)[small], vectors[small])


def test_the_noise_has_the_variance_that_is_charged():
    size, sigma, norm = 20_000, 1.7, 0.25
    noise = session(torch.zeros(3, size), Charge("a", sigma)).sum(values, clip_norm=norm, charge="a").numpy()
    low, high = stats.chi2.ppf([1e-6, 1 - 1e-6], size) / size
    assert low < noise.var() / (sigma * norm) ** 2 < high
    assert stats.kstest(noise / (sigma * norm), "norm").pvalue > 1e-6


def test_poisson_sampling_includes_each_patient_independently_at_the_rate():
    noise, rate, n = Noise(seed=1), 0.3, 4000
    sizes = np.array([len(noise.poisson_sample(50, rate)) for _ in range(n)])
    assert abs(sizes.mean() - 50 * rate) < 5 * math.sqrt(50 * rate * 0.7 / n)
    assert abs(sizes.var() / (50 * rate * (1 - rate)) - 1) < 0.15  # shuffled batches would have variance 0


def test_empty_samples_still_draw_noise():
    door = session(torch.ones(5, 2), Charge("a", 1.0, sampling_rate=1e-9, steps=3))
    assert all(bool((door.sum(values, 1.0, "a") != 0).all()) for _ in range(3))


def test_normaliser_is_the_declared_size_and_not_the_number_of_records():
    small, large = (session(torch.ones(k, 1), Charge("a", EXACT), n=100) for k in (5, 6))
    difference = large.mean(values, 1.0, "a") - small.mean(values, 1.0, "a")
    assert math.isclose(float(difference), 1 / 100, rel_tol=1e-9)


def test_adding_a_patient_changes_nothing_but_that_patients_own_contribution():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(30, 4, generator=generator)
    added = torch.cat([x[:10], torch.full((1, 4), 9.0), x[10:]])
    one, other = (session(data, Charge("a", 2.0), noise=Noise(seed=5)).sum(values, 1.0, "a") for data in (x, added))
    assert (
        float((other - one - 0.5).abs().max()) < 1e-9
    )  # the clipped newcomer is (.5, .5, .5, .5); the noise is the same


def test_a_patient_that_is_not_finite_contributes_zero_silently():
    x = torch.tensor([[1.0], [math.nan], [math.inf], [1.0]])
    assert math.isclose(float(session(x, Charge("a", EXACT)).sum(values, 1.0, "a")), 2.0, rel_tol=1e-9)


def test_what_no_charge_covers_cannot_be_asked():
    door = session(torch.ones(3, 1), Charge("a", 1.0, steps=2))
    with pytest.raises(Unaccounted, match="no charge b; it covers a"):
        door.sum(values, 1.0, "b")
    door.sum(values, 1.0, "a")
    door.sum(values, 1.0, "a")
    with pytest.raises(Unaccounted, match="covers 2 steps and all are used"):
        door.sum(values, 1.0, "a")


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, math.inf, math.nan])
def test_a_clip_that_bounds_nothing_is_refused(clip_norm):
    with pytest.raises(ConfigError, match="clip_norm"):
        session(torch.ones(3, 1), Charge("a", 1.0)).sum(values, clip_norm, "a")


def test_noise_is_never_the_same_twice_without_a_seed():
    draws = {float(session(torch.zeros(2, 1), Charge("a", 1.0)).sum(values, 1.0, "a")) for _ in range(50)}
    assert len(draws) == 50


def test_a_seed_for_noise_marks_the_run(tmp_path: Path):
    session(torch.zeros(2, 1), Charge("a", 1.0), noise=Noise(seed=1), journal=Journal(tmp_path))
    assert Journal(tmp_path).marks() == ["seeded"]


def test_reveal_marks_the_run(tmp_path: Path):
    x = torch.ones(2, 1)
    assert torch.equal(session(x, journal=Journal(tmp_path)).reveal()["x"], x)
    assert Journal(tmp_path).marks() == ["revealed"]


def test_replay_gives_the_recorded_answers_without_any_patient(tmp_path: Path):
    charge = Charge("a", 1.0, sampling_rate=0.5, steps=4)
    live = session(torch.randn(20, 3), charge, journal=Journal(tmp_path))
    answers = [live.sum(values, 1.0, "a") for _ in range(3)]
    replayed = session(torch.full((1, 3), math.nan), charge, journal=Journal(tmp_path))
    assert all(torch.equal(replayed.sum(values, 1.0, "a"), answer) for answer in answers)
    fresh = replayed.sum(values, 1.0, "a")  # where the record ends it goes on live
    assert not any(torch.equal(fresh, answer) for answer in answers)
    assert len(Journal(tmp_path)) == 4


def test_a_recorded_answer_is_never_given_to_another_question(tmp_path: Path):
    session(torch.ones(2, 1), Charge("a", 1.0), journal=Journal(tmp_path)).sum(values, 1.0, "a")
    changed = session(torch.ones(2, 1), Charge("a", 1.0), journal=Journal(tmp_path))
    with pytest.raises(WorkspaceError, match="belongs to another question"):
        changed.sum(values, 2.0, "a")


@pytest.mark.parametrize("damage", ["flip", "shorten", "swap", "drop"])
def test_corrupt_checkpoints_are_refused_by_name(tmp_path: Path, damage: str):
    door = session(torch.ones(2, 1), Charge("a", 1.0, steps=3), journal=Journal(tmp_path))
    for _ in range(3):
        door.sum(values, 1.0, "a")
    files = sorted(tmp_path.glob("*.safetensors"))
    content = bytearray(files[1].read_bytes())
    if damage == "flip":
        content[-40] ^= 1
        files[1].write_bytes(content)
    elif damage == "shorten":
        files[1].write_bytes(content[:-7])
    elif damage == "swap":
        files[1].write_bytes(files[2].read_bytes())
    else:
        files[1].unlink()
    with pytest.raises(WorkspaceError, match="000001"):
        Journal(tmp_path)


def test_an_answer_that_cannot_be_written_is_never_given(tmp_path: Path):
    folder = tmp_path / "answers"
    door = session(torch.ones(2, 1), Charge("a", 1.0), journal=Journal(folder))
    folder.rmdir()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        door.sum(values, 1.0, "a")


def linear(size: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(size, 1)


def squared_error(model: nn.Module, records) -> Tensor:
    return (model(records["x"]) ** 2).sum(dim=1)


def test_gradient_is_the_clipped_mean_gradient():
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    model = linear()
    session(x, Charge("a", EXACT), n=10).gradient(model, squared_error, 0.5, "a")
    rows = []
    for row in x:
        model_grad = torch.autograd.grad(squared_error(model, {"x": row[None]}).sum(), list(model.parameters()))
        rows.append(torch.cat([g.flatten() for g in model_grad]))
    expected = clip(torch.stack(rows).double(), 0.5).sum(0) / 10
    got = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert torch.allclose(got.double(), expected, atol=1e-6)


def test_gradient_refuses_batch_norm_and_says_why():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(PrivacyError, match="cannot be trained privately"):
        session(torch.ones(4, 3), Charge("a", 1.0)).gradient(model, squared_error, 1.0, "a")


def test_gradient_refuses_dropout_in_training():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    with pytest.raises(PrivacyError, match="dropout draws by position"):
        session(torch.ones(4, 3), Charge("a", 1.0)).gradient(model, squared_error, 1.0, "a")


def test_a_random_loss_draws_the_same_numbers_for_every_patient_and_disturbs_nobody():
    def noisy(records) -> Tensor:
        return records["x"] * 0 + torch.rand(1)

    drawn = session(torch.ones(7, 1), Charge("a", EXACT), chunk=2).sum(noisy, 10.0, "a")
    torch.manual_seed(4)
    before = torch.rand(3)
    torch.manual_seed(4)
    session(torch.ones(7, 1), Charge("a", 1.0)).sum(noisy, 10.0, "a")
    assert torch.equal(torch.rand(3), before)
    assert math.isclose(float(drawn) / 7, round(float(drawn) / 7, 12), abs_tol=1e-9)
    again = session(torch.ones(1, 1), Charge("a", EXACT)).sum(noisy, 10.0, "a")
    assert math.isclose(float(drawn) / 7, float(again), rel_tol=1e-6)


def test_two_charges_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="one name"):
        session(torch.ones(3, 1), Charge("a", 100.0), Charge("a", 1e-9))


@pytest.mark.parametrize("wrong", [lambda r: r["x"][:, :1], lambda r: r["x"].sum(dim=0, keepdim=True)])
def test_a_statistic_without_one_full_row_a_patient_is_refused(wrong):
    def statistic(records) -> Tensor:
        return records["x"] if len(records["x"]) == 1 else wrong(records)

    with pytest.raises(PrivacyError, match="one row of 4 numbers for each patient"):
        session(torch.ones(3, 4), Charge("a", 1.0)).sum(statistic, 1.0, "a")


@pytest.mark.parametrize(
    "layer", [nn.AlphaDropout(0.5), nn.Dropout2d(0.5), nn.FeatureAlphaDropout(0.5), nn.RNN(3, 2, 2, dropout=0.5)]
)
def test_every_kind_of_dropout_is_refused_in_training_alone(layer):
    from privacy.gradients import _drops

    assert _drops(layer)
    assert not _drops(nn.Dropout(0.0))
    assert not _drops(nn.TransformerEncoderLayer(4, 1, dropout=0.5))  # its dropout is a module of its own


def test_a_journal_put_back_to_an_earlier_state_is_refused(tmp_path: Path):
    answers, mark = tmp_path / "answers", tmp_path / "mark"
    door = session(torch.ones(2, 1), Charge("a", 1.0, steps=4), journal=Journal(answers, mark))
    for _ in range(4):
        door.sum(values, 1.0, "a")
    assert len(Journal(answers, mark)) == 4
    for late in sorted(answers.glob("*.safetensors"))[2:]:
        late.unlink()
    with pytest.raises(WorkspaceError, match="put back to an earlier state"):
        Journal(answers, mark)


def test_noise_is_finite_at_the_ends_of_the_stream(monkeypatch):
    noise = Noise(seed=0)

    class Ends:
        def update(self, zeros: bytes) -> bytes:
            return (b"\xff" * 8 + b"\x00" * 8) * (len(zeros) // 16)

    monkeypatch.setattr(noise, "_stream", Ends())
    assert np.isfinite(noise.gaussians(2)).all()
    assert ((noise.uniforms(2) > 0) & (noise.uniforms(2) < 1)).all()


def test_long_vectors_are_added_in_small_chunks_and_the_sum_is_the_same(monkeypatch):
    from privacy import session as door_file

    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(1))
    seen = []

    def noted(records) -> Tensor:
        seen.append(len(records["x"]))
        return records["x"]

    whole = session(x, Charge("a", 2.0), noise=Noise(seed=5)).sum(values, 1.0, "a")
    monkeypatch.setattr(door_file, "NUMBERS", 40 * 7)
    monkeypatch.setattr(door_file, "BLOCK", 40 * 3)
    parts = session(x, Charge("a", 2.0), noise=Noise(seed=5)).sum(noted, 1.0, "a")
    assert seen == [1, *[7] * 7, 1]  # the blank patient that tells the length comes first
    assert torch.allclose(parts, whole, atol=1e-12)


def test_a_step_that_samples_nobody_never_runs_the_model():
    def refuses_nobody(records) -> Tensor:
        assert len(records["x"])
        return records["x"]

    session(torch.ones(5, 2), Charge("a", 1.0, sampling_rate=1e-9)).sum(refuses_nobody, 1.0, "a")


def test_gradients_in_chunks_are_the_same_and_their_draws_too():
    def noisy(model: nn.Module, records) -> Tensor:
        return ((model(records["x"]) - torch.randn(1)) ** 2).sum(dim=1)

    x, got = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), []
    for chunk in (None, 2):
        model = linear()
        session(x, Charge("a", EXACT), n=9).gradient(model, noisy, 0.5, "a", chunk=chunk)
        got.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(got[0], got[1], atol=1e-7)
