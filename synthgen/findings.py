"""What a check says: a measured value, how sure it is, what it is read against, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    prior: float | None = None
    """What public knowledge alone scores (the same generator before it met a patient), with its own 95% interval."""
    prior_low: float | None = None
    prior_high: float | None = None

    def beside(self, prior: float, low: float, high: float) -> Finding:
        """The same, with what public knowledge alone scores."""
        return replace(self, prior=prior, prior_low=low, prior_high=high)

    @property
    def gain(self) -> tuple[float, float, float] | None:
        """What the patients added over public knowledge, with its 95% interval; above 0 is better. The two cohorts are drawn
        independently of each other, so their uncertainties add in squares."""
        if self.prior is None or self.low is None or self.high is None:
            return None
        if self.prior_low is None or self.prior_high is None:
            return None
        added = self.value - self.prior if self.better == "higher" else self.prior - self.value
        half = ((self.high - self.low) ** 2 + (self.prior_high - self.prior_low) ** 2) ** 0.5 / 2
        return added, added - half, added + half

    @property
    def name(self) -> str:
        """How a person refers to it: `check/metric` or `check/metric/column`."""
        return "/".join(part for part in (self.check, self.metric, self.column) if part)

    def as_json(self) -> str:
        """One line; NaN never stands in it (a check that cannot tell says `inconclusive` with value 0 and a text)."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass(frozen=True)
class Evidence:
    """What a check may look at. `floor` is the training cohort with its columns made independent; `prior` is what the generator
    made of public knowledge alone (None where it knows nothing public); `replicates` are further cohorts of the same size from
    the same fitted model, as `synthgen sample --replicates` draws them."""

    dictionary: Dictionary
    train: Cohort
    holdout: Cohort
    synthetic: Cohort
    floor: Cohort
    rng: np.random.Generator
    prior: Cohort | None = None
    replicates: Sequence[Cohort] = ()


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
