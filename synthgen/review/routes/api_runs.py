"""The JSON API of runs and jobs: the same actions as the pages, and the same functions behind them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response

from synthgen.errors import ConfigError
from synthgen.review import jobs
from synthgen.review.access import Me, Number, route
from synthgen.review.house import house
from synthgen.review.people import Role
from synthgen.review.routes.api_bodies import NewJob
from synthgen.review.routes.runs import different, report

if TYPE_CHECKING:
    from synthgen.workspace import Run

Json = dict[str, Any]
INSIDE: tuple[Role, ...] = ("scientist", "officer")
SCIENTIST: tuple[Role, ...] = ("scientist",)


@route("GET", "/api/runs", INSIDE)
def api_runs(request: Request) -> Json:
    """All runs, oldest first."""
    runs = house(request).workspace.runs()
    return {"runs": [{"run": r.id, "epsilon": r.plan.epsilon, "stages": r.stages} for r in runs]}


@route("GET", "/api/runs/{run_id}", INSIDE)
def api_run(request: Request, me: Me, run_id: str) -> Json:
    """A run's plan and findings. Findings read real data: internal."""
    home = house(request)
    found = home.run(run_id)
    with home.database.write() as write:
        write.log("run viewed", me.name, run=found.id)
    return {"run": found.id, "plan": found.plan.as_dict(), "stages": found.stages, "findings": _findings(found)}


@route("GET", "/api/runs/{run_id}/report", INSIDE)
def api_report(request: Request, me: Me, run_id: str) -> Response:
    """The run's internal report, an HTML file."""
    return report(request, me, run_id)


@route("GET", "/api/compare", INSIDE)
def api_compare(
    request: Request, me: Me, a: Annotated[str, Query(max_length=120)], b: Annotated[str, Query(max_length=120)]
) -> Json:
    """Two runs side by side: settings that differ, and the findings of both. Findings read real data: internal."""
    home = house(request)
    first, second = home.run(a), home.run(b)
    with home.database.write() as write:
        write.log("runs compared", me.name, runs=[first.id, second.id])
    settings = [{"setting": k, "a": x, "b": y} for k, x, y in different(first, second)]
    return {"settings": settings, "a": _findings(first), "b": _findings(second)}


@route("GET", "/api/jobs", INSIDE)
def api_jobs(request: Request) -> Json:
    """The queue, newest first."""
    with house(request).database.read() as connection:
        return {"jobs": [jobs.as_row(q) for q in jobs.everything(connection)]}


@route("POST", "/api/jobs", SCIENTIST)
def api_submit(request: Request, me: Me, body: NewJob) -> Json:
    """Queues a job of the jobs folder."""
    home = house(request)
    offered = jobs.offered(home.jobs)
    if body.job not in offered:
        raise ConfigError("there is no such job in the jobs folder")
    wanted = jobs.changed(offered[body.job], body.epsilon, body.patients, body.seed)
    with home.database.write() as write:
        return {"job": jobs.submit(write, wanted, me)}


@route("GET", "/api/jobs/{number}", INSIDE)
def api_job(request: Request, number: Number) -> Json:
    """One job: its stage, progress, epsilon spent, and what became of it line by line."""
    with house(request).database.read() as connection:
        said = [{"at": at, "text": text} for at, text in jobs.history(connection, number)]
        return jobs.as_row(jobs.find(connection, number)) | {"history": said}


@route("POST", "/api/jobs/{number}/cancel", SCIENTIST)
def api_cancel(request: Request, me: Me, number: Number) -> Json:
    """Stops an own job."""
    with house(request).database.write() as write:
        jobs.cancel(write, number, me)
        return jobs.as_row(jobs.find(write.connection, number))


@route("POST", "/api/jobs/{number}/resume", SCIENTIST)
def api_resume(request: Request, me: Me, number: Number) -> Json:
    """Lets an own job go on."""
    with house(request).database.write() as write:
        jobs.resume(write, number, me)
        return jobs.as_row(jobs.find(write.connection, number))


def _findings(run: Run) -> list[Json]:
    return [asdict(f) | {"name": f.name} for f in run.findings]
