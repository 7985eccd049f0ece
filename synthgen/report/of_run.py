"""A run's folder and ledger -> what its report shows and its release gate judges."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from synthgen.claim import claim
from synthgen.config import DEFAULT_CAP
from synthgen.report.context import ReportContext, Spending, StageTime

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.formats.pixels import Pixels
    from synthgen.workspace import Run

SAMPLING_STEPS = "sampling_steps.png"
SHOWN = ("synthgen", "torch", "opacus", "dp-accounting", "pyro-ppl", "pandas", "scikit-learn")


def is_charged(run: Run) -> bool:
    """Whether this workspace's ledger holds just this run's plan under its id."""
    held, plan = run.workspace.ledger().reservation(run.id), run.plan
    return (
        held is not None and plan.budget is not None and (held.charges, held.delta) == (plan.charges, plan.budget.delta)
    )


def context_of(run: Run, train: Cohort | None = None, holdout: Cohort | None = None) -> ReportContext:
    """Everything there is to say about a run. The real cohorts are for charts of the internal report only."""
    plan, dictionary = run.plan, run.dictionary
    spending, all_runs, marks = None, None, list(run.marks)
    if run.job.privacy.noise_seed is not None:
        marks.append("seeded")
    if plan.budget is not None and plan.epsilon is not None:
        spent = run.workspace.ledger().spent(dictionary.name, plan.budget.delta)
        cap = spent.cap.epsilon if spent.cap else DEFAULT_CAP
        spending = Spending(plan.budget.epsilon, plan.epsilon, spent.epsilon, cap, plan.budget.delta)
        all_runs = spent.charges
        if not is_charged(run):
            marks.append("uncharged")
    return ReportContext(
        run=run.id,
        job=run.job.name,
        dictionary=dictionary,
        claim=claim(plan.charges, plan.budget, dictionary, all_runs=all_runs, marks=marks),
        synthetic=run.synthetic,
        spending=spending,
        findings=run.findings,
        flags=run.flags,
        train=train,
        holdout=holdout,
        stages=[StageTime(name, took["seconds"], took["peak_mb"]) for name, took in run.stages.items()],
        versions={package: version(package) for package in SHOWN},
        sampling_steps=_steps(run),
    )


def _steps(run: Run) -> Pixels | None:
    """What the stage `sample` left of a generator of pictures."""
    from synthgen.formats.pictures import read

    path = run.folder / SAMPLING_STEPS
    return read(path) if path.exists() else None
