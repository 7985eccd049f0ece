"""When the disease begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from fidelity.phenotypes.profiles import pictures
from synthgen.findings import Check, Evidence, Finding


class OnsetDistribution:
    """Class of onset (HPO's antenatal to adult) among those with one: total variation distance to the holdout, over all
    diseases. Ceiling: training patients."""

    name: str = "phenotype-onset"
    section: Literal["fidelity", "utility", "rules"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if pictures(evidence) is None or "onset" not in evidence.dictionary.tables["patients"].columns:
            return []
        shares = [
            c.patients["onset"].value_counts(normalize=True, sort=False).to_numpy()
            for c in (evidence.holdout, evidence.synthetic, evidence.train)
        ]
        distance, ceiling = (float(np.abs(shares[0] - other).sum() / 2) for other in shares[1:])
        text = f"{distance:.0%} of the patients would have to change their class of onset for the two cohorts to agree."
        n = int(evidence.holdout.patients["onset"].notna().sum())
        return [
            Finding(
                self.name,
                "distance",
                distance,
                "information",
                text,
                n=n,
                ceiling=ceiling,
                column="onset",
                better="lower",
            )
        ]


if TYPE_CHECKING:
    _: Check = OnsetDistribution()
