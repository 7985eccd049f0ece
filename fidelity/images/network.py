"""A small convolutional network: what it was trained to tell makes its features see what matters in this domain.

Three stages of 3 x 3 convolution, GroupNorm and halving, averaged over the picture into 32 features, and a linear head for each
question. Questions are the conditions of the record and, where asked for, how a picture was *spoilt*: not at all, blurred, noisy,
a ghost (drawn from the normal distribution of the pictures' principal components), two patients overlaid, or torn (each pixel
another patient's). The last question makes the features sensitive to the faults of generators, which a picture's condition says
nothing of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fidelity.images.features import Bytes, Floats, shrunk
from fidelity.images.sets import UNKNOWN

if TYPE_CHECKING:
    import torch

WIDTH = 16
BATCH = 32
STEPS = (120, 300)
"""Fewest and most training steps; between them, `EPOCHS` passes."""
EPOCHS = 15
RATE, DECAY = 3e-3, 1e-2
SPOILT = ("whole", "blurred", "noisy", "ghost", "overlaid", "torn")


@dataclass(frozen=True)
class Network:
    """A trained network. Features are squashed, each to within two standard deviations of the pictures it learnt from: beyond
    those a network extrapolates, and how far away it puts what it never saw means nothing. Those pictures have a total variance
    of nearly 1."""

    body: Any
    heads: dict[str, Any]
    centre: Floats
    spread: Floats

    @classmethod
    def trained(
        cls, pixels: Bytes, conditions: Mapping[str, NDArray[np.int64]], spoil: bool = False, seed: int = 0
    ) -> Network:
        """Learns to tell the conditions ([n] category numbers, `UNKNOWN` where not recorded) from the pictures and, with
        `spoil`, how they were spoilt. Deterministic given the seed; torch's own random state stays untouched."""
        import torch

        from synthgen.threads import one_thread

        small, rng = shrunk(pixels), np.random.default_rng(seed)
        asked = {name: int(code.max()) + 1 for name, code in conditions.items() if len(set(code[code != UNKNOWN])) > 1}
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body, heads = _made(1 if small.ndim == 3 else 3, asked | ({"spoilt": len(SPOILT)} if spoil else {}))
            _train(body, heads, small, {name: conditions[name] for name in asked}, spoil, rng)
        found = _features(body, small)
        centre, spread = found.mean(axis=0), np.maximum(found.std(axis=0), 0.05 * found.std() + 1e-9)
        return cls(body, heads, centre, spread)

    def features(self, pixels: Bytes) -> Floats:
        """[n, 2 * WIDTH]."""
        standard = (_features(self.body, shrunk(pixels)) - self.centre) / self.spread
        return np.asarray(2 * np.tanh(standard / 2) / np.sqrt(standard.shape[1]))

    def scores(self, pixels: Bytes, name: str) -> Floats:
        """[n, categories] log odds of each category of a condition it was trained on."""
        import torch

        from synthgen.threads import one_thread

        with one_thread(), torch.no_grad():
            found = torch.cat([self.heads[name](self.body(part)) for part in _parts(shrunk(pixels))])
        return found.numpy().astype(np.float64)


def _made(channels: int, heads: Mapping[str, int]) -> tuple[Any, dict[str, Any]]:
    from torch import nn

    layers: list[Any] = []
    for before, after in ((channels, WIDTH), (WIDTH, 2 * WIDTH), (2 * WIDTH, 2 * WIDTH)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.ReLU(), nn.MaxPool2d(2)]
    body = nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return body, {name: nn.Linear(2 * WIDTH, classes) for name, classes in heads.items()}


def _train(
    body: Any, heads: dict[str, Any], pixels: Bytes, conditions: dict[str, NDArray[np.int64]], spoil: bool,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    import torch

    if not heads:
        return
    weights = [p for part in (body, *heads.values()) for p in part.parameters()]
    steps = int(np.clip(EPOCHS * len(pixels) // BATCH, *STEPS))
    optimizer = torch.optim.AdamW(weights, RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    ghosts = _Ghosts.of(pixels) if spoil else None
    order = np.concatenate([rng.permutation(len(pixels)) for _ in range(steps * BATCH // len(pixels) + 1)])
    for step in range(steps):
        rows = order[step * BATCH : (step + 1) * BATCH]
        batch, targets = pixels[rows], {name: code[rows] for name, code in conditions.items()}
        if ghosts is not None:
            batch, targets["spoilt"] = _spoilt(batch, ghosts, rng)
        shift = rng.integers(-2, 3, 2)
        features = body(_tensor(np.roll(batch, shift, axis=(1, 2))))
        loss = torch.zeros(())
        for name, code in targets.items():
            known = torch.from_numpy(code.astype(np.int64))
            loss = loss + torch.nn.functional.cross_entropy(
                heads[name](features), known, ignore_index=UNKNOWN, reduction="sum"
            ) / max(1, int((known != UNKNOWN).sum()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


@dataclass(frozen=True)
class _Ghosts:
    """The normal distribution of pictures, by principal components."""

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, pixels: Bytes) -> _Ghosts:
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        _, weights, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        return cls(flat.mean(axis=0), weights[:, None] * axes / np.sqrt(len(pixels)))

    def drawn(self, count: int, rng: np.random.Generator) -> Floats:
        """[count, pixels], of as many components as chance says."""
        kept = int(rng.integers(min(5, len(self.axes)), len(self.axes) + 1))
        return np.asarray(self.mean + rng.normal(size=(count, kept)) @ self.axes[:kept])


def _spoilt(batch: Bytes, ghosts: _Ghosts, rng: np.random.Generator) -> tuple[Bytes, NDArray[np.int64]]:
    from scipy.ndimage import gaussian_filter

    kind = rng.integers(0, len(SPOILT), len(batch))
    result = batch.astype(np.float64)
    blurred, noisy, ghost, overlaid, torn = (np.flatnonzero(kind == k) for k in range(1, len(SPOILT)))
    reach = (0, *(2 * [rng.uniform(0.4, 1.5)]), *([0] * (batch.ndim - 3)))
    result[blurred] = gaussian_filter(result[blurred], reach)
    result[noisy] += rng.normal(0, rng.uniform(4, 30), result[noisy].shape)
    result[ghost] = ghosts.drawn(len(ghost), rng).reshape(result[ghost].shape)
    for row in torn:
        of = rng.integers(0, len(batch), batch[row].shape)  # of which picture each pixel is
        result[row] = np.take_along_axis(batch, of[None], axis=0)[0]
    result[overlaid] = (result[overlaid] + batch[rng.integers(0, len(batch), len(overlaid))]) / 2
    return np.rint(np.clip(result, 0, 255)).astype(np.uint8), kind


def _features(body: Any, pixels: Bytes) -> Floats:
    import torch

    from synthgen.threads import one_thread

    with one_thread(), torch.no_grad():
        parts = [body(part) for part in _parts(pixels)]
    return torch.cat(parts).numpy().astype(np.float64)


def _parts(pixels: Bytes, size: int = 256) -> list[torch.Tensor]:
    return [_tensor(pixels[start : start + size]) for start in range(0, len(pixels), size)]


def _tensor(pixels: Bytes) -> torch.Tensor:
    """[n, height, width(, 3)] -> [n, channels, height, width], -0.5 to 0.5."""
    import torch

    planes = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(planes)).float() / 255 - 0.5
