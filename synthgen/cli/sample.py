"""Draw more synthetic patients from a finished run: free of charge, any number, with static columns fixed if wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import RunArgument, WorkspaceOption, workspace

Where = Annotated[
    list[str] | None, typer.Option("--where", help="COLUMN=CATEGORY of a static column; may be repeated.")
]


def command(
    out: Annotated[Path, typer.Argument(help="A folder for the tables; must not exist yet.")],
    run: RunArgument = None,
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    where: Where = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from privacy.errors import ConfigError
    from synthgen.pipeline import draw
    from synthgen.storage import write_cohort

    if out.exists():
        raise ConfigError(f"{out}: exists already; name a folder that does not")
    pairs = dict(_pair(w) for w in where or ())
    cohort = draw(workspace(folder).run(run), patients, seed, pairs)
    out.mkdir(parents=True)
    write_cohort(cohort, out, ("parquet", "csv"))
    emit({"folder": str(out), "patients": len(cohort)}, f"{len(cohort)} synthetic patients in {out}", as_json)


def _pair(text: str) -> tuple[str, str]:
    from privacy.errors import ConfigError

    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise ConfigError("--where: needs COLUMN=CATEGORY, for example --where sex=f")
    return column, value
