"""The budget of each cohort, the ledger's chain, how long models are kept, and consent withdrawn."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request
from fastapi.responses import Response

from privacy.budget import Budget
from synthgen.errors import ConfigError
from synthgen.review import erasure, people
from synthgen.review.access import Me, Text, address, route
from synthgen.review.house import house
from synthgen.review.people import Role, SignInRefused
from synthgen.review.render import page, see
from synthgen.review.routes.signin import refusal

OFFICER: tuple[Role, ...] = ("officer",)


@route("GET", "/privacy", OFFICER)
def everything(request: Request) -> Response:
    root, spent = house(request).spent()
    return page(request, "privacy.html", given=spent, root=root, found=None)


@route("POST", "/privacy/verify", OFFICER)
def verify(request: Request, me: Me, root: Text = "") -> Response:
    home = house(request)
    ledger = home.workspace.ledger()
    found = ledger.verify(root.strip() or None)
    with home.database.write() as write:
        write.log("ledger verified", me.name, sound=found.ok, entries=found.entries)
    spent = home.spent()[1] if found.ok else []
    return page(request, "privacy.html", given=spent, root=found.root, found=found)


@route("GET", "/privacy/{dataset}", OFFICER)
def one(request: Request, dataset: str) -> Response:
    home = house(request)
    given = next((g for g in home.spent()[1] if g.spent.dataset == dataset), None)
    if given is None:
        raise ConfigError("the ledger knows no such cohort")
    history = [(e.number, dict(e.content)) for e in home.workspace.ledger().history(dataset)]
    known: dict[str, Any] = {"given": given, "spent": given.spent, "history": history[::-1], "meaning": erasure.MEANING}
    return page(request, "cohort.html", **known)


@route("POST", "/privacy/{dataset}/cap", OFFICER)
def set_cap(
    request: Request,
    me: Me,
    dataset: str,
    cap: Annotated[float, Form(gt=0, le=1000, allow_inf_nan=False)],
    password: Text,
) -> Response:
    home = house(request)
    _confirm(request, me, password)
    ledger = home.workspace.ledger()
    delta = ledger.spent(dataset).delta
    if delta is None:
        raise ConfigError("the ledger knows no such cohort")
    ledger.set_cap(dataset, Budget(cap, delta), me.name)
    with home.database.write() as write:
        write.log("cap set", me.name, dataset=dataset, epsilon=cap)
    return see(f"/privacy/{dataset}")


@route("POST", "/privacy/{dataset}/consent", OFFICER)
def withdraw_consent(request: Request, me: Me, dataset: str, reason: Text, password: Text) -> Response:
    home = house(request)
    _confirm(request, me, password)
    erasure.withdraw_consent(home.database, home.workspace, dataset, reason, me)
    return see(f"/privacy/{dataset}")


@route("POST", "/privacy/{dataset}/retention", OFFICER)
def end_retention(
    request: Request, me: Me, dataset: str, days: Annotated[int, Form(ge=0, le=36_500)], password: Text
) -> Response:
    home = house(request)
    _confirm(request, me, password)
    erasure.retain(home.database, home.workspace, dataset, days, me)
    return see(f"/privacy/{dataset}")


def _confirm(request: Request, me: Me, password: str) -> None:
    try:
        people.confirm(house(request).database, me, password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
