"""Reviews: opened by a scientist, watched by all, closed when done; conflicts."""

from __future__ import annotations

import time
from typing import Annotated, Any

import numpy as np
from fastapi import Form, Request
from fastapi.responses import Response

from synthgen.review import people, reviews, triage, turns
from synthgen.review.access import Me, Number, Text, route
from synthgen.review.house import house
from synthgen.review.outcome import outcome
from synthgen.review.people import Role
from synthgen.review.render import page, see
from synthgen.review.reviews import Wish

READERS: tuple[Role, ...] = ("specialist", "scientist", "officer")


@route("GET", "/reviews", READERS)
def everything(request: Request, me: Me) -> Response:
    home = house(request)
    with home.database.read() as connection:
        found = reviews.everything(connection)
        blind = me.role == "specialist"
        rows = [
            (r, None if blind else outcome(connection, r), turns.standing(connection, r, me, time.time()))
            for r in found
        ]
        names = people.names(connection)
    runs = [r.id for r in home.workspace.runs() if "flag" in r.stages] if me.role == "scientist" else []
    return page(request, "reviews.html", rows=rows, names=names, runs=runs[::-1])


@route("POST", "/reviews", ("scientist",))
def open_review(
    request: Request,
    me: Me,
    run: Text,
    looks: Annotated[int, Form()] = 2,
    most: Annotated[int, Form()] = 100,
    random: Annotated[int, Form()] = 10,
    planted: Annotated[int, Form()] = 5,
    real_data: Annotated[bool, Form()] = False,
) -> Response:
    home = house(request)
    found = home.run(run)
    wish, records = Wish(looks, most, random, planted, real_data), home.records(run)
    with home.database.write() as write:
        review = reviews.open_review(write, run, found.flags, records, wish, me, np.random.default_rng())
    return see(f"/reviews/{review}")


@route("GET", "/reviews/{review_id}", READERS)
def one(request: Request, me: Me, review_id: Number) -> Response:
    with house(request).database.read() as connection:
        review = reviews.find(connection, review_id)
        known: dict[str, Any] = {
            "review": review,
            "outcome": outcome(connection, review),
            "standing": turns.standing(connection, review, me, time.time()),
            "conflicts": [
                (item, me.role == "specialist" and triage.may_adjudicate(connection, item.id, me))
                for item in triage.conflicts(connection, review)
            ],
            "names": people.names(connection),
            "reasons": triage.REASONS,
        }
    return page(request, "review.html", **known)


@route("POST", "/reviews/{review_id}/close", ("scientist",))
def close(request: Request, me: Me, review_id: Number) -> Response:
    with house(request).database.write() as write:
        reviews.close(write, reviews.find(write.connection, review_id), me)
    return see(f"/reviews/{review_id}")
