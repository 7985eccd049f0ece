"""Say what a job will do, spend and promise, without reading patients. Refuses, with reasons, what cannot work."""

from __future__ import annotations

from synthgen.cli.console import Json, emit
from synthgen.cli.options import JobArgument


def command(job: JobArgument, as_json: Json = False) -> None:
    from synthgen.config import load_job
    from synthgen.planning import explain, plan

    loaded = load_job(job)
    planned = plan(loaded, loaded.dictionary)
    emit(planned.as_dict(), explain(planned), as_json)
