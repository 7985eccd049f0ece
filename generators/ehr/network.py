"""The variational autoencoder over a patient's whole record: one latent vector a patient.

The encoder pools visits by attention. The decoder is conditioned on time by FiLM (Perez et al. 2018): the latent vector
scales and shifts what time does. Visits are told how near the event that ends follow-up is: who dies declines before. Constants
within a patient come from heads that see no time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from generators.ehr.encoding import Records
from generators.ehr.layout import BINS, Layout, size
from generators.ehr.parameters import GAP_CELLS

TIMES = 5
"""Features of time."""
NEAR = (0.04, 0.15)
"""Shares of the horizon over which what an event that ends follow-up does to measurements before it fades to a third."""
LOG_HAZARD = (-9.0, 6.0)
"""Bounds of a log hazard per horizon."""


@dataclass(frozen=True)
class Visit:
    """What the decoder says of visits, [patients, visits, ...]; numbers in the model's units."""

    mean: Tensor
    log_sd: Tensor
    ordered: Tensor
    nominal: Tensor
    missing: Tensor
    stop: Tensor
    gap: Tensor


@dataclass(frozen=True)
class Whole:
    """What the decoder says of a patient as a whole, [patients, ...]."""

    static_mean: Tensor
    static: Tensor
    static_missing: Tensor
    log_hazard: Tensor  # [patients, BINS, causes] per unit of time
    log_rate: Tensor  # [patients, BINS, codes]
    first: Tensor  # [patients, codes] logit
    stops: Tensor  # [patients, codes] logit
    length: Tensor  # [patients, codes]
    dose: Tensor  # [patients, codes, doses]


def time_features(time: Tensor, index: Tensor) -> Tensor:
    """[..., TIMES] of time (days / horizon) and the number of the visit."""
    return torch.stack(
        [time, (time + 0.01).sqrt(), (time - 0.5) ** 2, (index == 0).float(), (index == 1).float()], dim=-1
    )


def approach(time: Tensor, end: Tensor, cause: Tensor, causes: int) -> Tensor:
    """[patients, visits, events * NEAR] how near the event that ends follow-up is: 1 on its day, less before, 0 for others."""
    left = (end.unsqueeze(1) - time).clamp(min=0)
    near = torch.stack([(-left / lasting).exp() for lasting in NEAR], dim=-1)  # [patients, visits, NEAR]
    due = _hot(cause, causes)[:, :-1]
    return (due[:, None, :, None] * near.unsqueeze(2)).flatten(2)


def gap_cells(bins: int) -> Tensor:
    """[bins] which group each bin of the gap belongs to: wide at both ends, narrow in the middle."""
    place = torch.linspace(0, 1, bins)
    return (place * GAP_CELLS).floor().long().clamp(max=GAP_CELLS - 1)


