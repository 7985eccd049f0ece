"""What a command says: JSON on stdout with `--json`, else words; progress on a terminal only."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]


def emit(payload: dict[str, Any], text: str, as_json: bool) -> None:
    """The answer of a command."""
    typer.echo(json.dumps(payload, allow_nan=False) if as_json else text)


def fail(message: str, kind: str) -> None:
    """An error: on stderr in words, and as JSON on stdout where the command was asked for JSON."""
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": kind, "message": message}))
    typer.echo(f"error: {message}", err=True)
