"""Other ways to private pictures, simple or well known, under the same budget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.randomness import child_seed

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int64]
PIXEL_SPREAD = 0.2
"""Public guess of the standard deviation of a pixel around its class mean, in -1..1."""


def _session(pictures: Pictures, labels: Labels, budget: Budget, seed: int, name: str, steps: int = 1) -> Session:
    x = torch.from_numpy(pictures / 127.5 - 1).float().flatten(1)
    records = {"x": x, "y": torch.eye(2)[torch.from_numpy(labels)]}
    charge = calibrate([Charge(name, 1.0, steps=steps)], budget)
    return Session(records, charge, len(pictures), Noise(child_seed(seed, name, str(budget.epsilon))))


def _bytes(x: Tensor, side: int) -> Pictures:
    found: Pictures = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).view(-1, side, side).numpy()
    return found


def class_means(pictures: Pictures, labels: Labels, budget: Budget, seed: int) -> tuple[Pictures, Labels]:
    """The noisy mean picture of each class, and independent pixel noise around it."""
    side = pictures.shape[1]
    session = _session(pictures, labels, budget, seed, "images/means")
    clip = 0.5 * side  # the norm of a picture of the public contrast
    answer = session.sum(lambda r: (r["y"].unsqueeze(2) * r["x"].unsqueeze(1)).flatten(1), clip, "images/means")
    means = answer.view(2, -1).float() / (len(pictures) / 2)
    made = np.arange(len(pictures)) % 2
    noise = torch.randn((len(made), side * side), generator=torch.Generator().manual_seed(seed)) * PIXEL_SPREAD
    return _bytes(means[torch.from_numpy(made)] + noise, side), made


def merf(pictures: Pictures, labels: Labels, budget: Budget, seed: int) -> tuple[Pictures, Labels]:
    """DP-MERF (Harder et al. 2021): a network whose pictures have the noisy mean of random Fourier features of each class."""
    side, features, codes = pictures.shape[1], 1000, 32
    stream = torch.Generator().manual_seed(seed)
    width = 0.5 * side  # a typical distance between pictures of the public contrast
    frequencies = torch.randn((side * side, features // 2), generator=stream) / width

    def embed(x: Tensor, y: Tensor) -> Tensor:
        """[N, 2 * features] of norm 1."""
        angle = x @ frequencies
        waves = torch.cat([angle.cos(), angle.sin()], dim=1) / (features / 2) ** 0.5
        return (y.unsqueeze(2) * waves.unsqueeze(1)).flatten(1)

    session = _session(pictures, labels, budget, seed, "images/merf")
    target = session.mean(lambda r: embed(r["x"], r["y"]), 1.0, "images/merf").float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(codes + 2, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, side * side), nn.Tanh()
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
        for _ in range(1500):
            y = torch.eye(2)[torch.arange(200) % 2]
            made = embed(network(torch.cat([torch.randn(200, codes), y], dim=1)), y).mean(dim=0)
            loss = (made - target).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        drawn = np.arange(len(pictures)) % 2
        with torch.no_grad():
            y = torch.eye(2)[torch.from_numpy(drawn)]
            return _bytes(network(torch.cat([torch.randn(len(drawn), codes), y], dim=1)), side), drawn


def private_evolution(
    model: Any, told: Callable[[Labels], Tensor], pictures: Pictures, labels: Labels, budget: Budget, seed: int,
    rounds: int = 4,
) -> tuple[Pictures, Labels]:  # fmt: skip
    """Private Evolution (Lin et al. 2024): patients vote for the nearest of a public network's pictures; those with votes are
    varied (noised half way and denoised again), round after round. Distance is that of pictures averaged over squares of four
    pixels.
    """
    from generators.images.diffusion import alphas

    side, rng = pictures.shape[1], np.random.default_rng(seed)
    made = np.arange(len(pictures)) % 2
    y = torch.eye(2)[torch.from_numpy(made)]
    session = _session(pictures, labels, budget, seed, "images/votes", rounds)
    population = model.pictures(told(made), rng).numpy()[:, 0]

    def coarse(x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x.view(-1, 1, side, side), 4).flatten(1)

    for turn in range(rounds):
        now = coarse(torch.from_numpy(population / 127.5 - 1).float())

        def votes(r: Any, now: Tensor = now) -> Tensor:
            apart = torch.cdist(coarse(r["x"]), now) + 1e6 * (r["y"] @ y.T < 0.5)
            return nn.functional.one_hot(apart.argmin(dim=1), len(now)).float()

        count = session.sum(votes, 1.0, "images/votes").numpy()
        threshold = 2 * session.charge("images/votes").noise_multiplier
        chosen = np.concatenate([_drawn(count, made == k, threshold, rng) for k in (0, 1)])
        population, order = population[chosen], np.argsort(made[chosen] * 1.0, kind="stable")
        population = population[order][np.argsort(np.argsort(made, kind="stable"), kind="stable")]
        if turn < rounds - 1:
            population = _varied(model, told(made), population, 500 - 100 * turn, rng, alphas())
    return population, made


def _drawn(
    count: NDArray[np.float64], mine: NDArray[np.bool_], threshold: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Members of one class, in proportion to their votes above the threshold; evenly where nobody has so many."""
    kept = np.where(mine, np.clip(count - threshold, 0, None), 0.0)
    mass = kept if kept.sum() > 0 else mine.astype(np.float64)
    return rng.choice(len(count), size=int(mine.sum()), p=mass / mass.sum())


def _varied(
    model: Any, conditions: Tensor, population: Pictures, timestep: int, rng: np.random.Generator,
    schedule: tuple[Tensor, Tensor],
) -> Pictures:  # fmt: skip
    """Noised up to a timestep, then denoised in ten steps of DDIM."""
    alpha, sigma = schedule
    stream = torch.Generator().manual_seed(int(rng.integers(2**62)))
    x = torch.from_numpy(population / 127.5 - 1).float().unsqueeze(1)
    x = alpha[timestep] * x + sigma[timestep] * torch.randn(x.shape, generator=stream)
    network, times = model._ready(), torch.linspace(timestep, 0, 11).long()
    for start, end in pairwise(times):
        with torch.no_grad():
            velocity = network(x, start.expand(len(x)), conditions)
        clean = (alpha[start] * x - sigma[start] * velocity).clamp(-1, 1)
        noise = (x - alpha[start] * clean) / sigma[start]
        x = alpha[end] * clean + sigma[end] * noise
    return _bytes(x.flatten(1), population.shape[1])
