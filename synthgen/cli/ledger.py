"""Verify the ledger: `synthgen ledger verify`. With `--root` (saved earlier, elsewhere) a cut-off or forked end is found too."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace


class Action(StrEnum):
    """What can be done with a ledger besides spending."""

    VERIFY = "verify"


def command(
    action: Annotated[Action, typer.Argument(help="verify: recompute every hash; exit code 1 when one is wrong.")],
    root: Annotated[str | None, typer.Option(help="A root that an earlier verify printed: NUMBER:HASH.")] = None,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    assert action is Action.VERIFY
    found = workspace(folder).ledger().verify(root)
    payload = {"ok": found.ok, "entries": found.entries, "root": found.root, "first_bad": found.first_bad}
    emit(payload, found.text, as_json)
    if not found.ok:
        raise typer.Exit(1)
