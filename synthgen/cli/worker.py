"""Run the jobs that scientists queue in the review house, one after the other. Stops with ctrl-C; the job goes on later."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from synthgen.cli.console import Json, emit
from synthgen.cli.options import WorkspaceOption, workspace


def command(
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at an empty queue.")] = 2.0,
    folder: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    from synthgen.review.database import Database
    from synthgen.review.worker import Worker

    place = workspace(folder)
    worker = Worker(place, Database(place))
    if not once:
        emit({"worker": worker.name}, f"worker {worker.name} waits for jobs (ctrl-C stops it)", as_json)
    done = 0
    while True:
        if worker.work_once():
            done += 1
        elif once:
            break
        else:
            time.sleep(every)
    emit({"worker": worker.name, "jobs": done}, f"{done} jobs run; the queue is empty", as_json)
