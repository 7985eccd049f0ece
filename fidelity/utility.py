"""Utility: does a model that learnt from synthetic patients predict real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.models import FAMILIES, LINEAR, SEEDS, Predict, fitted
from fidelity.scoring import (
    calibration,
    calibration_groups,
    concordance,
    discrimination,
    explained,
    in_the_large,
    most_gained,
)
from fidelity.subgroups import members
from fidelity.tasks import FEWEST, enough, joined, labels, predictors, problem
from fidelity.verdict import Views, verdict
from fidelity.view import View
from privacy.rates import Rate
from synthgen.conformance import SMALL_CELL
from synthgen.findings import Evidence, Finding, Verdict

if TYPE_CHECKING:
    from synthgen.dictionary import Task

__all__ = ["FEWEST", "MODELS", "Utility", "labels", "predictors", "tstr"]

Floats = NDArray[np.float64]
MODELS = FAMILIES["event"]
LOSS = 0.05
"""A concordance this much below that of real training data is tolerated."""
CALLED = {
    "event": "an AUC",
    "survival": "a concordance",
    "classification": "a mean AUC",
    "regression": "a concordance",
}
GROUPS = 4
"""Of predicted risk, in the picture of calibration."""


class Utility:
    """For each task of the dictionary, by a linear model (logistic, ridge or Cox regression) and by boosted trees (in discrete
    time for survival). Predictors are the static columns and, of the visits up to the landmark, each measurement's first and
    last value and its change. Tested on the holdout, with intervals over its patients and, of linear models,
    over the synthetic cohorts drawn:

    - `tstr`: train on synthetic, test on real: concordance (AUC, Harrell's C, mean AUC of categories against the rest), beside
      the same model trained on real patients (TRTR, the `ceiling`) and on independent columns (the `floor`); of the linear
      model also for each declared subgroup, for information unless the loss to TRTR in the same patients is beyond .05 by more
      than chance (Bonferroni over groups);
    - `explained`: the same of the share of loss explained (R squared, or scaled Brier score), which calibration enters too;
    - `calibration_slope`, `calibration_intercept` (1 and 0 are right) and, of events, the share that happened in four groups of
      predicted risk (`calibration`), and,
      of each declared subgroup, what happened less what was predicted (`calibration_in_the_large`), for information;
    - `trts`, `augmented`: trained on real and tested on synthetic patients; trained on both. For information."""

    name = "utility"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if not evidence.dictionary.tasks:
            return []
        views = Views.of(evidence)
        replicates = [View.of(cohort, evidence.dictionary) for cohort in evidence.replicates]
        return [
            finding
            for task in evidence.dictionary.tasks
            for family in FAMILIES[task.kind]
            for finding in _Trial(task, family, views, tuple(replicates), evidence.rng).findings()
        ]


def tstr(task: Task, model: str, train: View, test: View) -> tuple[Floats, NDArray[np.bool_]] | None:
    """(scores of the test patients, whether each had the event); None where either side has too few events."""
    (x, truth), (rows, tested) = problem(task, train), problem(task, test)
    if not (enough(task, truth) and enough(task, tested)):
        return None
    return fitted(task, model, x, truth)(rows), tested["event"].to_numpy(dtype=bool)


@dataclass(frozen=True)
class _Trial:
    """One task by one family of models."""

    task: Task
    family: str
    views: Views
    replicates: tuple[View, ...]
    rng: np.random.Generator

    def findings(self) -> list[Finding]:
        x, truth = problem(self.task, self.views.holdout)
        real = self._trained(self.views.train)
        if real is None or not enough(self.task, truth):
            return []
        synthetic, floor = self._trained(self.views.synthetic), self._trained(self.views.floor)
        ceiling = real(x)
        torn = None if floor is None else floor(x)
        if synthetic is None:
            return [self._untrainable(truth, ceiling)]
        made = synthetic(x)
        found = [*self._judged(x, truth, made, ceiling, torn), *self._calibration(truth, made, ceiling)]
        found += [*self._other_ways(truth, real, ceiling, x)]
        return found + (self._subgroups(truth, made, ceiling) if self.family in LINEAR else [])

    def _trained(self, view: View, seeds: int = SEEDS) -> Predict | None:
        x, truth = problem(self.task, view)
        return fitted(self.task, self.family, x, truth, seeds) if enough(self.task, truth) else None

    def _finding(self, metric: str, value: float, said: Verdict, text: str, **more: Any) -> Finding:
        return Finding("utility", f"{metric}_{self.task.name}_{self.family}", value, said, text, "utility", **more)

    @property
    def what(self) -> str:
        return f"{self.task.name.replace('_', ' ')} by {self.family}"

    def _untrainable(self, truth: pd.DataFrame, ceiling: Floats) -> Finding:
        text = f"{self.what}: the synthetic cohort has too few events or values to learn from ({FEWEST} are needed)."
        return self._finding("tstr", 0.5, "fail", text, ceiling=concordance(self.task, truth, ceiling), floor=0.5)

    def _judged(
        self, x: pd.DataFrame, truth: pd.DataFrame, made: Floats, ceiling: Floats, torn: Floats | None
    ) -> list[Finding]:
        prior = None if self.views.prior is None else self._trained(self.views.prior)
        before = None if prior is None else prior(x)
        several = self.replicates if self.family in LINEAR else ()
        again = [one for view in several if (one := self._trained(view)) is not None]
        found = []
        for metric, score in (("tstr", discrimination), ("explained", explained)):
            rate = self._wider(
                score(self.task, truth, made, self.rng), [score(self.task, truth, one(x), self.rng) for one in again]
            )
            best = score(self.task, truth, ceiling, self.rng).value
            chance = 0.5 if metric == "tstr" else 0.0
            worst = chance if torn is None else max(chance, score(self.task, truth, torn, self.rng).value)
            if metric == "tstr":
                said = _discriminates(rate, best, worst)
            else:
                said = verdict(rate.value, rate.high, best, worst, "higher")
            finding = self._finding(
                metric, rate.value, said, self._said(metric, rate, best, truth), low=rate.low, high=rate.high, n=len(truth),
                ceiling=best, floor=worst, bound=best - LOSS if metric == "tstr" else None,
            )  # fmt: skip
            if before is not None:
                alone = score(self.task, truth, before, self.rng)
                finding = finding.beside(alone.value, alone.low, alone.high)
            found.append(finding)
        return found

    def _wider(self, rate: Rate, others: Sequence[Rate]) -> Rate:
        """The interval over patients, and over synthetic cohorts where more than one was drawn: both in squares."""
        if not others:
            return rate
        between = 1.959964 * float(np.std([rate.value, *(o.value for o in others)], ddof=1))
        low, high = (float(np.hypot(rate.value - end, between)) for end in (rate.low, rate.high))
        return Rate(rate.value, rate.value - low, min(1.0, rate.value + high), rate.n)

    def _said(self, metric: str, rate: Rate, best: float, truth: pd.DataFrame) -> str:
        events = f" with {int(truth['event'].sum())} events" if "event" in truth else ""
        if metric == "tstr":
            called = CALLED[self.task.kind]
            return (
                f"Predicting {self.what}: a model that learnt from synthetic patients reaches {called} of "
                f"{rate.value:.2f} on {len(truth)} real patients{events}; learnt from real patients it reaches {best:.2f}."
            )
        share = (
            f"{rate.value:.0%} of the loss is" if rate.value >= 0 else "none of the loss (less than by a constant) is"
        )
        return (
            f"Predicting {self.what}: {share} explained by a model that learnt from synthetic patients, {best:.0%} by one that "
            "learnt from real ones."
        )

    def _calibration(self, truth: pd.DataFrame, made: Floats, ceiling: Floats) -> list[Finding]:
        ours, theirs = calibration(self.task, truth, made), calibration(self.task, truth, ceiling)
        if ours is None or theirs is None:
            return []
        found = []
        for i, (metric, right) in enumerate((("calibration_slope", 1.0), ("calibration_intercept", 0.0))):
            rate = ours[i]
            if rate.n:
                text = (
                    f"Calibration of {self.what}: {metric.split('_')[1]} {rate.value:.2f} ({right:g} is right) when it learnt "
                    f"from synthetic patients, {theirs[i].value:.2f} from real ones."
                )
                found.append(
                    self._finding(
                        metric, rate.value, "information", text, low=rate.low, high=rate.high, n=rate.n, bound=right,
                        ceiling=theirs[i].value, better="target",
                    )
                )  # fmt: skip
        if self.task.kind == "event" and len(truth) >= GROUPS * SMALL_CELL:
            for i, (predicted, share) in enumerate(calibration_groups(truth, made, GROUPS)):
                text = (
                    f"{self.what}: of the {share.n} real patients in risk group {i + 1}, {share.value:.0%} had the event; "
                    f"{predicted:.0%} were predicted."
                )
                found.append(
                    self._finding(
                        "calibration", share.value, "information", text, low=share.low, high=share.high, n=share.n,
                        bound=predicted, better="target", column=f"risk group {i + 1} of {GROUPS}",
                    )
                )  # fmt: skip
        return found

    def _other_ways(self, truth: pd.DataFrame, real: Predict, ceiling: Floats, x: pd.DataFrame) -> list[Finding]:
        best = concordance(self.task, truth, ceiling)
        rows, tested = problem(self.task, self.views.synthetic)
        trts = discrimination(self.task, tested, real(rows), self.rng)
        both = joined([problem(self.task, self.views.train), (rows, tested)])
        augmented = discrimination(self.task, truth, fitted(self.task, self.family, *both, seeds=2)(x), self.rng)
        texts = {
            "trts": (trts, "a model that learnt from real patients reaches {} on synthetic ones"),
            "augmented": (
                augmented,
                "a model that learnt from real and synthetic patients together reaches {} on real ones",
            ),
        }
        return [
            self._finding(
                metric, rate.value, "information", f"Predicting {self.what}: {text.format(f'{rate.value:.2f}')}; trained and "
                f"tested on real ones it reaches {best:.2f}.", low=rate.low, high=rate.high, n=rate.n, ceiling=best, floor=0.5,
            )
            for metric, (rate, text) in texts.items()
        ]  # fmt: skip

    def _subgroups(self, truth: pd.DataFrame, made: Floats, ceiling: Floats) -> list[Finding]:
        found = []
        place = self.views.holdout.patients.index.get_indexer(truth.index)
        groups = members(self.views.holdout)
        for group, member in groups.items():
            chosen = member[place]
            if chosen.sum() < SMALL_CELL or not enough(self.task, truth[chosen]):
                continue
            rate = discrimination(self.task, truth[chosen], made[chosen], self.rng)
            best = concordance(self.task, truth[chosen], ceiling[chosen])
            gained = most_gained(self.task, truth[chosen], made[chosen], ceiling[chosen], self.rng, 0.025 / len(groups))
            said: Verdict = "fail" if gained < -LOSS else "information"
            text = (
                f"Predicting {self.what} among {int(chosen.sum())} real patients with {group}: {rate.value:.2f}; learnt from "
                f"real patients {best:.2f}."
            )
            found.append(
                self._finding(
                    "tstr", rate.value, said, text, low=rate.low, high=rate.high, n=int(chosen.sum()), ceiling=best, floor=0.5,
                    bound=best - LOSS, column=group,
                )
            )  # fmt: skip
            found += self._calibrated_among(group, truth[chosen], made[chosen], ceiling[chosen])
        return found

    def _calibrated_among(self, group: str, truth: pd.DataFrame, made: Floats, ceiling: Floats) -> list[Finding]:
        """Calibration in the large of one subgroup: is its risk, or its level, predicted too low or too high as a whole?"""
        ours, theirs = (in_the_large(self.task, truth, p, self.rng) for p in (made, ceiling))
        if ours is None or theirs is None:
            return []
        text = (
            f"Calibration of {self.what} among {ours.n} real patients with {group}: on average what happened lies "
            f"{ours.value:+.2f} from what a model predicted that learnt from synthetic patients (0 is right), "
            f"{theirs.value:+.2f} from one that learnt from real ones."
        )
        return [
            self._finding(
                "calibration_in_the_large", ours.value, "information", text, low=ours.low, high=ours.high, n=ours.n, bound=0.0,
                ceiling=theirs.value, better="target", column=group,
            )
        ]  # fmt: skip


def _discriminates(rate: Rate, ceiling: float, floor: float) -> Verdict:
    if rate.high <= floor:
        return "fail"
    return "pass" if rate.value >= ceiling - LOSS else "fail" if rate.high < ceiling - LOSS else "inconclusive"


def _auc(scores: Floats, event: NDArray[np.bool_]) -> float:
    from privacy.rates import auc

    return auc(scores[event], scores[~event])


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Utility()
