"""What a run shows of itself: is the one door as the plan says, and did the model come through it?

Tests that do not look at the synthetic patients. *Canaries* are sent through the session's own code; `replay` asks whether the
model came of the recorded answers alone, and whether any patient's row hangs on others; *delta* must lie well below one patient
in the cohort. And what each patient gave at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from privacy.attacks.canaries import CanaryAudit
    from synthgen.auditing.cohorts import Depth
    from synthgen.cohort import Cohort
    from synthgen.generator import Progress
    from synthgen.planning import Plan
    from synthgen.workspace import Run

CANARIES = {"quick": 2048, "standard": 4096, "deep": 16384}


def audit_run(
    run: Run, train: Cohort, holdout: Cohort, depth: Depth = "quick", progress: Progress = lambda *_: None
) -> list[Finding]:
    """The four tests of a run with privacy (one without claims nothing), individual losses, and from depth `standard` what
    training again shows (`retraining`)."""
    from synthgen.auditing.replay import replay
    from synthgen.auditing.retraining import audit_by_training
    from synthgen.randomness import generator

    findings: list[Finding] = []
    if run.plan.budget is not None:
        findings += [*canaries(run.plan, depth, progress), delta(run.plan)]
        for done, name in enumerate(run.job.generators):
            progress(f"replay of {name}", done, len(run.job.generators))
            findings += replay(run, name, train, progress)
        findings += individual(run)
    return findings + audit_by_training(run, train, holdout, depth, generator(run.job.seed, "audit"), progress)


# Canaries -----------------------------------------------------------------------------------------------------------------
def canaries(plan: Plan, depth: Depth = "quick", progress: Progress = lambda *_: None) -> list[Finding]:
    """The plan's charges on canaries, and what they prove of epsilon."""
    from privacy.attacks.canaries import audit_canaries

    assert plan.budget is not None
    assert plan.epsilon is not None
    found = audit_canaries(
        plan.charges, plan.budget.delta, plan.epsilon, CANARIES[depth], progress=lambda d, n: progress("canaries", d, n)
    )
    return [_bound(found, plan.epsilon, plan.budget.delta), *_door(found)]


def _bound(found: CanaryAudit, claim: float, at_delta: float) -> Finding:
    convicted = "epsilon" in found.convicted
    outcome = (
        "That is more than is claimed: suspect less noise than planned, a missing or per-visit clip, or charges that were not "
        "added up."
        if convicted
        else "The claim stands."
    )
    text = (
        f"{found.canaries} canaries sent through the run's own code prove with 99.9% confidence that epsilon is at least "
        f"{found.epsilon_low:.2f} (at delta {at_delta:g}); {claim:.2f} is claimed, and so many canaries could prove at most "
        f"{found.ceiling:.1f}. {outcome}"
    )
    verdict: Verdict = "fail" if convicted else "pass"
    return Finding(
        "canaries", "epsilon_lower_bound", found.epsilon_low, verdict, text, "audit", n=found.canaries, ceiling=found.ceiling,
        bound=claim, better="lower",
    )  # fmt: skip


