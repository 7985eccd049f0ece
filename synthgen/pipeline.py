"""One job, stage by stage. Each stage reads what earlier ones left in the run's folder and leaves its own there; a stage that
has finished is not run again, so `resume` goes on where a killed run stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from privacy.budget import Budget
from privacy.errors import ConfigError, WorkspaceError
from synthgen.config import DEFAULT_CAP, Job
from synthgen.device import forget_peak_memory, peak_memory_mb, resolve
from synthgen.planning import plan
from synthgen.progress import Progress, Silent
from synthgen.randomness import child_seed, generator
from synthgen.report.of_run import is_charged
from synthgen.workspace import Run, Workspace, default_workspace

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.findings import Check, Evidence, Finding
    from synthgen.formats.pixels import Pixels
    from synthgen.linking import Linked

SECTIONS = ("fidelity", "rules", "utility")
REPLICATES = 5
"""Cohorts of one fitted model that estimands are combined over, the run's own among them."""


def run(job: Job, workspace: Workspace | None = None, progress: Progress | None = None) -> Run:
    """Runs a job from its plan to its report.

    Raises:
        SynthgenError: whatever a person has to mend; nothing is spent before the stage `charge`.
    """
    dictionary = job.dictionary
    planned = plan(job, dictionary)  # 1. plan: a job that cannot work leaves no run behind
    fresh = (workspace or Workspace(default_workspace())).new_run(job, dictionary, planned)
    return resume(fresh, progress)


def resume(run: Run, progress: Progress | None = None) -> Run:
    """Goes on with a run where it stopped. Never charges twice, never draws the same noise twice."""
    with run.locked():
        run.sweep()
        work = Work(run, progress or Silent())
        if "charge" in run.stages:
            _must_still_be_charged(run)
            work.progress.spent(run.plan.epsilon)
        for stage, function in STAGES.items():
            if stage not in run.stages:
                _timed(work, stage, function)
        work.progress.finish()
    return run


class Work:
    """What the stages of one process share: the run, and cohorts that would be slow to read again."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self.run, self.progress = run, progress
        self.job, self.dictionary = run.job, run.dictionary
        self._cohort: Cohort | None = None
        self._evidence: Evidence | None = None

    @property
    def cohort(self) -> Cohort:
        """The real cohort. Raises WorkspaceError when its files changed since the run read them first."""
        if self._cohort is None:
            from synthgen.storage import fingerprint, read_cohort

            self._cohort = read_cohort(self.job.folder, self.dictionary)
            if "read" in self.run.stages and self.run.read_json("cohort.json")["fingerprint"] != fingerprint(
                self._cohort
            ):
                raise WorkspaceError(
                    f"{self.job.folder}: the cohort's files changed since run {self.run.id} began; start a new run "
                    "(what was spent stays spent)"
                )
        return self._cohort

    def halves(self) -> tuple[Cohort, Cohort]:
        """(train, holdout)."""
        from synthgen.splitting import split

        train, holdout = split(self.cohort, self.job.holdout, self.run.workspace.key)
        return self.cohort.of(train), self.cohort.of(holdout)

    @property
    def evidence(self) -> Evidence:
        """What checks and audit look at."""
        if self._evidence is None:
            from synthgen.findings import Evidence
            from synthgen.floor import independent

            train, holdout = self.halves()
            floor = independent(train, self.dictionary, generator(self.job.seed, "floor"))
            rng = generator(self.job.seed, "checks")
            prior = public_alone(self)
            made, again = self.run.synthetic, replicates(self.run)
            self._evidence = Evidence(self.dictionary, train, holdout, made, floor, rng, prior, again)
        return self._evidence

    def add_findings(self, sections: tuple[str, ...], findings: Sequence[Finding]) -> None:
        """Replaces what an interrupted try of the same stage may have left."""
        kept = [f for f in self.run.findings if f.section not in sections]
        self.run.write_lines("findings.jsonl", [*kept, *findings])


# Stage 1, plan, is `synthgen.planning`: it reads no patient and comes before there is a run.


# 2. read ------------------------------------------------------------------------------------------------------------------
def read(work: Work) -> None:
    """Tables against the dictionary; every breach listed at once."""
    from synthgen.storage import fingerprint

    work.run.write_json(
        "cohort.json", {"fingerprint": fingerprint(work.cohort), "patients": _rounded(len(work.cohort))}
    )


# 3. split -----------------------------------------------------------------------------------------------------------------
def split(work: Work) -> None:
    """Train and holdout by a keyed hash of the patient's id. The ids are worked out again when needed, not stored."""
    train, holdout = work.halves()
    work.run.write_json("split.json", {"train": _rounded(len(train)), "holdout": _rounded(len(holdout))})


