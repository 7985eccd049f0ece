"""The JSON API for officers: releases, budgets, the log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import Response

from privacy.budget import Budget
from synthgen.errors import ConfigError
from synthgen.review import erasure, log, outcome, people, releases
from synthgen.review.access import ANYONE, SIGNED_IN, Me, Number, address, route
from synthgen.review.dossier import blockers
from synthgen.review.house import Given, house
from synthgen.review.people import Role, SignInRefused
from synthgen.review.render import page
from synthgen.review.routes.api_bodies import (
    Acceptance,
    Approval,
    Cap,
    Consent,
    Proposal,
    Reauthenticated,
    Retention,
    Root,
    Verdict,
)
from synthgen.review.routes.releases import bundle
from synthgen.review.routes.signin import refusal

Json = dict[str, Any]
INSIDE: tuple[Role, ...] = ("scientist", "officer")
OFFICER: tuple[Role, ...] = ("officer",)
READERS: tuple[Role, ...] = ("officer", "admin")


@route("GET", "/api/openapi.json", ANYONE)
def api_openapi(request: Request) -> Json:
    """This description."""
    described: Json = request.app.openapi()
    return described


@route("GET", "/api-docs", SIGNED_IN)
def docs(request: Request) -> Response:
    return page(request, "api.html", described=request.app.openapi())


@route("GET", "/api/releases", INSIDE)
def api_releases(request: Request) -> Json:
    """All proposals, newest first."""
    with house(request).database.read() as connection:
        names = people.names(connection)
        rows = [vars(r) | {"proposed_by": names[r.proposed_by]} for r in releases.everything(connection)]
        return {"releases": [r | {"decided_by": names.get(r["decided_by"])} for r in rows]}


@route("POST", "/api/releases", ("scientist",))
def api_propose(request: Request, me: Me, body: Proposal) -> Json:
    """Proposes a run."""
    home = house(request)
    run = home.run(body.run)
    with home.database.write() as write:
        return {"release": releases.propose(write, run, body.purpose, me)}


@route("GET", "/api/releases/{number}", INSIDE)
def api_release(request: Request, me: Me, number: Number) -> Json:
    """A proposal: the claim, what is in the way, and who can take it away."""
    home = house(request)
    with home.database.write() as write:
        found = releases.find(write.connection, number)
        write.log("release viewed", me.name, release=number, run=found.run)
        state = found.state_at(write.now)
    with home.database.read() as connection:
        rejected, unsettled = outcome.rejected(connection, found.run), outcome.unsettled(connection, found.run)
        taken = releases.accepted(connection, number)
    context = home.context(found.run, rejected)
    in_the_way = [vars(b) for b in blockers(context, taken, unsettled)]
    about = {"release": number, "run": found.run, "state": state, "purpose": found.purpose}
    seen = releases.shown(context, taken)
    return {**about, "blockers": in_the_way, "accepted": taken, "claim": context.claim.as_dict(), "seen": seen}


@route("POST", "/api/releases/{number}/accept", OFFICER)
def api_accept(request: Request, me: Me, number: Number, body: Acceptance) -> Json:
    """Accepts one inconclusive finding by its name."""
    home = house(request)
    with home.database.write() as write:
        found = releases.find(write.connection, number)
        releases.accept(write, home.run(found.run), found, body.finding, body.reason, me)
        return {"accepted": body.finding}


@route("POST", "/api/releases/{number}/approve", OFFICER)
def api_approve(request: Request, me: Me, number: Number, body: Approval) -> Json:
    """Signs a release; answers with the signed statement."""
    home, found = house(request), _confirmed(request, me, number, body.password)
    run = home.run(found.run)
    return releases.approve(home.database, run, found, body.reason, body.days, me, body.password, body.seen)


@route("POST", "/api/releases/{number}/refuse", OFFICER)
def api_refuse(request: Request, me: Me, number: Number, body: Verdict) -> Json:
    """Refuses a release."""
    found = _confirmed(request, me, number, body.password)
    with house(request).database.write() as write:
        releases.refuse(write, releases.find(write.connection, found.id), body.reason, me)
        return {"refused": number}


@route("POST", "/api/releases/{number}/withdraw", OFFICER)
def api_withdraw(request: Request, me: Me, number: Number, body: Verdict) -> Json:
    """Withdraws a release."""
    home, found = house(request), _confirmed(request, me, number, body.password)
    with home.database.write() as write:
        releases.withdraw(write, releases.find(write.connection, found.id), home.run(found.run), body.reason, me)
        return {"withdrawn": number}


@route("GET", "/api/releases/{number}/bundle", INSIDE)
def api_bundle(request: Request, me: Me, number: Number) -> Response:
    """The signed bundle, a zip file."""
    return bundle(request, me, number)


@route("GET", "/api/privacy", OFFICER)
def api_privacy(request: Request) -> Json:
    """What each cohort's patients have given, and the ledger's root."""
    root, rows = house(request).spent()
    return {"cohorts": [_budget(given) for given in rows], "root": root}


@route("POST", "/api/privacy/verify", OFFICER)
def api_verify_ledger(request: Request, me: Me, body: Root) -> Json:
    """Recomputes every hash of the ledger."""
    home = house(request)
    found = home.workspace.ledger().verify(body.root.strip() or None)
    with home.database.write() as write:
        write.log("ledger verified", me.name, sound=found.ok, entries=found.entries)
    return {"sound": found.ok, "entries": found.entries, "root": found.root, "text": found.text}


@route("GET", "/api/privacy/{dataset}", OFFICER)
def api_history(request: Request, dataset: str) -> Json:
    """Every entry of the ledger about a cohort, oldest first."""
    found = house(request).workspace.ledger().history(dataset)
    if not found:
        raise ConfigError("the ledger knows no such cohort")
    return {"cohort": dataset, "history": [{"number": e.number, **e.content} for e in found]}


@route("POST", "/api/privacy/{dataset}/consent", OFFICER)
def api_withdraw_consent(request: Request, me: Me, dataset: str, body: Consent) -> Json:
    """Erases models and recorded answers of every run on a cohort."""
    home = house(request)
    _confirm(request, me, body.password)
    erased = erasure.withdraw_consent(home.database, home.workspace, dataset, body.reason, me)
    return {"cohort": dataset, "erased": erased, "meaning": erasure.MEANING}


@route("POST", "/api/privacy/{dataset}/retention", OFFICER)
def api_end_retention(request: Request, me: Me, dataset: str, body: Retention) -> Json:
    """Erases models and recorded answers of the older runs on a cohort."""
    home = house(request)
    _confirm(request, me, body.password)
    return {"cohort": dataset, "erased": erasure.retain(home.database, home.workspace, dataset, body.days, me)}


@route("POST", "/api/privacy/{dataset}/cap", OFFICER)
def api_cap(request: Request, me: Me, dataset: str, body: Cap) -> Json:
    """Sets the cap of a cohort."""
    home = house(request)
    _confirm(request, me, body.password)
    ledger = home.workspace.ledger()
    delta = ledger.spent(dataset).delta
    if delta is None:
        raise ConfigError("the ledger knows no such cohort")
    ledger.set_cap(dataset, Budget(body.cap, delta), me.name)
    with home.database.write() as write:
        write.log("cap set", me.name, dataset=dataset, epsilon=body.cap)
    return {"cohort": dataset, "cap": body.cap}


@route("GET", "/api/log", READERS)
def api_log(request: Request, before: Annotated[int | None, Query(ge=2, lt=2**31)] = None) -> Json:
    """A hundred entries of the log, newest first."""
    database = house(request).database
    log.catch_up(database)
    return {
        "entries": [{"number": e.number, **e.content} for e in database.chain.newest(100, before)],
        "limit": log.LIMIT,
    }


@route("POST", "/api/log/verify", READERS)
def api_verify(request: Request, me: Me, body: Root) -> Json:
    """Recomputes every hash of the log."""
    database = house(request).database
    found = log.verify(database, body.root.strip() or None)
    with database.write() as write:
        write.log("log verified", me.name, sound=found.ok, entries=found.entries)
    return {"sound": found.ok, "entries": found.entries, "root": found.root, "text": found.text}


@route("POST", "/api/log/checkpoint", OFFICER)
def api_checkpoint(request: Request, me: Me, body: Reauthenticated) -> Json:
    """The log's root, signed, to be kept outside."""
    _confirm(request, me, body.password)
    return log.checkpoint(house(request).database, me, body.password)


def _budget(given: Given) -> Json:
    spent = given.spent
    return {
        "cohort": spent.dataset,
        "epsilon": spent.micro_epsilon / 1e6,
        "finished": given.finished,
        "reserved": given.reserved,
        "delta": spent.delta,
        "cap": spent.cap.epsilon if spent.cap else None,
        "runs": spent.runs,
    }


def _confirmed(request: Request, me: Me, number: int, password: str) -> releases.Release:
    with house(request).database.read() as connection:
        found = releases.find(connection, number)
    _confirm(request, me, password)
    return found


def _confirm(request: Request, me: Me, password: str) -> None:
    try:
        people.confirm(house(request).database, me, password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
