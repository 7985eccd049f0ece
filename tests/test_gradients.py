"""No engine is trusted blindly: per-patient gradients equal those of one backward pass a patient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from privacy.charges import Charge
from privacy.errors import PrivacyError
from privacy.gradients import check_rows, per_patient_gradients, trainable
from privacy.session import Session


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
@pytest.mark.parametrize("backend", ["hooks", "opacus", "vmap"])
def test_per_patient_gradients_equal_a_loop(kind: str, backend: str):
    model, records = example(kind)
    expected = per_patient_gradients(model, summed, records, "loop")
    got = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert got.shape == (6, sum(p.numel() for _, p in trainable(model)))
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize("backend", ["hooks", "opacus", "vmap", "loop"])
def test_frozen_parameters_take_no_part(backend: str):
    model, records = example("attention")
    model.qkv.requires_grad_(False)  # type: ignore[union-attr]
    rows = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert rows.shape[1] == sum(p.numel() for n, p in model.named_parameters() if not n.startswith("qkv"))


@pytest.mark.parametrize("backend", ["hooks", "opacus", "vmap", "loop"])
def test_one_patients_row_depends_on_nobody_else(backend: str):
    model, records = example("attention")
    before = per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    changed = {"x": records["x"].clone()}
    changed["x"][2] = (changed["x"][2] + 1) % 5
    after = per_patient_gradients(model, summed, changed, backend)  # type: ignore[arg-type]
    others = [0, 1, 3, 4, 5]
    assert torch.allclose(before[others], after[others], atol=1e-6)
    assert not torch.allclose(before[2], after[2])


@pytest.mark.parametrize("backend", ["hooks", "opacus"])
def test_a_parameter_without_a_per_patient_gradient_is_refused(backend: str):
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 1), nn.Linear(2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(PrivacyError, match=r"unused\.weight"):
        per_patient_gradients(Unused(), summed, {"x": torch.ones(3, 2)}, backend)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["hooks", "opacus"])
def test_the_model_is_left_as_it_was(backend: str):
    model, records = example("attention")
    per_patient_gradients(model, summed, records, backend)  # type: ignore[arg-type]
    assert all(p.grad is None for p in model.parameters())
    torch.autograd.grad(summed(model, records).sum(), list(model.parameters()))


def test_a_random_loss_draws_alike_for_every_patient_in_every_backend():
    def noisy(model: nn.Module, records) -> Tensor:
        return (model(records["x"]) * torch.randn(1)).pow(2).flatten(1).sum(dim=1)

    model, records = example("convolution")
    rows = []
    for backend in ("loop", "vmap", "opacus", "hooks"):
        torch.manual_seed(7)
        rows.append(per_patient_gradients(model, noisy, records, backend))  # type: ignore[arg-type]
    assert all(torch.allclose(rows[0], other, atol=1e-6) for other in rows[1:])


@pytest.mark.parametrize("backend", ["hooks", "opacus", "vmap"])
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


# Rules for operations -----------------------------------------------------------------------------------------------------
def as_the_loop(model: nn.Module, records: dict[str, Tensor], loss=summed) -> None:
    """Asserts that the rules give the loop's rows, none of them zero."""
    expected = per_patient_gradients(model, loss, records, "loop")
    got = per_patient_gradients(model, loss, records, "hooks")
    assert got.shape == expected.shape
    start = 0
    for name, p in trainable(model):
        block = expected[:, start : start + p.numel()]
        assert block.any(), name
        assert torch.allclose(got[:, start : start + p.numel()], block, atol=1e-5 * float(block.abs().max())), name
        start += p.numel()


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear without bias": (nn.Linear(6, 4, bias=False), (6,)),
    "linear of sequences of sequences": (nn.Linear(6, 4), (2, 3, 6)),
    "convolution of sequences": (nn.Conv1d(4, 6, 3, padding="same", dilation=2), (4, 9)),
    "strided, grouped convolution": (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2), (4, 9, 8)),
    "dilated convolution without bias": (nn.Conv2d(4, 6, 3, dilation=2, padding="valid", bias=False), (4, 9, 8)),
    "pointwise convolution": (nn.Conv2d(4, 6, 1), (4, 5, 5)),
    "convolution that wraps round": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 5, 5)),
    "convolution of volumes": (nn.Conv3d(2, 3, 3, padding=1), (2, 4, 4, 4)),
    "group norm": (nn.GroupNorm(2, 4), (4, 5, 5)),
    "layer norm of two axes": (nn.LayerNorm((3, 4)), (2, 3, 4)),
    "layer norm without bias": (nn.LayerNorm(4, bias=False), (4,)),
}


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("name", LAYERS)
def test_every_rule_equals_a_loop_also_where_a_patient_has_several_rows(name: str, draws: int):
    layer, shape = LAYERS[name]

    def loss(model: nn.Module, records) -> Tensor:
        out = model(records["x"].transpose(0, 1).flatten(0, 1))  # [draws * patients, ...]
        return (out + out.square()).flatten(1).sum(dim=1).view(draws, -1).mean(dim=0)

    torch.manual_seed(1)
    as_the_loop(layer, {"x": torch.randn(5, draws, *shape)}, loss)


