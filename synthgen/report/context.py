"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthgen.claim import Claim
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.findings import Finding
    from synthgen.flags import Flag
    from synthgen.formats.pixels import Pixels


@dataclass(frozen=True)
class Spending:
    """Epsilon for the patients of the cohort: the job's target, what this run spent, all runs together (released or not), and
    the cap that an officer set, all at the cap's `delta`."""

    target: float
    run: float
    all_runs: float
    cap: float
    delta: float


@dataclass(frozen=True)
class StageTime:
    """What one stage took."""

    stage: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class ReportContext:
    """Everything a report shows. `spending` is None for a job without privacy; without `train` and `holdout` (real, internal)
    the charts show the synthetic cohort alone."""

    run: str
    job: str
    dictionary: Dictionary
    claim: Claim
    synthetic: Cohort
    spending: Spending | None = None
    findings: Sequence[Finding] = ()
    flags: Sequence[Flag] = ()
    train: Cohort | None = None
    holdout: Cohort | None = None
    stages: Sequence[StageTime] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    sampling_steps: Pixels | None = None
    """One synthetic picture after each of several steps of the sampler, side by side."""

    def for_release(self) -> ReportContext:
        """The same without what read real patients (the times of stages depend on them too) or is the hospital's own affair."""
        from synthgen.queue import for_release

        return replace(
            self,
            spending=None,
            findings=tuple(f for f in self.findings if f.audience == "release"),
            flags=tuple(for_release(self.flags)),
            train=None,
            holdout=None,
            stages=(),
        )
