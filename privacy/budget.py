"""What may be spent: one epsilon at one delta for everything that is learnt from a patient."""

from __future__ import annotations

import math
from dataclasses import dataclass

from privacy.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """A target (epsilon, delta), for adding or removing one patient.

    Raises:
        ConfigError: unless epsilon > 0 and 0 < delta < 1, both finite.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0 and 0 < self.delta < 1):
            raise ConfigError(f"Budget needs a finite epsilon > 0 and 0 < delta < 1. Got {self!r}")


def default_delta(declared_patients: int) -> float:
    """min(1e-4, 1 / (10 n)): well below one patient in the declared (public) cohort size n."""
    return min(1e-4, 1 / (10 * declared_patients))
