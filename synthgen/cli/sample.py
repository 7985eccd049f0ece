"""Draw more synthetic patients from a finished run: free of charge, any number, with static columns fixed if wanted.

With --replicates M, M cohorts in numbered folders, from one and the same fitted model: what they differ by is the drawing of
patients, not what the noise or the choice of the real patients left uncertain (docs/ehr.md says how to combine them)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import RunArgument, WorkspaceOption, workspace

Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="COLUMN=CATEGORY or COLUMN=LOW..HIGH of a static column; may be repeated."),
]


def command(
    out: Annotated[Path, typer.Argument(help="A folder for the tables; must not exist yet.")],
    run: RunArgument = None,
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    where: Where = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
    replicates: Annotated[
        int, typer.Option(min=1, help="How many cohorts; the k-th is what seed SEED + k - 1 draws.")
    ] = 1,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from privacy.errors import ConfigError
    from synthgen.pipeline import draw
    from synthgen.storage import write_cohort

    if out.exists():
        raise ConfigError(f"{out}: exists already; name a folder that does not")
    pairs = dict(_pair(w) for w in where or ())
    found = workspace(folder).run(run, done="train")
    cohorts = [draw(found, patients, seed + k, pairs) for k in range(replicates)]
    out.mkdir(parents=True)
    for k, cohort in enumerate(cohorts):
        write_cohort(cohort, out / f"{k + 1}" if replicates > 1 else out, ("parquet", "csv"))
    private = found.plan.budget is not None and not found.marks
    if not private:
        (out / "NO_PRIVACY.txt").write_text(
            "These patients carry NO PRIVACY GUARANTEE. They must not leave the hospital.\n"
        )
    said = {"folder": str(out), "patients": patients, "replicates": replicates, "private": private}
    times = f"{replicates} x " if replicates > 1 else ""
    shout = "" if private else "; NO PRIVACY GUARANTEE: they must not leave the hospital"
    emit(said, f"{times}{patients} synthetic patients in {out}{shout}", as_json)


def _pair(text: str) -> tuple[str, str]:
    from privacy.errors import ConfigError

    column, equals, value = text.partition("=")
    if not (column and equals and value):
        raise ConfigError("--where: needs COLUMN=CATEGORY, for example --where sex=f")
    return column, value
