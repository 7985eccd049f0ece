"""One step of DP-SGD beside the same step without privacy: time and memory of every way to per-patient gradients."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn

from generators.images.diffusion import TIMESTEPS, errors, to_unit
from generators.images.network import Denoiser
from generators.images.settings import Settings

REPEATS = 3


def rows(row: Callable[..., dict[str, Any]], batch: int) -> list[dict[str, Any]]:
    """Seconds of processor time a step, ratio to the plain step, and memory beyond the process at rest, each in a process of its
    own. One picture and one timestep a patient, so that all ways do the same work; all weights are trained, in single precision.
    """
    found, plain = [], 0.0
    for name in STEPS:
        with get_context("spawn").Pool(1) as pool:
            seconds, megabytes = pool.apply(_measured, (name, batch))
        plain = plain or seconds
        setting = f"{name}, {batch} patients"
        found.append(row("step", setting, "cpu_s", seconds, n=batch))
        found.append(row("step", setting, "ratio", seconds / plain, n=batch))
        found.append(row("step", setting, "memory_mb", megabytes, n=batch))
    return found


def _measured(name: str, batch: int) -> tuple[float, float]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = Settings()
    model = Denoiser(1, 28, 3, settings.size).train()
    data = {
        "images": torch.randint(0, 256, (batch, 1, 1, 28, 28), dtype=torch.uint8),
        "count": torch.ones(batch, dtype=torch.int64),
        "condition": torch.randn(batch, 1, 3),
        "key": torch.randint(0, 2**30, (batch,)),
    }
    step = STEPS[name](model, data)
    rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    began = time.process_time()
    for _ in range(REPEATS):
        step()
    seconds = (time.process_time() - began) / REPEATS
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rest) / 1024


def _loss(model: nn.Module, data: dict[str, Tensor]) -> Tensor:
    """[patients] error at one timestep."""
    x = to_unit(data["images"][:, 0])
    timesteps = torch.randint(0, TIMESTEPS, (1,)).expand(len(x))
    return errors(
        model, x, torch.randn(1, *x.shape[1:]).expand_as(x), timesteps, data["condition"][:, 0], "v_prediction"
    )


def _plain(model: Denoiser, data: dict[str, Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        _loss(model, data).mean().backward()
        optimizer.step()

    return step


def _session(backend: Any) -> Callable[[Denoiser, dict[str, Tensor]], Callable[[], None]]:
    """The whole step through the one door: gradients, clip, sum, noise, and Adam."""

    def made(model: Denoiser, data: dict[str, Tensor]) -> Callable[[], None]:
        from privacy.charges import Charge
        from privacy.session import Session

        batch = len(data["images"])
        session = Session(data, [Charge("a", 1.0, steps=REPEATS + 1)], batch)
        optimizer = torch.optim.Adam(model.parameters())

        def step() -> None:
            session.gradient(model, _loss, 1.0, "a", backend=backend)
            optimizer.step()

        return step

    return made


def _opacus(mode: str) -> Callable[[Denoiser, dict[str, Tensor]], Callable[[], None]]:
    """Opacus' own modes: gradients, clip and noise, without a session."""

    def made(model: Denoiser, data: dict[str, Tensor]) -> Callable[[], None]:
        from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping

        if mode == "ghost":
            ghost = GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, use_ghost_clipping=True)
            private = DPOptimizerFastGradientClipping(
                torch.optim.Adam(model.parameters()), noise_multiplier=1.0, max_grad_norm=1.0,
                expected_batch_size=len(data["images"]),
            )  # fmt: skip

            def two_passes() -> None:
                private.zero_grad()
                each = _loss(ghost, data)
                each.sum().backward(retain_graph=True)
                private.zero_grad()
                coefficient = ghost.get_clipping_coef()
                ghost.disable_hooks()
                (coefficient * each).sum().backward()
                ghost.enable_hooks()
                private.step()

            return two_passes
        wrapped = GradSampleModule(model, force_functorch=mode == "functorch", loss_reduction="sum")
        optimizer = DPOptimizer(
            torch.optim.Adam(model.parameters()), noise_multiplier=1.0, max_grad_norm=1.0,
            expected_batch_size=len(data["images"]), loss_reduction="sum",
        )  # fmt: skip

        def step() -> None:
            optimizer.zero_grad()
            _loss(wrapped, data).sum().backward()
            optimizer.step()

        return step

    return made


STEPS: dict[str, Callable[[Denoiser, dict[str, Tensor]], Callable[[], None]]] = {
    "no privacy": _plain,
    "session, vmap": _session("vmap"),
    "session, loop": _session("loop"),
    "opacus hooks": _opacus("hooks"),
    "opacus functorch": _opacus("functorch"),
    "opacus ghost": _opacus("ghost"),
}
