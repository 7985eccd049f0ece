"""Check a cohort's tables against their dictionary, and list every breach at once (exit code 1 if there is one)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit


def command(
    cohort: Annotated[Path, typer.Argument(help="The data dictionary cohort.yaml, or the folder that holds it.")],
    data: Annotated[
        Path | None, typer.Option(help="The folder of the tables; default: the dictionary's folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    from synthgen.dictionary import read_dictionary
    from synthgen.errors import DataError
    from synthgen.storage import read_cohort

    path = cohort / "cohort.yaml" if cohort.is_dir() else cohort
    dictionary = read_dictionary(path)
    try:
        read_cohort(data or path.parent, dictionary)
        breaches = []
    except DataError as error:
        breaches = error.breaches
    unreviewed = dictionary.unreviewed
    payload = {"cohort": dictionary.name, "conforms": not breaches, "breaches": breaches, "unreviewed": unreviewed}
    emit(payload, _text(dictionary.name, breaches, unreviewed), as_json)
    if breaches:
        raise typer.Exit(1)


def _text(name: str, breaches: list[str], unreviewed: list[str]) -> str:
    lines = [f"{len(breaches)} breaches:", *(f"- {breach}" for breach in breaches)] if breaches else []
    lines = lines or [f"{name}: the tables keep to their dictionary."]
    if unreviewed:
        lines.append(f"A job refuses this dictionary until these columns are reviewed: {', '.join(unreviewed)}.")
    return "\n".join(lines)
