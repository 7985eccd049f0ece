"""How often each disease's patients have each term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.phenotypes.profiles import COMMON, judged, pictures, told
from synthgen.findings import Check, Evidence, Finding

Floats = NDArray[np.float64]


def prevalence_error(real: Floats, other: Floats) -> float:
    """Mean absolute difference of prevalence over the terms that a tenth of the real patients have."""
    common = real >= COMMON
    return float(np.abs(real - other)[common].mean()) if common.any() else 0.0


def profile_distance(real: Floats, other: Floats) -> float:
    """Sum of the absolute differences over all terms, as a share of the real profile: invented terms count too."""
    return float(np.abs(real - other).sum() / max(real.sum(), 1e-9))


class TermPrevalence:
    """Share of each disease's patients who have each HPO term, ancestors included: mean absolute difference to the holdout over
    terms that a tenth have. Ceiling: training patients. Floor: the whole synthetic cohort's prevalence, whatever the disease."""

    name: str = "phenotype-prevalence"
    section: Literal["fidelity", "utility", "rules"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = pictures(evidence)
        if found is None or not (diseases := told(found[:3])):
            return []
        train, holdout, synthetic, _ = found
        anyone = np.asarray(synthetic.observed.mean(axis=0)).ravel()
        real = {d: holdout.prevalence(d) for d in diseases}
        value, ceiling = (
            np.array([prevalence_error(real[d], other.prevalence(d)) for d in diseases]) for other in (synthetic, train)
        )
        floor = np.array([prevalence_error(real[d], anyone) for d in diseases])
        text = (
            f"Over {len(diseases)} diseases, a term's prevalence is off by {value.mean():.3f} "
            f"(training patients: {ceiling.mean():.3f})."
        )
        return [judged(self.name, "error", value, ceiling, floor, evidence.rng, text)]


if TYPE_CHECKING:
    _: Check = TermPrevalence()
