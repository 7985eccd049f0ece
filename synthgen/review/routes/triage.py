"""The triage screen: one synthetic patient, its flags in sentences, and a decision at the press of a key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import HTTPException, Query, Request
from fastapi.responses import Response

from synthgen.report.contact_sheet import png
from synthgen.review import reviews, triage, turns
from synthgen.review.access import Me, Number, Text, route
from synthgen.review.house import house
from synthgen.review.people import Role
from synthgen.review.records import spoiled
from synthgen.review.render import page, see
from synthgen.review.timeline import timeline

if TYPE_CHECKING:
    from synthgen.review.house import House
    from synthgen.review.records import Record

SPECIALIST: tuple[Role, ...] = ("specialist",)
SAID = {
    "already": "That patient was decided before; nothing was changed. Backspace takes your last decision back.",
    "undone": "Your last decision is taken back.",
    "nothing": "There is nothing to take back.",
    "opinion": "One more person will look at this patient. Your own decision still counts.",
    "reason": "A rejection needs a reason: press 1 to 9, then x.",
}


@route("GET", "/reviews/{review_id}/look", SPECIALIST)
def next_look(request: Request, me: Me, review_id: Number, said: Annotated[str, Query(max_length=12)] = "") -> Response:
    home = house(request)
    review, look, standing = turns.next_look(home.database, review_id, me)
    if look is None:
        return page(request, "done.html", review=review, standing=standing)
    return _show(request, home, review, look, standing, SAID.get(said, ""), [])


@route("GET", "/reviews/{review_id}/conflicts/{position}", SPECIALIST)
def adjudicate(request: Request, me: Me, review_id: Number, position: Number) -> Response:
    home = house(request)
    with home.database.write() as write:
        review = reviews.find(write.connection, review_id)
        look = triage.adjudicate(write, review, position, me)
        standing = turns.standing(write.connection, review, me, write.now)
        answers = triage.answers_about(write.connection, look.item_id)
    return _show(request, home, review, look, standing, "", answers)


@route("POST", "/looks/{look_id}", SPECIALIST)
def decide(
    request: Request,
    me: Me,
    look_id: str,
    answer: Text,
    reason: Text = "",
    note: Text = "",
) -> Response:
    with house(request).database.write() as write:
        look = triage.own_look(write.connection, look_id, me)
        if answer == "reject" and not reason and look.answer is None:
            triage.draft(write, look_id, me, reason, note)
            return see(f"/reviews/{look.review_id}/look?said=reason")
        changed = triage.answer(write, look_id, me, answer, reason if answer == "reject" else "", note)
    if look.adjudicates:
        return see(f"/reviews/{look.review_id}")
    return see(f"/reviews/{look.review_id}/look" + ("" if changed else "?said=already"))


@route("POST", "/looks/{look_id}/draft", SPECIALIST)
def draft(request: Request, me: Me, look_id: str, reason: Text = "", note: Text = "") -> Response:
    with house(request).database.write() as write:
        triage.draft(write, look_id, me, reason, note)
    return Response(status_code=204)


@route("POST", "/looks/{look_id}/skip", SPECIALIST)
def skip(request: Request, me: Me, look_id: str) -> Response:
    with house(request).database.write() as write:
        look = triage.own_look(write.connection, look_id, me)
        triage.skip(write, look_id, me)
    return see(f"/reviews/{look.review_id}/look")


@route("POST", "/looks/{look_id}/opinion", SPECIALIST)
def second_opinion(request: Request, me: Me, look_id: str) -> Response:
    with house(request).database.write() as write:
        look = triage.own_look(write.connection, look_id, me)
        triage.second_opinion(write, look_id, me)
    return see(f"/reviews/{look.review_id}/look?said=opinion")


@route("POST", "/reviews/{review_id}/undo", SPECIALIST)
def undo(request: Request, me: Me, review_id: Number) -> Response:
    with house(request).database.write() as write:
        undone = triage.undo(write, reviews.find(write.connection, review_id), me)
    return see(f"/reviews/{review_id}/look?said={'undone' if undone else 'nothing'}")


@route("GET", "/looks/{look_id}/pictures/{number}", SPECIALIST)
def picture(request: Request, me: Me, look_id: str, number: Number) -> Response:
    """One picture of the patient one is looking at, as PNG; from 1 in the order of the page."""
    home = house(request)
    with home.database.read() as connection:
        look = triage.own_look(connection, look_id, me)
        review = reviews.find(connection, look.review_id)
    pictures = record_of(home, review.run, look).pictures
    if not 1 <= number <= len(pictures):
        raise HTTPException(404, "There is no such picture.")
    return Response(png(pictures[number - 1]), media_type="image/png")


def _show(
    request: Request,
    home: House,
    review: reviews.Review,
    look: Any,
    standing: turns.Standing,
    said: str,
    answers: list[Any],
) -> Response:
    record = record_of(home, review.run, look)
    dictionary = home.records(review.run).dictionary
    return page(
        request,
        "look.html",
        review=review,
        look=look,
        standing=standing,
        said=said,
        answers=answers,
        record=record,
        dictionary=dictionary,
        flags=json.loads(look.flags),
        t=timeline(record, dictionary),
        reasons=triage.REASONS,
    )


def record_of(home: House, run: str, look: Any) -> Record:
    """The patient; of a planted item its spoiled copy, the same for everybody."""
    records = home.records(run)
    record = records[look.patient_id]
    return spoiled(record, records.dictionary, np.random.default_rng(look.item_id)) if look.planted else record
