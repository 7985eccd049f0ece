"""One synthetic patient, one reason, one severity: what a specialist is asked to look at."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["severe", "moderate", "mild"]
RANK: dict[str, int] = {"severe": 0, "moderate": 1, "mild": 2}


@dataclass(frozen=True)
class Flag:
    """`reads_real_data` marks a flag that depended on real patients: it may block a release but never select from it
    (DESIGN.md, rule 8)."""

    patient_id: str
    reason: str
    severity: Severity
    text: str
    """A sentence for a clinician that names the fault."""
    reads_real_data: bool
    evidence: dict[str, Any] = field(default_factory=dict)
    """Synthetic values only."""
    score: float = 0.0
    """Rank within a severity, higher first."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)
