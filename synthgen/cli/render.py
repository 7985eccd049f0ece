"""Write notes derived from a cohort's records: rendered from the dictionary's labels, units and ranges, for cohorts without any.

They are called derived, because no clinician wrote them: they serve demos and tests. They say what the records say, so they stay
where the records are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthgen.cli.console import Json, emit

if TYPE_CHECKING:
    from synthgen.dictionary import Dictionary


def command(
    cohort: Annotated[Path, typer.Argument(help="A job, or the data dictionary cohort.yaml.")],
    out: Annotated[
        Path, typer.Option("--out", help="The file of notes to write, .csv or .parquet; must not exist yet.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="The folder of the tables; default: the job's, or the dictionary's folder.")
    ] = None,
    bank: Annotated[
        str, typer.Option(help="The phrase bank; `public` is what generators are pretrained on.")
    ] = "derived",
    seed: Annotated[int, typer.Option(min=0, help="Another seed phrases and omits differently.")] = 0,
    as_json: Json = False,
) -> None:
    from privacy.errors import ConfigError
    from synthgen.notes.rendering import render
    from synthgen.randomness import generator
    from synthgen.storage import read_cohort

    if out.exists():
        raise ConfigError(f"{out}: exists already; name a file that does not")
    if out.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"{out}: --out needs a file that ends in .csv or .parquet")
    dictionary, folder = _dictionary(cohort)
    known = dictionary.without(_unwritten(dictionary, data or folder))
    notes = render(read_cohort(data or folder, known), known, generator(seed, "render"), bank)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".csv":
        notes.to_csv(out, index=False)
    else:
        notes.to_parquet(out, index=False)
    said = {"file": str(out), "notes": len(notes), "patients": int(notes["patient_id"].nunique()), "derived": True}
    emit(
        said, f"{said['notes']} derived notes of {said['patients']} patients in {out}; no clinician wrote them", as_json
    )


def _dictionary(path: Path) -> tuple[Dictionary, Path]:
    """(dictionary, folder of the tables) of a job or of a cohort.yaml."""
    from synthgen.config import load_job
    from synthgen.dictionary import read_dictionary, read_yaml

    content = read_yaml(path)
    if isinstance(content, dict) and "tables" in content:
        return read_dictionary(path), path.parent
    job = load_job(path)
    return read_dictionary(job.cohort), job.folder


def _unwritten(dictionary: Dictionary, folder: Path) -> list[str]:
    """Tables that follow from the records and have no file yet."""
    from synthgen.dictionary import LINKED

    stems = {name: dictionary.tables[name].file or name for name in LINKED if name in dictionary.tables}
    return [name for name, stem in stems.items() if not list(folder.glob(f"{stem}.*"))]
