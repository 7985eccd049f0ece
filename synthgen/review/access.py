"""Who may ask what: every route is declared with the roles that may use it, and there is no other way to make one."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Form, HTTPException, Path, Request
from pydantic import AfterValidator
from starlette.concurrency import run_in_threadpool

from synthgen.review import sessions
from synthgen.review.people import Person, Role

Method = Literal["GET", "POST"]
Function = TypeVar("Function", bound=Callable[..., Any])
ANYONE: tuple[Role, ...] = ()
"""No sign-in needed."""
SIGNED_IN: tuple[Role, ...] = ("scientist", "specialist", "officer", "admin")


@dataclass(frozen=True)
class Route:
    """One thing that can be asked. Under /api a bearer token tells who asks; elsewhere a cookie, and a change needs its token."""

    method: Method
    path: str
    roles: tuple[Role, ...]
    function: Callable[..., Any]

    @property
    def api(self) -> bool:
        return self.path.startswith("/api/")


ROUTES: list[Route] = []
"""All routes, filled as the modules of `routes/` are imported."""


def route(method: Method, path: str, roles: tuple[Role, ...]) -> Callable[[Function], Function]:
    """Declares a route and the roles that may use it."""

    def declared(function: Function) -> Function:
        ROUTES.append(Route(method, path, roles, function))
        return function

    return declared


def printable(text: str) -> str:
    """Refuses NUL, which databases do not keep."""
    if "\0" in text:
        raise ValueError("no NUL")
    return text


Number = Annotated[int, Path(ge=1, lt=2**31)]
"""A number in a path: beyond it no database has a row."""
Text = Annotated[str, AfterValidator(printable), Form(max_length=2000)]
"""What a person wrote into a form."""


OWN_PASSWORD_FIRST = ("/account", "/account/password", "/signout", "/api/account/password", "/api/signout")
"""All that a password opens which somebody else chose."""


class SignInFirst(Exception):
    """Nobody is signed in: the browser is shown where to."""


class ChoosePasswordFirst(Exception):
    """The password is one that somebody else knows: the browser is shown where to choose another."""


def guard(wanted: Route) -> Callable[[Request], Awaitable[None]]:
    """The dependency that stands before a route's function."""

    async def check(request: Request) -> None:
        session = await run_in_threadpool(_session, request, wanted.api)
        request.state.session = session
        if wanted.roles is ANYONE:
            return
        if session is None:
            raise HTTPException(401, "Sign in first.") if wanted.api else SignInFirst
        if session.person.temporary and wanted.path not in OWN_PASSWORD_FIRST:
            raise HTTPException(403, "Choose a password of your own first.") if wanted.api else ChoosePasswordFirst
        if session.person.role not in wanted.roles:
            raise HTTPException(
                403, f"This is for {' or '.join(wanted.roles)}; you are signed in as {session.person.role}."
            )
        if wanted.method == "POST" and not wanted.api:
            await _must_carry_token(request, session)

    return check


def me(request: Request) -> Person:
    """Who asks, on a route that needs a sign-in."""
    person: Person = request.state.session.person
    return person


Me = Annotated[Person, Depends(me)]


def bearer(request: Request) -> str:
    """The token of a call to the API."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def address(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "unknown"


def _session(request: Request, api: bool) -> sessions.Session | None:
    token = bearer(request) if api else request.cookies.get(sessions.COOKIE, "")
    return sessions.find(request.app.state.house.database, token, "api" if api else "browser") if token else None


async def _must_carry_token(request: Request, session: sessions.Session) -> None:
    given = request.headers.get("x-csrf-token")
    if given is None:
        form = await request.form()
        given = str(form.get("csrf", ""))
    if not hmac.compare_digest(given.encode(), session.csrf.encode()):
        raise HTTPException(
            403, "This form is from another session. Go back, load the page again, and repeat the step."
        )
