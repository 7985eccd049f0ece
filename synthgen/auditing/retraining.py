"""Audits of a run that train again: what does whoever holds the model learn, and what did one patient change?

Rehearsals (`Session.rehearse`) have the plan's charges, sizes and noise, on other patients; what they learn is compared and
forgotten. They need the generator to say how likely it finds a patient (`log_likelihood`); without that they are left out.
`synthgen.auditing.parallel` carries them over cores or machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.note_exposure import CANARIES as EXPOSED
from synthgen.auditing.note_exposure import note_exposure
from synthgen.auditing.one_run import canary_patients
from synthgen.auditing.parallel import in_parallel
from synthgen.auditing.rehearsal import Rehearsal, fits
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
    """Membership attacks with the model in hand (its log-likelihood alone, LiRA and RMIA), and, on the synthetic cohort, a
    classifier that has learnt on cohorts of the reference models."""
    from privacy.attacks.likelihood import lira_scores, rmia_scores
    from privacy.attacks.membership import membership
    from privacy.attacks.shadow import shadow_scores
    from synthgen.auditing.cohorts import ERROR, told_apart
    from synthgen.cohort import concatenate

    pool = concatenate([train, holdout])
    rehearsal = Rehearsal(run.folder, name, pool)
    member = np.arange(len(pool)) < len(train)
    included = balanced(references, len(pool), rng)
    target, made = rehearsal.of_the_run(), run.synthetic
    seeds = rng.integers(2**31, size=references).tolist()
    seen = in_parallel([(rehearsal.observed, *who, len(made)) for who in zip(included, seeds, strict=True)])
    under = np.stack([likely for likely, _ in seen])
    scores = {
        "likelihood": target,
        "LiRA": lira_scores(target, under, included),
        "RMIA": rmia_scores(target, under, included, ~member),
    }
    near = [nearness for _, nearness in seen if nearness is not None]
    if near:
        scores["shadow cohorts"] = shadow_scores(rehearsal.nearness(made), np.stack(near), included)
    found = []
    for attack, values in scores.items():
        result = membership(attack, values[member], values[~member], rng, len(scores), ERROR)
        found += told_apart(result, f"white_box_{name}")
    return found


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
