"""The few numbers that say how a population differs from the public one, apart from the network's weights: shifts, trends,
gains, spreads and rates of each column, cause and code. They are what DP-SGD trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from generators.ehr.layout import BINS, Layout, size

GAP_CELLS = 24
"""Groups of bins of the gap between visits that rise and fall together."""


def sizes(layout: Layout) -> dict[str, int]:
    """How many numbers each kind has."""
    numeric, ordered, nominal = len(layout.numeric), len(layout.ordered), len(layout.nominal)
    gappy, causes, codes = len(layout.gappy), len(layout.causes), len(layout.codes)
    doses = codes * len(layout.event_numeric)
    return {
        "x_shift": numeric, "x_trend": numeric, "x_gain": numeric, "x_sd": numeric, "x_keep": numeric, "x_memory": numeric,
        "ordered_cut": sum(size(c) - 1 for c in layout.ordered.values()),
        "ordered_first": ordered, "ordered_trend": ordered, "ordered_gain": ordered, "ordered_stick": ordered,
        "ordered_keep": ordered,
        "nominal_bias": sum(size(c) for c in layout.nominal.values()), "nominal_stick": nominal,
        "missing_bias": gappy, "missing_first": gappy, "missing_trend": gappy, "missing_stick": gappy,
        "stop_bias": 1 if layout.has_visits else 0, "stop_trend": 1 if layout.has_visits else 0,
        "gap_bias": GAP_CELLS if layout.has_visits else 0,
        "static_shift": len(layout.static_numeric), "static_sd": len(layout.static_numeric),
        "static_bias": sum(size(c) for c in layout.static_discrete.values()), "static_missing": len(layout.static_gappy),
        "hazard_bias": causes, "hazard_trend": causes, "hazard_curve": causes, "hazard_gain": causes,
        "end_bias": 0 if layout.ends_at_last_visit else BINS,
        "rate_bias": codes, "rate_trend": codes, "rate_again": codes, "rate_gain": codes, "first_bias": codes,
        "stops_bias": codes, "length_shift": codes, "length_sd": codes,
        "dose_shift": doses, "dose_sd": doses, "dose_missing": doses,
        "kind_bias": codes * sum(size(c) for c in layout.event_discrete.values()),
    }  # fmt: skip


class Parameters(nn.Module):
    """`values` + `basis` @ `step`: pretraining learns `values`; DP-SGD learns `step`, in a public basis whitened on simulated
    patients."""

    basis: Tensor

    def __init__(self, layout: Layout, steps: int) -> None:
        super().__init__()
        self.sizes = sizes(layout)
        count = sum(self.sizes.values())
        self.values = nn.Parameter(self._start(layout))
        self.step = nn.Parameter(torch.zeros(min(steps, count)), requires_grad=False)
        self.register_buffer("basis", torch.zeros(count, min(steps, count)))

    def _start(self, layout: Layout) -> Tensor:
        starts = {"x_sd": -0.5, "missing_bias": -2.0, "static_missing": -2.0, "stop_bias": -3.0, "ordered_keep": -1.0,
                  "length_sd": -0.5}  # fmt: skip
        parts = [torch.full((n,), starts.get(name, 0.0)) for name, n in self.sizes.items()]
        cuts = [torch.tensor([-(size(c) - 2) / 2] + [0.0] * (size(c) - 2)) for c in layout.ordered.values()]
        if cuts:
            parts[list(self.sizes).index("ordered_cut")] = torch.cat(cuts)
        return torch.cat(parts)

    def forward(self) -> dict[str, Tensor]:
        numbers = self.values + self.basis @ self.step
        return dict(zip(self.sizes, numbers.split(list(self.sizes.values())), strict=True))

    def reach(self) -> Tensor:
        """[numbers] how far one Newton step may be believed: factors (of gains and spreads) about a doubling, all else two."""
        factor = ("gain", "sd", "again", "stick")
        return torch.cat(
            [torch.full((n,), 0.7 if k.rpartition("_")[2] in factor else 2.0) for k, n in self.sizes.items()]
        )

    def add(self, name: str, change: Tensor) -> None:
        """Adds [numbers] to one kind of parameter, in place."""
        start = 0
        for kind, count in self.sizes.items():
            if kind == name:
                with torch.no_grad():
                    self.values[start : start + count] += change
            start += count
