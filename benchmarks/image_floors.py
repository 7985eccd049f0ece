"""Other ways to private pictures, simple or well known, under the same budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generators.images import ImageDiffusion
from generators.images.diffusion import alphas
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


@dataclass
class Public:
    """What Private Evolution asks of a network that saw public pictures alone: new pictures, and others like given ones."""

    model: ImageDiffusion
    told: Callable[[Labels], Tensor]
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def random(self, labels: Labels) -> Pictures:
        """uint8 [N, side, side]."""
        found: Pictures = self.model.pictures(self.told(labels), self.rng).numpy()[:, 0]
        return found

    def varied(self, pictures: Pictures, labels: Labels, timestep: int) -> Pictures:
        """Each noised up to a timestep (SDEdit, Meng et al. 2022), then denoised in ten steps of DDIM."""
        alpha, sigma = alphas()
        stream = torch.Generator().manual_seed(int(self.rng.integers(2**62)))
        x = torch.from_numpy(pictures / 127.5 - 1).float().unsqueeze(1)
        x = alpha[timestep] * x + sigma[timestep] * torch.randn(x.shape, generator=stream)
        network, conditions = self.model._ready(), self.told(labels)
        for start, end in pairwise(torch.linspace(timestep, 0, 11).long()):
            with torch.no_grad():
                velocity = network(x, start.expand(len(x)), conditions)
            clean = (alpha[start] * x - sigma[start] * velocity).clamp(-1, 1)
            x = alpha[end] * clean + sigma[end] * (x - alpha[start] * clean) / sigma[start]
        return _bytes(x.flatten(1), pictures.shape[1])


def private_evolution(
    public: Public, pictures: Pictures, labels: Labels, budget: Budget, seed: int, rounds: int = 6
) -> tuple[Pictures, Labels]:
    """Private Evolution (Lin et al. 2024): patients vote, in a noisy histogram, for the nearest of a public network's pictures
    of their class; those with many votes are varied, less from round to round. Nearness is that of means over squares of four
    pixels. So many candidates that a vote's share is four times the noise; what wins the last round is varied once more to as
    many pictures as others draw.
    """
    side, rng = pictures.shape[1], np.random.default_rng(seed)
    session = _session(pictures, labels, budget, seed, "images/votes", rounds)
    noise = session.charge("images/votes").noise_multiplier
    each = int(np.clip(len(pictures) / 2 / (4 * noise), 10, len(pictures) // 2))  # candidates of a class
    classes = np.repeat([0, 1], each)
    candidates = public.random(classes)
    for turn in range(rounds):
        now = _coarse(torch.from_numpy(candidates / 127.5 - 1).float(), side)

        def votes(records: Any, now: Tensor = now) -> Tensor:
            of_other_class = records["y"] @ torch.eye(2)[torch.from_numpy(classes)].T < 0.5
            apart = torch.cdist(_coarse(records["x"], side), now).masked_fill(of_other_class, torch.inf)
            return nn.functional.one_hot(apart.argmin(dim=1), len(now)).float()

        count = session.sum(votes, 1.0, "images/votes").numpy().reshape(2, each)
        last = turn == rounds - 1
        wanted = len(pictures) // 2 if last else each
        chosen = [each * k + _elected(count[k], 2 * noise, wanted, rng) for k in (0, 1)]
        made = np.repeat([0, 1], wanted)
        timestep = np.linspace(600, 150, rounds).astype(int)[turn]
        candidates = public.varied(candidates[np.concatenate(chosen)], made, int(timestep))
    return candidates, made


def _coarse(x: Tensor, side: int) -> Tensor:
    """[N, (side / 4)^2] means over squares of four pixels."""
    return nn.functional.avg_pool2d(x.view(-1, 1, side, side), 4).flatten(1)


def _elected(count: NDArray[np.float64], threshold: float, wanted: int, rng: np.random.Generator) -> Labels:
    """`wanted` candidates in proportion to their votes above the threshold; evenly where none has so many."""
    kept = np.clip(count - threshold, 0, None)
    mass = kept if kept.sum() > 0 else np.ones(len(count))
    return rng.choice(len(count), size=wanted, p=mass / mass.sum())
