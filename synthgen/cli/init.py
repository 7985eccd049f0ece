"""Draft a data dictionary (cohort.yaml) and a job (job.yaml) from a folder of CSV or Parquet tables.

Bounds and categories in the draft were read from the data and are marked `unreviewed`: a job refuses them until a person has
replaced them by public ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit


def command(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the cohort's tables.")], as_json: Json = False
) -> None:
    from synthgen.dictionary import read_dictionary
    from synthgen.drafting import write_draft, write_job

    path = write_draft(folder)
    dictionary = read_dictionary(path)
    job = write_job(folder, dictionary)
    columns = sum(len(table.columns) for table in dictionary.tables.values())
    emit(
        {
            "dictionary": str(path),
            "job": str(job),
            "tables": list(dictionary.tables),
            "columns": columns,
            "unreviewed": dictionary.unreviewed,
        },
        f"{path}: {len(dictionary.tables)} tables, {columns} columns, {len(dictionary.unreviewed)} of them unreviewed.\n"
        "Replace what was read from the data by public knowledge (the file says how), then:\n"
        f"  synthgen validate {path}\n  synthgen plan {job}\n  synthgen run {job}",
        as_json,
    )
