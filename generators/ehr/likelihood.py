"""How likely a patient's record is under what the decoder says of it: one log-likelihood a patient, [patients].

Nothing here looks from one patient to another, and nothing branches on a value: it runs under `vmap`.
"""

from __future__ import annotations

import torch
from pyro import distributions as dist
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from generators.ehr.calibration import last_visit
from generators.ehr.encoding import Records
from generators.ehr.layout import BINS, Layout, size
from generators.ehr.network import Visit, Whole

GAP_EDGES = torch.cat([torch.arange(-10, -4) / 2, torch.arange(-20, -15) / 10, torch.arange(-30, 20) / 20,
                       torch.arange(10, 20) / 10, torch.arange(4, 11) / 2])  # fmt: skip
"""Edges of the bins of the log gap between visits, in the model's units."""
GAPS = len(GAP_EDGES) - 1
Theta = dict[str, Tensor]


def visits(records: Records, said: Visit, theta: Theta, layout: Layout) -> Tensor:
    """[patients] log-likelihood of everything at visits and of when they are."""
    seen = records["seen"]
    cells = numbers(records, said, theta).sum(dim=2)
    cells = cells + ordered(records, said, theta, layout) + nominal(records, said, theta, layout)
    cells = cells + missing(records, said, theta, layout) + process(records, said, layout)
    return (cells * seen).sum(dim=1)


def keep(theta: Theta, years: Tensor) -> Tensor:
    """[..., numeric] correlation of a number's deviation with the last one, `years` [..., numeric] (horizons) before."""
    return theta["x_keep"].sigmoid() * torch.exp(-years.clamp(min=0) * theta["x_memory"].exp())


def numbers(records: Records, said: Visit, theta: Theta) -> Tensor:
    """[patients, visits, numeric]: Normal around the decoder's mean plus what is kept of the last deviation (AR(1) in
    continuous time); zero where missing."""
    x = records["x"]
    known = (~torch.isnan(x)).float()
    deviation = (torch.nan_to_num(x) - said.mean) * known / said.log_sd.exp()
    index = records["x_prev"].clamp(min=0)
    had = (records["x_prev"] >= 0).float()
    time = records["time"].unsqueeze(-1).expand_as(x)
    kept = keep(theta, time - time.gather(1, index)) * had
    mean = kept * deviation.gather(1, index)
    sd = (1 - kept**2).clamp(min=1e-3).sqrt()
    density: Tensor = dist.Normal(mean, sd, validate_args=False).log_prob(deviation)
    return known * (density - said.log_sd)


def cutpoints(theta: Theta, layout: Layout) -> list[Tensor]:
    """Ascending cutpoints of each ordered column: the first, then log distances."""
    parts = theta["ordered_cut"].split([size(c) - 1 for c in layout.ordered.values()])
    return [torch.cat([p[:1], p[:1] + p[1:].exp().cumsum(0)]) for p in parts]


def score(codes: Tensor, categories: int) -> Tensor:
    """Category numbers -> [-1, 1], 0 where there is none."""
    return torch.where(codes >= 0, 2 * codes.float() / (categories - 1) - 1, 0.0)


def ordered_logistic(predictor: Tensor, cuts: Tensor) -> Tensor:
    """[..., categories] probabilities; pyro's OrderedLogistic writes in place, which `vmap` does not allow."""
    below = (cuts - predictor.unsqueeze(-1)).sigmoid()
    below = torch.cat([torch.zeros_like(below[..., :1]), below, torch.ones_like(below[..., :1])], dim=-1)
    return (below[..., 1:] - below[..., :-1]).clamp(min=1e-6)


def ordered(records: Records, said: Visit, theta: Theta, layout: Layout) -> Tensor:
    """[patients, visits]: the category before, or else by an ordered logit that leans to it."""
    total = torch.zeros_like(records["seen"])
    for j, (column, cuts) in enumerate(zip(layout.ordered.values(), cutpoints(theta, layout), strict=True)):
        code = records["ordered"][..., j]
        before = records["ordered_prev"][..., j]
        lean = theta["ordered_stick"][j] * score(before, size(column))
        anew = ordered_logistic(said.ordered[..., j] + lean, cuts)
        same = (torch.arange(size(column), device=code.device) == before.unsqueeze(-1)).float()
        kept = theta["ordered_keep"][j].sigmoid() * (before >= 0).float().unsqueeze(-1)
        law = dist.Categorical(probs=kept * same + (1 - kept) * anew, validate_args=False)
        total = total + torch.where(code >= 0, law.log_prob(code.clamp(min=0)), 0.0)
    return total


