"""The diffusion's arithmetic against its papers: schedule, both predictions, guidance, moving average."""

from __future__ import annotations

import math

import pytest
import torch
from test_images_generator import one_thread
from torch import Tensor

from generators.images.diffusion import TIMESTEPS, alphas, denoise, errors, guided, to_bytes, to_unit
from generators.images.network import Denoiser
from generators.images.settings import Settings
from generators.images.training import Pictures, Trainer

__all__ = ["one_thread"]


def test_the_schedule_is_the_cosine_of_nichol_and_dhariwal():
    """Equation 17: the signal's variance is cos((t / T + s) / (1 + s) pi / 2)^2, over its value at 0, with s = .008."""
    alpha, sigma = alphas()
    cosine = lambda t: math.cos((t / TIMESTEPS + 0.008) / 1.008 * math.pi / 2) ** 2  # noqa: E731
    expected = torch.tensor([cosine(t + 1) / cosine(0) for t in range(TIMESTEPS)])
    assert torch.allclose(alpha.square()[:-2], expected[:-2], atol=1e-5)  # the last steps are capped
    assert torch.allclose(alpha.square() + sigma.square(), torch.ones(TIMESTEPS), atol=1e-6)


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_both_predictions_say_the_same_picture(prediction: str):
    """x = alpha x_t - sigma v (Salimans and Ho 2022) and x = (x_t - sigma e) / alpha (Ho et al. 2020)."""
    stream = torch.Generator().manual_seed(0)
    x, noise = 2 * torch.rand(6, 1, 8, 8, generator=stream) - 1, torch.randn(6, 1, 8, 8, generator=stream)
    timesteps = torch.tensor([0, 100, 300, 500, 700, 900])
    alpha, sigma = (s[timesteps].view(-1, 1, 1, 1) for s in alphas())

    def knows(noisy: Tensor, _timesteps: Tensor, _conditions: Tensor) -> Tensor:
        v = (alpha * noisy - x) / sigma
        return v if prediction == "v_prediction" else sigma * noisy + alpha * v

    none = torch.zeros(6, 1)
    assert float(errors(knows, x, noise, timesteps, none, prediction).max()) < 1e-6
    other = "epsilon" if prediction == "v_prediction" else "v_prediction"
    assert float(errors(knows, x, noise, timesteps, none, other)[1:].min()) > 1e-2


@pytest.mark.parametrize("sampler", ["dpm", "ddim"])
@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_samplers_draw_from_a_normal_distribution_they_are_told(sampler: str, prediction: str):
    """The best prediction for pixels from N(.2, .3^2) is known in closed form; what is drawn must have their mean and spread."""
    mean, spread = 0.2, 0.3
    alpha, sigma = alphas()

    def best(noisy: Tensor, timesteps: Tensor, _conditions: Tensor) -> Tensor:
        a, s = (z[timesteps].view(-1, 1, 1, 1) for z in (alpha, sigma))
        clean = mean + a * spread**2 / (a**2 * spread**2 + s**2) * (noisy - a * mean)
        noise = (noisy - a * clean) / s
        return a * noise - s * clean if prediction == "v_prediction" else noise

    start = torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    *_, drawn = denoise(best, start, torch.zeros(50, 1), 50, sampler, prediction)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(spread, abs=0.03)


def test_guidance_goes_from_the_untold_through_the_told():
    """Ho and Salimans 2021: 0 is untold, 1 is told, 3 as far again and again."""
    model = lambda noisy, timesteps, conditions: conditions[:, :1].view(-1, 1, 1, 1) + 5 + 0 * noisy  # noqa: E731
    noisy, conditions = torch.zeros(2, 1, 4, 4), torch.tensor([[1.0, 0], [2.0, 1]])
    for guidance in (0.0, 1.0, 3.0):
        found = guided(model, guidance)(noisy, torch.zeros(2), conditions)
        assert found[:, 0, 0, 0].tolist() == [5 + guidance, 5 + 2 * guidance]


def test_a_part_of_the_conditions_is_hidden_in_training_so_that_there_is_an_untold(monkeypatch):
    seen: list[Tensor] = []

    def forward(noisy: Tensor, _timesteps: Tensor, conditions: Tensor) -> Tensor:
        seen.append(conditions)
        return noisy * 0

    settings = Settings(condition_dropout=0.3, precision="float32", channels=(8, 8))
    trainer = Trainer(Denoiser(1, 28, 2, settings.size), settings)
    monkeypatch.setattr(trainer, "_descend", lambda *_: None)
    for step in range(50):
        trainer._loss(forward, torch.zeros(20, 1, 28, 28), torch.ones(20, 2), torch.Generator().manual_seed(step))
    rows = torch.cat(seen)
    assert set(map(tuple, rows.tolist())) == {(0.0, 0.0), (1.0, 1.0)}
    assert float((rows[:, 0] == 0).float().mean()) == pytest.approx(0.3, abs=0.05)


def test_the_moving_average_follows_by_its_decay():
    """Of step k with decay min(ema, (1 + k) / (10 + k)), by hand."""
    settings = Settings(ema=0.5, channels=(8, 8), batch_size=2, precision="float32")
    torch.manual_seed(0)
    trainer = Trainer(Denoiser(1, 28, 1, settings.size), settings)
    pictures = Pictures(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.ones(2, 1), torch.ones(2))
    last = lambda model: next(model.parameters()).detach().double().flatten()[0].item()  # noqa: E731
    expected = last(trainer.model)
    for step in range(1, 13):
        trainer.run(pictures, step, 0, lambda *_: None, "x", None)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * last(trainer.model)
    assert last(trainer.average) == pytest.approx(expected, abs=1e-6)
    assert last(trainer.average) != pytest.approx(last(trainer.model), abs=1e-6)


def test_bytes_and_units_are_each_others_way_back():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_unit(every)), every)
    assert to_bytes(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]