# 4. charge ----------------------------------------------------------------------------------------------------------------
def charge(work: Work) -> None:
    """One transaction reserves the whole plan for these patients, before any session opens."""
    planned = work.run.plan
    if planned.budget is None:
        return
    from privacy.ledger import patient_tags

    tags = patient_tags(work.cohort.ids, work.run.workspace.key)
    cap = Budget(DEFAULT_CAP, planned.budget.delta)
    ledger = work.run.workspace.ledger()
    ledger.reserve(work.run.id, work.dictionary.name, tags, planned.charges, cap)
    work.run.write_json("ledger.json", {"root": ledger.root})  # a ledger that is put back to before this is found out


# 5. train -----------------------------------------------------------------------------------------------------------------
def train(work: Work) -> None:
    """Each generator learns through its own session. Answers are journalled, so a killed fit replays and goes on."""
    from privacy.individual import Contributions
    from privacy.journal import Journal
    from privacy.noise import Noise
    from privacy.session import Session

    planned, seed = work.run.plan, child_seed(work.job.seed, "train")
    patients, _ = work.halves()
    for name, model in _generators(work).all.items():
        model.pretrain(seed, work.run.workspace.cache, work.progress)
        contributions = Contributions(len(patients))
        session = Session(
            model.encode(patients),
            planned.charges_of(model.modality),
            planned.declared_training,
            Noise(work.job.privacy.noise_seed),
            Journal(work.run.path("answers", name), work.run.workspace.high_water(work.run.id, name)),
            contributions=contributions,
        )
        model.fit(session, seed, work.progress)
        work.run.write_json(f"contributions-{name}.json", contributions.as_dict(planned.charges_of(model.modality)))
        model.save(work.run.path("models", name))
    if planned.budget is not None:
        work.run.workspace.ledger().close(work.run.id, "finished")


# 6. sample ----------------------------------------------------------------------------------------------------------------
def sample(work: Work) -> None:
    """Whole synthetic patients, one after the other: the record, then image and note of the same patient."""
    from synthgen.storage import write_cohort

    patients = work.job.patients or work.run.plan.declared_training
    write_cohort(
        draw(work.run, patients, seed=work.job.seed, progress=work.progress), work.run.path("synthetic"), ("parquet",)
    )
    for name, model in _generators(work).all.items():
        if hasattr(model, "sampling_steps"):
            model.load(work.run.folder / "models" / name)
            _show_sampling(work, model.sampling_steps(generator(work.job.seed, "sampling steps")))


def _show_sampling(work: Work, pictures: list[Pixels]) -> None:
    """One synthetic picture as it comes out of noise, for the report."""
    from privacy.files import write_durably
    from synthgen.report.contact_sheet import png, row
    from synthgen.report.of_run import SAMPLING_STEPS

    write_durably(work.run.folder / SAMPLING_STEPS, png(row(pictures)))


def draw(
    run: Run, patients: int, seed: int, where: dict[str, str] | None = None, progress: Progress | None = None
) -> Cohort:
    """Draws synthetic patients from a trained run.

    Raises:
        ConfigError: for conditions that cannot be met, or when the generator's patients breach the dictionary.
    """
    linked = _generators(Work(run, progress or Silent()))
    for name, model in linked.all.items():
        model.load(run.folder / "models" / name)
    cohort, faults = linked.sample(patients, generator(seed, "sample", patients), where)
    for name, breaches in faults.items():
        if breaches:
            fault = "its synthetic patients breach the dictionary, which is a fault of the generator, not of your data"
            raise ConfigError(f"generators.{name}: {fault}: {' '.join(breaches)}")
    return cohort


def replicates(run: Run) -> list[Cohort]:
    """Further cohorts of the run's size from its trained models, so that checks see how much one drawing differs from the next.
    None where nobody declared an estimand or a task that they would be used for."""
    if not (run.dictionary.estimands or run.dictionary.tasks):
        return []
    return [draw(run, len(run.synthetic), run.job.seed + k) for k in range(1, REPLICATES)]


def public_alone(work: Work) -> Cohort | None:
    """As many patients as the run made, by the same generator before it meets a patient: what the patients are to be measured
    against. None without privacy, and for a generator that knows nothing public."""
    from synthgen.prior import public_patients

    if work.run.plan.budget is None:
        return None
    try:
        return public_patients(work.job, work.run.workspace.cache, len(work.run.synthetic), 0, work.progress)
    except ConfigError:
        return None