def nominal(records: Records, said: Visit, theta: Theta, layout: Layout) -> Tensor:
    """[patients, visits]: softmax that leans to the category before."""
    total = torch.zeros_like(records["seen"])
    parts = said.nominal.split([size(c) for c in layout.nominal.values()], dim=-1)
    for j, logits in enumerate(parts if layout.nominal else ()):
        code, before = records["nominal"][..., j], records["nominal_prev"][..., j]
        same = (torch.arange(logits.shape[-1], device=code.device) == before.unsqueeze(-1)).float()
        law = dist.Categorical(logits=logits + theta["nominal_stick"][j] * same, validate_args=False)
        total = total + torch.where(code >= 0, law.log_prob(code.clamp(min=0)), 0.0)
    return total


def lost(records: Records, layout: Layout) -> Tensor:
    """[patients, visits, gappy] 1 where a value that may be missing is."""
    parts = []
    for name in layout.gappy:
        if name in layout.numeric:
            parts.append(torch.isnan(records["x"][..., list(layout.numeric).index(name)]))
        elif name in layout.ordered:
            parts.append(records["ordered"][..., list(layout.ordered).index(name)] < 0)
        else:
            parts.append(records["nominal"][..., list(layout.nominal).index(name)] < 0)
    return torch.stack(parts, dim=-1).float() if parts else records["seen"].new_zeros((*records["seen"].shape, 0))


def missing(records: Records, said: Visit, theta: Theta, layout: Layout) -> Tensor:
    """[patients, visits]: whether each value is recorded, which leans to whether it was at the visit before."""
    gone = lost(records, layout)
    before = torch.cat([torch.zeros_like(gone[:, :1]), 2 * gone[:, :-1] - 1], dim=1)
    logits = said.missing + theta["missing_stick"] * before
    recorded: Tensor = dist.Bernoulli(logits=logits, validate_args=False).log_prob(gone)
    return recorded.sum(dim=-1)


def process(records: Records, said: Visit, layout: Layout) -> Tensor:
    """[patients, visits]: after each visit the patient comes no more, or comes again after a gap. After the last one
    recorded, either holds, or the gap is longer than the rest of follow-up."""
    if not layout.has_visits:
        return torch.zeros_like(records["seen"])
    last = last_visit(records)
    bins = log_gap(said.gap)  # [patients, visits, GAPS]
    edges = GAP_EDGES.to(bins)
    gap = records["gap"].clamp(float(edges[0]), float(edges[-1]) - 1e-4)
    width = (edges[1:] - edges[:-1]).log()
    inside = (gap.unsqueeze(-1) >= edges[:-1]) & (gap.unsqueeze(-1) < edges[1:])
    density = torch.where(inside, bins - width, 0.0).sum(dim=-1)
    share = ((edges[1:] - gap.unsqueeze(-1)) / (edges[1:] - edges[:-1])).clamp(0, 1)
    beyond = (bins.exp() * share).sum(dim=-1).clamp(1e-6, 1.0)  # chance of a longer gap
    stop = said.stop.sigmoid().clamp(1e-5, 1 - 1e-5)
    ends = stop.log() if layout.dictionary.outcome is None else (stop + (1 - stop) * beyond).log()
    ends = ends * (1 - records["more"]).unsqueeze(1)
    return torch.where(last, ends, (1 - stop).log() + density)


def log_gap(logits: Tensor) -> Tensor:
    """[..., GAPS] log-probabilities of the gap's bin."""
    return logits.log_softmax(dim=-1)


def whole(records: Records, said: Whole, theta: Theta, layout: Layout) -> Tensor:
    """[patients] log-likelihood of static columns, the end of follow-up, and events."""
    total = static(records, said, theta, layout) + ending(records, said)
    return total + events(records, said, theta, layout) if layout.code else total


def static(records: Records, said: Whole, theta: Theta, layout: Layout) -> Tensor:
    x, code = records["static_x"], records["static_c"]
    law = dist.Normal(said.static_mean, theta["static_sd"].clamp(-4, 1.5).exp(), validate_args=False)
    total = torch.where(torch.isnan(x), 0.0, law.log_prob(torch.nan_to_num(x))).sum(dim=1)
    for j, logits in enumerate(
        said.static.split([size(c) for c in layout.static_discrete.values()], dim=1) if code.shape[1] else ()
    ):
        law = dist.Categorical(logits=logits, validate_args=False)
        total = total + torch.where(code[:, j] >= 0, law.log_prob(code[:, j].clamp(min=0)), 0.0)
    names = [*layout.static_numeric, *layout.static_discrete]
    gone = torch.cat([torch.isnan(x), code < 0], dim=1).float()
    gone = gone[:, [names.index(n) for n in layout.static_gappy]]
    recorded: Tensor = dist.Bernoulli(logits=said.static_missing, validate_args=False).log_prob(gone)
    return total + recorded.sum(dim=1)


