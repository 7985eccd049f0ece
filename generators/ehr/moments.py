"""First and second moments of a patient's record: how numbers go together, between patients and within them, with categories,
static columns, time and the outcome.

A patient's numbers are split into the mean over visits and deviations from it. Categories at visits and static columns are the
*anchors*.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generators.ehr.calibration import LIMIT
from generators.ehr.encoding import Records
from generators.ehr.layout import Layout, is_ordered, size
from generators.ehr.likelihood import score

AT_ONCE = 0.05
"""Added to the end of follow-up, as a share of the horizon, before its logarithm is taken."""

SLOPE = 0.05
"""Added to the sum of squared times (in thirds of the horizon) under a slope: few visits, close together, say little."""


@dataclass(frozen=True)
class Split:
    """What moments are made of: numbers and anchors, between and within patients."""

    present: Tensor  # [patients, numeric]
    mean: Tensor  # [patients, numeric] over visits
    deviation: Tensor  # [patients, visits, numeric], 0 where missing
    known: Tensor  # [patients, visits, numeric]
    anchor: Tensor  # [patients, anchors]
    outcome: Tensor  # [patients, outcomes] log end of follow-up, causes
    anchor_deviation: Tensor  # [patients, visits, ordered + 1], the last of time


def split(records: Records, layout: Layout, values: str = "x") -> Split:
    """`values` is `x` (what was recorded) or, of synthetic patients, `full`."""
    x = records[values].clamp(-LIMIT, LIMIT).double()
    seen = (records["seen"] > 0).unsqueeze(-1)
    known = ~torch.isnan(x) & seen
    count = known.sum(dim=1)
    x = torch.where(known, torch.nan_to_num(x), 0.0)
    mean = x.sum(dim=1) / count.clamp(min=1)
    scores = [score(records["ordered"][..., j], size(c)) for j, c in enumerate(layout.ordered.values())]
    signs = torch.stack(scores, dim=-1).double() if scores else x[..., :0]
    written = (records["ordered"] >= 0) & seen
    signs_mean = (signs * written).sum(dim=1) / written.sum(dim=1).clamp(min=1)
    time = 3 * records["time"].double()
    late = (time - (time * seen[..., 0]).sum(dim=1, keepdim=True) / seen.sum(dim=1).clamp(min=1)) * seen[..., 0]
    anchors = [signs_mean, torch.nan_to_num(records["static_x"]).double().clamp(-LIMIT, LIMIT)]
    for j, column in enumerate(layout.static_discrete.values()):
        if is_ordered(column):
            anchors.append(score(records["static_c"][:, j], size(column)).double().unsqueeze(1))
    outcome = [torch.log(records["end"].double() + AT_ONCE).unsqueeze(1)]
    outcome += [(records["cause"] == k).double().unsqueeze(1) for k in range(len(layout.causes) - 1)]
    return Split(
        present=(count > 0).double(),
        mean=mean,
        deviation=(x - mean.unsqueeze(1)) * known,
        known=known.double(),
        anchor=torch.cat(anchors, dim=1),
        outcome=torch.cat(outcome, dim=1),
        anchor_deviation=torch.cat([(signs - signs_mean.unsqueeze(1)) * written, late.unsqueeze(-1)], dim=-1),
    )


@dataclass(frozen=True)
class Centre:
    """Public means around which moments between patients are taken."""

    mean: Tensor
    anchor: Tensor
    anchor_sd: Tensor
    outcome: Tensor

    @classmethod
    def of(cls, parts: Split) -> Centre:
        return cls(
            (parts.mean * parts.present).sum(dim=0) / parts.present.sum(dim=0).clamp(min=1),
            parts.anchor.mean(dim=0),
            (parts.anchor - parts.anchor.mean(dim=0)).square().mean(dim=0).sqrt().clamp(min=0.05),
            parts.outcome.mean(dim=0),
        )


def moments(parts: Split, centre: Centre) -> Tensor:
    """[patients, numbers], by `BLOCKS`: per patient whether there is a mean, the mean, the anchors, products of the mean with
    itself and the anchors, the mean products of deviations with each other and with the anchors' deviations, and products of
    the mean, of the anchors and of the slope in time with the outcome."""
    numeric = parts.mean.shape[1]
    upper = torch.triu_indices(numeric, numeric)
    mean = (parts.mean - centre.mean) * parts.present
    anchor = (parts.anchor - centre.anchor) / centre.anchor_sd
    outcome = parts.outcome - centre.outcome
    d, a = parts.deviation, parts.anchor_deviation
    late = a[..., -1:]
    pairs = (parts.known.transpose(1, 2) @ parts.known).clamp(min=1)
    within = (d.transpose(1, 2) @ d) / pairs
    slope = (d * late).sum(dim=1) / ((late**2 * parts.known).sum(dim=1) + SLOPE)
    cross = (d.transpose(1, 2) @ a) / parts.known.sum(dim=1).clamp(min=1).unsqueeze(-1)
    return torch.cat(
        [
            parts.present,
            mean,
            anchor,
            (mean.unsqueeze(2) * mean.unsqueeze(1))[:, upper[0], upper[1]],
            (mean.unsqueeze(2) * anchor.unsqueeze(1)).flatten(1),
            within[:, upper[0], upper[1]],
            cross.flatten(1),
            (mean.unsqueeze(2) * outcome.unsqueeze(1)).flatten(1),
            (anchor.unsqueeze(2) * outcome.unsqueeze(1)).flatten(1),
            (slope.unsqueeze(2) * outcome.unsqueeze(1)).flatten(1),
        ],
        dim=1,
    )


BLOCKS = (
    "present", "mean", "anchor", "square", "cross", "within", "cross_within", "outcome", "anchor_outcome", "slope_outcome",
)  # fmt: skip


def blocks(vector: Tensor, parts: Split) -> dict[str, Tensor]:
    """A mean of `moments` by block."""
    numeric, anchors, signs = parts.mean.shape[1], parts.anchor.shape[1], parts.anchor_deviation.shape[2]
    half, outcomes = numeric * (numeric + 1) // 2, parts.outcome.shape[1]
    lengths = [
        numeric, numeric, anchors, half, numeric * anchors, half, numeric * signs, numeric * outcomes, anchors * outcomes,
        numeric * outcomes,
    ]  # fmt: skip
    return dict(zip(BLOCKS, vector.split(lengths), strict=True))
