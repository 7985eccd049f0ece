"""Per-patient gradients of weights, one rule an operation: what a plain step does, with the sum over patients left out.

While a loss runs, each call of an operation with a trainable weight is made with that weight detached; when the gradient of its
output comes by, the rule turns it and the input into one gradient a patient. So a step costs one forward and one backward pass,
and the plain gradient of the weights, which nobody needs, is never computed. It is the operation that is watched, not the
module: a weight that is used twice, or shared, gets the sum of its uses, and a use without a rule is refused, as its gradient
would arrive at the parameter itself.

Convolutions: the gradient of a convolution whose groups are patients holds one gradient a patient (Rochette et al. 2019).
Group normalisation: the same, each row's channels being channels of one wide row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from privacy.errors import PrivacyError

Sizes = int | Sequence[int]


class Watch(TorchFunctionMode):
    """Within it, operations of `RULES` leave the gradients of `parameters`, one a patient, in `blocks`, once the loss is
    differentiated.

    Args:
        patients: how many rows of the records. The first axis of each operation's input goes through them in their order, once or
            several times, as `torch.cat` of several draws of all does (`privacy.gradients.check_rows`).
    """

    def __init__(self, parameters: Iterable[nn.Parameter], patients: int) -> None:
        super().__init__()
        self.patients = patients
        self.blocks: dict[int, Tensor] = {}
        """id of a parameter -> [patients, numbers]"""
        self._watched = {id(p) for p in parameters}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = RULES.get(func)
        return func(*args, **(kwargs or {})) if rule is None else rule(self, *args, **(kwargs or {}))

    def watches(self, *parameters: Tensor | None) -> bool:
        """Whether one of them is trained."""
        return any(id(p) in self._watched for p in parameters)

    def add(self, parameter: Tensor | None, gradients: Callable[[], Tensor]) -> None:
        """Adds [patients, ...] gradients of one use of a parameter, if it is trained."""
        if parameter is not None and id(parameter) in self._watched:
            block = gradients().reshape(self.patients, -1)
            earlier = self.blocks.get(id(parameter))
            self.blocks[id(parameter)] = block if earlier is None else earlier + block

    def by_draw(self, x: Tensor) -> Tensor:
        """[draws * patients, ...] -> [draws, patients, ...]"""
        if x.dim() == 0 or len(x) % self.patients:
            raise PrivacyError(
                f"a trained layer got an input of shape {list(x.shape)} for {self.patients} patients: its first axis needs the "
                "same number of rows for each"
            )
        return x.reshape(-1, self.patients, *x.shape[1:])

    def of_patients(self, x: Tensor, axes: int = 1) -> Tensor:
        """[draws * patients, ..., numbers] -> [patients, rows, numbers], where the last `axes` axes are numbers."""
        return self.by_draw(x).transpose(0, 1).flatten(1, -1 - axes)


def _detached(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()


def _on_gradient(output: Tensor, use: Callable[[Tensor], None]) -> Tensor:
    """The output, whose gradient will be handed to `use`."""
    if not output.requires_grad:  # nothing before it is trained; a copy, as what follows may work in place
        output = output.requires_grad_().clone()
    output.register_hook(use)  # type: ignore[no-untyped-call]
    return output


def _linear(watch: Watch, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not watch.watches(weight, bias):
        return functional.linear(x, weight, bias)
    rows = watch.of_patients(x.detach())  # [patients, rows, in]

    def use(gradient: Tensor) -> None:
        gradient = watch.of_patients(gradient)  # [patients, rows, out]
        watch.add(weight, lambda: gradient.mT @ rows.to(gradient.dtype))
        watch.add(bias, lambda: gradient.sum(dim=1))

    return _on_gradient(functional.linear(x, weight.detach(), _detached(bias)), use)


def _convolution(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(
        watch: Watch, x: Tensor, weight: Tensor, bias: Tensor | None = None,
        stride: Sizes = 1, padding: Sizes | str = 0, dilation: Sizes = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        if not watch.watches(weight, bias):
            return operation(x, weight, bias, stride, padding, dilation, groups)
        axes, kept = weight.dim() - 2, x.detach()
        step, spread = _each(stride, axes), _each(dilation, axes)
        border = _border(padding, weight.shape[2:], spread)
        channels = watch.patients * len(weight)
        asked = [False, watch.watches(weight), watch.watches(bias)]
        pointwise = groups == 1 and weight[0, 0].numel() == 1 and {*step} == {1} and {*border} == {0}

        def use(gradient: Tensor) -> None:
            if pointwise:  # a product of matrices, for which torch is slow in groups
                of_pixels, seen = watch.by_draw(gradient).flatten(3), watch.by_draw(kept.to(gradient.dtype)).flatten(3)
                watch.add(weight, lambda: (of_pixels @ seen.mT).sum(dim=0))
                watch.add(bias, lambda: of_pixels.sum(dim=(0, 3)))
                return
            _, of_weight, of_bias = torch.ops.aten.convolution_backward(
                _beside(watch, gradient), _beside(watch, kept.to(gradient.dtype)),
                gradient.new_empty(channels, *weight.shape[1:]), [channels],
                step, border, spread, False, [0] * axes, watch.patients * groups, asked,
            )  # fmt: skip
            watch.add(weight, lambda: of_weight)
            watch.add(bias, lambda: of_bias)

        watch.by_draw(kept)
        return _on_gradient(operation(x, weight.detach(), _detached(bias), step, border, spread, groups), use)

    return rule


def _beside(watch: Watch, x: Tensor) -> Tensor:
    """[draws * patients, channels, ...] -> [draws, patients * channels, ...]"""
    return watch.by_draw(x).flatten(1, 2)


def _each(sizes: Sizes, axes: int) -> list[int]:
    found = [sizes] if isinstance(sizes, int) else list(sizes)
    return found * axes if len(found) == 1 else found


def _border(padding: Sizes | str, kernel: Sequence[int], spread: list[int]) -> list[int]:
    if not isinstance(padding, str):
        return _each(padding, len(kernel))
    around = [0 if padding == "valid" else s * (k - 1) for k, s in zip(kernel, spread, strict=True)]
    if any(a % 2 for a in around):
        raise PrivacyError(
            f"a convolution with padding {padding} and an even kernel has no rule; give its padding in numbers"
        )
    return [a // 2 for a in around]


def _group_norm(
    watch: Watch, x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    if not watch.watches(weight, bias):
        return functional.group_norm(x, groups, weight, bias, eps)
    watch.by_draw(x)
    count, channels = x.shape[:2]

    def copies(parameter: Tensor | None) -> Tensor | None:
        """[rows * channels]: a copy for each row, whose gradient is the row's."""
        if parameter is None:
            return None
        repeated = parameter.detach().repeat(count).requires_grad_()

        def use(gradient: Tensor) -> None:
            watch.add(parameter, lambda: watch.by_draw(gradient.view(count, channels)).sum(dim=0))

        repeated.register_hook(use)  # type: ignore[no-untyped-call]
        return repeated

    wide = x.reshape(1, count * channels, *x.shape[2:])
    return functional.group_norm(wide, count * groups, copies(weight), copies(bias), eps).view_as(x)