def exposure(end: Tensor) -> Tensor:
    """[patients, BINS] time at risk in each bin; the last bin is open."""
    edges = torch.arange(BINS, device=end.device) / BINS
    length = torch.full((BINS,), 1 / BINS, device=end.device)
    length = torch.cat([length[:-1], length.new_tensor([1e3])])
    return torch.minimum((end.unsqueeze(1) - edges).clamp(min=0), length)


def ending(records: Records, said: Whole) -> Tensor:
    """[patients]: competing piecewise-constant hazards, of which the plain end of follow-up is one."""
    end = records["end"]
    at_risk = exposure(end)
    place = (torch.arange(BINS, device=end.device) == (end * BINS).floor().clamp(0, BINS - 1).unsqueeze(1)).float()
    cause = (torch.arange(said.log_hazard.shape[-1], device=end.device) == records["cause"].unsqueeze(1)).float()
    happened = (said.log_hazard * place.unsqueeze(-1) * cause.unsqueeze(1)).sum(dim=(1, 2))
    return happened - (said.log_hazard.exp() * at_risk.unsqueeze(-1)).sum(dim=(1, 2))


def events(records: Records, said: Whole, theta: Theta, layout: Layout) -> Tensor:
    """[patients]: Poisson counts in bins that rise with those before, starts at day 0, lengths (log-normal, cut off by the
    end of follow-up), doses and whatever else an event has, given its code."""
    count = records["event_count"]  # [patients, codes, BINS]
    before = torch.cat([records["event_first"].unsqueeze(-1), count[..., :-1]], dim=-1).cumsum(dim=-1).log1p()
    log_rate = (said.log_rate.transpose(1, 2) + again(theta).unsqueeze(-1) * before).clamp(-9, 7)
    at_risk = exposure(records["end"]).clamp(max=1.0).unsqueeze(1)
    total = (count * log_rate - log_rate.exp() * at_risk).sum(dim=(1, 2))
    first: Tensor = dist.Bernoulli(logits=said.first, validate_args=False).log_prob(records["event_first"])
    total = total + first.sum(dim=1)
    return total + (occurrences(records, said, theta, layout) * (records["event_code"] >= 0)).sum(dim=1)


def again(theta: Theta) -> Tensor:
    """[codes] how much the log rate rises with the log of those before; at 1 and above their number would explode."""
    return theta["rate_again"].clamp(-1.0, 0.8)


def occurrences(records: Records, said: Whole, theta: Theta, layout: Layout) -> Tensor:
    """[patients, events] how each one ends, and with what."""
    code = records["event_code"].clamp(min=0)
    total = torch.zeros_like(records["event_time"])
    if layout.stop:
        length, left = records["event_length"], records["event_left"]
        mean, sd = said.length.gather(1, code), theta["length_sd"].clamp(-3, 1).exp()[code]
        law = dist.Normal(mean, sd, validate_args=False)
        stops = said.stops.gather(1, code)
        goes_on = torch.logaddexp(logsigmoid(-stops), logsigmoid(stops) + log_above(left, mean, sd))
        total = total + torch.where(
            torch.isnan(length), goes_on, logsigmoid(stops) + law.log_prob(torch.nan_to_num(length))
        )
    for j in range(len(layout.event_numeric)):
        x = records["event_x"][..., j]
        spread = theta["dose_sd"].reshape(len(layout.codes), -1)[:, j].clamp(-4, 1.5).exp()[code]
        law = dist.Normal(said.dose[..., j].gather(1, code), spread, validate_args=False)
        gone = theta["dose_missing"].reshape(len(layout.codes), -1)[:, j][code]
        total = total + torch.where(
            torch.isnan(x), -softplus(-gone), law.log_prob(torch.nan_to_num(x)) - softplus(gone)
        )
    kinds = kind_logits(theta, layout)
    for j, logits in enumerate(kinds):
        kind = records["event_c"][..., j]
        law = dist.Categorical(logits=logits[code], validate_args=False)
        total = total + torch.where(kind >= 0, law.log_prob(kind.clamp(min=0)), 0.0)
    return total


def log_above(value: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """log P(Normal > value)."""
    return (0.5 * torch.erfc((value - mean) / (sd * 2**0.5))).clamp(min=1e-9).log()


def kind_logits(theta: Theta, layout: Layout) -> list[Tensor]:
    """[codes, categories] of each further category of an event."""
    counts = [size(c) for c in layout.event_discrete.values()]
    if not counts:
        return []
    return list(theta["kind_bias"].reshape(len(layout.codes), -1).split(counts, dim=1))
