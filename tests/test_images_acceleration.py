"""What makes hardware fast may not change what is learnt. No card takes part: the same switches, on a processor."""

from __future__ import annotations

import pytest
import torch
from test_images_generator import TINY, cohort, dictionary, one_thread, ragged, shipped, silent
from torch import Tensor

from generators.images import acceleration as acceleration_file
from generators.images.acceleration import COMPILED_FROM, Acceleration
from generators.images.encoding import encode, flat
from generators.images.layout import Layout
from generators.images.network import Denoiser
from generators.images.private_loss import patient_loss
from generators.images.settings import SIZES, Settings
from generators.images.training import Pictures, Trainer
from privacy.gradients import per_patient_gradients

__all__ = ["one_thread"]


def trained(acceleration: Acceleration | None, precision: str = "float32") -> tuple[Tensor, Trainer]:
    """Weights after a few steps on forty patients' pictures, as one vector."""
    pictures = Pictures(*flat(encode(cohort(), Layout(dictionary()), 4)))
    settings = Settings.model_validate(TINY | {"precision": precision})
    torch.manual_seed(0)
    trainer = Trainer(Denoiser(1, 28, 7, settings.size), settings, "cpu", acceleration)
    trainer.run(pictures, 5, 3, silent, "x", None)
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()]), trainer


def moved_apart(one: Tensor, other: Tensor) -> float:
    """Distance of two trained networks, as a part of how far training moved them."""
    settings = Settings.model_validate(TINY)
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in Denoiser(1, 28, 7, settings.size).parameters()])
    return float((one - other).norm() / (one - start).norm())


def test_a_card_gets_what_a_processor_does_not(monkeypatch):
    assert Acceleration.of("cpu") == Acceleration()
    monkeypatch.setattr(acceleration_file, "find_spec", lambda name: name == "triton")
    assert Acceleration.of("cuda") == Acceleration.of("cuda:1") == Acceleration(True, "inductor")
    monkeypatch.setattr(acceleration_file, "find_spec", lambda name: None)
    assert Acceleration.of("cuda") == Acceleration(True, None)
    assert trained(None)[1].acceleration == Acceleration()


def test_only_long_trainings_are_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: "compiled")
    model, card = torch.nn.Linear(2, 2), Acceleration(True, "inductor")
    worth = {name: card.compiled(model, size.steps) for name, size in SIZES.items()}
    assert worth == {"small": model, "medium": "compiled", "large": "compiled"}
    assert card.compiled(model, COMPILED_FROM - 1) is model
    assert Acceleration().compiled(model, 10**6) is model


def test_the_layout_changes_no_result():
    plain, _ = trained(None)
    turned, trainer = trained(Acceleration(channels_last=True))
    laid_out = [p for p in trainer.model.parameters() if p.dim() == 4 and p.shape[2] > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in laid_out)
    assert moved_apart(plain, turned) < 0.02


@pytest.mark.slow
def test_compiling_changes_no_result(monkeypatch):
    """The graph is captured and differentiated as for a card; kernels are those of the processor."""
    monkeypatch.setattr(acceleration_file, "COMPILED_FROM", 1)
    plain, _ = trained(None)
    compiled, _ = trained(Acceleration(compiler="aot_eager"))
    assert moved_apart(plain, compiled) < 0.02


def test_bfloat16_changes_little():
    plain, _ = trained(None)
    rounded, _ = trained(None, "bfloat16")
    assert 0 < moved_apart(plain, rounded) < 0.4
    assert rounded.dtype == torch.float32  # weights and optimiser stay exact


@pytest.mark.parametrize(("turned", "precision", "least"), [(True, "float32", 1e-5), (False, "bfloat16", 0.05)])
def test_a_patients_gradient_is_right_in_a_cards_layout_and_precision(turned: bool, precision: str, least: float):
    """Opacus' convolutions lost their gradient behind memory of another layout, silently: the rules may not."""
    records, rows = ragged(), []
    for fast in (False, True):
        model, settings = shipped(channels=(8, 16))
        Acceleration(channels_last=fast and turned).laid_out(model)
        settings = settings.model_copy(update={"precision": precision if fast else "float32"})
        torch.manual_seed(5)
        rows.append(per_patient_gradients(model, patient_loss(settings, "cpu"), records, "hooks" if fast else "loop"))
    expected, got = rows
    assert float((got - expected).norm() / expected.norm()) < least
