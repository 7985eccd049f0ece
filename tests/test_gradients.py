"""Opacus is not trusted blindly: per-patient gradients equal those of one backward pass a patient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from privacy.errors import PrivacyError
from privacy.gradients import per_patient_gradients, trainable


class Attention(nn.Module):
    """Linear, LayerNorm, Embedding and scaled dot-product attention over [patients, visits, features]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(5, 6), nn.Linear(6, 18)
        self.norm, self.out = nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, codes: Tensor) -> Tensor:
        h = self.embed(codes)
        q, k, v = self.qkv(self.norm(h)).chunk(3, dim=-1)
        return self.out(h + functional.scaled_dot_product_attention(q, k, v))


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))


def summed(model: nn.Module, records) -> Tensor:
    return model(records["x"]).pow(2).flatten(1).sum(dim=1)


def example(kind: str) -> tuple[nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    if kind == "attention":
        return Attention(), {"x": torch.randint(0, 5, (6, 4))}
    return Convolution(), {"x": torch.randn(6, 1, 5, 5)}


@pytest.mark.parametrize("kind", ["attention", "convolution"])
@pytest.mark.parametrize("backend", ["opacus", "vmap"])
def test_per_patient_gradients_equal_a_loop(kind: str, backend: str):
    model, records = example(kind)
    expected = per_patient_gradients(model, summed, records, "loop")
    got = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert got.shape == (6, sum(p.numel() for _, p in trainable(model)))
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize("backend", ["opacus", "vmap", "loop"])
def test_frozen_parameters_take_no_part(backend: str):
    model, records = example("attention")
    model.qkv.requires_grad_(False)  # type: ignore[union-attr]
    rows = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert rows.shape[1] == sum(p.numel() for n, p in model.named_parameters() if not n.startswith("qkv"))


@pytest.mark.parametrize("backend", ["opacus", "vmap", "loop"])
def test_one_patients_row_depends_on_nobody_else(backend: str):
    model, records = example("attention")
    before = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    changed = {"x": records["x"].clone()}
    changed["x"][2] = (changed["x"][2] + 1) % 5
    after = per_patient_gradients(model, summed, changed, backend)  # type: ignore[arg-type]
    others = [0, 1, 3, 4, 5]
    assert torch.allclose(before[others], after[others], atol=1e-6)
    assert not torch.allclose(before[2], after[2])


def test_a_parameter_without_a_per_patient_gradient_is_refused():
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(PrivacyError, match=r"unused\.weight"):
        per_patient_gradients(Unused(), summed, {"x": torch.ones(3, 2)})


def test_the_model_is_left_as_it_was():
    model, records = example("attention")
    per_patient_gradients(model, summed, records)
    assert all(p.grad is None for p in model.parameters())
    torch.autograd.grad(summed(model, records).sum(), list(model.parameters()))


def test_a_random_loss_draws_alike_for_every_patient_in_every_backend():
    def noisy(model: nn.Module, records) -> Tensor:
        return (model(records["x"]) * torch.randn(1)).pow(2).flatten(1).sum(dim=1)

    model, records = example("convolution")
    rows = []
    for backend in ("loop", "vmap", "opacus"):
        torch.manual_seed(7)
        rows.append(per_patient_gradients(model, noisy, records, backend))  # type: ignore[arg-type]
    assert torch.allclose(rows[0], rows[1], atol=1e-6)
    assert torch.allclose(rows[0], rows[2], atol=1e-6)


@pytest.mark.parametrize("backend", ["opacus", "vmap"])
def test_convolutions_behind_attention_get_their_gradient(backend: str):
    """Attention hands on memory that is not contiguous; Opacus' own rule then gave zero."""

    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.flatten(2).transpose(1, 2).contiguous().transpose(1, 2).unflatten(2, (6, 6)))

    torch.manual_seed(0)
    model, records = Behind(), {"x": torch.randn(5, 4, 6, 6)}
    expected = per_patient_gradients(model, summed, records, "loop")
    got = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-5