class Encoder(nn.Module):
    """Records in the model's units -> mean and log standard deviation of the latent vector, [patients, latent] each."""

    def __init__(self, layout: Layout, latent: int, hidden: int) -> None:
        super().__init__()
        self.layout = layout
        nominal = sum(size(c) for c in layout.nominal.values())
        visit = 2 * len(layout.numeric) + 2 * len(layout.ordered) + nominal + TIMES + 1
        static = 2 * len(layout.static_numeric) + sum(size(c) for c in layout.static_discrete.values())
        events = len(layout.codes) * 5
        self.visit = nn.Linear(visit, hidden)
        self.query, self.key, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        self.patient = nn.Linear(2 * hidden + static + 3 + len(layout.causes) + events, hidden)
        self.out = nn.Linear(hidden, 2 * latent)

    def forward(self, records: Records) -> tuple[Tensor, Tensor]:
        seen = records["seen"]
        hidden = silu(self.visit(self._visits(records)))  # [patients, visits, hidden]
        open_ = torch.cat([torch.ones_like(seen[:, :1]), seen[:, 1:]], dim=1) > 0
        attended = hidden + scaled_dot_product_attention(
            self.query(hidden), self.key(hidden), self.value(hidden), attn_mask=open_[:, None, :]
        )
        weight = (seen / seen.sum(dim=1, keepdim=True).clamp(min=1)).unsqueeze(-1)
        late = weight * records["time"].unsqueeze(-1)
        late = late / late.sum(dim=1, keepdim=True).clamp(min=1e-3)
        pooled = torch.cat([(attended * weight).sum(dim=1), (attended * late).sum(dim=1), self._whole(records)], dim=1)
        mean, log_sd = self.out(silu(self.patient(pooled))).chunk(2, dim=1)
        return mean, log_sd.clamp(-5, 1)

    def _visits(self, records: Records) -> Tensor:
        x, ordered = records["x"], records["ordered"]
        levels = torch.tensor([size(c) - 1.0 for c in self.layout.ordered.values()], device=x.device)
        index = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        parts = [
            torch.nan_to_num(x).clamp(-4, 4), (~torch.isnan(x)).float(),
            (2 * ordered / levels - 1) * (ordered >= 0), (ordered >= 0).float(),
            *(_hot(records["nominal"][..., j], size(c)) for j, c in enumerate(self.layout.nominal.values())),
            time_features(records["time"], index), records["gap"].clamp(-4, 4).unsqueeze(-1),
        ]  # fmt: skip
        return torch.cat(parts, dim=-1)

    def _whole(self, records: Records) -> Tensor:
        x = records["static_x"]
        end = records["end"].unsqueeze(1)
        parts = [
            torch.nan_to_num(x).clamp(-4, 4), (~torch.isnan(x)).float(),
            *(_hot(records["static_c"][:, j], size(c)) for j, c in enumerate(self.layout.static_discrete.values())),
            end, (end + 0.01).log(), records["seen"].sum(dim=1, keepdim=True).clamp(min=1).log(),
            _hot(records["cause"], len(self.layout.causes)),
        ]  # fmt: skip
        if self.layout.code:
            count = records["event_count"]  # [patients, codes, bins]
            middle = (torch.arange(BINS, device=x.device) + 0.5) / BINS
            total = count.sum(dim=2)
            is_code = _hot(records["event_code"], len(self.layout.codes))  # [patients, events, codes]
            dose = torch.nan_to_num(records["event_x"]).clamp(-4, 4).sum(dim=-1, keepdim=True)
            parts += [
                total.log1p(), (total / (end + 0.1)).log1p(), (count * middle).sum(dim=2) / total.clamp(min=1),
                records["event_first"], (is_code * dose).sum(dim=1) / is_code.sum(dim=1).clamp(min=1),
            ]  # fmt: skip
        return torch.cat(parts, dim=1)


def _hot(codes: Tensor, categories: int) -> Tensor:
    """One-hot of category numbers, all zeros where missing."""
    return (codes.unsqueeze(-1) == torch.arange(categories, device=codes.device)).float()


