"""Without privacy: numbers moved so that each column is distributed as in the cohort, by its quantiles.

Monotone optimal transport in one dimension (Peyré and Cuturi 2019, section 2.6): piecewise linear between quantiles, so that
ranks, and with them nearly all dependence, stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = 33
"""Quantiles of each column, and at most one for every few values."""


@dataclass(frozen=True)
class Margins:
    """[levels, columns] quantiles that are moved to other quantiles."""

    source: Tensor
    target: Tensor

    def move(self, x: Tensor) -> Tensor:
        """[..., columns] values, NaN where missing; beyond the outermost quantiles they are shifted with these."""
        columns = [self._column(x[..., j], j) for j in range(x.shape[-1])]
        return torch.stack(columns, dim=-1) if columns else x

    def _column(self, x: Tensor, j: int) -> Tensor:
        source, target = self.source[:, j].contiguous(), self.target[:, j]
        inside = torch.nan_to_num(x).clamp(source[0], source[-1])
        place = torch.bucketize(inside, source[1:-1])
        part = (inside - source[place]) / (source[place + 1] - source[place]).clamp(min=1e-6)
        return target[place] + part.clamp(0, 1) * (target[place + 1] - target[place]) + (x - inside)


def fit(synthetic: Tensor, real: Tensor) -> Margins:
    """From values [..., columns], NaN where missing. A column without enough real values is left as it is."""
    pairs = [_quantiles(synthetic[..., j], real[..., j]) for j in range(synthetic.shape[-1])]
    source, target = zip(*pairs, strict=True) if pairs else ((), ())
    empty = torch.zeros(LEVELS, 0)
    return Margins(*(torch.stack(side, dim=1) if side else empty for side in (source, target)))


def _quantiles(synthetic: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    synthetic, real = synthetic[~torch.isnan(synthetic)], real[~torch.isnan(real)]
    count = min(LEVELS, len(real) // 5)
    if count < 3 or len(synthetic) < LEVELS:
        same = torch.linspace(-1, 1, LEVELS)
        return same, same
    coarse = (torch.arange(count) + 0.5) / count  # levels that the real values can tell apart
    levels = (torch.arange(LEVELS) + 0.5) / LEVELS
    at, goal = synthetic.quantile(coarse), real.quantile(coarse)
    source = synthetic.quantile(levels)
    moved = Margins(at.unsqueeze(1), goal.unsqueeze(1)).move(source.unsqueeze(1)).squeeze(1)
    return source, moved
