"""Write a run's report again, from the findings and flags it holds."""

from __future__ import annotations

from synthgen.cli.console import Json, emit
from synthgen.cli.options import RunArgument, WorkspaceOption, workspace


def command(run: RunArgument = None, folder: WorkspaceOption = None, as_json: Json = False) -> None:
    from synthgen.pipeline import Work, report
    from synthgen.progress import Silent

    found = workspace(folder).run(run, done="flag")
    found.read_json("stages.json")
    with found.locked():
        report(Work(found, Silent()))
    emit({"report": str(found.report)}, f"report: {found.report}", as_json)
