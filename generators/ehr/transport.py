"""Moves synthetic numbers so that their means and second moments, between patients and within them, are those of the cohort.

A patient's numbers are split into the mean over visits and deviations from it. Given everything that stays as it is
(categories at visits, static columns, time: the *anchors*), each part is moved by the linear optimal
transport map between Gaussians (Peyré and Cuturi 2019, section 2.6). Constants stay constant, nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generators.ehr.calibration import LIMIT
from generators.ehr.encoding import Records
from generators.ehr.layout import Layout, is_ordered, size
from generators.ehr.likelihood import score


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
    outcome = [torch.log(records["end"].double() + 0.05).unsqueeze(1)]
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
            parts.anchor.std(dim=0).clamp(min=0.05),
            parts.outcome.mean(dim=0),
        )


def moments(parts: Split, centre: Centre) -> Tensor:
    """[patients, numbers]: per patient whether there is a mean, the mean, the anchors, products of the mean with itself and the
    anchors, the mean products of deviations with each other and with the anchors' deviations, and products of the mean with
    the outcome. The last are evidence alone: numbers moved to agree with them linearly predicted the outcome worse."""
    numeric = parts.mean.shape[1]
    upper = torch.triu_indices(numeric, numeric)
    mean = (parts.mean - centre.mean) * parts.present
    anchor = (parts.anchor - centre.anchor) / centre.anchor_sd
    d, a = parts.deviation, parts.anchor_deviation
    pairs = (parts.known.transpose(1, 2) @ parts.known).clamp(min=1)
    within = (d.transpose(1, 2) @ d) / pairs
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
            (mean.unsqueeze(2) * (parts.outcome - centre.outcome).unsqueeze(1)).flatten(1),
        ],
        dim=1,
    )


@dataclass(frozen=True)
class Transport:
    """x' = shift + between (mean - slope anchor) + slope' anchor + the like of each deviation."""

    centre: Centre
    shift: Tensor  # [numeric]
    between: Tensor  # [numeric, numeric]
    between_anchor: Tensor  # [numeric, anchors] what is added for each anchor
    within: Tensor
    within_anchor: Tensor

    def move(self, records: Records, layout: Layout) -> Tensor:
        """[patients, visits, numeric] moved numbers, before any is lost."""
        parts = split(records, layout, "full")
        anchor = anchored(parts, self.centre)[:, : self.between_anchor.shape[1]]
        mean = self.shift + (parts.mean - self.centre.mean) @ self.between.T + anchor @ self.between_anchor.T
        deviation = parts.deviation @ self.within.T + parts.anchor_deviation @ self.within_anchor.T
        moved = (mean.unsqueeze(1) + deviation).float()
        return torch.where(torch.isnan(records["x"]), torch.nan, moved)


def with_outcome(layout: Layout) -> bool:
    """Whether numbers are to be moved to agree with the outcome: where the dictionary says of no measurement how the severity
    of the disease shows in it, the model cannot know which of them foretell what."""
    known = (c.knowledge for c in layout.dictionary.measurements.values())
    return not any(k is not None and k.severity is not None for k in known)


def anchored(parts: Split, centre: Centre) -> Tensor:
    """[patients, anchors + outcomes] what numbers are regressed on, around zero."""
    return torch.cat([(parts.anchor - centre.anchor) / centre.anchor_sd, parts.outcome - centre.outcome], dim=1)


def fit(parts: Split, public: Centre, target: Tensor, outcome: bool) -> Transport:
    """The map that brings synthetic patients to the target.

    Args:
        parts: of synthetic patients of the model.
        public: around which the target's moments are taken.
        target: [numbers] what the mean of `moments` should be.
        outcome: whether numbers are moved to agree with the outcome as well.
    """
    centre = Centre.of(parts)
    target = recentred(of_the_present(target, parts), public, centre, parts)
    numeric, anchors, signs = parts.mean.shape[1], parts.anchor.shape[1], parts.anchor_deviation.shape[2]
    own_moments = of_the_present(moments(parts, centre).mean(dim=0), parts)
    now, goal = blocks(own_moments, parts), blocks(target, parts)
    used = anchors + parts.outcome.shape[1] if outcome else anchors
    anchor = anchored(parts, centre)[:, :used]
    own = anchor.T @ anchor / len(anchor) + 0.02 * torch.eye(used, dtype=anchor.dtype)
    between, between_anchor = maps(
        square(now["square"], numeric) - now["mean"].outer(now["mean"]),
        square(goal["square"], numeric) - goal["mean"].outer(goal["mean"]),
        torch.cat([now["cross"].reshape(numeric, -1), now["outcome"].reshape(numeric, -1)], dim=1)[:, :used],
        torch.cat([goal["cross"].reshape(numeric, -1), goal["outcome"].reshape(numeric, -1)], dim=1)[:, :used],
        own,
    )
    d = parts.anchor_deviation
    count = (parts.known.amax(dim=2).sum(dim=1)).clamp(min=1)
    own_within = ((d.transpose(1, 2) @ d) / count[:, None, None]).mean(dim=0)
    own_within = own_within + (0.02 * own_within.diagonal().mean() + 1e-4) * torch.eye(signs, dtype=d.dtype)
    within, within_anchor = maps(
        square(now["within"], numeric),
        square(goal["within"], numeric),
        now["cross_within"].reshape(numeric, signs),
        goal["cross_within"].reshape(numeric, signs),
        own_within,
    )
    return Transport(centre, centre.mean + goal["mean"], between, between_anchor, within, within_anchor)


BLOCKS = ("present", "mean", "anchor", "square", "cross", "within", "cross_within", "outcome")


def blocks(vector: Tensor, parts: Split) -> dict[str, Tensor]:
    """A mean of `moments` by block."""
    return dict(zip(BLOCKS, vector.split(_lengths(parts)), strict=True))


def _lengths(parts: Split) -> list[int]:
    """How many numbers each block of `moments` has."""
    numeric, anchors, signs = parts.mean.shape[1], parts.anchor.shape[1], parts.anchor_deviation.shape[2]
    half = numeric * (numeric + 1) // 2
    return [numeric, numeric, anchors, half, numeric * anchors, half, numeric * signs, numeric * parts.outcome.shape[1]]


def recentred(target: Tensor, public: Centre, own: Centre, parts: Split) -> Tensor:
    """The same moments [numbers] around other means; anchors and outcome, which are not moved, have the model's own means."""
    known, mean, anchor, square, cross, within, cross_within, outcome = target.split(_lengths(parts))
    rows, columns = torch.triu_indices(len(mean), len(mean))
    shift = public.mean - own.mean
    square = square + mean[rows] * shift[columns] + shift[rows] * mean[columns] + shift[rows] * shift[columns]
    together = (cross.reshape(len(mean), -1) - mean.outer(anchor)) * public.anchor_sd / own.anchor_sd
    ends = outcome.reshape(len(mean), -1) - mean.outer(own.outcome - public.outcome)
    return torch.cat([known, mean + shift, anchor, square, together.flatten(), within, cross_within, ends.flatten()])


def of_the_present(moment: Tensor, parts: Split) -> Tensor:
    """The mean of `moments` [numbers] over patients who have a mean, from that over all, where the others count as zero.
    Patients of the cohort lack two numbers together as often, beyond chance, as those of `parts` do."""
    block = blocks(moment, parts)
    known, now = block["present"].clamp(0.05, 1.0), parts.present.mean(dim=0).clamp(min=0.05)
    rows, columns = torch.triu_indices(len(known), len(known))
    joint = (parts.present.T @ parts.present / len(parts.present))[rows, columns]
    both = joint * known[rows] * known[columns] / (now[rows] * now[columns])
    both = torch.where(
        rows == columns, known[rows], both.clamp(min=0.02).minimum(torch.minimum(known[rows], known[columns]))
    )
    block["mean"] = block["mean"] / known
    block["square"] = block["square"] / both
    for name in ("cross", "outcome"):
        block[name] = (block[name].reshape(len(known), -1) / known.unsqueeze(1)).flatten()
    return torch.cat(list(block.values()))


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
