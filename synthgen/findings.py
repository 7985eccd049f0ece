"""What a check says: a measured value, how sure it is, what it is read against, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Verdict = Literal["pass", "fail", "inconclusive", "information"]
"""A fail blocks a release; an inconclusive (too few patients to tell) needs the officer's named acceptance."""
Audience = Literal["internal", "release"]
"""Findings read real data, outside epsilon, and stay inside; `release` is for those that read synthetic data alone."""


@dataclass(frozen=True)
class Finding:
    """One measured value.

    `ceiling` is what a second real sample of the same size scores, `floor` what independent columns score; `low` and
    `high` bound a 95% interval. `better` says in which direction the value is better.
    """

    check: str
    metric: str
    value: float
    verdict: Verdict
    text: str
    """One sentence for a privacy officer or clinician; names columns, never a patient's value."""
    section: Literal["fidelity", "utility", "audit", "rules"] = "fidelity"
    low: float | None = None
    high: float | None = None
    n: int | None = None
    ceiling: float | None = None
    floor: float | None = None
    bound: float | None = None
    better: Literal["lower", "higher", "target"] = "higher"
    column: str | None = None
    audience: Audience = "internal"

    @property
    def name(self) -> str:
        """How a person refers to it: `check/metric` or `check/metric/column`."""
        return "/".join(part for part in (self.check, self.metric, self.column) if part)

    def as_json(self) -> str:
        """One line; NaN never stands in it (a check that cannot tell says `inconclusive` with value 0 and a text)."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True)
class Evidence:
    """What a check may look at. `floor` is the training cohort with its columns made independent."""

    dictionary: Dictionary
    train: Cohort
    holdout: Cohort
    synthetic: Cohort
    floor: Cohort
    rng: np.random.Generator


class Check(Protocol):
    """A fidelity or utility check, found by entry point `synthgen.checks`."""

    @property
    def name(self) -> str: ...

    @property
    def section(self) -> Literal["fidelity", "utility", "rules"]:
        """The stage that runs it and the part of the report its findings stand in."""
        ...

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        """Findings; an empty sequence where the dictionary has nothing for this check (no visits, no outcome)."""
        ...
