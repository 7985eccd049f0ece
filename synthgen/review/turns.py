"""Whose turn it is: the patient that a person looks at next, and where they stand in a review.

The whole queue is read and ordered before the database is held; under its lock only the chosen patient is looked at again, so
that twenty people who ask at once do not wait for each other's ordering.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from synthgen.review import learning, reviews
from synthgen.review.tables import ITEMS, LOOKS
from synthgen.review.triage import LEASE, begin, change, look

if TYPE_CHECKING:
    from synthgen.review.database import Database, Write
    from synthgen.review.people import Person
    from synthgen.review.reviews import Review


@dataclass(frozen=True)
class Standing:
    """Where a reviewer stands in a review. Planted patients count like any other, or they would show."""

    done: int
    left: int
    seconds_a_look: float | None

    @property
    def total(self) -> int:
        return self.done + self.left


def next_look(database: Database, review_id: int, person: Person) -> tuple[Review, Any | None, Standing]:
    """The look to go on with, and where the person stands: the person's own open look, or a new one at the first patient that
    wants one; else None. Raises WorkspaceError for a review that does not exist."""
    with database.read() as connection:
        now = time.time()
        review = reviews.find(connection, review_id)
        board = _board(connection, review, person, now)
        stands = _standing(connection, review, person, board)  # one's own lease changes nothing in it
        own = _open_look(connection, review, person)
        if own is not None and own.leased_until >= now + LEASE / 2:
            return review, look(connection, own.id), stands
        free = [item for item in board if item.free]
        wanted = _in_turn(learning.in_order(connection, review, free)) if own is None else []
    with database.write() as write:
        return review, _take(write, review, person, wanted), stands


def standing(connection: sa.Connection, review: Review, person: Person, now: float) -> Standing:
    """How many the person has done, and how many looks are left that they could do."""
    return _standing(connection, review, person, _board(connection, review, person, now))


def _standing(connection: sa.Connection, review: Review, person: Person, board: Sequence[Any]) -> Standing:
    done, left = sum(item.answer is not None for item in board), sum(item.free for item in board)
    query = sa.select(LOOKS.c.seconds).join(ITEMS, ITEMS.c.id == LOOKS.c.item_id).order_by(LOOKS.c.seconds)
    mine = (ITEMS.c.review_id == review.id, LOOKS.c.person_id == person.id, LOOKS.c.undone_at.is_(None))
    times = connection.execute(query.where(*mine, LOOKS.c.seconds.is_not(None))).scalars().all()
    return Standing(done, left, times[len(times) // 2] if times else None)


def _in_turn(free: Sequence[Any]) -> list[int]:
    """The items, those that the person skipped last, the one skipped first before the others."""
    skipped = sorted((item for item in free if item.look is not None), key=lambda item: item.skipped_at or 0.0)
    return [item.id for item in (*(i for i in free if i.look is None), *skipped)]


def _take(write: Write, review: Review, person: Person, wanted: Sequence[int]) -> Any | None:
    """The first of the items that is still free: somebody else may have taken one since the queue was read."""
    own = _open_look(write.connection, review, person)
    if own is not None:
        change(write, own.id, leased_until=write.now + LEASE)
        return look(write.connection, own.id)
    if reviews.find(write.connection, review.id).closed_at is not None:
        return None
    for item_id in wanted:
        (item,) = _board(write.connection, review, person, write.now, item_id)
        if item.free and item.look is None:
            return begin(write, review, item_id, person)
        if item.free:
            change(write, item.look, skipped_at=None, opened_at=write.now, leased_until=write.now + LEASE)
            return look(write.connection, item.look)
    return None


def _open_look(connection: sa.Connection, review: Review, person: Person) -> Any | None:
    query = (
        sa.select(LOOKS)
        .join(ITEMS, ITEMS.c.id == LOOKS.c.item_id)
        .where(ITEMS.c.review_id == review.id, LOOKS.c.person_id == person.id, LOOKS.c.answer.is_(None))
        .where(LOOKS.c.undone_at.is_(None), LOOKS.c.skipped_at.is_(None), ~LOOKS.c.adjudicates)
        .order_by(LOOKS.c.opened_at.desc())
    )
    return connection.execute(query).first()


def _board(
    connection: sa.Connection, review: Review, person: Person, now: float, only: int | None = None
) -> Sequence[Any]:
    """The queue as one person meets it: (id, look, answer, skipped_at, free); `look` is the person's own.

    A patient is free for a person who has not answered, while blind answers and leases of others are fewer than wanted.

    Args:
        only: one item, instead of the whole queue.
    """
    mine, answered = LOOKS.c.person_id == person.id, LOOKS.c.answer.is_not(None)
    taken = sa.func.sum(sa.case((answered | (~mine & (LOOKS.c.leased_until > now)), 1), else_=0))
    own = sa.func.max(sa.case((mine, LOOKS.c.answer)))
    free = (sa.func.coalesce(taken, 0) < ITEMS.c.wanted) & own.is_(None)
    counts = (LOOKS.c.item_id == ITEMS.c.id) & LOOKS.c.undone_at.is_(None) & ~LOOKS.c.adjudicates
    query = (
        sa.select(
            ITEMS.c.id,
            sa.func.max(sa.case((mine, LOOKS.c.id))).label("look"),
            own.label("answer"),
            sa.func.max(sa.case((mine, LOOKS.c.skipped_at))).label("skipped_at"),
            free.label("free"),
        )
        .join(LOOKS, counts, isouter=True)
        .where(ITEMS.c.review_id == review.id)
        .group_by(ITEMS.c.id, ITEMS.c.wanted, ITEMS.c.position)
        .order_by(ITEMS.c.position)
    )
    return connection.execute(query if only is None else query.where(ITEMS.c.id == only)).all()