def _layer_norm(
    watch: Watch,
    x: Tensor,
    shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    if not watch.watches(weight, bias):
        return functional.layer_norm(x, shape, weight, bias, eps)
    normal = functional.layer_norm(x, shape, None, None, eps)
    rows = watch.of_patients(normal.detach(), len(shape))  # [patients, rows, *shape]

    def use(gradient: Tensor) -> None:
        gradient = watch.of_patients(gradient, len(shape))
        watch.add(weight, lambda: (gradient * rows).sum(dim=1))
        watch.add(bias, lambda: gradient.sum(dim=1))

    scaled = normal if weight is None else normal * weight.detach()
    return _on_gradient(scaled if bias is None else scaled + bias.detach(), use)


def _embedding(
    watch: Watch, codes: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    if not watch.watches(weight):
        return functional.embedding(codes, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    if max_norm is not None or scale_grad_by_freq:
        raise PrivacyError("an embedding that rescales by norm or frequency lets patients depend on each other")
    own = watch.by_draw(codes).flatten(2) if codes.dim() > 1 else watch.by_draw(codes).unsqueeze(2)
    place = own + len(weight) * torch.arange(watch.patients, device=codes.device).unsqueeze(
        1
    )  # [draws, patients, codes]

    def use(gradient: Tensor) -> None:
        if padding_idx is not None:
            gradient = gradient * (codes != padding_idx % len(weight)).unsqueeze(-1)
        blank = gradient.new_zeros(watch.patients * len(weight), weight.shape[1])
        watch.add(weight, lambda: blank.index_add_(0, place.flatten(), gradient.flatten(0, -2)))

    return _on_gradient(functional.embedding(codes, weight.detach()), use)


RULES: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.linear: _linear,
    torch.conv1d: _convolution(torch.conv1d),
    torch.conv2d: _convolution(torch.conv2d),
    torch.conv3d: _convolution(torch.conv3d),
    functional.group_norm: _group_norm,
    functional.layer_norm: _layer_norm,
    functional.embedding: _embedding,
}
"""Operation -> the same, watched."""
