"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from synthgen.workspace import Workspace as WorkspaceFolder

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", help="The workspace folder; default $SYNTHGEN_WORKSPACE or ./workspace.")
]
RunArgument = Annotated[str | None, typer.Argument(help="A run's id or its beginning; default: the newest run.")]
JobArgument = Annotated[Path, typer.Argument(help="The job, a YAML file (configs/pbc.yaml).")]

BackendOption = Annotated[
    Literal["loky", "ray"],
    typer.Option(
        "--backend",
        help="Where the audit trains again, from depth standard: on this machine's cores (loky) or a Ray cluster (ray), which "
        "needs the extra of that name and the workspace under one path on every machine.",
    ),
]


def workspace(folder: Path | None) -> WorkspaceFolder:
    """The workspace a command works in."""
    from synthgen.workspace import Workspace, default_workspace

    return Workspace(folder or default_workspace())
