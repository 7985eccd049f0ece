"""What is usual: scales of a cohort's own patients, and how far patients stray by chance.

Neither reads a real patient. The scales come from the synthetic cohort itself (robustly: medians, so that a few faults do not
move them) or, where it is small, from patients simulated from the dictionary. How often a patient strays so far by chance is
counted in simulated patients of many populations, each measured by its own scales; beyond what they show, the tail is
continued as exponential (Pickands 1975, with shape 0). A real disease may be wilder than the simulation, and a cohort that is
like it too: so the cohort's own bulk is continued in the same way, and the larger of the two chances counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from synthgen.screening.view import Floats, View

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

POPULATIONS, SIMULATED = 10, 4000
"""Simulated patients that thresholds come from."""
FEWEST = 100
"""Patients at which a cohort's own scales are used."""
MOST = 4000
"""Patients that scales are taken from: more would not sharpen a median."""
CHANCE = 0.005
"""Share of simulated patients who stray so far that a detector speaks of them."""
TAIL = 0.02
"""Share of simulated patients from which the tail is continued."""
RAREST = 1e-9


@dataclass(frozen=True)
class Usual:
    """Robust scales of a cohort."""

    level: dict[str, tuple[float, float]]
    """Column -> centre and spread of patients' own numbers."""
    step: dict[str, float]
    """Measurement -> spread of the change from one value to the next."""
    slope: dict[str, tuple[float, float]]
    """Measurement -> centre and spread of the change per year."""
    precision: Floats
    """[columns, columns] inverse of the correlation of levels, in the order of `level`."""
    transitions: dict[str, Floats]
    """Discrete measurement -> [from, to] share of steps."""
    visits: tuple[float, float]
    """Centre and spread of log visits per year."""
    missing: dict[str, float]
    """Measurement -> share of visits at which it is not recorded."""
    doses: dict[str, tuple[float, float, float]]
    """Code of events -> centre and spread of the dose on its scale, and spread of one patient's doses."""
    repeats: dict[str, tuple[float, float]]
    """Code of events -> mean and standard deviation of how often a patient has it, of patients who have it."""
    noughts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Column (a measurement, the dose) -> share of values whose last digit, last two, last three are nought."""
    bulk: dict[str, Tail] = field(default_factory=dict)
    """Detector's reason -> tail of the cohort's own scores, continued from the bulk of its patients."""


@dataclass(frozen=True)
class Scores:
    """One detector's answer: how far each patient strays, and the place of the evidence (its meaning is the detector's own)."""

    value: Floats  # [patients] -inf where it cannot be told
    place: Any  # [patients, ...]


class Detector(Protocol):
    """Looks for one kind of fault."""

    @property
    def reason(self) -> str:
        """What its flags are called."""
        ...

    def scores(self, view: View, usual: Usual) -> Scores: ...

    def told(self, view: View, usual: Usual, patient: int, place: Any) -> tuple[str, dict[str, Any]]:
        """A sentence for a clinician that names the fault, and its evidence."""
        ...


@dataclass(frozen=True)
class Tail:
    """How often chance goes as far as a score."""

    start: float
    scale: float
    share: float = TAIL
    """Share of simulated patients beyond the start."""

    @classmethod
    def of(cls, scores: Floats) -> Tail:
        """Of simulated patients' scores, -inf for those that cannot be told."""
        finite = scores[np.isfinite(scores)]
        if len(finite) < max(20, TAIL * len(scores)):  # so rare that any score is in the tail
            return cls(-1e9, 1e12, max(len(finite), 0.5) / max(len(scores), 1))
        start = float(np.quantile(scores, 1 - TAIL, method="higher"))
        beyond = finite[finite > start] - start
        return cls(start, max(float(beyond.mean()) if len(beyond) else 0.0, 1e-6 + 0.02 * abs(start)))

    @classmethod
    def of_bulk(cls, scores: Floats) -> Tail | None:
        """Of a cohort that may hold faults: what 80% and 95% of its patients reach says how the rest should go on.
        None where most cannot be told."""
        if np.mean(np.isfinite(scores)) < 0.5:
            return None
        middle, start = (float(np.quantile(scores, q, method="lower")) for q in (0.8, 0.95))
        return cls(start, max((start - middle) / float(np.log(4)), 1e-6), 0.05)

    def chance(self, scores: Floats) -> Floats:
        """[patients] share of simulated patients with such a score; 1 below the tail."""
        with np.errstate(invalid="ignore", over="ignore"):
            beyond = self.share * np.exp(-(scores - self.start) / self.scale)
        return np.where(scores > self.start, np.maximum(np.nan_to_num(beyond, nan=1.0), RAREST), 1.0)


def usual_of(cohort: Cohort, dictionary: Dictionary) -> Usual:
    """Of a cohort; of simulated patients where it has fewer than `FEWEST`."""
    from synthgen.screening import detectors
    from synthgen.screening.scales import measured

    if len(cohort) < FEWEST:
        return _simulated(dictionary.fingerprint, _Held(dictionary)).usual
    part = cohort if len(cohort) <= MOST else cohort.of(cohort.ids[:: len(cohort) // MOST])
    view = View(part.tables, dictionary)
    usual = measured(view)
    bulk = {d.reason: Tail.of_bulk(d.scores(view, usual).value) for d in detectors()}
    return replace(usual, bulk={reason: tail for reason, tail in bulk.items() if tail is not None})


def tails(dictionary: Dictionary, detectors: Sequence[Detector]) -> dict[str, Tail]:
    """Each detector's tail, by its reason."""
    known = _simulated(dictionary.fingerprint, _Held(dictionary))
    for detector in detectors:
        if detector.reason not in known.tails:
            scores = [detector.scores(view, usual).value for view, usual in known.populations]
            known.tails[detector.reason] = Tail.of(np.concatenate(scores))
    return known.tails


@dataclass(frozen=True)
class _Simulated:
    populations: list[tuple[View, Usual]]
    usual: Usual
    tails: dict[str, Tail]


class _Held:
    """A dictionary that does not count as a part of the cache's key (its fingerprint does)."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=8)
def _simulated(_: str, held: _Held) -> _Simulated:
    """Always the same patients for one dictionary: a flag does not depend on a job's seed."""
    from synthgen.cohort import concatenate
    from synthgen.screening.scales import measured
    from synthgen.simulation import simulate

    rng = np.random.default_rng(20_160_911)
    size = SIMULATED // POPULATIONS
    cohorts = [simulate(held.dictionary, size, rng) for _ in range(POPULATIONS)]
    views = [View(c.tables, held.dictionary) for c in cohorts]
    renamed = []
    for i, cohort in enumerate(cohorts):
        tables = {n: t.assign(patient_id=f"{i}-" + t["patient_id"].astype(str)) for n, t in cohort.tables.items()}
        renamed.append(type(cohort)(**tables, origin="synthetic"))
    together = View(concatenate(renamed).tables, held.dictionary)
    return _Simulated([(view, measured(view)) for view in views], measured(together), {})
