"""The JSON API for scientists and specialists: the same actions as the pages, and the same functions behind them."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import Request

from synthgen.errors import ConfigError
from synthgen.review import exchange, jobs, people, reviews, sessions, triage
from synthgen.review.access import ANYONE, SIGNED_IN, Me, Number, address, bearer, route
from synthgen.review.house import house
from synthgen.review.outcome import outcome
from synthgen.review.people import Role, SignInRefused
from synthgen.review.reviews import Wish
from synthgen.review.routes.api_bodies import Decision, Imports, NewJob, NewReview, SignIn
from synthgen.review.routes.signin import refusal
from synthgen.review.routes.triage import record_of

if TYPE_CHECKING:
    from synthgen.review.records import Record, Row

Json = dict[str, Any]
INSIDE: tuple[Role, ...] = ("scientist", "officer")
READERS: tuple[Role, ...] = ("specialist", "scientist", "officer")
SPECIALIST: tuple[Role, ...] = ("specialist",)
SCIENTIST: tuple[Role, ...] = ("scientist",)


@route("POST", "/api/signin", ANYONE)
def api_sign_in(request: Request, body: SignIn) -> Json:
    """A bearer token for the calls below."""
    database = house(request).database
    try:
        person = people.sign_in(database, body.name, body.password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    return {"token": sessions.begin(database, person, "api"), "role": person.role}


@route("POST", "/api/signout", SIGNED_IN)
def api_sign_out(request: Request, me: Me) -> Json:
    """Ends the token."""
    sessions.end(house(request).database, bearer(request), me)
    return {"signed_out": me.name}


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
    findings = [asdict(f) | {"name": f.name} for f in found.findings]
    return {"run": found.id, "plan": found.plan.as_dict(), "stages": found.stages, "findings": findings}


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
    """One job: its stage, progress and epsilon spent."""
    with house(request).database.read() as connection:
        return jobs.as_row(jobs.find(connection, number))


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


@route("GET", "/api/reviews", READERS)
def api_reviews(request: Request, me: Me) -> Json:
    """All reviews, newest first, with where the asker stands."""
    with house(request).database.read() as connection:
        found = reviews.everything(connection)
        return {
            "reviews": [asdict(r) | asdict(triage.standing(connection, r, me, time.time())) for r in found],
        }


@route("POST", "/api/reviews", SCIENTIST)
def api_open_review(request: Request, me: Me, body: NewReview) -> Json:
    """Opens a review of a run."""
    home = house(request)
    found = home.run(body.run)
    wish = Wish(**body.model_dump(exclude={"run"}))
    records, flags = home.records(body.run), found.flags
    with home.database.write() as write:
        return {"review": reviews.open_review(write, found.id, flags, records, wish, me, np.random.default_rng())}


@route("GET", "/api/reviews/{review_id}", READERS)
def api_review(request: Request, me: Me, review_id: Number) -> Json:
    """A review; its outcome too, except to specialists while it is open."""
    with house(request).database.read() as connection:
        review = reviews.find(connection, review_id)
        row = asdict(review) | asdict(triage.standing(connection, review, me, time.time()))
        blind = me.role == "specialist" and review.closed_at is None
        return row if blind else row | {"outcome": asdict(outcome(connection, review))}


@route("POST", "/api/reviews/{review_id}/close", SCIENTIST)
def api_close(request: Request, me: Me, review_id: Number) -> Json:
    """Closes a review."""
    with house(request).database.write() as write:
        reviews.close(write, reviews.find(write.connection, review_id), me)
        return {"closed": review_id}


@route("POST", "/api/reviews/{review_id}/look", SPECIALIST)
def api_look(request: Request, me: Me, review_id: Number) -> Json:
    """The next synthetic patient to look at, with its flags and its whole record; `look` is null when none is left."""
    home = house(request)
    with home.database.write() as write:
        review = reviews.find(write.connection, review_id)
        look = triage.take(write, review, me)
        standing = triage.standing(write.connection, review, me, write.now)
    if look is None:
        return {"look": None, "standing": asdict(standing)}
    record = record_of(home, review.run, look)
    patient = {"patient": record.patient, "tables": _addressed(record, look.id)}
    about = {"look": look.id, "position": look.position, "patient_id": look.patient_id, "flags": json.loads(look.flags)}
    return {**about, **patient, "standing": asdict(standing)}


@route("POST", "/api/looks/{look_id}", SPECIALIST)
def api_decide(request: Request, me: Me, look_id: str, body: Decision) -> Json:
    """Answers a look. Answering twice changes nothing: `changed` is false then."""
    with house(request).database.write() as write:
        return {"changed": triage.answer(write, look_id, me, body.answer, body.reason, body.note)}


@route("POST", "/api/looks/{look_id}/skip", SPECIALIST)
def api_skip(request: Request, me: Me, look_id: str) -> Json:
    """Puts the patient at the end of one's own queue."""
    with house(request).database.write() as write:
        triage.skip(write, look_id, me)
        return {"skipped": look_id}


@route("POST", "/api/reviews/{review_id}/undo", SPECIALIST)
def api_undo(request: Request, me: Me, review_id: Number) -> Json:
    """Takes the last decision back, if it is among the last ten."""
    with house(request).database.write() as write:
        return {"undone": triage.undo(write, reviews.find(write.connection, review_id), me)}


@route("GET", "/api/reviews/{review_id}/decisions", READERS)
def api_decisions(request: Request, me: Me, review_id: Number) -> Json:
    """All decisions; to a specialist their own."""
    with house(request).database.write() as write:
        review = reviews.find(write.connection, review_id)
        rows = exchange.decisions(write.connection, review, me if me.role == "specialist" else None)
        write.log("decisions exported", me.name, review=review.id, rows=len(rows))
        return {"decisions": rows}


@route("POST", "/api/reviews/{review_id}/decisions", SPECIALIST)
def api_import(request: Request, me: Me, review_id: Number, body: Imports) -> Json:
    """One's own decisions, made elsewhere: all or none."""
    rows = exchange.parse(json.dumps([row.model_dump() for row in body.rows]).encode())
    with house(request).database.write() as write:
        review = reviews.find(write.connection, review_id)
        return {"new": exchange.take_in(write, review, rows, me, body.source)}


def _addressed(record: Record, look_id: str) -> dict[str, list[Row]]:
    """The patient's tables with the address of each picture in its cell."""
    numbers = itertools.count(1)
    return {
        name: [
            {
                key: f"/looks/{look_id}/pictures/{next(numbers)}" if isinstance(cell, np.ndarray) else cell
                for key, cell in row.items()
            }
            for row in rows
        ]
        for name, rows in record.tables.items()
    }
