"""Releases: proposed by a scientist, decided by an officer."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import Form, HTTPException, Request
from fastapi.responses import FileResponse, Response
from starlette.background import BackgroundTask

from synthgen.release import BUNDLE
from synthgen.review import outcome, people, releases, reviews
from synthgen.review.access import Me, Number, Text, address, route
from synthgen.review.approval import faults_of, write_zip
from synthgen.review.dossier import blockers, inconclusive, left_out, worst_subgroup
from synthgen.review.house import House, house
from synthgen.review.people import Role, SignInRefused
from synthgen.review.render import page, see
from synthgen.review.routes.signin import refusal

READERS: tuple[Role, ...] = ("scientist", "officer")


@route("GET", "/releases", READERS)
def everything(request: Request, me: Me) -> Response:
    home = house(request)
    with home.database.read() as connection:
        found, names = releases.everything(connection), people.names(connection)
    busy = {r.run for r in found if r.state in ("proposed", "approved")}
    runs = [r.id for r in home.workspace.runs() if "report" in r.stages and r.id not in busy]
    return page(request, "releases.html", found=found, names=names, now=time.time(), runs=runs[::-1], me=me)


@route("POST", "/releases", ("scientist",))
def propose(request: Request, me: Me, run: Text, purpose: Text) -> Response:
    home = house(request)
    found = home.run(run)
    with home.database.write() as write:
        number = releases.propose(write, found, purpose, me)
    return see(f"/releases/{number}")


@route("GET", "/releases/{number}", READERS)
def one(request: Request, me: Me, number: Number) -> Response:
    home = house(request)
    with home.database.write() as write:
        found = releases.find(write.connection, number)
        write.log("release viewed", me.name, release=number, run=found.run)
    with home.database.read() as connection:
        known: dict[str, Any] = {
            "names": people.names(connection),
            "accepted": releases.accepted(connection, number),
            "reviews": [(r, outcome.outcome(connection, r)) for r in reviews.of_run(connection, found.run)],
        }
        rejected, unsettled = outcome.rejected(connection, found.run), outcome.unsettled(connection, found.run)
        context = home.context(found.run, rejected)
        before = releases.previous(connection, found, context.dictionary.name)
    now = releases.facts(context, left_out(context))
    known |= {
        "release": found,
        "state": found.state_at(time.time()),
        "context": context,
        "blockers": blockers(context, known["accepted"], unsettled),
        "open": inconclusive(context),
        "seen": releases.shown(context, known["accepted"]),
        "worst": worst_subgroup(context),
        "left_out": left_out(context),
        "difference": [(k, before.get(k), v) for k, v in now.items() if before.get(k) != v] if before else None,
        "before": before,
        "approval": json.loads(found.approval) if found.approval else None,
    }
    return page(request, "release.html", **known)


@route("POST", "/releases/{number}/accept", ("officer",))
def accept(request: Request, me: Me, number: Number, finding: Text, reason: Text) -> Response:
    home = house(request)
    with home.database.write() as write:
        found = releases.find(write.connection, number)
        releases.accept(write, home.run(found.run), found, finding, reason, me)
    return see(f"/releases/{number}")


@route("POST", "/releases/{number}/approve", ("officer",))
def approve(
    request: Request,
    me: Me,
    number: Number,
    reason: Text,
    password: Text,
    days: Annotated[int, Form()] = 365,
    seen: Text = "",
) -> Response:
    home, found = _decided_by(request, me, number, password)
    releases.approve(home.database, home.run(found.run), found, reason, days, me, password, seen)
    return see(f"/releases/{number}")


@route("POST", "/releases/{number}/refuse", ("officer",))
def refuse(request: Request, me: Me, number: Number, reason: Text, password: Text) -> Response:
    home, found = _decided_by(request, me, number, password)
    with home.database.write() as write:
        releases.refuse(write, releases.find(write.connection, found.id), reason, me)
    return see(f"/releases/{number}")


@route("POST", "/releases/{number}/withdraw", ("officer",))
def withdraw(request: Request, me: Me, number: Number, reason: Text, password: Text) -> Response:
    home, found = _decided_by(request, me, number, password)
    with home.database.write() as write:
        releases.withdraw(write, releases.find(write.connection, found.id), home.run(found.run), reason, me)
    return see(f"/releases/{number}")


@route("GET", "/releases/{number}/bundle", READERS)
def bundle(request: Request, me: Me, number: Number) -> Response:
    home = house(request)
    with home.database.write() as write:
        found = releases.find(write.connection, number)
        if found.state_at(write.now) != "approved" or found.approval is None:
            raise HTTPException(409, "Only a release that is approved, and not expired, can be taken along.")
        write.log("bundle taken", me.name, release=number, run=found.run)
    folder = Path(tempfile.mkdtemp())
    target, approval = folder / f"synthgen-{found.run}.zip", json.loads(found.approval)
    write_zip(home.run(found.run).folder / BUNDLE, approval, target)
    if faults := faults_of(target, approval["statement"]["key"]):
        _gone(target)
        raise HTTPException(409, f"The bundle is not the one that was signed: {'; '.join(faults)}.")
    return FileResponse(
        target, filename=target.name, media_type="application/zip", background=BackgroundTask(_gone, target)
    )


def _gone(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.rmdir()


def _decided_by(request: Request, me: Me, number: Number, password: str) -> tuple[House, releases.Release]:
    """The release, once the officer's password was right."""
    home = house(request)
    with home.database.read() as connection:
        found = releases.find(connection, number)
    try:
        people.confirm(home.database, me, password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    return home, found
