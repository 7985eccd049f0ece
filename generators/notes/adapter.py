"""Low-rank weights beside frozen ones (LoRA, Hu et al. 2022), by peft: all that a language model learns from patients.

A layer W becomes W + B A. A is public and frozen (as in FFA-LoRA, Sun et al. 2024): its rows are the directions in which the
layer's inputs vary most over public notes, each scaled to unit size, the first being close to their mean, so that B's first
column acts like a bias. B starts at zero and is trained: fewer numbers, less noise, and the public model is where it starts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from generators.notes.backbone import quiet
from generators.notes.encoding import Records, loss
from generators.notes.settings import Settings
from synthgen.errors import ConfigError

ADAPTER = "default"


def attached(model: nn.Module, settings: Settings) -> Any:
    """The model with low-rank weights of size zero, of which B alone is trainable. It wraps the model and changes it in place.

    Raises:
        ConfigError: when the model has none of the target layers.
    """
    with quiet(), torch.random.fork_rng(devices=[]):
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(0)
        config = LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=list(settings.layers_trained))
        try:
            found: Any = get_peft_model(_without_dropout(model), config).train()  # Opacus' hooks sleep in eval mode
        except ValueError:
            layers = " or ".join(settings.layers_trained)
            raise ConfigError(f"generators.notes.targets: the model has no layer called {layers}") from None
    for name, weight in found.named_parameters():
        weight.requires_grad_(".lora_B." in name)
    return found


def _without_dropout(model: nn.Module) -> nn.Module:
    """Dropout draws by position in the batch, so one patient's draws would depend on the others."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    return model


def aim(model: Any, settings: Settings, public: Records) -> None:
    """Sets every A from encoded public notes."""
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
    moments = _inputs(model, {name: layer.base_layer for name, layer in layers.items()}, public)
    for name, layer in layers.items():
        with torch.no_grad():
            layer.lora_A[ADAPTER].weight.copy_(directions(moments[name], settings.rank))


def directions(second_moments: Tensor, rank: int) -> Tensor:
    """[rank, inputs] leading eigenvectors of a layer's second moments, scaled so that each gives inputs of unit size."""
    values, vectors = torch.linalg.eigh(second_moments)
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    signs = torch.sign(
        vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    )  # eigenvectors have no sign of their own
    rows: Tensor = (vectors * signs / values.clamp(min=1e-8).sqrt()).T.float()
    return rows


def trained(model: nn.Module) -> dict[str, Tensor]:
    """The low-rank weights, A and B."""
    return {k: v.detach().clone().contiguous() for k, v in model.state_dict().items() if ".lora_" in k}


def restore(model: nn.Module, state: dict[str, Tensor]) -> None:
    """What `trained` gave. Raises RuntimeError when they are another model's."""
    missing, unexpected = model.load_state_dict(state, strict=False)
    if any(".lora_" in name for name in missing) or unexpected:
        raise RuntimeError("these are another model's weights")


def frozen(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the model inside, under the names they have without the low-rank ones."""
    own = {k: v for k, v in model.state_dict().items() if ".lora_" not in k}
    return {k.removeprefix("base_model.model.").replace(".base_layer.", "."): v for k, v in own.items()}


def _inputs(model: nn.Module, layers: dict[str, nn.Module], public: Records) -> dict[str, Tensor]:
    """Layer -> [inputs, inputs] second moments of what it reads where notes are written, over public notes, float64."""
    moments: dict[str, Tensor] = {}
    kept = torch.empty(0)

    def watch(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen = arguments[0].detach()[kept[:, : arguments[0].shape[1]]].double()  # [tokens, inputs]
            moments[name] = moments.get(name, torch.zeros(1, dtype=torch.float64)) + seen.T @ seen

        return hook

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        for start in range(0, len(public["note"]), 8):
            rows = {k: v[start : start + 8] for k, v in public.items()}
            kept = rows["weight"] > 0
            with torch.no_grad():
                loss(model, rows)
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / (public["weight"] > 0).sum() for name, total in moments.items()}
