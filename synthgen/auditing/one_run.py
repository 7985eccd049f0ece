"""The one-run audit (Steinke, Nasr & Jagielski 2023) with canary patients: a lower bound on epsilon from one rehearsal."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.parallel import in_parallel
from synthgen.auditing.rehearsal import Rehearsal
from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from privacy.attacks.one_run import OneRun
    from privacy.attacks.transcript import Overheard
    from synthgen.cohort import Cohort
    from synthgen.workspace import Run

Floats = NDArray[np.float64]
ALL = "all modalities"
FROM_ANSWERS, FROM_MODEL = "the noisy sums", "the model"


def canary_patients(
    run: Run, names: Sequence[str], train: Cohort, canaries: int, rng: np.random.Generator
) -> list[Finding]:
    """The one-run audit (Steinke et al. 2023) of each generator and, where they are several, of all together: a canary is a whole
    patient with record, picture and note."""
    bounds = canary_bounds(run, names, train, canaries, rng)
    return [_one_run(found, name, canaries, run) for name, found in bounds.items()]


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
