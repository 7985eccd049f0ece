"""Show what the dictionary alone implies: patients made of public knowledge (epsilon 0), and pictures of them. No patient's file
is opened, so a specialist can correct the dictionary before any budget is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import JobArgument, WorkspaceOption, workspace


def command(
    job: JobArgument,
    out: Annotated[Path, typer.Argument(help="A folder for tables and pictures; must not exist yet.")],
    patients: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from privacy.errors import ConfigError
    from synthgen.config import load_job
    from synthgen.prior import public_patients, write_pictures
    from synthgen.progress import progress
    from synthgen.storage import write_cohort

    if out.exists():
        raise ConfigError(f"{out}: exists already; name a folder that does not")
    loaded = load_job(job)
    bar = progress()
    bar.stage("prior")
    cohort = public_patients(loaded, workspace(folder).cache, patients, seed, bar)
    bar.finish()
    out.mkdir(parents=True)
    write_cohort(cohort, out, ("parquet", "csv"))
    page = write_pictures(out, loaded, cohort)
    said = {"folder": str(out), "page": str(page), "patients": len(cohort), "epsilon": 0}
    emit(said, f"{len(cohort)} patients of public knowledge alone in {out}; look at {page}", as_json)
