"""The claim: what is promised to every patient, in words and in numbers, and what is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from privacy.budget import Budget
    from privacy.charges import Charge
    from synthgen.dictionary import Dictionary

NO_GUARANTEE = "NO PRIVACY GUARANTEE"
FALSE_ALARMS = (0.001, 0.01, 0.1)
"""The false-positive rates at which the claim says what an attacker can do."""

_VOID = {
    "rehearsed": "it was made in a rehearsal, for an audit alone",
    "uncharged": "the ledger at hand never charged this run, so nobody knows what its patients have given in all",
    "revealed": "a generator read the patients directly, without noise",
    "seeded": "the noise was drawn from a seed, and whoever learns the seed can take the noise away again",
}


@dataclass(frozen=True)
class Guarantee:
    """Differential privacy at one `delta`, for adding or removing one patient.

    `epsilon` is the run's own, `epsilon_all_runs` that of every run ever made on these patients, and `epsilon_replace_one` what
    the run's noise gives for replacing a patient. `attacker` pairs false-positive rates with the largest true-positive rate that
    any attacker can reach with the outputs of all runs in hand; the rate 0.01 is among them.
    """

    epsilon: float
    delta: float
    epsilon_all_runs: float
    epsilon_replace_one: float
    attacker: tuple[tuple[float, float], ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words, what it means first."""
        return (
            "Had any one patient not taken part, much the same synthetic data could have come out: whether somebody took part "
            f"changes the probability of any result by at most a factor of {factor(self.epsilon)}, plus {self.delta:g} (delta).",
            f"In an attacker's terms: at most {up(100 * dict(self.attacker)[0.01], 1)} in 100 true members could be named at "
            "1 false alarm in 100, by anyone, whatever they know of the person and with the outputs of all runs in hand. "
            "Guessing names 1 in 100.",
            "The unit is the patient: all visits, events, notes and images of a patient count as one. The numbers are for adding "
            "or removing one patient; for replacing one by another the same noise gives epsilon "
            f"{up(self.epsilon_replace_one)}. Relatives count as patients of their own.",
            "All private runs on these patients that this workspace's ledger knows, released or not, together: epsilon "
            f"{up(self.epsilon_all_runs)} at delta {self.delta:g}.",
        )


@dataclass(frozen=True)
class Claim:
    """What holds for every patient of a cohort. Without a `guarantee`, `void` says why there is none."""

    cohort: str
    title: str
    declared_patients: int
    charges: tuple[Charge, ...] = ()
    guarantee: Guarantee | None = None
    void: tuple[str, ...] = ()
    dropped: int = 0
    """Synthetic patients left out by rules that never looked at a real patient."""

    @property
    def headline(self) -> str:
        if self.guarantee is None:
            return NO_GUARANTEE
        return f"Every patient is protected: epsilon {up(self.guarantee.epsilon)} at delta {self.guarantee.delta:g}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The claim in words, the most important sentence first."""
        if self.guarantee is None:
            return (
                *(f"{NO_GUARANTEE}: {reason}." for reason in self.void),
                "What was learnt from a patient may be read off the synthetic data. Nothing of this run may leave the hospital.",
            )
        return (*self.guarantee.sentences, *self._made())

    @property
    def outside(self) -> tuple[str, ...]:
        """What no guarantee covers."""
        return (
            f"The declared size of the cohort, {self.declared_patients} patients, is published as it is.",
            "How many patients fell into the training set and how many into the holdout is known inside only, and rounded.",
            "Findings, attack results, flags and the internal report read real patients without noise. They stay inside.",
            "Runs without privacy (epsilon: null) are not counted: nothing of them may leave. Nor are runs of another "
            "workspace, or on patients whose ids are spelled otherwise there: the ledger knows patients by their ids.",
            "That the release gate opened, which rests on findings that read real patients.",
            "Decisions of people: to release at all, to accept a finding, to leave out a patient. Whoever takes them may have "
            "seen internal findings.",
            "The data dictionary and the job's settings count as public, and so do weights and cohorts that the settings name as "
            "pretrained or public. Should a bound, a category or a setting have been chosen by looking at these patients, or "
            "such weights been trained on them, that is not covered.",
        )

    def without(self, dropped: int) -> Claim:
        """The claim after leaving out `dropped` synthetic patients by rules that never looked at a real patient."""
        return replace(self, dropped=self.dropped + dropped)

    def as_dict(self) -> dict[str, Any]:
        """Numbers and words, for claim.json."""
        return asdict(self) | {"headline": self.headline, "sentences": self.sentences, "outside": self.outside}

    def as_markdown(self) -> str:
        """For CLAIM.md."""
        lines = [f"# {self.headline}", "", f"SYNTHETIC DATA. {self.title} ({self.cohort})", ""]
        lines += [f"- {sentence}" for sentence in self.sentences]
        lines += ["", "## Outside the guarantee", "", *(f"- {sentence}" for sentence in self.outside)]
        return "\n".join(lines) + "\n"

    def _made(self) -> Iterable[str]:
        if self.charges:
            sums = sum(charge.steps for charge in self.charges)
            yield (
                f"Everything learnt from patients was a sum over them, each one's part clipped, plus Gaussian noise: {sums} such "
                f"sums under {len(self.charges)} charges, all composed into one epsilon."
            )
        else:
            yield "Nothing was learnt from patients: all of it comes from the data dictionary."
        yield f"The declared size of the cohort, {self.declared_patients} patients, is published."
        if self.dropped:
            yield (
                f"{self.dropped} synthetic patients were left out by rules that never looked at a real patient; that costs no "
                "privacy."
            )


