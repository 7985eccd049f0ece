"""Moves deviations from a patient's mean so that their second moments are those of the cohort: what measurements share at one
visit, and how they go with categories there and with time.

Given the anchors, which stay as they are, deviations are moved by the linear optimal transport map between Gaussians (Peyré and
Cuturi 2019, section 2.6). Means of patients stay: how these go together is the latent vector's business (`loadings`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generators.ehr.encoding import Records
from generators.ehr.layout import Layout
from generators.ehr.moments import Centre, Split, blocks, moments, split


@dataclass(frozen=True)
class Transport:
    """deviation' = within deviation + within_anchor anchor's deviation."""

    within: Tensor  # [numeric, numeric]
    within_anchor: Tensor  # [numeric, signs + 1]

    def move(self, records: Records, layout: Layout) -> Tensor:
        """[patients, visits, numeric] moved numbers, before any is lost."""
        parts = split(records, layout, "full")
        deviation = parts.deviation @ self.within.T + parts.anchor_deviation @ self.within_anchor.T
        moved = (parts.mean.unsqueeze(1) + deviation).float()
        return torch.where(torch.isnan(records["x"]), torch.nan, moved)


def fit(parts: Split, centre: Centre, target: Tensor) -> Transport:
    """The map that brings synthetic patients to the target.

    Args:
        parts: of synthetic patients of the model; centre: around which moments are taken.
        target: [numbers] what the mean of `moments` should be.
    """
    numeric, signs = parts.mean.shape[1], parts.anchor_deviation.shape[2]
    now, goal = blocks(moments(parts, centre).mean(dim=0), parts), blocks(target, parts)
    d = parts.anchor_deviation
    count = (parts.known.amax(dim=2).sum(dim=1)).clamp(min=1)
    own = ((d.transpose(1, 2) @ d) / count[:, None, None]).mean(dim=0)
    own = own + (0.02 * own.diagonal().mean() + 1e-4) * torch.eye(signs, dtype=d.dtype)
    within, within_anchor = maps(
        square(now["within"], numeric),
        square(goal["within"], numeric),
        now["cross_within"].reshape(numeric, signs),
        goal["cross_within"].reshape(numeric, signs),
        own,
    )
    return Transport(within, within_anchor)


def maps(now: Tensor, goal: Tensor, cross: Tensor, cross_goal: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """(map of the numbers, what to add for each anchor): regress on the anchors, move what is left, add the goal's slope."""
    if own.shape[0] == 0:
        return _transport(now, goal), cross
    slope, slope_goal = cross @ torch.linalg.inv(own), cross_goal @ torch.linalg.inv(own)
    rest = _positive(now - slope @ own @ slope.T, now)
    rest_goal = _positive(goal - slope_goal @ own @ slope_goal.T, goal)
    move = _transport(rest, rest_goal)
    return move, slope_goal - move @ slope


def _transport(now: Tensor, goal: Tensor) -> Tensor:
    """The symmetric map A with A now A = goal."""
    goal = _positive(goal, now)
    root = _power(now, 0.5)
    inverse = _power(now, -0.5)
    return inverse @ _power(root @ goal @ root, 0.5) @ inverse


def _positive(matrix: Tensor, like: Tensor) -> Tensor:
    """The matrix with no eigenvalue so small that a number nearly follows from the others; noise can do that."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    least = 0.05 * like.diagonal().mean().clamp(min=1e-4)
    out: Tensor = vectors @ torch.diag(values.clamp(min=float(least))) @ vectors.T
    return out


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    out: Tensor = vectors @ torch.diag(values.clamp(min=1e-6) ** exponent) @ vectors.T
    return out


def square(upper: Tensor, numeric: int) -> Tensor:
    """Upper triangle -> symmetric matrix."""
    out = torch.zeros(numeric, numeric, dtype=upper.dtype)
    rows, columns = torch.triu_indices(numeric, numeric)
    out[rows, columns] = upper
    out[columns, rows] = upper
    return out
