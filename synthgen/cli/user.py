"""Make an account for the review house, list the accounts, or close one: `synthgen user add NAME --role ROLE`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace


class Action(StrEnum):
    """What can be done with accounts."""

    ADD = "add"
    LIST = "list"
    CLOSE = "close"
    OPEN = "open"


def command(
    action: Annotated[Action, typer.Argument(help="add, list, close or open (again).")],
    name: Annotated[str, typer.Argument(help="a-z, 0-9, dot, dash, underscore.")] = "",
    role: Annotated[str, typer.Option(help="scientist, specialist, officer or admin.")] = "specialist",
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from synthgen.review import people
    from synthgen.review.database import Database

    database = Database(workspace(folder))
    by = _operator()
    if action is Action.ADD:
        people.add(database, name, role, _password(name), by)
    elif action is not Action.LIST:
        people.set_active(database, name, action is Action.OPEN, by)
    with database.read() as connection:
        found = people.everybody(connection)
    rows = [{"name": p.name, "role": p.role, "open": p.active, "public_key": p.public_key} for p in found]
    words = "\n".join(f"{p.name:<20} {p.role:<11} {'open' if p.active else 'closed'}" for p in found)
    emit({"people": rows}, words or "nobody has an account yet", as_json)


def _operator() -> str:
    """Who sits at the command line, for the log."""
    import getpass

    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):
        return "command line"


def _password(name: str) -> str:
    """From $SYNTHGEN_PASSWORD, or asked for twice at the terminal; never an argument, which other users could read."""
    import os

    given = os.environ.get("SYNTHGEN_PASSWORD")
    return (
        given
        if given is not None
        else str(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    )
