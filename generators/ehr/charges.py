"""What the private fit will ask, from public numbers alone."""

from __future__ import annotations

import math

from generators.ehr.calibration import Calibration
from generators.ehr.layout import Layout
from generators.ehr.settings import Settings
from privacy.charges import Charge

ORDER = LOCATION, SCALE, GRADIENT, SUMMARY = "ehr/location", "ehr/scale", "ehr/gradient", "ehr/summary"


def charges(layout: Layout, settings: Settings) -> list[Charge]:
    """One charge a noisy sum; noise relative: 1 / sqrt(share of mu^2), steps of DP-SGD sharing theirs."""
    shares = settings.shares
    numbers = sum(Calibration.sizes(layout)) > 0 and (layout.has_visits or len(layout.static_numeric) > 0)
    plan = [Charge(SUMMARY, 1 / math.sqrt(shares.summary))]
    if shares.gradient:
        noise = math.sqrt(settings.gradient_steps / shares.gradient)
        plan.append(Charge(GRADIENT, noise, settings.sampling_rate, settings.gradient_steps))
    if numbers:
        plan += [Charge(LOCATION, 1 / math.sqrt(shares.location)), Charge(SCALE, 1 / math.sqrt(shares.scale))]
    return sorted(plan, key=lambda c: ORDER.index(c.name))
