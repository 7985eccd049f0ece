"""The JSON API of accounts: signing in and out, one's own password, and the accounts of all."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from synthgen.review import people, sessions
from synthgen.review.access import ANYONE, SIGNED_IN, Me, address, bearer, route
from synthgen.review.house import house
from synthgen.review.people import Role, SignInRefused
from synthgen.review.routes.api_bodies import Active, NewPassword, NewPerson, SignIn
from synthgen.review.routes.signin import refusal

Json = dict[str, Any]
ADMIN: tuple[Role, ...] = ("admin",)


@route("POST", "/api/signin", ANYONE)
def api_sign_in(request: Request, body: SignIn) -> Json:
    """A bearer token for the calls below."""
    database = house(request).database
    try:
        person = people.sign_in(database, body.name, body.password, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    return {"token": sessions.begin(database, person, "api"), "role": person.role, "temporary": person.temporary}


@route("POST", "/api/signout", SIGNED_IN)
def api_sign_out(request: Request, me: Me) -> Json:
    """Ends the token."""
    sessions.end(house(request).database, bearer(request), me)
    return {"signed_out": me.name}


@route("POST", "/api/account/password", SIGNED_IN)
def api_change_password(request: Request, me: Me, body: NewPassword) -> Json:
    """A new password; every token and session of one's own ends."""
    try:
        people.change_password(house(request).database, me, body.old, body.new, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    return {"changed": me.name}


@route("GET", "/api/people", ADMIN)
def api_people(request: Request) -> Json:
    """All accounts."""
    with house(request).database.read() as connection:
        found = people.everybody(connection)
    return {"people": [{"name": p.name, "role": p.role, "open": p.active, "public_key": p.public_key} for p in found]}


@route("POST", "/api/people", ADMIN)
def api_add(request: Request, me: Me, body: NewPerson) -> Json:
    """A new account; its password opens nothing before the person has chosen another."""
    person = people.add(house(request).database, body.name, body.role, body.password, by=me.name)
    return {"name": person.name, "role": person.role}


@route("POST", "/api/people/{name}/active", ADMIN)
def api_set_active(request: Request, me: Me, name: str, body: Active) -> Json:
    """Closes or opens an account."""
    people.set_active(house(request).database, name, body.active, by=me.name)
    return {"name": name, "open": body.active}
