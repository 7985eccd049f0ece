"""Per-patient gradients: one row for each patient, of every trainable parameter.

Opacus' hooks are the engine, `torch.func` the second, one backward pass a patient the oracle of both (`tests/test_gradients.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from opacus.grad_sample import GradSampleModule, register_grad_sampler
from opacus.grad_sample.conv import compute_conv_grad_sample
from opacus.validators import ModuleValidator
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.dropout import _DropoutNd

from privacy.errors import PrivacyError

Records = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Records], Tensor]
"""(model, records with [patients, ...] tensors) -> [patients], one loss a patient, from that patient's own row alone."""
Backend = Literal["opacus", "vmap", "loop"]


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
    return {"opacus": _hooks, "vmap": _vmap, "loop": _loop}[backend](model, loss, records)


def _hooks(model: nn.Module, loss: Loss, records: Records) -> Tensor:
    wrapped = GradSampleModule(model, loss_reduction="sum", strict=True)
    try:
        with warnings.catch_warnings():  # records need no gradient, which torch's hooks remark on
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            loss(wrapped, records).sum().backward()
        rows = [_rows_of(name, p) for name, p in trainable(model)]
    finally:
        for p in model.parameters():
            p.grad = None
            p.grad_sample = None  # type: ignore[attr-defined]
        wrapped.to_standard_module()
    return torch.cat(rows, dim=1)  # [patients, parameters]


def _rows_of(name: str, parameter: nn.Parameter) -> Tensor:
    rows = getattr(parameter, "grad_sample", None)
    if not isinstance(rows, Tensor):
        raise PrivacyError(
            f"parameter {name} took no part in the loss, or took part twice; its gradient per patient is unknown"
        )
    return rows.flatten(1)


def _vmap(model: nn.Module, loss: Loss, records: Records) -> Tensor:
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
    return torch.cat([gradients[n].flatten(1) for n in named], dim=1)


def _loop(model: nn.Module, loss: Loss, records: Records) -> Tensor:
    parameters = [p for _, p in trainable(model)]
    rows = []
    state = torch.get_rng_state()
    for i in range(len(next(iter(records.values())))):
        torch.set_rng_state(state)  # one draw for all patients, as a session wants it
        gradients = torch.autograd.grad(loss(model, {k: v[i : i + 1] for k, v in records.items()}).sum(), parameters)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows)
