"""Open the review house in the browser: triage, audit and signed release. Nothing leaves this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace

IDLE = 75
"""Seconds that a browser's open connection may say nothing: longer than people think between two decisions."""


def command(
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond 127.0.0.1 put TLS in front.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8765,
    name: Annotated[
        list[str] | None, typer.Option(help="A host name to answer to besides localhost; repeatable.")
    ] = None,
    jobs: Annotated[Path, typer.Option(help="The folder of the job files that scientists may queue.")] = Path(
        "configs"
    ),
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    import uvicorn

    from synthgen.review.app import create_app

    app = create_app(workspace(folder), name or (), jobs)
    address = f"http://{'localhost' if host == '127.0.0.1' else host}:{port}/"
    emit({"address": address}, f"the review house is open at {address} (ctrl-C closes it)", as_json)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        access_log=False,
        timeout_keep_alive=IDLE,
        proxy_headers=bool(name),  # without a proxy in front, X-Forwarded-For is whatever the browser's owner writes
    )
