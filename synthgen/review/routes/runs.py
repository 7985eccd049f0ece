"""Runs: queued, watched, stopped, looked at, and two of them side by side."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import HTTPException, Query, Request
from fastapi.responses import FileResponse, Response

from synthgen.errors import ConfigError
from synthgen.pipeline import STAGES
from synthgen.review import jobs, people
from synthgen.review.access import Me, Number, Text, route
from synthgen.review.house import house
from synthgen.review.people import Role
from synthgen.review.render import page, see
from synthgen.workspace import Run

READERS: tuple[Role, ...] = ("scientist", "officer")


@route("GET", "/runs", READERS)
def everything(request: Request, me: Me) -> Response:
    home = house(request)
    with home.database.read() as connection:
        queue, names = jobs.everything(connection), people.names(connection)
    runs = [(r, _left(r), r.plan.epsilon) for r in reversed(home.workspace.runs())]
    offered = jobs.offered(home.jobs) if me.role == "scientist" else {}
    return page(request, "runs.html", queue=queue, names=names, runs=runs, offered=offered, over=jobs.OVER)


@route("POST", "/jobs", ("scientist",))
def submit(
    request: Request,
    me: Me,
    job: Text,
    epsilon: Text = "",
    patients: Text = "",
    seed: Text = "",
) -> Response:
    home = house(request)
    offered = jobs.offered(home.jobs)
    if job not in offered:
        raise ConfigError("there is no such job in the jobs folder")
    wanted = jobs.changed(offered[job], _number(epsilon, float), _number(patients, int), _number(seed, int))
    with home.database.write() as write:
        number = jobs.submit(write, wanted, me)
    return see(f"/jobs/{number}")


@route("GET", "/jobs/{number}", READERS)
def one(request: Request, number: Number) -> Response:
    return page(request, "job.html", **_of_job(request, number))


@route("GET", "/jobs/{number}/progress", READERS)
def progress(request: Request, number: Number) -> Response:
    return page(request, "progress.html", **_of_job(request, number))


@route("POST", "/jobs/{number}/cancel", ("scientist",))
def cancel(request: Request, me: Me, number: Number) -> Response:
    with house(request).database.write() as write:
        jobs.cancel(write, number, me)
    return see(f"/jobs/{number}")


@route("POST", "/jobs/{number}/resume", ("scientist",))
def resume(request: Request, me: Me, number: Number) -> Response:
    with house(request).database.write() as write:
        jobs.resume(write, number, me)
    return see(f"/jobs/{number}")


@route("GET", "/runs/{run_id}", READERS)
def run(request: Request, me: Me, run_id: str) -> Response:
    home = house(request)
    found = home.run(run_id)
    with home.database.write() as write:
        write.log("run viewed", me.name, run=found.id)
    others = [r.id for r in home.workspace.runs() if r.id != found.id and r.findings][::-1]
    return page(
        request, "run.html", run=found, plan=found.plan, left=_left(found), findings=found.findings, others=others
    )


@route("GET", "/runs/{run_id}/report", READERS)
def report(request: Request, me: Me, run_id: str) -> Response:
    home = house(request)
    found = home.run(run_id)
    if not found.report.exists():
        raise HTTPException(404, "This run has no report yet.")
    with home.database.write() as write:
        write.log("report taken", me.name, run=found.id)
    return FileResponse(found.report, filename=f"{found.id}-INTERNAL-report.html", media_type="text/html")


@route("GET", "/compare", READERS)
def compare(
    request: Request, me: Me, a: Annotated[str, Query(max_length=120)], b: Annotated[str, Query(max_length=120)]
) -> Response:
    home = house(request)
    first, second = home.run(a), home.run(b)
    with home.database.write() as write:
        write.log("runs compared", me.name, runs=[first.id, second.id])
    left, right = ({f.name: f for f in r.findings} for r in (first, second))
    rows = [(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])]
    return page(request, "compare.html", a=first, b=second, settings=different(first, second), rows=rows)


def _of_job(request: Request, number: int) -> dict[str, Any]:
    with house(request).database.read() as connection:
        queued, history = jobs.find(connection, number), jobs.history(connection, number)
        names = people.names(connection)
    return {"queued": queued, "history": history, "names": names, "stages": list(STAGES), "over": jobs.OVER}


def _left(run: Run) -> list[str]:
    """The stages that a run still has before it."""
    done = run.stages
    return [stage for stage in STAGES if stage not in done]


def different(a: Run, b: Run) -> list[tuple[str, Any, Any]]:
    """What the two jobs and plans say, where it differs."""
    first, second = ({**r.job.model_dump(mode="json"), "epsilon spent": r.plan.epsilon} for r in (a, b))
    hidden = ("cohort", "data")
    return [(k, first[k], second[k]) for k in first if first[k] != second[k] and k not in hidden]


def _number(text: str, kind: type[float] | type[int]) -> Any:
    try:
        return kind(text) if text.strip() else None
    except ValueError:
        raise ConfigError("epsilon, patients and seed are numbers") from None
