"""Ancestral sampling of patients, many at once, in the model's units: latent vector, static columns, end of follow-up,
visits one after the other, events. Order of days, the first day and the end hold by construction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generators.ehr import likelihood
from generators.ehr.calibration import Calibration
from generators.ehr.encoding import Records, details, from_log_days
from generators.ehr.layout import BINS, Layout, size
from generators.ehr.model import RecordVAE


@dataclass(frozen=True)
class Prior:
    """Normal distribution of latent vectors: mean [latent] and Cholesky factor of the covariance."""

    mean: Tensor
    factor: Tensor

    @classmethod
    def standard(cls, latent: int) -> Prior:
        return cls(torch.zeros(latent), torch.eye(latent))


@dataclass(frozen=True)
class Chance:
    """One stream of random numbers for sampling; protects nobody."""

    stream: torch.Generator

    @classmethod
    def seeded(cls, seed: int) -> Chance:
        return cls(torch.Generator().manual_seed(seed))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.stream)

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.stream)

    def category(self, logits: Tensor) -> Tensor:
        """[...] category numbers from [..., categories] logits (Gumbel's trick)."""
        u = self.uniform(*logits.shape).clamp(1e-9, 1 - 1e-7)
        return (logits - (-u.log()).log()).argmax(dim=-1)

    def true(self, logits: Tensor) -> Tensor:
        return self.uniform(*logits.shape) < logits.sigmoid()


@torch.no_grad()
def latents(model: RecordVAE, prior: Prior, patients: int, chance: Chance) -> tuple[Tensor, Records]:
    """(latent vectors [patients, latent], static columns)."""
    z = prior.mean + chance.normal(patients, len(prior.mean)) @ prior.factor.T
    theta = model.parameters_of()
    said = model.decoder.whole(z, theta)
    layout = model.layout
    x = said.static_mean + theta["static_sd"].clamp(-4, 1.5).exp() * chance.normal(*said.static_mean.shape)
    parts = (
        said.static.split([size(c) for c in layout.static_discrete.values()], dim=1) if layout.static_discrete else ()
    )
    code = (
        torch.stack([chance.category(p) for p in parts], dim=1)
        if parts
        else torch.zeros((patients, 0), dtype=torch.int64)
    )
    gone = chance.true(said.static_missing)
    for j, name in enumerate(layout.static_gappy):
        if name in layout.static_numeric:
            x[gone[:, j], list(layout.static_numeric).index(name)] = torch.nan
        else:
            code[gone[:, j], list(layout.static_discrete).index(name)] = -1
    return z, {"static_x": x, "static_c": code}


@torch.no_grad()
def records(model: RecordVAE, calibration: Calibration, z: Tensor, static: Records, chance: Chance) -> Records:
    """Everything else of these patients. Beside the tensors of `encoding`, `full` holds the numbers at visits before any
    was lost, and `day`, `end_day` whole days. Events are flat: `event_patient`, `event_code`, `event_day`, `event_stop`
    (NaN for none), `event_x`, `event_c`; `event_first` and `event_total` are by patient."""
    layout = model.layout
    end, cause = _ends(model, z, chance)
    out = {**static, "cause": cause, "end_day": (end * layout.horizon).ceil().clamp(1, layout.last_day)}
    out |= _visits(model, calibration, z, out["end_day"], cause, chance)
    if layout.ends_at_last_visit:
        out["end_day"] = out["day"].max(dim=1).values
    out["end"] = out["end_day"] / layout.horizon
    return out | _events(model, calibration, z, out["end_day"], chance) if layout.code else out


def _ends(model: RecordVAE, z: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """(end of follow-up as a share of the horizon, cause)."""
    layout = model.layout
    limit = layout.last_day / layout.horizon
    plain = len(layout.causes) - 1
    if layout.ends_at_last_visit:  # the visits say when it ends
        return torch.full((len(z),), limit), torch.full((len(z),), plain)
    log_hazard = model.decoder.whole(z, model.parameters_of()).log_hazard  # [patients, BINS, causes]
    hazard = log_hazard.exp().sum(dim=-1)
    cumulative = torch.cat([torch.zeros(len(z), 1), (hazard / BINS).cumsum(dim=1)], dim=1)
    wanted = -chance.uniform(len(z)).clamp(1e-9, 1 - 1e-7).log()
    place = ((cumulative[:, 1:-1] <= wanted.unsqueeze(1)).sum(dim=1)).clamp(0, BINS - 1)  # the last bin is open
    rows = torch.arange(len(z))
    end = place / BINS + (wanted - cumulative[rows, place]) / hazard[rows, place]
    cause = chance.category(log_hazard[rows, place])
    return end.clamp(max=limit), torch.where(end > limit, plain, cause)


def _visits(
    model: RecordVAE, calibration: Calibration, z: Tensor, end_day: Tensor, cause: Tensor, chance: Chance
) -> Records:
    layout, theta = model.layout, model.parameters_of()
    location, scale = calibration.field("gap", layout)
    cuts = likelihood.cutpoints(theta, layout)
    patients = len(z)
    day, gap = torch.zeros(patients), torch.zeros(patients)
    here = torch.full((patients,), layout.has_visits)
    deviation, when = torch.zeros(patients, len(layout.numeric)), torch.zeros(patients, len(layout.numeric))
    had = torch.zeros(patients, len(layout.numeric), dtype=torch.bool)
    ordered_before = torch.full((patients, len(layout.ordered)), -1)
    nominal_before = torch.full((patients, len(layout.nominal)), -1)
    gone_before = torch.zeros(patients, len(layout.gappy))
    columns: dict[str, list[Tensor]] = {k: [] for k in ("seen", "day", "full", "x", "ordered", "nominal", "gap")}
    for visit in range(_max_visits(model)):
        if visit and not bool(here.any()):
            break
        time = day / layout.horizon
        index = torch.full((patients, 1), visit)
        said = model.decoder.visits(
            z, end_day / layout.horizon, cause, time[:, None], index, gap[:, None].clamp(-4, 4), theta
        )
        kept = likelihood.keep(theta, time[:, None] - when) * had
        fresh = kept * deviation + (1 - kept**2).clamp(min=1e-3).sqrt() * chance.normal(*deviation.shape)
        x = said.mean[:, 0] + said.log_sd[:, 0].exp() * fresh
        ordered = _ordered(said.ordered[:, 0], ordered_before, theta, cuts, layout, chance)
        nominal = _nominal(said.nominal[:, 0], nominal_before, theta, layout, chance)
        gone = chance.true(said.missing[:, 0] + theta["missing_stick"] * gone_before)
        masks = _masks(gone, layout)
        columns["seen"].append(here.float())
        columns["day"].append(torch.where(here, day, 0.0))
        columns["full"].append(x)
        columns["x"].append(torch.where(masks["numeric"], torch.nan, x))
        columns["ordered"].append(torch.where(masks["ordered"], -1, ordered))
        columns["nominal"].append(torch.where(masks["nominal"], -1, nominal))
        known = ~masks["numeric"]
        deviation, when = torch.where(known, fresh, deviation), torch.where(known, time[:, None], when)
        had |= known
        ordered_before = torch.where(masks["ordered"], ordered_before, ordered)
        nominal_before = torch.where(masks["nominal"], nominal_before, nominal)
        gone_before = 2 * gone.float() - 1
        gap = _gap(said.gap[:, 0], chance)
        columns["gap"].append(gap)
        day = day + from_log_days(location + scale * gap, layout).clamp(min=1)
        stays = ~chance.true(said.stop[:, 0]) if layout.has_visits else here
        here = here & stays & (day <= end_day)
    out = {k: torch.stack(v, dim=1) for k, v in columns.items()}
    seen = out["seen"].unsqueeze(-1) > 0
    out["x"] = torch.where(seen, out["x"], torch.nan)
    for kind in ("ordered", "nominal"):
        out[kind] = torch.where(seen, out[kind], -1)
    return out | {"time": out["day"] / layout.horizon}


def _max_visits(model: RecordVAE) -> int:
    return model.layout.max_visits if model.layout.has_visits else 1


def _ordered(
    predictor: Tensor, before: Tensor, theta: likelihood.Theta, cuts: list[Tensor], layout: Layout, chance: Chance
) -> Tensor:
    out = torch.full_like(before, -1)
    u = chance.uniform(*before.shape).clamp(1e-6, 1 - 1e-6)
    for j, (column, cut) in enumerate(zip(layout.ordered.values(), cuts, strict=True)):
        lean = theta["ordered_stick"][j] * likelihood.score(before[:, j], size(column))
        latent = predictor[:, j] + lean + u[:, j].logit()
        out[:, j] = (latent.unsqueeze(1) > cut).sum(dim=1)
    kept = chance.uniform(*before.shape) < theta["ordered_keep"].sigmoid()
    return torch.where(kept & (before >= 0), before, out)


def _nominal(logits: Tensor, before: Tensor, theta: likelihood.Theta, layout: Layout, chance: Chance) -> Tensor:
    out = torch.full_like(before, -1)
    if not layout.nominal:
        return out
    for j, part in enumerate(logits.split([size(c) for c in layout.nominal.values()], dim=1)):
        same = (torch.arange(part.shape[1]) == before[:, j : j + 1]).float()
        out[:, j] = chance.category(part + theta["nominal_stick"][j] * same)
    return out


def _masks(gone: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Which values of each kind of column are lost, [patients, columns]."""
    never = torch.zeros(len(gone), dtype=torch.bool)
    return {
        kind: torch.stack([gone[:, layout.gappy.index(n)] if n in layout.gappy else never for n in names], dim=1)
        if names
        else torch.zeros((len(gone), 0), dtype=torch.bool)
        for kind, names in (("numeric", layout.numeric), ("ordered", layout.ordered), ("nominal", layout.nominal))
    }


def _gap(logits: Tensor, chance: Chance) -> Tensor:
    """[patients] log gap in the model's units: a bin, and evenly within it."""
    place = chance.category(logits)
    low, high = likelihood.GAP_EDGES[:-1][place], likelihood.GAP_EDGES[1:][place]
    return low + chance.uniform(len(place)) * (high - low)


def _events(model: RecordVAE, calibration: Calibration, z: Tensor, end_day: Tensor, chance: Chance) -> Records:
    layout, theta = model.layout, model.parameters_of()
    said = model.decoder.whole(z, theta)
    end = end_day / layout.horizon
    at_risk = likelihood.exposure(end)
    first = chance.true(said.first)
    count = first.float()
    who, what = first.nonzero(as_tuple=True)
    patient, code, time = [who], [what], [torch.zeros(len(who))]
    for place in range(BINS):
        rate = (said.log_rate[:, place] + likelihood.again(theta) * count.log1p()).clamp(-9, 7).exp()
        new = torch.poisson((rate * at_risk[:, place : place + 1].clamp(max=1.0)).clamp(max=20), chance.stream).clamp(
            max=20
        )
        count = count + new
        pairs = new.nonzero()
        times = new[pairs[:, 0], pairs[:, 1]].long()
        patient.append(pairs[:, 0].repeat_interleave(times))
        code.append(pairs[:, 1].repeat_interleave(times))
        time.append(place / BINS + chance.uniform(len(patient[-1])) * at_risk[patient[-1], place])
    who, what = torch.cat(patient), torch.cat(code)
    day = (torch.cat(time) * layout.horizon).floor()
    day = torch.where(torch.cat(time) > 0, day.clamp(min=1), day).minimum(end_day[who])
    order = torch.from_numpy(np.lexsort((what.numpy(), day.numpy(), who.numpy())))
    who, what, day = who[order], what[order], day[order]
    flat = {
        "event_patient": who,
        "event_code": what,
        "event_day": day,
        "event_first": first.float(),
        "event_total": count,
    }
    made = _details(
        model,
        calibration,
        said.stops[who, what],
        said.length[who, what],
        said.dose[who, what],
        what,
        day,
        end_day[who],
        chance,
    )
    shares = details(who, what, made["event_x"], made["event_c"], len(z), layout)
    return flat | made | {name: torch.from_numpy(share) for name, share in shares.items()}


def _details(
    model: RecordVAE,
    calibration: Calibration,
    stops: Tensor,
    length: Tensor,
    dose: Tensor,
    code: Tensor,
    day: Tensor,
    end_day: Tensor,
    chance: Chance,
) -> Records:
    """How each event ends, and with what."""
    layout, theta = model.layout, model.parameters_of()
    stop = torch.full_like(day, torch.nan)
    if layout.stop:
        location, scale = calibration.field("event_length", layout)
        log_length = location + scale * (
            length + theta["length_sd"].clamp(-3, 1).exp()[code] * chance.normal(len(code))
        )
        ends = day + from_log_days(log_length, layout)
        if layout.dictionary.tables["events"].columns[layout.stop].missing:
            stop = torch.where(chance.true(stops) & (ends <= end_day), ends, torch.nan)
        else:
            stop = ends.minimum(end_day)
    shape = (len(layout.codes), -1)
    spread = theta["dose_sd"].reshape(shape).clamp(-4, 1.5).exp()[code] if layout.event_numeric else dose
    x = dose + spread * chance.normal(*dose.shape)
    for j, column in enumerate(layout.event_numeric.values()):
        if column.missing:
            gone = chance.true(theta["dose_missing"].reshape(shape)[:, j][code])
            x[:, j] = torch.where(gone, torch.nan, x[:, j])
    kinds = [chance.category(logits[code]) for logits in likelihood.kind_logits(theta, layout)]
    return {
        "event_stop": stop,
        "event_x": x,
        "event_c": torch.stack(kinds, dim=1) if kinds else torch.zeros((len(code), 0), dtype=torch.int64),
    }
