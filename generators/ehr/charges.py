"""What the private fit will ask, from public numbers alone."""

from __future__ import annotations

import math

from generators.ehr.calibration import Calibration
from generators.ehr.layout import Layout
from generators.ehr.settings import Settings
from privacy.charges import Charge

ORDER = LOCATION, SCALE, GRADIENT, CODES, MARGINALS, MOMENTS = (
    "ehr/location", "ehr/scale", "ehr/gradient", "ehr/codes", "ehr/marginals", "ehr/moments"
)  # fmt: skip


def charges(layout: Layout, settings: Settings) -> list[Charge]:
    """One charge a noisy sum; noise relative: 1 / sqrt(share of mu^2), steps of DP-SGD sharing theirs."""
    shares = settings.shares
    numbers = sum(Calibration.sizes(layout)) > 0 and (layout.has_visits or len(layout.static_numeric) > 0)
    plan = [
        Charge(
            GRADIENT,
            math.sqrt(settings.gradient_steps / shares.gradient),
            settings.sampling_rate,
            settings.gradient_steps,
        ),
        Charge(CODES, 1 / math.sqrt(shares.codes)),
        Charge(MARGINALS, 1 / math.sqrt(shares.marginals)),
    ]
    if numbers:
        plan += [Charge(LOCATION, 1 / math.sqrt(shares.location)), Charge(SCALE, 1 / math.sqrt(shares.scale))]
    if layout.numeric:
        plan.append(Charge(MOMENTS, 1 / math.sqrt(shares.moments)))
    return sorted(plan, key=lambda c: ORDER.index(c.name))
