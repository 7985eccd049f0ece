"""Audits of a run that train again: what does whoever holds the model learn, and what did one patient change?

Rehearsals (`Session.rehearse`) have the plan's charges, sizes and noise, on other patients; what they learn is compared and
forgotten. They need the generator to say how likely it finds a patient (`log_likelihood`); without that they are left out.
`synthgen.auditing.parallel` carries them over cores or machines.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from synthgen.auditing.note_exposure import CANARIES as EXPOSED
from synthgen.auditing.note_exposure import note_exposure
from synthgen.auditing.parallel import in_parallel
from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from privacy.attacks.one_run import OneRun
    from privacy.attacks.transcript import Overheard
    from synthgen.auditing.cohorts import Depth
    from synthgen.cohort import Cohort
    from synthgen.generator import Progress
    from synthgen.workspace import Run

Floats = NDArray[np.float64]

REFERENCES = {"quick": 0, "standard": 6, "deep": 16}
"""Reference models of the white-box attacks."""
CANARIES = {"quick": 0, "standard": 100, "deep": 300}
"""Made-up patients of the one-run audit, half of whom are trained on."""
LEFT_OUT = {"quick": 0, "standard": 0, "deep": 3}
"""The most exposed patients, who are left out one at a time."""
ALL = "all modalities"
REPEATS = 16
"""Trainings with, and as many without, each patient that is left out."""


@dataclass(frozen=True)
class Rehearsal:
    """One generator of a run, fitted again on other patients. Can be sent to another process: it holds paths and cohorts."""

    folder: Path
    name: str
    pool: Cohort
    """Everybody who may be trained on."""

    def likelihoods(self, trained_on: NDArray[np.bool_], seed: int) -> Floats:
        """[pool] log-likelihood of everybody in the pool under a model of some of them."""
        from privacy.session import Session

        model, session_of = self.opened()
        everybody = Session(model.encode(self.pool), *session_of)
        with torch.random.fork_rng(devices=[]):
            model.fit(everybody.rehearse(without=np.flatnonzero(~trained_on).tolist()), seed, lambda *_: None)
        return np.asarray(model.log_likelihood(self.pool), dtype=np.float64)

    def overheard(self, coins: NDArray[np.bool_], seed: int) -> tuple[Floats, Overheard | None]:
        """([pool] as `likelihoods` of a model of everybody whose coin, one for each of the last of the pool, says so; what the
        answers it was made of say of the coins). Without privacy there are no answers."""
        from privacy.attacks.transcript import Transcript
        from privacy.session import Session

        model, (charges, declared) = self.opened()
        records = model.encode(self.pool)
        missing = (len(self.pool) - len(coins) + np.flatnonzero(~coins)).tolist()
        private = Transcript(records, charges, declared, coins) if charges else None
        with torch.random.fork_rng(devices=[]):
            learnt = private or Session(records, charges, declared).rehearse(without=missing)
            model.fit(learnt, seed, lambda *_: None)
        likely = np.asarray(model.log_likelihood(self.pool), dtype=np.float64)
        return likely, private.overheard if private else None

    def of_the_run(self) -> Floats:
        """[pool] the same under the run's own model."""
        model, _ = self.opened()
        model.load(self.folder / "models" / self.name)
        return np.asarray(model.log_likelihood(self.pool), dtype=np.float64)

    def opened(self) -> tuple[Any, tuple[Any, int]]:
        """The pretrained generator, and what its session needs besides records."""
        from synthgen.plugins import generator_class
        from synthgen.randomness import child_seed
        from synthgen.workspace import Run

        run = Run(self.folder)
        model = generator_class(self.name)(run.dictionary, run.job.generators[self.name])
        model.pretrain(child_seed(run.job.seed, "train"), run.workspace.cache, lambda *_: None)
        return model, (run.plan.charges_of(model.modality), run.plan.declared_training)