def test_codes_that_pad_get_no_gradient():
    model = nn.Embedding(5, 3, padding_idx=2)
    codes = torch.tensor([[0, 2, 2], [1, 1, 4], [2, 2, 3]])
    got = per_patient_gradients(
        model, lambda m, r: (m(r["x"]) + 1).square().flatten(1).sum(dim=1), {"x": codes}, "hooks"
    )
    expected = per_patient_gradients(
        model, lambda m, r: (m(r["x"]) + 1).square().flatten(1).sum(dim=1), {"x": codes}, "loop"
    )
    assert expected.any()
    assert torch.allclose(got, expected, atol=1e-6)


def test_uses_of_a_weight_add_up():
    """A module called twice, and a weight that two modules share."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.mix = nn.Embedding(5, 6), nn.GroupNorm(2, 6), nn.Linear(6, 6)
            self.conv = nn.Conv1d(6, 6, 3, padding=1)

        def forward(self, codes: Tensor) -> Tensor:
            h = self.mix(self.mix(self.embed(codes)).tanh()).mT  # [patients, features, codes]
            h = self.conv(self.norm(self.conv(self.norm(h)).tanh()))
            return functional.linear(h.mT, self.embed.weight)

    torch.manual_seed(0)
    as_the_loop(Twice(), {"x": torch.randint(0, 5, (6, 4))})


def test_what_works_in_place_behind_the_first_layer_is_allowed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    as_the_loop(model, {"x": torch.randn(5, 4)})


class Scaled(nn.Module):
    """Its weight is also multiplied with, for which there is no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * self.out.weight.mean()


@pytest.mark.parametrize(
    ("model", "name"),
    [(Scaled(), r"out\.weight"), (nn.Bilinear(3, 3, 2), "weight"), (nn.MultiheadAttention(3, 1), "in_proj_weight")],
)
def test_a_use_without_a_rule_is_refused_and_never_left_out(model: nn.Module, name: str):
    def loss(model: nn.Module, records) -> Tensor:
        x = records["x"]
        kind = type(model)
        out = model(x, x) if kind is nn.Bilinear else model(x, x, x)[0] if kind is nn.MultiheadAttention else model(x)
        return out.square().flatten(1).sum(dim=1)

    with pytest.raises(PrivacyError, match=f"parameter {name} is used by an operation without a rule"):
        per_patient_gradients(model, loss, {"x": torch.ones(4, 3)}, "hooks")


def test_rows_that_do_not_divide_into_patients_are_refused():
    def loss(model: nn.Module, records) -> Tensor:
        return model(records["x"][:3]).sum().expand(len(records["x"]))

    with pytest.raises(PrivacyError, match=r"input of shape \[3, 2\] for 4 patients"):
        per_patient_gradients(nn.Linear(2, 1), loss, {"x": torch.ones(4, 2)}, "hooks")


def patients_first(model: nn.Module, records) -> Tensor:
    """Two draws a patient, both before the next patient's."""
    x = records["x"]
    return model(torch.stack([x, 2 * x], dim=1).flatten(0, 1)).square().sum(dim=1).view(-1, 2).mean(dim=1)


def table(model: nn.Module, records) -> Tensor:
    """Positions that all patients share, and as many as there are patients."""
    return (records["x"] @ model(torch.eye(4))).square().sum(dim=1)


@pytest.mark.parametrize("loss", [patients_first, table])
def test_a_session_refuses_rows_that_are_in_another_order(loss):
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    session = Session({"x": x}, [Charge("a", 1.0)], 4)
    with pytest.raises(PrivacyError, match="came from another's rows"):
        session.gradient(nn.Linear(4, 3), loss, 1.0, "a", backend="hooks")


def test_the_check_of_rows_never_hangs_on_a_patient_that_is_not_finite():
    model, records = example("convolution")
    for i in (1, 2):
        records["x"][i] = torch.tensor([float("nan"), float("inf")])[i - 1]
    check_rows(model, summed, records)


def test_a_sessions_step_is_the_same_with_every_backend():
    """Several chunks, all patients clipped, an answer that hardly any noise was added to."""
    model, records = example("attention")
    got = []
    for backend in ("loop", "hooks"):
        session = Session(records, [Charge("a", 1e-9)], 6)
        session.gradient(model, summed, 0.01, "a", backend=backend, chunk=4)  # type: ignore[arg-type]
        got.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert float(got[0].norm()) > 1e-3
    assert torch.allclose(got[0], got[1], atol=1e-7)
