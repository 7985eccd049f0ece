"""Make a simulated cohort from a data dictionary alone: records, pictures that follow a stage, notes. Nobody's data is behind it.

It is for trying a job before there is a cohort, and for the demo of linked modalities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit

NOTICE = "SIMULATED DATA: made by synthgen from the dictionary alone. No row describes a person.\n"


def command(
    dictionary: Annotated[Path, typer.Argument(help="The data dictionary, cohort.yaml.")],
    out: Annotated[Path, typer.Argument(help="A folder for the tables; must not exist yet.")],
    patients: Annotated[int | None, typer.Option(min=2, help="How many; default: as many as are declared.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed simulates other patients of another population.")] = 0,
    as_json: Json = False,
) -> None:
    from dataclasses import replace

    from privacy.errors import ConfigError
    from privacy.files import write_durably
    from synthgen.dictionary import read_dictionary
    from synthgen.linked_simulation import simulate_linked
    from synthgen.randomness import generator
    from synthgen.storage import write_cohort

    if out.exists():
        raise ConfigError(f"{out}: exists already; name a folder that does not")
    known = read_dictionary(dictionary)
    cohort = simulate_linked(known, patients or known.declared_patients, generator(seed, "simulate"))
    write_cohort(replace(cohort, origin="real"), out, ("csv",))  # it plays the part of the real cohort
    write_durably(out / "cohort.yaml", dictionary.read_bytes())  # so that the folder can be a generator's public cohort
    write_durably(out / "SIMULATED.txt", NOTICE.encode())
    said = {"folder": str(out), "patients": len(cohort), "simulated": True}
    emit(said, f"{len(cohort)} simulated patients in {out}; no row describes a person", as_json)