def claim(
    charges: Sequence[Charge],
    budget: Budget | None,
    dictionary: Dictionary,
    *,
    all_runs: Sequence[Charge] | None = None,
    marks: Iterable[str] = (),
    removed_on_real_data: int = 0,
) -> Claim:
    """The claim of one run.

    Args:
        charges: what this run did, noise as calibrated.
        budget: its target; None for a run without privacy.
        all_runs: every charge of every run on any of these patients, this run's included; None when this is the only one.
        marks: `revealed`, `seeded`: marks that generators left on their answers.
        removed_on_real_data: synthetic patients that were removed or drawn again on evidence that read real patients.
    """
    about = Claim(dictionary.name, dictionary.title, dictionary.declared_patients, tuple(charges))
    void = _void(budget, marks, removed_on_real_data)
    if void or budget is None:
        return replace(about, void=void)
    return replace(about, guarantee=_guarantee(charges, charges if all_runs is None else all_runs, budget.delta))


def up(value: float, decimals: int = 2) -> str:
    """A number that must never be understated, rounded up."""
    return f"{math.ceil(round(value * 10**decimals, 6)) / 10**decimals:.{decimals}f}"


def factor(epsilon: float) -> str:
    """e to the power of epsilon, rounded up; in words where the number would mean nothing to a reader."""
    return up(math.exp(epsilon), 1) if epsilon <= 10 else f"e to the power of {up(epsilon)}"


def _guarantee(charges: Sequence[Charge], all_runs: Sequence[Charge], delta: float) -> Guarantee:
    from privacy.accounting import epsilon, replace_one_epsilon
    from privacy.tradeoff import tpr_at

    return Guarantee(
        epsilon(charges, delta),
        delta,
        epsilon(all_runs, delta),
        replace_one_epsilon(charges, delta),
        tuple((rate, tpr_at(all_runs, rate)) for rate in FALSE_ALARMS),
    )


def _void(budget: Budget | None, marks: Iterable[str], removed: int) -> tuple[str, ...]:
    reasons = [_VOID.get(mark, f"a generator left the mark {mark} on its answers") for mark in sorted(set(marks))]
    if budget is None:
        reasons.insert(0, "the job asked for none (epsilon: null)")
    if removed:
        reasons.append(
            f"{removed} synthetic patients were removed on evidence that read real patients; the noise does not cover such a "
            "selection"
        )
    return tuple(reasons)
