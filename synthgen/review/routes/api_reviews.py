"""The JSON API of reviews: the same actions as the pages, and the same functions behind them."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import Request
from fastapi.responses import Response

from synthgen.review import exchange, reviews, triage, turns
from synthgen.review.access import Me, Number, route
from synthgen.review.house import house
from synthgen.review.outcome import outcome
from synthgen.review.people import Role
from synthgen.review.reviews import Wish
from synthgen.review.routes.api_bodies import Decision, Draft, Imports, NewReview
from synthgen.review.routes.triage import picture, record_of

if TYPE_CHECKING:
    from synthgen.review.house import House
    from synthgen.review.records import Record, Row

Json = dict[str, Any]
READERS: tuple[Role, ...] = ("specialist", "scientist", "officer")
SPECIALIST: tuple[Role, ...] = ("specialist",)
SCIENTIST: tuple[Role, ...] = ("scientist",)


@route("GET", "/api/reviews", READERS)
def api_reviews(request: Request, me: Me) -> Json:
    """All reviews, newest first, with where the asker stands."""
    with house(request).database.read() as connection:
        found = reviews.everything(connection)
        return {
            "reviews": [asdict(r) | asdict(turns.standing(connection, r, me, time.time())) for r in found],
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
        row = asdict(review) | asdict(turns.standing(connection, review, me, time.time()))
        row["conflicts"] = [item.position for item in triage.conflicts(connection, review)]
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
    review, look, standing = turns.next_look(home.database, review_id, me)
    if look is None:
        return {"look": None, "standing": asdict(standing)}
    return _shown(home, review, look) | {"standing": asdict(standing)}


@route("POST", "/api/reviews/{review_id}/conflicts/{position}", SPECIALIST)
def api_adjudicate(request: Request, me: Me, review_id: Number, position: Number) -> Json:
    """A look that settles a conflict, with what was answered, without names."""
    home = house(request)
    with home.database.write() as write:
        review = reviews.find(write.connection, review_id)
        look = triage.adjudicate(write, review, position, me)
        answers = triage.answers_about(write.connection, look.item_id)
    said = [{"answer": a.answer, "reason": a.reason, "note": a.note} for a in answers]
    return _shown(home, review, look) | {"answers": said}


@route("POST", "/api/looks/{look_id}", SPECIALIST)
def api_decide(request: Request, me: Me, look_id: str, body: Decision) -> Json:
    """Answers a look. Answering twice changes nothing: `changed` is false then."""
    with house(request).database.write() as write:
        return {"changed": triage.answer(write, look_id, me, body.answer, body.reason, body.note)}


@route("GET", "/api/looks/{look_id}/pictures/{number}", SPECIALIST)
def api_picture(request: Request, me: Me, look_id: str, number: Number) -> Response:
    """One picture of the patient one is looking at, as PNG; from 1 in the order of the tables."""
    return picture(request, me, look_id, number)


@route("POST", "/api/looks/{look_id}/draft", SPECIALIST)
def api_draft(request: Request, me: Me, look_id: str, body: Draft) -> Json:
    """Keeps what was chosen and written so far, and the lease."""
    with house(request).database.write() as write:
        triage.draft(write, look_id, me, body.reason, body.note)
        return {"kept": look_id}


@route("POST", "/api/looks/{look_id}/opinion", SPECIALIST)
def api_second_opinion(request: Request, me: Me, look_id: str) -> Json:
    """Asks that one more person looks at this patient; once a look."""
    with house(request).database.write() as write:
        triage.second_opinion(write, look_id, me)
        return {"asked": look_id}


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


def _shown(home: House, review: reviews.Review, look: Any) -> Json:
    """A look with its flags and the patient's whole record."""
    record = record_of(home, review.run, look)
    about = {"look": look.id, "position": look.position, "patient_id": look.patient_id, "flags": json.loads(look.flags)}
    return {**about, "patient": record.patient, "tables": _addressed(record, look.id)}


def _addressed(record: Record, look_id: str) -> dict[str, list[Row]]:
    """The patient's tables with the address of each picture in its cell."""
    numbers = itertools.count(1)
    return {
        name: [
            {
                key: f"/api/looks/{look_id}/pictures/{next(numbers)}" if isinstance(cell, np.ndarray) else cell
                for key, cell in row.items()
            }
            for row in rows
        ]
        for name, rows in record.tables.items()
    }
