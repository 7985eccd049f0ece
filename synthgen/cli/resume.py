"""Go on with a run that was stopped: it never charges twice and never draws the same noise twice."""

from __future__ import annotations

from synthgen.cli.console import Json
from synthgen.cli.options import BackendOption, RunArgument, WorkspaceOption, workspace
from synthgen.cli.status import emit_run


def command(
    run: RunArgument = None, folder: WorkspaceOption = None, backend: BackendOption = "loky", as_json: Json = False
) -> None:
    from synthgen.auditing.parallel import over
    from synthgen.pipeline import resume
    from synthgen.progress import progress

    with over(backend):
        done = resume(workspace(folder).run(run), progress())
    emit_run(done, as_json)
