"""The audit log: read, verified, and signed to be kept outside."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from synthgen.review import log, people
from synthgen.review.access import Me, Text, address, route
from synthgen.review.house import house
from synthgen.review.people import Role, SignInRefused
from synthgen.review.render import page
from synthgen.review.routes.signin import refusal

SHOWN = 100
READERS: tuple[Role, ...] = ("officer", "admin")


@route("GET", "/log", READERS)
def read(request: Request, before: Annotated[int | None, Query(ge=2, lt=2**31)] = None) -> Response:
    database = house(request).database
    log.catch_up(database)
    entries = [(e.number, dict(e.content)) for e in database.chain.newest(SHOWN, before)]
    return page(request, "log.html", entries=entries, found=None, limit=log.LIMIT, shown=SHOWN)


@route("POST", "/log/verify", READERS)
def verify(request: Request, me: Me, root: Text = "") -> Response:
    database = house(request).database
    found = log.verify(database, root.strip() or None)
    with database.write() as write:
        write.log("log verified", me.name, sound=found.ok, entries=found.entries)
    entries = [(e.number, dict(e.content)) for e in database.chain.newest(SHOWN)]
    return page(request, "log.html", entries=entries, found=found, limit=log.LIMIT, shown=SHOWN)


@route("POST", "/log/checkpoint", ("officer",))
def checkpoint(request: Request, me: Me, password: Text) -> Response:
    database = house(request).database
    try:
        people.confirm(database, me, password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    signed = log.checkpoint(database, me, password)
    number = signed["root"].partition(":")[0]
    headers = {"Content-Disposition": f'attachment; filename="audit-log-checkpoint-{number}.json"'}
    return Response(json.dumps(signed, indent=1) + "\n", media_type="application/json", headers=headers)
