"""Per-patient gradients: one row for each patient, of every trainable parameter.

Four ways to the same numbers (`tests/test_gradients.py`): `hooks`, rules for operations (`privacy.gradient_rules`), the fastest
for networks; `opacus`, whose own hooks know more layers; `vmap` of `torch.func`, for any code that it can trace; and `loop`, one
backward pass a patient, the oracle of all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from opacus.grad_sample import GradSampleModule, register_grad_sampler
from opacus.grad_sample.conv import compute_conv_grad_sample
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.dropout import _DropoutNd

from privacy.errors import PrivacyError
from privacy.gradient_rules import Watch

Records = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Records], Tensor]
"""(model, records with [patients, ...] tensors) -> [patients], one loss a patient, from that patient's own row alone."""
Backend = Literal["hooks", "opacus", "vmap", "loop"]


def _convolution(layer: nn.Module, inputs: list[Tensor], outputs: Tensor) -> dict[nn.Parameter, Tensor]:
    """Opacus' own rule takes the memory of its input as if it were contiguous; where it is not (behind attention) the convolution
    would get a gradient of zero, silently."""
    found: dict[nn.Parameter, Tensor] = compute_conv_grad_sample(
        layer, [x.contiguous() for x in inputs], outputs.contiguous()
    )
    return found


register_grad_sampler([nn.Conv1d, nn.Conv2d, nn.Conv3d])(_convolution)


def trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters that will be trained, in the order of the gradient's columns."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def validate(model: nn.Module) -> None:
    """Refuses a model whose per-patient gradients would mix patients or whose layers Opacus does not know.

    Raises:
        PrivacyError: for instance for BatchNorm, which makes each patient's normalised value depend on the others.
    """
    if errors := ModuleValidator.validate(model, strict=False):
        raise PrivacyError(f"{type(model).__name__} cannot be trained privately: {'; '.join(str(e) for e in errors)}")
    if active := [name for name, m in model.named_modules() if m.training and _drops(m)]:
        raise PrivacyError(f"{active[0]}: dropout draws by position in the batch; put the model in eval mode")


def _drops(module: nn.Module) -> bool:
    """Whether a module draws by position while it is trained."""
    if isinstance(module, _DropoutNd):
        return module.p > 0
    return any("dropout" in name and isinstance(v, float) and v > 0 for name, v in vars(module).items())


def per_patient_gradients(model: nn.Module, loss: Loss, records: Records, backend: Backend = "opacus") -> Tensor:
    """[patients, parameters] gradients of each patient's own loss, in the order of `trainable(model)`."""
    return torch.cat(_BACKENDS[backend](model, loss, records), dim=1)


def check_rows(model: nn.Module, loss: Loss, records: Records) -> None:
    """Refuses a loss whose rows, inside the network, do not go through the patients in their order, once for each draw: `hooks`
    would give them to the wrong one.

    Differentiates the losses of every other patient: whoever is left out must have no gradient.
    """
    left_out = torch.arange(len(next(iter(records.values())))) % 2 == 1
    blocks = _hooks(model, lambda m, rows: loss(m, rows)[~left_out], records)
    for (name, _), block in zip(trainable(model), blocks, strict=True):
        if (block[left_out].abs() > 0).any():  # not what is not finite: that is a patient's own
            raise PrivacyError(
                f"parameter {name}: a patient's gradient came from another's rows. Inside the network rows need to go through "
                "the patients in the order of the records, once for each draw; else take the backend vmap"
            )


@dataclass(frozen=True)
class PatientGradients:
    """The statistic of a step of DP-SGD.

    Args:
        scales: [parameters] by which gradients are divided, or None.
        chunk: how many patients go through the model at a time.
    """

    model: nn.Module
    loss: Loss
    backend: Backend
    scales: Tensor | None
    chunk: int

    def __call__(self, records: Records) -> Tensor:
        """[patients, parameters]; whatever is drawn is drawn alike for each chunk."""
        cards = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        state, parts = torch.get_rng_state(), []
        for start in range(0, len(next(iter(records.values()))), self.chunk):
            torch.set_rng_state(state)
            if cards:
                torch.cuda.set_rng_state_all(cards)
            rows = {name: v[start : start + self.chunk] for name, v in records.items()}
            parts.append(torch.cat(self.blocks(rows), dim=1))
        return torch.cat(parts)

    def blocks(self, records: Records) -> list[Tensor]:
        """The same for one chunk of patients, [patients, numbers] of each parameter by itself: together they are long."""
        blocks = _BACKENDS[self.backend](self.model, self.loss, records)
        if self.scales is None:
            return blocks
        scales = self.scales.split([block.shape[1] for block in blocks])
        return [block / scale for block, scale in zip(blocks, scales, strict=True)]

    def check(self, records: Records) -> None:
        """Refuses what the backend would get wrong (`check_rows`)."""
        if self.backend == "hooks":
            check_rows(self.model, self.loss, records)


