"""One step of DP-SGD beside the same step without privacy: time and memory of every way to per-patient gradients."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from generators.images.network import Denoiser
from generators.images.private_loss import patient_loss
from generators.images.settings import Settings
from privacy.gradients import Loss
from privacy.noise import Noise

ROUNDS, REPEATS = 3, 2
Data = dict[str, Tensor]


class Case(NamedTuple):
    """What a step is made of: the preset `small` at 28 pixels."""

    patients: int
    draws: int
    trainable: Any
    precision: Any
    systems: tuple[str, ...]

    @property
    def settings(self) -> Settings:
        return Settings(noise_multiplicity=self.draws, trainable=self.trainable, precision=self.precision)


OURS = ("no privacy", "session, hooks", "session, vmap", "session, loop")
CASES = {
    "preset": Case(80, 4, "conditioning", "float32", OURS),
    "preset in bfloat16": Case(80, 4, "conditioning", "bfloat16", OURS),
    "preset, all weights": Case(80, 4, "all", "float32", OURS),
    "one draw a patient, all weights": Case(
        32, 1, "all", "float32", (*OURS, "session, opacus", "opacus hooks", "opacus functorch", "opacus ghost")
    ),
}
"""The preset's step: a tenth of 800 patients, four draws of each, 32 patients at a time. Opacus knows no patient of several rows,
so it is measured where each has one."""


def rows(row: Callable[..., dict[str, Any]], name: str, quick: bool = False) -> list[dict[str, Any]]:
    """Seconds of processor time a step, ratio to the plain step of the same round, and memory beyond the process at rest: median
    of `ROUNDS` (least and most), the systems taking turns, each in a process of its own. Both kinds of step take 32 patients at
    a time through the network."""
    case = CASES[name]._replace(patients=4) if quick else CASES[name]
    context = get_context("forkserver")
    context.set_forkserver_preload(["image_steps"])
    seen: dict[str, list[tuple[float, float]]] = {system: [] for system in case.systems}
    for _ in range(1 if quick else ROUNDS):
        for system in case.systems:
            with context.Pool(1) as pool:
                seen[system].append(pool.apply(_measured, (case, system)))
    plain = [seconds for seconds, _ in seen["no privacy"]]
    found = []
    for system, measures in seen.items():
        seconds, megabytes = zip(*measures, strict=True)
        ratios = [s / p for s, p in zip(seconds, plain, strict=True)]
        for metric, values in (("cpu_s", seconds), ("ratio", ratios), ("memory_mb", megabytes)):
            middle = float(np.median(values))
            found.append(row("step", f"{system}; {name}", metric, middle, min(values), max(values), case.patients))
    return found + _parts(row, name, case)


def _parts(row: Callable[..., dict[str, Any]], name: str, case: Case) -> list[dict[str, Any]]:
    """What a step costs whatever the network does: noise on each number."""
    _, parameters, _, _ = _prepared(case)
    numbers, seconds, noise = sum(p.numel() for p in parameters), [], Noise(0)
    for _ in range(5):
        began = time.process_time()
        noise.gaussians(numbers)
        seconds.append(time.process_time() - began)
    return [row("step", f"noise; {name}", "cpu_s", float(np.median(seconds)), min(seconds), max(seconds), numbers)]


def _measured(case: Case, system: str) -> tuple[float, float]:
    torch.set_num_threads(1)
    step = STEPS[system](case)
    rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    began = time.process_time()
    for _ in range(REPEATS):
        step()
    seconds = (time.process_time() - began) / REPEATS
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rest) / 1024


def _prepared(case: Case) -> tuple[Denoiser, list[nn.Parameter], Data, Loss]:
    """Network, what is trained of it, patients and their loss."""
    torch.manual_seed(0)
    model = Denoiser(1, 28, 3, case.settings.size).train()
    model.choose(case.trainable)
    data = {
        "images": torch.randint(0, 256, (case.patients, 1, 1, 28, 28), dtype=torch.uint8),
        "count": torch.ones(case.patients, dtype=torch.int64),
        "condition": torch.randn(case.patients, 1, 3),
        "key": torch.randint(0, 2**30, (case.patients,)),
    }
    return model, [p for p in model.parameters() if p.requires_grad], data, patient_loss(case.settings, "cpu")


def _plain(case: Case) -> Callable[[], None]:
    model, parameters, data, loss = _prepared(case)
    optimizer, size = torch.optim.Adam(parameters), case.settings.patients_at_a_time

    def step() -> None:
        optimizer.zero_grad()
        for start in range(0, case.patients, size):
            part = {k: v[start : start + size] for k, v in data.items()}
            (loss(model, part).sum() / case.patients).backward()
        optimizer.step()

    return step


def _session(backend: Any) -> Callable[[Case], Callable[[], None]]:
    """The whole step through the one door: gradients, clip, sum, noise, and Adam."""

    def made(case: Case) -> Callable[[], None]:
        from privacy.charges import Charge
        from privacy.session import Session

        model, parameters, data, loss = _prepared(case)
        session = Session(data, [Charge("a", 1.0, steps=REPEATS + 1)], case.patients)
        optimizer, settings = torch.optim.Adam(parameters), case.settings

        def step() -> None:
            session.gradient(model, loss, settings.clip_norm, "a", backend=backend, chunk=settings.patients_at_a_time)
            optimizer.step()

        return step

    return made


def _opacus(mode: str) -> Callable[[Case], Callable[[], None]]:
    """Opacus' own modes: gradients, clip and noise, without a session."""

    def made(case: Case) -> Callable[[], None]:
        from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping

        model, parameters, data, loss = _prepared(case)
        if mode == "ghost":
            ghost = GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, use_ghost_clipping=True)
            private = DPOptimizerFastGradientClipping(
                torch.optim.Adam(parameters), noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=case.patients
            )

            def two_passes() -> None:
                private.zero_grad()
                each = loss(ghost, data)
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
            torch.optim.Adam(parameters), noise_multiplier=1.0, max_grad_norm=1.0,
            expected_batch_size=case.patients, loss_reduction="sum",
        )  # fmt: skip

        def step() -> None:
            optimizer.zero_grad()
            loss(wrapped, data).sum().backward()
            optimizer.step()

        return step

    return made


STEPS: dict[str, Callable[[Case], Callable[[], None]]] = {
    "no privacy": _plain,
    **{f"session, {backend}": _session(backend) for backend in ("hooks", "vmap", "loop", "opacus")},
    **{f"opacus {mode}": _opacus(mode) for mode in ("hooks", "functorch", "ghost")},
}
