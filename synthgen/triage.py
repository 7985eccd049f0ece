"""Whom to look at next, and what the looks say of the release.

The next patient is the one whose look is worth most: how bad and how likely the fault is, how unsure one is, and how new the
case is; near duplicates are one case, and so are patients flagged for the same reasons, once some of them are decided. A fixed
share of looks goes to patients in a random order drawn before the first look: from these alone the rate of wrong patients is
estimated, so the estimate does not depend on what the queue prefers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from synthgen.flags import Flag
from synthgen.quality import Judgement, doubts, flags_of, learn
from synthgen.queue import patients_of
from synthgen.sampling import Count, looks_left, wrong_among

if TYPE_CHECKING:
    import numpy as np

HARM: dict[str, float] = {"severe": 1.0, "moderate": 0.9, "mild": 0.7}
"""What finding a fault is worth."""
CURIOSITY = 0.15
"""What the answer about a wholly uncertain new case is worth beside a fault found."""
CONTROL = 10
"""One look in so many is a random one."""
RELEARN = 10
"""Decisions after which the judgement is learnt anew."""
CONFIDENCE = 0.95
MARGIN = 0.02
"""Half the width of the interval at which the rate of wrong patients counts as known, unless somebody asks for another."""


@dataclass(frozen=True)
class Decision:
    """One person's answer about one patient."""

    patient_id: str
    wrong: bool
    saw_real_data: bool = False


@dataclass(frozen=True)
class Estimate:
    """What a release may say of its review. `low` and `high` bound the share of wrong patients among those that are left;
    `looks_left` is how many looks it still takes until that share is known to within `MARGIN`."""

    reviewed: int
    patients: int
    rejected: int
    rate: float
    low: float
    high: float
    saw_real_data: bool = False
    looks_left: int = 0

    def __str__(self) -> str:
        text = (
            f"reviewed {self.reviewed:,} of {self.patients:,}, estimated wrong rate {self.rate:.1%} "
            f"({CONFIDENCE:.0%} interval {self.low:.1%} to {self.high:.1%}) after {self.rejected:,} were rejected"
        )
        if self.looks_left:
            text += f"; {self.looks_left:,} more looks would tell it to within {MARGIN:.0%}"
        return text + ("; reviewers saw flags that read real patients" if self.saw_real_data else "")


def estimated(
    strata: Sequence[tuple[Sequence[str], Sequence[str]]], decided: Mapping[str, bool], saw_real_data: bool
) -> Estimate:
    """What the looks say of the patients that were not rejected.

    Args:
        strata: (patients, those of them that were looked at because a random order said so), such as flagged patients and others.
            Each is counted by its random looks, and exactly once everybody in it was looked at.
        decided: patient -> whether it was found wrong, for every look.
    """
    counts = [_count(patients, looked, decided) for patients, looked in strata]
    patients, rejected = sum(len(stratum) for stratum, _ in strata), sum(decided.values())
    left = max(patients - rejected, 1)
    value, low, high = (max(sum(getattr(c, k) for c in counts) - rejected, 0) / left for k in ("value", "low", "high"))
    more = remaining(strata, decided, MARGIN)
    return Estimate(len(decided), patients, rejected, value, low, high, saw_real_data, more)


def remaining(strata: Sequence[tuple[Sequence[str], Sequence[str]]], decided: Mapping[str, bool], margin: float) -> int:
    """Looks until the rate is known to within `margin`: at everybody in all strata (as in `estimated`) but the last, and at as
    many of the last in random order as that takes, if it goes on as so far."""
    *known, (others, looked) = strata
    every = sum(len(stratum) for stratum, _ in strata)
    of_others = margin * every / max(len(others), 1)
    found = sum(decided[p] for p in looked)
    more = 0 if of_others >= 1 or not others else looks_left(len(others), len(looked), found, of_others, CONFIDENCE)
    return sum(p not in decided for stratum, _ in known for p in stratum) + more


def looks_before(patients: Iterable[str], flags: Iterable[Flag]) -> int:
    """Looks that a review of these flags takes until the rate of wrong patients is known to within `MARGIN`, before anybody has
    looked: if as many of the patients without a flag are wrong as `sampling.PRIOR` says."""
    flagged = {f.patient_id for f in flags}
    ids = [str(p) for p in patients]
    strata: list[tuple[list[str], list[str]]] = [
        ([p for p in ids if (p in flagged) == mine], []) for mine in (True, False)
    ]
    return remaining(strata, {}, MARGIN)


def _count(patients: Sequence[str], looked: Sequence[str], decided: Mapping[str, bool]) -> Count:
    """Wrong patients of one stratum; the two strata share the error (Bonferroni)."""
    count = wrong_among(len(patients), len(looked), sum(decided[p] for p in looked), 1 - (1 - CONFIDENCE) / 2)
    answers = [decided[p] for p in patients if p in decided]
    known, most = sum(answers), len(patients) - len(answers) + sum(answers)
    low, high = max(count.low, known), max(min(count.high, most), known)
    return Count(min(max(count.value, known), high), low, high, len(patients))


