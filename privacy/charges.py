"""What a mechanism did to the data, never what it cost (`accounting` says that)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from privacy.errors import ConfigError


@dataclass(frozen=True)
class Charge:
    """A Gaussian mechanism over a Poisson sample of the patients, taken `steps` times.

    `noise_multiplier` is the noise's standard deviation divided by the clip norm. A generator writes its charges with
    *relative* noise multipliers; `accounting.calibrate` scales all of a plan's by one common factor.

    Args:
        name: unique within a plan, `modality/purpose`.
        noise_multiplier: > 0.
        sampling_rate: probability in (0, 1] with which each patient takes part in a step; from public numbers only.
        steps: how many times, >= 1.

    Raises:
        ConfigError: on anything else.
    """

    name: str
    noise_multiplier: float
    sampling_rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not (
            self.name
            and math.isfinite(self.noise_multiplier)
            and self.noise_multiplier > 0
            and 0 < self.sampling_rate <= 1
            and self.steps >= 1
        ):
            raise ConfigError(
                "Charge needs a name, noise_multiplier > 0, 0 < sampling_rate <= 1 and steps >= 1; "
                f"a charge without noise cannot be accounted. Got {self!r}"
            )

    def scaled(self, factor: float) -> Charge:
        """The same charge with `factor` times the noise."""
        return replace(self, noise_multiplier=self.noise_multiplier * factor)
