"""Frequencies and rates: what share of patients or visits has each category, is missing, ends how, comes how often.

Indirect inference (Gouriéroux et al. 1993): the model is sampled, the same statistic is taken of its patients, and the number
that governs each frequency is moved until both agree. That corrects whatever the clip, missing values or the free running of
the model did to it.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from generators.ehr.calibration import last_visit
from generators.ehr.encoding import Records
from generators.ehr.fitted import Fitted
from generators.ehr.layout import BINS, Layout, size
from generators.ehr.likelihood import GAP_EDGES, GAPS, cutpoints, lost, score
from generators.ehr.network import gap_cells
from generators.ehr.parameters import GAP_CELLS
from generators.ehr.process import Chance

EARLY = 0.25
"""Ends before this share of the horizon are counted apart."""
ROUNDS, STEP = 10, 0.6


def frequencies(records: Records, layout: Layout) -> dict[str, Tensor]:
    """[patients, numbers] in [0, 1], by the name of the parameter that governs them."""
    seen = records["seen"]
    visits = seen.sum(dim=1, keepdim=True)
    first = seen[:, 0] > 0
    out: dict[str, Tensor] = {}
    cuts, firsts = [], []
    for j, column in enumerate(layout.ordered.values()):
        code = records["ordered"][..., j]
        below = code.unsqueeze(-1) <= torch.arange(size(column) - 1)
        cuts.append(_share(below, (code >= 0) & (seen > 0)))
        firsts.append(torch.where(first & (code[:, 0] >= 0), (score(code[:, 0], size(column)) + 1) / 2, 0.5))
    if cuts:
        out |= {"ordered_cut": torch.cat(cuts, dim=1), "ordered_first": torch.stack(firsts, dim=1)}
        out["ordered_keep"] = _repeated(records["ordered"])
    kinds = []
    for j, column in enumerate(layout.nominal.values()):
        code = records["nominal"][..., j]
        kinds.append(_share(code.unsqueeze(-1) == torch.arange(size(column)), (code >= 0) & (seen > 0)))
    if kinds:
        out["nominal_bias"] = torch.cat(kinds, dim=1)
        out["nominal_stick"] = _repeated(records["nominal"])
    if layout.numeric:
        out["x_keep"] = _persistence(records)
    if layout.gappy:
        gone = lost(records, layout)
        out |= {
            "missing_bias": (gone * seen.unsqueeze(-1)).sum(dim=1) / visits.clamp(min=1),
            "missing_first": gone[:, 0],
        }
    if layout.has_visits:
        out["stop_bias"] = visits.log1p() / torch.tensor(1.0 + layout.max_visits).log()
        out["gap_bias"] = _gaps(records)
    if layout.static_discrete:
        hot = [
            records["static_c"][:, j, None] == torch.arange(size(c))
            for j, c in enumerate(layout.static_discrete.values())
        ]
        out["static_bias"] = torch.cat(hot, dim=1).float()
    if not layout.ends_at_last_visit:
        end, cause = records["end"].unsqueeze(1), records["cause"].unsqueeze(1)
        happened = cause == torch.arange(len(layout.causes) - 1)
        place = (end * BINS).floor().clamp(0, BINS - 1)
        plain = (cause == len(layout.causes) - 1) & (place == torch.arange(BINS))
        out |= {
            "hazard_bias": happened.float(),
            "hazard_trend": (happened & (end < EARLY)).float(),
            "end_bias": plain.float(),
        }
    if layout.code:
        total = records["event_total"]
        out |= {
            "rate_bias": total.log1p() / torch.tensor(1.0 + layout.max_events).log(),
            "first_bias": records["event_first"],
            "dose_missing": records["event_undosed"].flatten(1),
            "kind_bias": records["event_kinds"].flatten(1),
        }
    return out


def _persistence(records: Records) -> Tensor:
    """[patients, numeric] how alike deviations from a patient's mean are at consecutive visits: their lag-1 correlation
    on [0, 1]; one half for fewer than three values."""
    known = ~torch.isnan(records["x"])
    count = known.sum(dim=1)
    x = torch.nan_to_num(records["x"])
    deviation = (x - (x.sum(dim=1) / count.clamp(min=1)).unsqueeze(1)) * known
    lagged = (deviation[:, 1:] * deviation[:, :-1]).sum(dim=1)
    squares = (deviation**2).sum(dim=1)
    share = ((lagged / squares.clamp(min=1e-4)).clamp(-1, 1) + 1) / 2
    return torch.where(count >= 3, share, 0.5)


def _repeated(codes: Tensor) -> Tensor:
    """[patients, columns] share of consecutive visits that have the same category, one half where no two were recorded."""
    before, now = codes[:, :-1], codes[:, 1:]
    told = (before >= 0) & (now >= 0)
    count = told.sum(dim=1)
    share = (told & (before == now)).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, share, 0.5)


def _gaps(records: Records) -> Tensor:
    """[patients, GAP_CELLS] share of the gaps between visits in each group of bins; evenly spread for a single visit."""
    count = (records["seen"].sum(dim=1, keepdim=True) - 1).clamp(min=0)
    between = (records["seen"] > 0) & ~last_visit(records)
    place = torch.bucketize(records["gap"].contiguous(), GAP_EDGES[1:-1], right=True)
    cell = gap_cells(GAPS)[place]
    share = ((cell.unsqueeze(-1) == torch.arange(GAP_CELLS)) & between.unsqueeze(-1)).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, share, 1 / GAP_CELLS)


def _share(true: Tensor, recorded: Tensor) -> Tensor:
    """[patients, categories] share of the recorded visits [patients, visits] at which each is true, one half for none."""
    count = recorded.sum(dim=1, keepdim=True)
    share = (true & recorded.unsqueeze(-1)).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, share, 0.5)


def statistic(records: Records, layout: Layout) -> Tensor:
    """[patients, numbers] all frequencies side by side."""
    return torch.cat(list(frequencies(records, layout).values()), dim=1)


def match(fitted: Fitted, target: Tensor, patients: int, seed: int) -> Fitted:
    """The same model, its governing numbers moved until its patients have the target frequencies [numbers]."""
    model = copy.deepcopy(fitted.model)
    moved = replace(fitted, model=model)
    for _ in range(ROUNDS):
        chance = Chance.seeded(seed)  # the same draws every round: what changes is the model
        made = moved.patients(*moved.latents(patients, chance), chance)
        now = frequencies(made, model.layout)
        goals = target.float().split([v.shape[1] for v in now.values()])
        push = {}
        for (name, own), goal in zip(now.items(), goals, strict=True):
            if name == "end_bias":
                push[name] = STEP * (_log_hazards(goal) - _log_hazards(own.mean(dim=0)))
                continue
            neutral, with_code = _diluted(name, made, model.layout)
            push[name] = STEP * (
                _logit((goal - neutral) / with_code + neutral)
                - _logit((own.mean(dim=0) - neutral) / with_code + neutral)
            )
        _move(moved, push)
    return moved


def _diluted(name: str, records: Records, layout: Layout) -> tuple[Tensor, Tensor]:
    """(the value that stands for patients without it, the share of patients who have it), [numbers] or []: what an
    event is like can be told only from patients who have one."""
    if name not in ("dose_missing", "kind_bias"):
        return torch.tensor(0.0), torch.tensor(1.0)
    share = (records["event_total"] > 0).float().mean(dim=0).clamp(min=0.02)
    if name == "dose_missing":
        doses = len(layout.event_numeric)
        return torch.full((len(share) * doses,), 0.5), share.repeat_interleave(doses)
    even = [1 / size(c) for c in layout.event_discrete.values() for _ in range(size(c))]
    return torch.tensor(even).repeat(len(share)), share.repeat_interleave(len(even))


def _logit(share: Tensor) -> Tensor:
    return share.clamp(0.004, 0.996).logit()


def _log_hazards(shares: Tensor) -> Tensor:
    """Log of the cumulated hazard of each bin, from the share of patients that end in it."""
    shares = shares.clamp(min=0.004)
    left = shares.flip(0).cumsum(0).flip(0)
    return (-(1 - shares / left).clamp(min=0.02).log()).log()


def _move(fitted: Fitted, push: dict[str, Tensor]) -> None:
    """Adds to the parameters in place; a hazard's trend takes what early ends need beyond all ends."""
    parameters, layout = fitted.model.parameters_of, fitted.model.layout
    for name, change in push.items():
        if name == "ordered_cut":
            _recut(fitted, change)
            continue
        if name == "ordered_first":
            change = change - _by_column(push["ordered_cut"], layout)
        elif name == "missing_first":
            change = change - push["missing_bias"]
        elif name == "hazard_trend":
            change = -1.5 * (change - push["hazard_bias"])
        if name in ("hazard_bias", "hazard_trend"):
            change = torch.cat([change, change.new_zeros(1)])  # the plain end has numbers of its own
        elif name == "stop_bias":
            change = -2 * change
        elif name == "rate_bias":
            change = 1.5 * change
        elif name == "x_keep":
            change = 4 * change
        parameters.add(name, change)


def _by_column(cuts: Tensor, layout: Layout) -> Tensor:
    """[ordered] mean push of each column's cutpoints, as a push of its predictor."""
    return torch.stack([-part.mean() for part in cuts.split([size(c) - 1 for c in layout.ordered.values()])])


def _recut(fitted: Fitted, change: Tensor) -> None:
    """Moves cutpoints, at least a little apart."""
    parameters, layout = fitted.model.parameters_of, fitted.model.layout
    now = parameters()
    pushes = change.split([size(c) - 1 for c in layout.ordered.values()])
    parts = []
    for cuts, push in zip(cutpoints(now, layout), pushes, strict=True):
        wanted = cuts + push
        steps = (wanted[1:] - wanted[:-1]).clamp(min=0.05)
        parts.append(torch.cat([wanted[:1], steps.log()]))
    parameters.add("ordered_cut", torch.cat(parts) - now["ordered_cut"])