class Triage:
    """The queue of one review.

    Args:
        patients: everybody who could be released.
        flags: all flags, near duplicates told once (`queue.shown_once`).
        rng: draws the random order of control looks; from a fresh seed, or a reviewer could work it out.
        real_data: whether flags that read real patients take part. Decisions taken so carry that mark.
        control: one look in so many is a random one; 0 for none.
        error: how often an answer is wrong, as hidden spoiled copies show. Above 0, a patient who was found well against strong
            evidence is looked at once more, when that is worth more than a first look at another; the second answer counts.
    """

    def __init__(
        self,
        patients: Sequence[str],
        flags: Iterable[Flag],
        rng: np.random.Generator,
        real_data: bool = False,
        control: int = CONTROL,
        error: float = 0.0,
    ) -> None:
        self.patients, self.real_data, self.control, self.error = list(patients), real_data, control, error
        seen = [f for f in flags if real_data or not f.reads_real_data]
        self.flags = flags_of(seen, real_data)
        self._told_by_others = {p for f in seen for p in patients_of(f)[1:]} - set(self.flags)
        self.random_order: list[str] = [self.patients[i] for i in rng.permutation(len(self.patients))]
        self.decided: dict[str, bool] = {}
        self._again: set[str] = set()
        self._doubts = doubts(seen, len(self.patients))
        self.judgement = Judgement(reasons=self._doubts)
        self._marked = False
        self._drawn = 0
        self._alike: Counter[frozenset[str]] = Counter()
        self._rank()

    def next(self) -> str | None:
        """The patient to look at; None when everybody was."""
        random_turn = self.control and (len(self.decided) + 1) % self.control == 0
        if not random_turn and (patient := self._worth_most()) is not None:
            return patient
        return self._random()

    def decide(self, decision: Decision) -> None:
        """Takes in an answer; the same patient's second answer replaces the first."""
        patient = decision.patient_id
        if patient not in self.decided:
            self._alike[self._case(patient)] += 1
        else:
            self._again.add(patient)
        self.decided[patient] = decision.wrong
        self._marked |= decision.saw_real_data or self.real_data
        if len(self.decided) % RELEARN == 0:
            self.judgement = learn([(self.flags.get(p, ()), wrong) for p, wrong in self.decided.items()], self._doubts)
            self._rank()

    def value(self, patient: str) -> float:
        """What a look at this patient is worth now."""
        p = self.judgement(self.flags.get(patient, ()))
        if patient in self.decided:  # found well: by Bayes, an answer that errs lowers the odds by error / (1 - error)
            odds = p / max(1 - p, 1e-12) * self.error / (1 - self.error)
            p = odds / (1 + odds)
        return self._worth(p, self.flags.get(patient, ()))

    def _worth(self, p: float, flags: Sequence[Flag]) -> float:
        worst = max((HARM[f.severity] for f in flags), default=HARM["mild"])
        alike = self._alike[frozenset(f.reason for f in flags)]
        return worst * p + CURIOSITY * 4 * p * (1 - p) / (1 + alike)

    @property
    def estimate(self) -> Estimate:
        """How many of the patients that are left are wrong."""
        return estimated(self._counted(), self.decided, self._marked)

    def looks_left(self, margin: float) -> int:
        """Looks until the rate is known to within `margin`: at all flagged patients, and at others in random order."""
        return remaining(self._counted(), self.decided, margin)

    def _counted(self) -> list[tuple[list[str], list[str]]]:
        """Flagged patients, then the others: each with those that a random order chose."""
        strata = [[p for p in self.patients if (p in self.flags) == flagged] for flagged in (True, False)]
        return [(stratum, self._at_random(stratum)) for stratum in strata]

    def _at_random(self, stratum: Sequence[str]) -> list[str]:
        """The beginning of the random order, within a stratum, as far as everybody in it was looked at: a random sample."""
        inside, looked = set(stratum), []
        for patient in self.random_order:
            if patient in inside:
                if patient not in self.decided:
                    break
                looked.append(patient)
        return looked

    def _case(self, patient: str) -> frozenset[str]:
        return frozenset(f.reason for f in self.flags.get(patient, ()))

    def _rank(self) -> None:
        self._heap = [(-self.value(p), p) for p in self.flags if self._open(p)]
        heapify(self._heap)

    def _open(self, patient: str) -> bool:
        """Whether a look at this flagged patient may be worth something: at one found wrong, or looked at twice, never."""
        if patient not in self.decided:
            return True
        return self.error > 0 and not self.decided[patient] and patient not in self._again

    def _worth_most(self) -> str | None:
        """Of the flagged patients. A value can only have sunk since it was ranked, so the top is checked again."""
        while self._heap:
            ranked, patient = heappop(self._heap)
            if not self._open(patient):
                continue
            value = self.value(patient)
            if patient in self.decided and value <= self._worth(self.judgement(()), ()):
                continue  # a first look at somebody without a flag is worth more
            if value < -ranked - 1e-12:
                heappush(self._heap, (-value, patient))
                continue
            heappush(self._heap, (ranked, patient))
            return patient
        return None

    def _random(self) -> str | None:
        while self._drawn < len(self.random_order):
            patient = self.random_order[self._drawn]
            if patient not in self.decided and patient not in self._told_by_others:
                return patient
            self._drawn += 1
        return next((p for p in self.random_order if p not in self.decided), None)
