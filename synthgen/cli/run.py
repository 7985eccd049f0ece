"""Run a job: from the real cohort to the synthetic one and its report."""

from __future__ import annotations

from synthgen.cli.console import Json
from synthgen.cli.options import JobArgument, WorkspaceOption, workspace
from synthgen.cli.status import emit_run


def command(job: JobArgument, folder: WorkspaceOption = None, as_json: Json = False) -> None:
    from synthgen.config import load_job
    from synthgen.pipeline import run
    from synthgen.progress import progress

    emit_run(run(load_job(job), workspace(folder), progress()), as_json)
