"""Signing in and out, and one's own account."""

from __future__ import annotations

import math

from fastapi import HTTPException, Request
from fastapi.responses import Response

from synthgen.review import people, sessions
from synthgen.review.access import ANYONE, SIGNED_IN, Me, Text, address, route
from synthgen.review.house import house
from synthgen.review.people import SignInRefused
from synthgen.review.render import NAVIGATION, page, see


@route("GET", "/", SIGNED_IN)
def begin(me: Me) -> Response:
    return see(NAVIGATION[me.role][0][0])


@route("GET", "/signin", ANYONE)
def ask(request: Request) -> Response:
    return see("/") if request.state.session else page(request, "signin.html", refused="")


@route("POST", "/signin", ANYONE)
def sign_in(request: Request, name: Text, password: Text) -> Response:
    database = house(request).database
    try:
        person = people.sign_in(database, name, password, address(request))
    except SignInRefused as error:
        return _refuse(request, error)
    response = see("/")
    token = sessions.begin(database, person, "browser", replaces=request.cookies.get(sessions.COOKIE))
    response.set_cookie(
        sessions.COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return response


@route("POST", "/signout", SIGNED_IN)
def sign_out(request: Request, me: Me) -> Response:
    sessions.end(house(request).database, request.cookies[sessions.COOKIE], me)
    response = see("/signin")
    response.delete_cookie(sessions.COOKIE, path="/")
    return response


@route("GET", "/account", SIGNED_IN)
def account(request: Request) -> Response:
    return page(request, "account.html")


@route("POST", "/account/password", SIGNED_IN)
def change_password(request: Request, me: Me, old: Text, new: Text, again: Text) -> Response:
    if new != again:
        raise HTTPException(400, "The two new passwords differ.")
    try:
        people.change_password(house(request).database, me, old, new, address(request))
    except SignInRefused as error:
        raise refusal(error) from None
    return see("/signin")


def refusal(error: SignInRefused) -> HTTPException:
    """A wrong password, as an answer."""
    if error.wait > 0:
        seconds = math.ceil(error.wait)
        return HTTPException(429, f"Too many tries. Wait {seconds} seconds.", {"Retry-After": str(seconds)})
    return HTTPException(403, "The password is not right.")


def _refuse(request: Request, error: SignInRefused) -> Response:
    if error.wait > 0:
        seconds = math.ceil(error.wait)
        response = page(request, "signin.html", 429, refused=f"Too many tries. Wait {seconds} seconds.")
        response.headers["Retry-After"] = str(seconds)
        return response
    return page(request, "signin.html", 403, refused="Name or password is not right.")
