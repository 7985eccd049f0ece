"""Models and answers that are erased: by term, or because consent was withdrawn after training; and what that means for what
was made."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from synthgen.errors import ConfigError

if TYPE_CHECKING:
    from synthgen.review.database import Database
    from synthgen.review.people import Person
    from synthgen.workspace import Run, Workspace

SECONDS_PER_DAY = 86_400
ERASED = ("models", "answers")
EXACT = ("contributions-*.json", "individual.json")
"""What each patient contributed and gave, row by row."""
MEANING = (
    "The patient's rows have to leave the hospital's own tables: synthgen keeps no copy of them. Runs from then on do not see "
    "the patient.",
    "Models and recorded answers of earlier runs were made with the patient. Erasing them ends their use: such a run can no "
    "longer be resumed, sampled or released.",
    "Synthetic data that were released stay covered by their claim: the guarantee bounds what they tell about any one "
    "patient, this one included, whoever holds them. They hold no row of the patient. Whether a release is withdrawn is the "
    "officer's decision; copies that have left cannot be called back.",
    "What was spent stays spent, and the ledger keeps its keyed hash of the patient's id: without it, a new export could "
    "spend the same patients' budget again.",
)


def withdraw_consent(database: Database, workspace: Workspace, cohort: str, reason: str, by: Person) -> int:
    """Erases models and answers of every run on a cohort; returns of how many runs. The patient is not named here.

    Raises:
        ConfigError: without a reason, or for a cohort without runs.
        WorkspaceError: while a process works on one of the runs.
    """
    if len(reason.strip()) < 4:
        raise ConfigError("say why, in a few words, without naming the patient")
    runs = [run for run in workspace.runs() if run.dictionary.name == cohort]
    if not runs:
        raise ConfigError("there is no run on this cohort")
    with (
        database.write() as write
    ):  # said before it is done: a crash may leave less erased than said, and it can be repeated
        write.log("consent withdrawn", by.name, cohort=cohort, runs=[run.id for run in runs], reason=reason.strip())
    return sum(erase(run) for run in runs)


def retain(database: Database, workspace: Workspace, cohort: str, days: int, by: Person) -> int:
    """Erases models and answers of the runs on a cohort that were begun more than `days` ago; returns of how many runs. Each can
    no longer be resumed, sampled or released.

    Raises:
        ConfigError: for a cohort without runs.
        WorkspaceError: while a process works on one of them.
    """
    runs = [run for run in workspace.runs() if run.dictionary.name == cohort]
    if not runs:
        raise ConfigError("there is no run on this cohort")
    with database.write() as write:
        past = [run for run in runs if run.begun < write.now - days * SECONDS_PER_DAY]
        write.log("retention ended", by.name, cohort=cohort, days=days, runs=[run.id for run in past])
    return sum(erase(run) for run in past)


def erase(run: Run) -> bool:
    """Whether there was anything to erase."""
    with run.locked():
        for part in (path for pattern in EXACT for path in run.folder.glob(pattern)):
            part.unlink()
        there = [run.folder / part for part in ERASED if (run.folder / part).exists()]
        for part in there:
            shutil.rmtree(part)
    return bool(there)