class Decoder(nn.Module):
    """A latent vector [patients, latent] -> `Visit` at given times and `Whole`."""

    def __init__(self, layout: Layout, latent: int, hidden: int, gaps: int) -> None:
        super().__init__()
        self.layout = layout
        nominal = sum(size(c) for c in layout.nominal.values())
        self.visit_sizes = [
            len(layout.numeric), len(layout.numeric), len(layout.ordered), nominal, len(layout.gappy), 1, gaps
        ]  # fmt: skip
        codes = len(layout.codes)
        discrete = sum(size(c) for c in layout.static_discrete.values())
        self.whole_sizes = [
            len(layout.static_numeric), discrete, len(layout.static_gappy), codes, codes, codes,
            codes * len(layout.event_numeric),
        ]  # fmt: skip
        self.time_in = nn.Linear(TIMES, hidden)
        self.film = nn.Linear(latent, 2 * hidden)
        self.middle = nn.Linear(hidden, hidden)
        near = len(NEAR) * (len(layout.causes) - 1)
        self.visit_out = nn.Linear(hidden + 2 * latent + TIMES + 1 + near, sum(self.visit_sizes))
        self.whole_in = nn.Linear(latent, hidden)
        self.whole_out = nn.Linear(hidden + latent, sum(self.whole_sizes))
        self.hazard_in = nn.Linear(2 * latent + 2, hidden)
        self.hazard_out = nn.Linear(hidden + 2 * latent, len(layout.causes) + codes)

    def visits(
        self,
        z: Tensor,
        end: Tensor,
        cause: Tensor,
        time: Tensor,
        index: Tensor,
        gap_before: Tensor,
        theta: dict[str, Tensor],
    ) -> Visit:
        """`end`, `cause` of follow-up: [patients]; `time`, `index`, `gap_before` (in the model's units, 0 at the first visit):
        [patients, visits]."""
        features = time_features(time, index)
        scale, shift = self.film(z).unsqueeze(1).chunk(2, dim=-1)  # [patients, 1, hidden]
        hidden = silu((1 + scale) * self.time_in(features) + shift)
        hidden = silu(self.middle(hidden))
        z = z.unsqueeze(1).expand(-1, time.shape[1], -1)
        near = approach(time, end, cause, len(self.layout.causes))
        linear = torch.cat([hidden, z, z * time.unsqueeze(-1), features, gap_before.unsqueeze(-1), near], dim=-1)
        mean, sd, ordered, nominal, missing, stop, gap = self.visit_out(linear).split(self.visit_sizes, dim=-1)
        late = (time - 0.25).unsqueeze(-1)
        first = (index == 0).float().unsqueeze(-1)
        return Visit(
            mean=theta["x_shift"] + theta["x_trend"] * late + theta["x_gain"].exp() * mean,
            log_sd=(theta["x_sd"] + sd).clamp(-4, 1.5),
            ordered=theta["ordered_first"] * first
            + theta["ordered_trend"] * late
            + theta["ordered_gain"].exp() * ordered,
            nominal=theta["nominal_bias"] + nominal,
            missing=theta["missing_bias"] + theta["missing_first"] * first + theta["missing_trend"] * late + missing,
            stop=theta["stop_bias"] + theta["stop_trend"] * late[..., 0] + stop[..., 0] if stop.shape[-1] else stop,
            gap=gap + theta["gap_bias"][gap_cells(gap.shape[-1])] if self.layout.has_visits else gap,
        )

    def whole(self, z: Tensor, theta: dict[str, Tensor]) -> Whole:
        hidden = silu(self.whole_in(z))
        parts = self.whole_out(torch.cat([hidden, z], dim=1)).split(self.whole_sizes, dim=1)
        mean, static, missing, first, stops, length, dose = parts
        middle = ((torch.arange(BINS, device=z.device) + 0.5) / BINS).expand(len(z), BINS).unsqueeze(-1)
        wide = z.unsqueeze(1).expand(-1, BINS, -1)
        own = torch.cat([wide, wide * middle], dim=-1)  # [patients, BINS, 2 * latent]
        hidden = silu(self.hazard_in(torch.cat([own, middle, middle**2], dim=-1)))
        deviation = self.hazard_out(torch.cat([hidden, own], dim=-1))
        hazard, rate = deviation.split([len(self.layout.causes), len(self.layout.codes)], dim=-1)
        late = middle - 0.5
        curve = 4 * late**2 - 0.33
        doses = (len(z), len(self.layout.codes), len(self.layout.event_numeric))
        return Whole(
            static_mean=theta["static_shift"] + mean,
            static=theta["static_bias"] + static,
            static_missing=theta["static_missing"] + missing,
            log_hazard=(
                theta["hazard_bias"] + theta["hazard_trend"] * late + theta["hazard_curve"] * curve
                + theta["hazard_gain"].exp() * hazard + self._plain_end(theta)
            ).clamp(*LOG_HAZARD),
            log_rate=(theta["rate_bias"] + theta["rate_trend"] * late + theta["rate_gain"].exp() * rate).clamp(-9, 6),
            first=theta["first_bias"] + first,
            stops=theta["stops_bias"] + stops,
            length=theta["length_shift"] + length,
            dose=(theta["dose_shift"] + dose).reshape(doses),
        )  # fmt: skip

    def _plain_end(self, theta: dict[str, Tensor]) -> Tensor:
        """[BINS, causes] what each bin adds to the hazard of the plain end of follow-up, the last cause."""
        if self.layout.ends_at_last_visit:
            return theta["end_bias"].new_zeros(())
        others = theta["end_bias"].new_zeros(BINS, len(self.layout.causes) - 1)
        return torch.cat([others, theta["end_bias"].unsqueeze(1)], dim=1)
