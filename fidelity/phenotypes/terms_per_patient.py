"""How many terms a patient is described with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from scipy import stats

from fidelity.phenotypes.profiles import pictures
from synthgen.findings import Check, Evidence, Finding


class TermsPerPatient:
    """How many (most specific) terms a patient has: Kolmogorov-Smirnov distance to the holdout. Ceiling: training patients."""

    name: str = "phenotype-terms-per-patient"
    section: Literal["fidelity", "utility", "rules"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        found = pictures(evidence)
        if found is None:
            return []
        train, holdout, synthetic, _ = found
        distance = float(stats.ks_2samp(holdout.stated, synthetic.stated).statistic)
        ceiling = float(stats.ks_2samp(holdout.stated, train.stated).statistic)
        text = (
            f"The number of terms a patient has differs by {distance:.2f} (largest gap between the two distributions)."
        )
        return [
            Finding(
                self.name,
                "distance",
                distance,
                "information",
                text,
                n=len(holdout.stated),
                ceiling=ceiling,
                better="lower",
            )
        ]


if TYPE_CHECKING:
    _: Check = TermsPerPatient()