def _door(found: CanaryAudit) -> list[Finding]:
    """One finding each on noise, clip and sampling (of the charge that is furthest off), and on fresh noise."""
    worst_noise = min(found.charges, key=lambda c: c.noise.high)
    worst_clip = max(found.charges, key=lambda c: c.contribution.low)
    rows = [
        ("noise", worst_noise.noise, f"The noise of {worst_noise.charge}, as a share of the planned noise, is"),
        (
            "clipping",
            worst_clip.contribution,
            f"The most that one patient adds to {worst_clip.charge}, in clip norms, is",
        ),
    ]
    if drawn := [c for c in found.charges if c.sampling is not None]:
        off = max(drawn, key=lambda c: abs(np.log(c.sampling.value)) if c.sampling else 0.0)
        assert off.sampling is not None
        words = f"The number of patients that {off.charge} samples varies, as a share of what independent draws would do, by"
        rows.append(("sampling", off.sampling, words))
    findings = []
    for metric, rate, words in rows:
        verdict: Verdict = "fail" if any(c.startswith(metric) for c in found.convicted) else "pass"
        text = f"{words} {rate.value:.3f} (99.998% interval {rate.low:.3f} to {rate.high:.3f}; it should be 1)."
        findings.append(
            Finding(
                "canaries", metric, rate.value, verdict, text, "audit", rate.low, rate.high, rate.n, better="target"
            )
        )
    stale = [c for c in found.convicted if c.startswith("fresh")]
    text = (
        "The same noise was drawn twice: whoever holds both answers can subtract it. Suspect a seed, or noise kept over a resume."
        if stale
        else "Every answer had noise of its own, also after a crash and a resume."
    )
    return [*findings, Finding("canaries", "fresh_noise", float(not stale), "fail" if stale else "pass", text, "audit")]


def delta(plan: Plan) -> Finding:
    """Delta is the chance that the guarantee says nothing: at 1/n, publishing one whole patient would be allowed."""
    from privacy.budget import Budget

    assert isinstance(plan.budget, Budget)
    n, value = plan.declared_patients, plan.budget.delta
    verdict: Verdict = "pass" if value <= 1 / (10 * n) else "inconclusive" if value <= 1 / (2 * n) else "fail"
    text = f"Delta is {value:g} for {n} declared patients; a tenth of one patient is {1 / (10 * n):.2g}. " + (
        "It lies below." if verdict == "pass" else "Near 1/n, publishing one patient's whole record would be private."
    )
    return Finding("claim", "delta", value, verdict, text, "audit", bound=1 / (10 * n), better="lower")


# Individual losses --------------------------------------------------------------------------------------------------------
def individual(run: Run) -> list[Finding]:
    """What each patient gave at most, from what they contributed: individual.json, for the privacy officer only, in the order of
    the training patients. Their ids are worked out again when needed (`exposed`), not stored."""
    from privacy.individual import individual_epsilons

    plan = run.plan
    shares: dict[str, NDArray[np.float64]] = {}
    assert plan.budget is not None
    for name in run.job.generators:
        stored = run.read_json(f"contributions-{name}.json")
        shares |= {charge: np.array(values) for charge, values in stored.items()}
    losses = individual_epsilons(plan.charges, shares, plan.budget.delta)
    run.write_json("individual.json", {"epsilon": np.round(losses, 4).tolist()})
    middle, most = float(np.median(losses)), float(losses.max())
    text = (
        f"By what they contributed, half of the training patients gave less than epsilon {middle:.2f}, and nobody more than "
        f"{most:.2f}. These numbers depend on the patients: they are no claim, and stay with the privacy officer "
        "(individual.json)."
    )
    return [
        Finding("individual", "median_epsilon", middle, "information", text, "audit", n=len(losses), bound=plan.epsilon)
    ]


def exposed(run: Run) -> list[dict[str, Any]]:
    """`{patient, epsilon}` of every training patient, the most exposed first. The cohort is read again for the ids.

    Raises:
        WorkspaceError: where the run has no individual losses: it was not audited, has no privacy, or they were erased; and
            where the cohort is no longer the one that was trained on.
    """
    from synthgen.errors import WorkspaceError
    from synthgen.pipeline import Work
    from synthgen.progress import Silent

    if not (run.folder / "individual.json").exists():
        raise WorkspaceError(
            f"{run.folder}: no individual losses are kept here: the run was not audited yet, has no privacy, or they were erased"
        )
    losses = run.read_json("individual.json")["epsilon"]
    train, _ = Work(run, Silent()).halves()
    rows = [{"patient": str(i), "epsilon": float(e)} for i, e in zip(train.ids, losses, strict=True)]
    return sorted(rows, key=lambda row: -row["epsilon"])
