"""Accounts: who works here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request
from fastapi.responses import Response

from synthgen.review import people
from synthgen.review.access import Me, Text, route
from synthgen.review.house import house
from synthgen.review.render import page, see


@route("GET", "/people", ("admin",))
def everybody(request: Request) -> Response:
    with house(request).database.read() as connection:
        found = people.everybody(connection)
    return page(request, "people.html", people=found, roles=people.ROLES)


@route("POST", "/people", ("admin",))
def add(request: Request, me: Me, name: Text, role: Text, password: Text) -> Response:
    people.add(house(request).database, name, role, password, by=me.name)
    return see("/people")


@route("POST", "/people/{name}/active", ("admin",))
def set_active(request: Request, me: Me, name: str, active: Annotated[bool, Form()]) -> Response:
    people.set_active(house(request).database, name, active, by=me.name)
    return see("/people")
