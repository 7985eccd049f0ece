"""Audits of a run that train again: what does whoever holds the model learn, and what did one patient change?

Rehearsals (`Session.rehearse`) have the plan's charges, sizes and noise, on other patients; what they learn is compared and
forgotten. Most ask the generator how likely it finds a patient (`log_likelihood`); where it does not say, that is reported.
`synthgen.auditing.parallel` carries them over cores or machines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.note_exposure import CANARIES as EXPOSED
from synthgen.auditing.note_exposure import note_exposure
from synthgen.auditing.one_run import canary_patients
from synthgen.auditing.parallel import in_parallel
from synthgen.auditing.rehearsal import Rehearsal, fits, says_how_likely
from synthgen.findings import Finding

if TYPE_CHECKING:
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
REPEATS = 16
"""Trainings with, and as many without, each patient that is left out."""


def audit_by_training(
    run: Run,
    train: Cohort,
    holdout: Cohort,
    depth: Depth,
    rng: np.random.Generator,
    progress: Progress = lambda *_: None,
) -> list[Finding]:
    """White-box membership and the one-run audit from depth `standard`, leave-one-out at `deep`; nothing at `quick`."""
    names = list(run.job.generators) if REFERENCES[depth] else []
    asked = [name for name in names if says_how_likely(name)]
    steps: list[tuple[str, Callable[[], list[Finding]]]] = []
    for name in names:
        told = f"{REFERENCES[depth]} reference models of {name}"
        steps.append((told, partial(white_box, run, name, train, holdout, REFERENCES[depth], rng)))
        if LEFT_OUT[depth] and run.plan.budget is not None and name in asked:
            told = f"{LEFT_OUT[depth]} patients left out of {name}"
            steps.append((told, partial(left_out, run, name, train, LEFT_OUT[depth], rng)))
    if asked:
        told = f"{CANARIES[depth]} canary patients"
        steps.append((told, partial(canary_patients, run, asked, train, CANARIES[depth], rng)))
    if "notes" in asked and train.notes is not None:
        steps.append(("canaries in notes", lambda: [note_exposure(run, "notes", train, EXPOSED[depth], rng)]))
    findings: list[Finding] = []
    for done, (told, step) in enumerate(steps):
        progress(told, done, len(steps))
        findings += step()
    return findings


# Reference models ---------------------------------------------------------------------------------------------------------
def white_box(
    run: Run, name: str, train: Cohort, holdout: Cohort, references: int, rng: np.random.Generator
) -> list[Finding]:
    """Membership attacks with the model in hand (its log-likelihood alone, LiRA and RMIA), and, on the synthetic cohort, a
    classifier that has learnt on cohorts of the reference models. Where a model cannot be asked, that is said."""
    from privacy.attacks.likelihood import lira_scores, rmia_scores
    from privacy.attacks.membership import membership
    from privacy.attacks.shadow import shadow_scores
    from synthgen.auditing.cohorts import ERROR, told_apart
    from synthgen.cohort import concatenate

    pool = concatenate([train, holdout])
    rehearsal = Rehearsal(run.folder, name, pool)
    member = np.arange(len(pool)) < len(train)
    included = balanced(references, len(pool), rng)
    made = run.synthetic
    seeds = rng.integers(2**31, size=references).tolist()
    seen = in_parallel([(rehearsal.observed, *who, len(made)) for who in zip(included, seeds, strict=True)])
    scores: dict[str, Floats] = {}
    said = [likely for likely, _ in seen if likely is not None]
    if said:
        target, under = rehearsal.of_the_run(), np.stack(said)
        scores["likelihood"] = target
        scores["LiRA"] = lira_scores(target, under, included)
        scores["RMIA"] = rmia_scores(target, under, included, ~member)
    near = [nearness for _, nearness in seen if nearness is not None]
    if near:
        scores["shadow cohorts"] = shadow_scores(rehearsal.nearness(made), np.stack(near), included)
    found = [] if said else [_unasked(name)]
    for attack, values in scores.items():
        result = membership(attack, values[member], values[~member], rng, len(scores), ERROR)
        found += told_apart(result, f"white_box_{name}")
    return found


def _unasked(name: str) -> Finding:
    text = (
        f"The generator {name} has no log_likelihood: it does not say how likely it finds a patient. So nobody could attack the "
        "model itself (likelihood, LiRA, RMIA, canary patients), and what whoever holds the model would learn is not known: do "
        "not hand the model on. What the other attacks found of the synthetic cohort stands."
    )
    return Finding(f"white_box_{name}", "model_attacked", 0.0, "information", text, "audit")


def left_out(
    run: Run, name: str, train: Cohort, patients: int, rng: np.random.Generator, repeats: int = REPEATS
) -> list[Finding]:
    """The most exposed by their individual losses, each left out of as many trainings as they are part of."""
    from privacy.attacks.leave_one_out import leave_one_out

    losses = np.array(run.read_json("individual.json")["epsilon"])
    rehearsal = Rehearsal(run.folder, name, train)
    exposed = np.argsort(-losses)[:patients]
    whole = np.ones((repeats, len(train)), dtype=bool)
    with_ = fits(rehearsal, whole, rng)
    results = []
    for patient in exposed:
        fewer = whole.copy()
        fewer[:, patient] = False
        results.append(
            leave_one_out(with_[:, patient], fits(rehearsal, fewer, rng)[:, patient], rng, 1 - 0.05 / patients)
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


def balanced(models: int, patients: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[models, patients] whom each model is trained on: everybody is in half of the models."""
    order = np.argsort(rng.random((models, patients)), axis=0)
    return np.asarray(order < models // 2)
