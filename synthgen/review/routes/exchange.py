"""Decisions taken out and brought in as files."""

from __future__ import annotations

from typing import Annotated

from fastapi import File, Request, UploadFile
from fastapi.responses import Response

from synthgen.review import exchange, reviews
from synthgen.review.access import Me, Number, route
from synthgen.review.house import house
from synthgen.review.people import Role
from synthgen.review.render import see

READERS: tuple[Role, ...] = ("specialist", "scientist", "officer")


@route("GET", "/reviews/{review_id}/decisions.csv", READERS)
def export(request: Request, me: Me, review_id: Number) -> Response:
    with house(request).database.write() as write:
        review = reviews.find(write.connection, review_id)
        rows = exchange.decisions(write.connection, review, me if me.role == "specialist" else None)
        write.log("decisions exported", me.name, review=review.id, rows=len(rows))
    headers = {"Content-Disposition": f'attachment; filename="review-{review.id}-decisions.csv"'}
    return Response(exchange.as_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)


@route("POST", "/reviews/{review_id}/decisions", ("specialist",))
def take_in(request: Request, me: Me, review_id: Number, file: Annotated[UploadFile, File()]) -> Response:
    rows = exchange.parse(file.file.read())
    with house(request).database.write() as write:
        review = reviews.find(write.connection, review_id)
        exchange.take_in(write, review, rows, me, file.filename or "file")
    return see(f"/reviews/{review_id}")
