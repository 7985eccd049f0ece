"""Run a job: from the real cohort to the synthetic one and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json
from synthgen.cli.options import BackendOption, JobArgument, WorkspaceOption, workspace
from synthgen.cli.status import emit_run


def command(
    job: JobArgument,
    data: Annotated[
        Path | None, typer.Option(help="Where the cohort lies, in place of the job's `data`: a folder, or one file.")
    ] = None,
    folder: WorkspaceOption = None,
    backend: BackendOption = "loky",
    as_json: Json = False,
) -> None:
    from synthgen.auditing.parallel import over
    from synthgen.config import load_job
    from synthgen.pipeline import run
    from synthgen.progress import progress

    loaded = load_job(job)
    if data is not None:
        loaded = loaded.model_copy(update={"data": data.resolve()})
    with over(backend):
        done = run(loaded, workspace(folder), progress())
    emit_run(done, as_json)