def audit_by_training(
    run: Run,
    train: Cohort,
    holdout: Cohort,
    depth: Depth,
    rng: np.random.Generator,
    progress: Progress = lambda *_: None,
) -> list[Finding]:
    """White-box membership and the one-run audit from depth `standard`, leave-one-out at `deep`; nothing at `quick`."""
    names = [name for name in run.job.generators if _says_how_likely(name)] if REFERENCES[depth] else []
    findings: list[Finding] = []
    for name in names:
        progress(f"reference models of {name}", 0, 3)
        findings += white_box(run, name, train, holdout, REFERENCES[depth], rng)
        progress(f"leaving out patients of {name}", 1, 3)
        if LEFT_OUT[depth] and run.plan.budget is not None:
            findings += left_out(run, name, train, LEFT_OUT[depth], rng)
    if names:
        progress("canary patients", 2, 3)
        findings += canary_patients(run, names, train, CANARIES[depth], rng)
    if "notes" in names and train.notes is not None:
        findings.append(note_exposure(run, "notes", train, EXPOSED[depth], rng))
    return findings


def _says_how_likely(name: str) -> bool:
    from synthgen.plugins import generator_class

    return hasattr(generator_class(name), "log_likelihood")


# Reference models ---------------------------------------------------------------------------------------------------------
def white_box(
    run: Run, name: str, train: Cohort, holdout: Cohort, references: int, rng: np.random.Generator
) -> list[Finding]:
    """Membership attacks with the model in hand: its log-likelihood alone, LiRA and RMIA."""
    from privacy.attacks.likelihood import lira_scores, rmia_scores
    from privacy.attacks.membership import membership
    from synthgen.auditing.cohorts import ERROR, told_apart
    from synthgen.cohort import concatenate

    pool = concatenate([train, holdout])
    rehearsal = Rehearsal(run.folder, name, pool)
    member = np.arange(len(pool)) < len(train)
    included = _balanced(references, len(pool), rng)
    target = rehearsal.of_the_run()
    under = _fits(rehearsal, included, rng)
    scores = {
        "likelihood": target,
        "LiRA": lira_scores(target, under, included),
        "RMIA": rmia_scores(target, under, included, ~member),
    }
    found = []
    for attack, values in scores.items():
        result = membership(attack, values[member], values[~member], rng, len(scores), ERROR)
        found += told_apart(result, f"white_box_{name}")
    return found


def canary_patients(
    run: Run, names: Sequence[str], train: Cohort, canaries: int, rng: np.random.Generator
) -> list[Finding]:
    """The one-run audit (Steinke et al. 2023) of each generator and, where they are several, of all together: a canary is a whole
    patient with record, picture and note."""
    bounds = canary_bounds(run, names, train, canaries, rng)
    return [_one_run(found, name, canaries, run) for name, found in bounds.items()]


FROM_ANSWERS, FROM_MODEL = "the noisy sums", "the model"


def canary_bounds(
    run: Run, names: Sequence[str], train: Cohort, canaries: int, rng: np.random.Generator
) -> dict[str, dict[str, OneRun]]:
    """Generator (and `all modalities`, where they are several) -> what is attacked -> the bound: the noisy sums that a model is
    made of (`privacy.attacks.transcript`; none without privacy), and the model, by how likely it finds each canary."""
    from privacy.attacks.one_run import one_run
    from synthgen.auditing.canary_patients import together, with_canaries
    from synthgen.randomness import generator

    pool = with_canaries(train, run.dictionary, canaries, generator(run.job.seed, "canary patients", canaries))
    coins = rng.random(canaries) < 0.5
    heard: dict[str, Overheard] = {}
    likely: dict[str, Floats] = {}
    for name in names:
        scores, overheard = canary_scores(Rehearsal(run.folder, name, pool), coins, rng)
        likely[name] = scores
        if overheard is not None:
            heard[name] = overheard
    if len(names) > 1:
        likely[ALL] = together(likely)
        if len(heard) == len(names):
            heard[ALL] = functools.reduce(operator.add, heard.values())
    delta = run.plan.budget.delta if run.plan.budget is not None else 0.0
    return {
        name: {
            what: one_run(values, coins, delta)
            for what, values in ((FROM_ANSWERS, heard[name].scores() if name in heard else None), (FROM_MODEL, scores))
            if values is not None
        }
        for name, scores in likely.items()
    }