# 7. fidelity --------------------------------------------------------------------------------------------------------------
def fidelity(work: Work) -> None:
    """Is it like the patients? Every registered check of fidelity."""
    _check(work, ("fidelity", "rules"))


# 8. utility ---------------------------------------------------------------------------------------------------------------
def utility(work: Work) -> None:
    """Does a model trained on it work on real patients?"""
    from synthgen.gain import gained

    _check(work, ("utility",))
    measured = [f for f in work.run.findings if f.check != "gain"]
    work.add_findings(("utility",), [f for f in measured if f.section == "utility"] + gained(measured))


# 9. audit -----------------------------------------------------------------------------------------------------------------
def audit(work: Work) -> None:
    """What an attacker learns of the patients from the samples, and whether the run kept to its plan."""
    from synthgen.auditing.cohorts import audit as attack
    from synthgen.auditing.runs import audit_run

    findings, flags = attack(work.evidence, work.run.plan.epsilon, work.job.audit, work.progress)
    findings += audit_run(work.run, *work.halves(), work.job.audit, work.progress)
    work.add_findings(("audit",), findings)
    work.run.write_lines("flags-audit.jsonl", flags)


# 10. flag -----------------------------------------------------------------------------------------------------------------
def flag(work: Work) -> None:
    """Findings about single patients -> a ranked queue, and each patient's score."""
    from synthgen.flagging import flag as queue
    from synthgen.flags import Flag
    from synthgen.quality import scores

    raised = [Flag(**row) for row in work.run.read_lines("flags-audit.jsonl")]
    raised += [f for check in _checks(SECTIONS) if hasattr(check, "flags") for f in check.flags(work.evidence)]
    flags = queue(work.evidence.synthetic, work.dictionary, raised)
    work.run.write_json("quality.json", scores(work.evidence.synthetic.ids, flags))
    work.run.write_lines("flags.jsonl", flags)


# 11. report ---------------------------------------------------------------------------------------------------------------
def report(work: Work) -> None:
    """Findings -> HTML and JSON."""
    from synthgen.report import write_report
    from synthgen.report.of_run import context_of

    write_report(work.run.folder, context_of(work.run, *work.halves()))


STAGES: dict[str, Callable[[Work], None]] = {
    "read": read,
    "split": split,
    "charge": charge,
    "train": train,
    "sample": sample,
    "fidelity": fidelity,
    "utility": utility,
    "audit": audit,
    "flag": flag,
    "report": report,
}
"""The stages of a run in order. After them come people: review (rows in the database) and release (`synthgen release`)."""


def _must_still_be_charged(run: Run) -> None:
    """A ledger restored from before this run was charged, or replaced, would lose what it spent; a copy of a run's folder was
    never charged at all."""
    if run.plan.budget is not None:
        found = run.workspace.ledger().verify(run.read_json("ledger.json")["root"])
        if not found.ok:
            raise WorkspaceError(
                f"{run.workspace.root}: the ledger is not the one this run was charged in: {found.text}"
            )
        if not is_charged(run):
            raise WorkspaceError(
                f"{run.folder}: the ledger holds no charge of run {run.id}, or another one: its folder was copied, renamed or "
                "edited. A run is its own id; start a new run"
            )


def _generators(work: Work) -> Linked:
    from synthgen.linking import Linked

    return Linked.of(work.job, work.dictionary, resolve(work.job.device))


def _checks(sections: tuple[str, ...]) -> list[Check]:
    from synthgen.plugins import checks

    return [check for check in checks() if check.section in sections]


def _check(work: Work, sections: tuple[str, ...]) -> None:
    todo = _checks(sections)
    findings: list[Finding] = []
    for done, check in enumerate(todo):
        work.progress(check.name, done, len(todo))
        findings += check.run(work.evidence)
    work.add_findings(sections, findings)


def _rounded(patients: int) -> int:
    """Counts of real patients are kept to the nearest ten."""
    return round(patients, -1)


def _timed(work: Work, stage: str, function: Callable[[Work], None]) -> None:
    work.progress.stage(stage)
    began = time.monotonic()
    forget_peak_memory()
    function(work)
    took = {"seconds": round(time.monotonic() - began, 2), "peak_mb": peak_memory_mb()}
    work.run.write_json("stages.json", work.run.stages | {stage: took})
    if stage == "charge":
        work.progress.spent(work.run.plan.epsilon)
