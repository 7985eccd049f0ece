"""How a measured value is judged: the one place.

A value is read between what a second real sample of the same patients' population scores (the ceiling, measured on the holdout)
and what independent columns score (the floor):

- *information*: the floor is as good as the ceiling, so that the measure cannot tell the two apart here (independent columns
  have perfect marginals, for instance); the value may then lie a little below the ceiling, and is *inconclusive* if it lies
  further below;
- *inconclusive*, too, where there are too few patients: floor and ceiling lie no further apart than chance puts them;
- *pass*: the value reaches the middle between floor and ceiling;
- *fail*: the value lies within a quarter of the way above the floor, and even the better end of its interval misses the middle;
- *inconclusive*: anything else. A person decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar

import numpy as np

from fidelity.view import View
from synthgen.findings import Evidence, Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort

GROUPS = 20
"""Groups of the delete-a-group jackknife."""
FEW_GROUPS = 10
"""Groups where only the spread between floor and ceiling is asked."""
Z = 1.959964
APART = 0.02
"""A floor within this of the ceiling is as good as it."""
SHORT = 0.1
"""Where the floor tells nothing, a value this far short of the ceiling is for a person to judge."""


class Sample(Protocol):
    """Patients that can be left out: what an interval is worked out from."""

    @property
    def patients(self) -> pd.DataFrame:
        """One row a patient, indexed by id."""
        ...

    def without(self, ids: pd.Index[Any]) -> Self: ...


S = TypeVar("S", bound=Sample)
Measure = Callable[[S, S], float]
"""(real, other) -> a number from 0 to 1; NaN where there is nothing to measure."""
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Compared(Generic[S]):
    """The samples that a measure is worked out on."""

    train: S
    holdout: S
    synthetic: S
    floor: S
    prior: S | None = None

    def alike(self) -> Self:
        """The same, with all that is compared with the training patients cut to one size: distances between samples shrink with
        their size, so that a large synthetic cohort would look better than a second real sample, and a small one worse."""
        others = {"holdout": self.holdout, "synthetic": self.synthetic, "floor": self.floor, "prior": self.prior}
        known = {name: sample for name, sample in others.items() if sample is not None}
        size = min(len(sample.patients) for sample in known.values())
        return replace(self, **{name: first(sample, size) for name, sample in known.items()})


def first(sample: S, count: int) -> S:
    """Its first patients; all where there are no more."""
    return sample if len(sample.patients) <= count else sample.without(sample.patients.index[count:])


class Views(Compared[View]):
    """The cohorts of the evidence as numbers, synthetic ones no larger than the training cohort."""

    @classmethod
    def of(cls, evidence: Evidence) -> Views:
        """Worked out anew: cheap beside any check."""
        most = len(evidence.train)
        cohorts = (evidence.train, evidence.holdout, _at_most(evidence.synthetic, most), evidence.floor)
        train, holdout, synthetic, floor = (View.of(cohort, evidence.dictionary) for cohort in cohorts)
        prior = None if evidence.prior is None else View.of(_at_most(evidence.prior, most), evidence.dictionary)
        return cls(train, holdout, synthetic, floor, prior)


def _at_most(cohort: Cohort, patients: int) -> Cohort:
    return cohort if len(cohort) <= patients else cohort.of(cohort.ids[:patients])


def verdict(
    value: float, best: float, ceiling: float, floor: float, better: Better, apart: float | None = None
) -> Verdict:
    """See the module. `best` is the better end of the value's interval; `apart` the standard error of the difference between
    floor and ceiling, where it is known."""
    if better == "lower":
        value, best, ceiling, floor = -value, -best, -ceiling, -floor
    if floor >= ceiling - APART:
        return "information" if best >= ceiling - SHORT else "inconclusive"
    if apart is not None and ceiling - floor < Z * apart:
        return "inconclusive"
    middle, quarter = floor + (ceiling - floor) / 2, floor + (ceiling - floor) / 4
    if value >= middle:
        return "pass"
    return "fail" if value <= quarter and best < middle else "inconclusive"


def judged(
    check: str,
    metric: str,
    text: str,
    measure: Measure[S],
    views: Compared[S],
    better: Better,
    floor_is: str = "independent columns",
    column: str | None = None,
) -> list[Finding]:
    """A measure of the synthetic cohort against the training patients, with interval, ceiling, floor and verdict; nothing where
    there is nothing to measure. `floor_is` says in words what the floor is."""
    views = views.alike()
    value = measure(views.train, views.synthetic)
    ceiling, floor = measure(views.train, views.holdout), measure(views.train, views.floor)
    if not np.isfinite([value, ceiling, floor]).all():
        return []
    low, high = interval(measure, views.train, views.synthetic, value, better)
    spreads = [spread(measure, views.train, sample, FEW_GROUPS) for sample in (views.holdout, views.floor)]
    apart = float(np.hypot(spreads[0], spreads[1]))
    judgement = verdict(value, high if better == "higher" else low, ceiling, floor, better, apart)
    reading = {
        "pass": f"nearer to a second real sample than to {floor_is}",
        "fail": f"hardly better than {floor_is}",
        "inconclusive": "not yet like a second real sample",
        "information": f"{floor_is} score as well as a second real sample, so this tells nothing of relations",
    }[judgement]
    if judgement == "inconclusive" and APART < abs(ceiling - floor) < Z * apart:
        reading = f"too few patients to tell {floor_is} from a second real sample"
    found = Finding(
        check,
        metric,
        value,
        judgement,
        f"{text}: {reading}.",
        low=low,
        high=high,
        n=len(views.synthetic.patients),
        ceiling=ceiling,
        floor=floor,
        better=better,
        column=column,
    )
    return [found if views.prior is None else _beside(found, measure, views.train, views.prior)]


def _beside(found: Finding, measure: Measure[S], real: S, prior: S) -> Finding:
    """The finding with what public knowledge alone scores."""
    value = measure(real, prior)
    if not np.isfinite(value):
        return found
    better: Better = "higher" if found.better == "higher" else "lower"
    return found.beside(value, *interval(measure, real, prior, value, better))


def interval(
    measure: Measure[S], real: S, synthetic: S, value: float, better: Better = "higher"
) -> tuple[float, float]:
    """95% interval over synthetic patients; a similarity stays between 0 and 1, a distance above 0."""
    half = Z * spread(measure, real, synthetic)
    return max(0.0, float(value - half)), min(1.0 if better == "higher" else np.inf, float(value + half))


def spread(measure: Measure[S], real: S, other: S, groups: int = GROUPS) -> float:
    """Standard error over the patients of `other` by the delete-a-group jackknife (Kott 2001): cheap, and whole patients go
    out."""
    ids = other.patients.index
    groups = min(groups, len(ids) - 1)
    if groups < 2:
        return 0.0
    left = np.array([measure(real, other.without(ids[g::groups])) for g in range(groups)])
    left = left[np.isfinite(left)]
    return float(np.sqrt((groups - 1) / groups * ((left - left.mean()) ** 2).sum())) if len(left) > 1 else 0.0