def canary_scores(
    rehearsal: Rehearsal, coins: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Floats, Overheard | None]:
    """Of the last patients of the pool, who take part where their coin says so: [canaries] log-likelihood after training less
    that of a training without any canary, which removes how likely a patient is anyway; and what the answers say."""
    canaries, patients = len(coins), len(rehearsal.pool)
    nobody = np.arange(patients) < patients - canaries
    one, other = rng.integers(2**31, size=2).tolist()
    (with_, overheard), without = in_parallel(
        [(rehearsal.overheard, coins, one), (rehearsal.likelihoods, nobody, other)]
    )
    return np.asarray((with_ - without)[-canaries:]), overheard


def _one_run(found: Mapping[str, OneRun], name: str, canaries: int, run: Run) -> Finding:
    claim = run.plan.epsilon
    told = [
        f"from {what} {one.right} of {one.guesses} guesses who did were right, which proves epsilon to be at least "
        f"{one.epsilon_low:.2f} with 95% confidence"
        for what, one in found.items()
    ]
    first, surest = next(iter(found.values())), max(one.epsilon_sure for one in found.values())
    verdict: Verdict = "fail" if claim is not None and surest > claim else "information"
    outcome = (
        f"With 99% confidence it is at least {surest:.2f}, which is above the claim: suspect too little noise, a missing clip, "
        "or charges that were not added up."
        if verdict == "fail"
        else "So few canaries prove little: that the bound is low says next to nothing."
    )
    text = (
        f"Of {canaries} made-up patients, half took part in a rehearsal of {name}'s training: {', and '.join(told)}. "
        f"All guesses right would have proved {first.ceiling:.2f}. {outcome}"
    )
    return Finding(
        "one_run", "epsilon_lower_bound", first.epsilon_low, verdict, text, "audit", n=canaries, ceiling=first.ceiling,
        bound=claim, better="lower", column=name,
    )  # fmt: skip


def left_out(
    run: Run, name: str, train: Cohort, patients: int, rng: np.random.Generator, repeats: int = REPEATS
) -> list[Finding]:
    """The most exposed by their individual losses, each left out of as many trainings as they are part of."""
    from privacy.attacks.leave_one_out import leave_one_out

    losses = np.array(run.read_json("individual.json")["epsilon"])
    rehearsal = Rehearsal(run.folder, name, train)
    exposed = np.argsort(-losses)[:patients]
    whole = np.ones((repeats, len(train)), dtype=bool)
    with_ = _fits(rehearsal, whole, rng)
    results = []
    for patient in exposed:
        fewer = whole.copy()
        fewer[:, patient] = False
        results.append(
            leave_one_out(with_[:, patient], _fits(rehearsal, fewer, rng)[:, patient], rng, 1 - 0.05 / patients)
        )
    worst = max(results, key=lambda r: r.mu.value)
    text = (
        f"The {patients} most exposed patients were left out of {repeats} trainings of {name} each and compared with {repeats} "
        f"trainings with them. The most that the model's opinion of one of them moved is {worst.mu.value:.2f} standard "
        f"deviations of the training's own noise ({worst.mu.low:.2f} to {worst.mu.high:.2f}, corrected for {patients} patients)."
    )
    return [
        Finding(
            "leave_one_out", "largest_mu", worst.mu.value, "information", text, "audit", worst.mu.low, worst.mu.high, worst.mu.n,
            better="lower", column=name,
        )
    ]  # fmt: skip


def _balanced(models: int, patients: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[models, patients] whom each model is trained on: everybody is in half of the models."""
    order = np.argsort(rng.random((models, patients)), axis=0)
    return np.asarray(order < models // 2)


def _fits(rehearsal: Rehearsal, included: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """[models, pool]"""
    seeds: Sequence[int] = rng.integers(2**31, size=len(included)).tolist()
    calls = [(rehearsal.likelihoods, row, seed) for row, seed in zip(included, seeds, strict=True)]
    return np.stack(in_parallel(calls))