def _hooks(model: nn.Module, loss: Loss, records: Records) -> list[Tensor]:
    named = trainable(model)
    before = [p.grad for _, p in named]
    watch = Watch((p for _, p in named), len(next(iter(records.values()))))
    try:
        for _, p in named:
            p.grad = None
        with watch:
            losses = loss(model, records)
        losses.sum().backward()
        unruled = [name for name, p in named if p.grad is not None]
    finally:
        for (_, p), gradient in zip(named, before, strict=True):
            p.grad = gradient
    if unruled:
        raise PrivacyError(
            f"parameter {unruled[0]} is used by an operation without a rule for gradients per patient "
            "(privacy.gradient_rules.RULES); freeze it, or take the backend vmap"
        )
    if missing := [name for name, p in named if id(p) not in watch.blocks]:
        raise PrivacyError(f"parameter {missing[0]} took no part in the loss; its gradient per patient is unknown")
    return [watch.blocks[id(p)] for _, p in named]


def _opacus(model: nn.Module, loss: Loss, records: Records) -> list[Tensor]:
    wrapped = GradSampleModule(model, loss_reduction="sum", strict=True)
    try:
        with warnings.catch_warnings():  # records need no gradient, which torch's hooks remark on
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            loss(wrapped, records).sum().backward()
        return [_rows_of(name, p) for name, p in trainable(model)]
    finally:
        for p in model.parameters():
            p.grad = None
            p.grad_sample = None  # type: ignore[attr-defined]
        wrapped.to_standard_module()


def _rows_of(name: str, parameter: nn.Parameter) -> Tensor:
    rows = getattr(parameter, "grad_sample", None)
    if not isinstance(rows, Tensor):
        raise PrivacyError(
            f"parameter {name} took no part in the loss, or took part twice; its gradient per patient is unknown"
        )
    return rows.flatten(1)


def _vmap(model: nn.Module, loss: Loss, records: Records) -> list[Tensor]:
    named = dict(trainable(model))
    frozen = {n: p.detach() for n, p in model.named_parameters() if n not in named} | dict(model.named_buffers())

    class Bound(nn.Module):
        """The model with the parameters that are being differentiated."""

        def __init__(self, parameters: dict[str, Tensor]) -> None:
            super().__init__()
            self._parameters_ = parameters

        def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
            out: Tensor = functional_call(model, self._parameters_ | frozen, args, kwargs)
            return out

    def one(parameters: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
        return loss(Bound(parameters), {k: v.unsqueeze(0) for k, v in row.items()}).squeeze(0)

    values = {n: p.detach() for n, p in named.items()}
    gradients = vmap(grad(one), in_dims=(None, 0), randomness="same")(values, dict(records))
    return [gradients[n].flatten(1) for n in named]


def _loop(model: nn.Module, loss: Loss, records: Records) -> list[Tensor]:
    parameters = [p for _, p in trainable(model)]
    rows = []
    state = torch.get_rng_state()
    for i in range(len(next(iter(records.values())))):
        torch.set_rng_state(state)  # one draw for all patients, as a session wants it
        own = {k: v[i : i + 1] for k, v in records.items()}
        rows.append(torch.autograd.grad(loss(model, own).sum(), parameters))
    return [torch.stack(gradients).flatten(1) for gradients in zip(*rows, strict=True)]


_BACKENDS: dict[Backend, Callable[[nn.Module, Loss, Records], list[Tensor]]] = {
    "hooks": _hooks,
    "opacus": _opacus,
    "vmap": _vmap,
    "loop": _loop,
}
"""Each gives [patients, numbers] a parameter, in the order of `trainable`."""
