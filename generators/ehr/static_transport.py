"""Moves static numbers so that their means and second moments, and how they go with static categories, are the cohort's.

As `transport` does with numbers at visits, before these are drawn: given the ordered static categories (the *anchors*), the
numbers are moved by the linear optimal transport map between Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generators.ehr.calibration import LIMIT
from generators.ehr.encoding import Records
from generators.ehr.layout import Layout, is_ordered, size
from generators.ehr.likelihood import score
from generators.ehr.transport import maps, square


@dataclass(frozen=True)
class StaticParts:
    """[patients, numbers] static numbers (0 where missing) and whether they are there; [patients, anchors]."""

    x: Tensor
    known: Tensor
    anchor: Tensor


def parts(records: Records, layout: Layout) -> StaticParts:
    """Of records in the model's units."""
    x = records["static_x"].double().clamp(-LIMIT, LIMIT)
    columns = enumerate(layout.static_discrete.values())
    anchors = [score(records["static_c"][:, j], size(c)).double() for j, c in columns if is_ordered(c)]
    return StaticParts(
        torch.nan_to_num(x), (~torch.isnan(x)).double(), torch.stack(anchors, dim=1) if anchors else x[:, :0]
    )


def moments(p: StaticParts) -> Tensor:
    """[patients, asked]: which numbers are there, numbers, anchors, and the products of each with each."""
    x, anchor = p.x * p.known, p.anchor
    upper = torch.triu_indices(x.shape[1], x.shape[1])
    own = torch.triu_indices(anchor.shape[1], anchor.shape[1])
    return torch.cat(
        [
            p.known,
            x,
            anchor,
            (x.unsqueeze(2) * x.unsqueeze(1))[:, upper[0], upper[1]],
            (anchor.unsqueeze(2) * anchor.unsqueeze(1))[:, own[0], own[1]],
            (x.unsqueeze(2) * anchor.unsqueeze(1)).flatten(1),
        ],
        dim=1,
    )


@dataclass(frozen=True)
class StaticTransport:
    """x' = shift + x move^T + anchor slope^T."""

    shift: Tensor
    move: Tensor
    slope: Tensor

    def moved(self, static: Records, layout: Layout) -> Records:
        """The same static columns, numbers moved; what is missing stays missing."""
        p = parts(static, layout)
        x = (self.shift + p.x @ self.move.T + p.anchor @ self.slope.T).float()
        return {**static, "static_x": torch.where(torch.isnan(static["static_x"]), torch.nan, x)}


def fit(made: StaticParts, target: Tensor) -> StaticTransport:
    """The map that brings synthetic patients to the target [asked], the believed mean of `moments`."""
    numbers, anchors = made.x.shape[1], made.anchor.shape[1]
    goal, now = _central(target, numbers, anchors), _central(moments(made).mean(dim=0), numbers, anchors)
    move, slope = maps(now.square, goal.square, now.cross, goal.cross, now.own)
    return StaticTransport(goal.mean - move @ now.mean - slope @ now.anchor, move, slope)


@dataclass(frozen=True)
class _Central:
    mean: Tensor
    anchor: Tensor
    square: Tensor
    cross: Tensor
    own: Tensor


def _central(vector: Tensor, numbers: int, anchors: int) -> _Central:
    """Means and central second moments from a mean of `moments`."""
    lengths = [numbers, numbers, anchors, numbers * (numbers + 1) // 2, anchors * (anchors + 1) // 2, numbers * anchors]
    known, mean, anchor, squares, own, cross = vector.split(lengths)
    known = known.clamp(0.05, 1.0)  # the share of patients who have each; missing independently of each other
    both = known.outer(known).fill_diagonal_(0.0) + torch.diag(known)
    mean = mean / known
    return _Central(
        mean,
        anchor,
        square(squares, numbers) / both - mean.outer(mean),
        cross.reshape(numbers, anchors) / known.unsqueeze(1) - mean.outer(anchor),
        square(own, anchors) - anchor.outer(anchor) + 0.02 * torch.eye(anchors, dtype=vector.dtype),
    )
