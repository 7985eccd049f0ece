"""The model's units: each number minus a location, over a scale. All populations look alike in them, so that the network
learns shapes and dependence, and a cohort's own locations and scales are two cheap noisy sums."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generators.ehr.encoding import Records
from generators.ehr.layout import Layout

FIELDS = ("x", "static_x", "gap", "event_x", "event_length")
LIMIT = 5.0
"""Numbers are held within so many scales of the location wherever they are looked at."""


@dataclass(frozen=True)
class Calibration:
    """[numbers] location and scale of every number of a record, the fields one after the other."""

    location: Tensor
    scale: Tensor

    @staticmethod
    def sizes(layout: Layout) -> list[int]:
        """How many numbers each of FIELDS has."""
        events = len(layout.event_numeric)
        return [len(layout.numeric), len(layout.static_numeric), 1, events, 1 if layout.code else 0]

    @classmethod
    def start(cls, layout: Layout) -> Calibration:
        """Public units as they are."""
        count = sum(cls.sizes(layout))
        return cls(torch.zeros(count), torch.ones(count))

    @classmethod
    def scheduled(cls, layout: Layout) -> Calibration:
        """Public units, but those of the gap as a publicly known schedule has them."""
        start, known = cls.start(layout), layout.schedule_gaps
        if known is not None:
            at = sum(cls.sizes(layout)[: FIELDS.index("gap")])
            start.location[at], start.scale[at] = known
        return start

    def field(self, name: str, layout: Layout) -> tuple[Tensor, Tensor]:
        """(location, scale) of one field."""
        parts = dict(zip(FIELDS, range(len(FIELDS)), strict=True))
        sizes = self.sizes(layout)
        return self.location.split(sizes)[parts[name]], self.scale.split(sizes)[parts[name]]

    def apply(self, records: Records, layout: Layout) -> Records:
        """The records in the model's units."""
        changed = {}
        for name in FIELDS:
            if name in records:
                location, scale = self.field(name, layout)
                changed[name] = ((records[name] - location) / scale).clamp(-LIMIT, LIMIT)
                if name == "event_length":
                    changed["event_left"] = ((records["event_left"] - location) / scale).clamp(-LIMIT, LIMIT)
        return {**records, **changed}

    def undo(self, name: str, values: Tensor, layout: Layout) -> Tensor:
        location, scale = self.field(name, layout)
        return location + scale * values

    def moved(self, mean: Tensor, square: Tensor) -> Calibration:
        """The calibration under which numbers of this mean and mean square (in present units) would be standard."""
        spread = (square - mean**2).clamp(min=0.03).sqrt()
        return Calibration(self.location + self.scale * mean, self.scale * spread)


def first_moments(records: Records, layout: Layout) -> Tensor:
    """[patients, 3 * numbers] of each number: whether the patient has one, the mean over what is recorded of it, and the
    mean of its square less one (so that all are near zero in good units)."""
    present, means, squares = [], [], []
    for name in FIELDS:
        if name not in records or (name == "event_length" and not layout.code):
            continue
        values = records[name].double()
        if name == "gap":  # with a schedule that is publicly known, the model keeps to public units
            known_schedule = layout.dictionary.knowledge.schedule is not None
            values = torch.where(last_visit(records) | (records["seen"] == 0) | known_schedule, torch.nan, values)
        if name in ("gap", "event_length"):
            values = values.unsqueeze(-1)
        if name == "static_x":
            values = values.unsqueeze(1)
        known = ~torch.isnan(values)
        count = known.sum(dim=1)
        values = torch.nan_to_num(values)
        present.append((count > 0).double())
        means.append(values.sum(dim=1) / count.clamp(min=1))
        squares.append(((values**2 - 1) * known).sum(dim=1) / count.clamp(min=1))
    return torch.cat(present + means + squares, dim=1)


def last_visit(records: Records) -> Tensor:
    """[patients, visits] true at the last visit a patient has here."""
    seen = records["seen"]
    following = torch.cat([seen[:, 1:], torch.zeros_like(seen[:, :1])], dim=1)
    return (seen > 0) & (following == 0)


def of_simulated(records: Records, layout: Layout, calibration: Calibration) -> Calibration:
    """The calibration of simulated patients, from all of them at once."""
    present, mean, square = summary(records, layout, calibration)
    return calibration.moved(mean / present.clamp(min=1e-3), 1 + square / present.clamp(min=1e-3))


def summary(records: Records, layout: Layout, calibration: Calibration) -> tuple[Tensor, Tensor, Tensor]:
    """(share of patients who have it, mean, mean square less one), each [numbers], of simulated patients."""
    present, mean, square = first_moments(calibration.apply(records, layout), layout).mean(dim=0).float().chunk(3)
    return present, mean, square
