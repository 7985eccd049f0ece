"""Sessions: the browser holds a random token, the database its hash. A new one at each sign-in; idle and absolute limits."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from synthgen.review.people import Person
from synthgen.review.tables import PEOPLE, SESSIONS

if TYPE_CHECKING:
    from synthgen.review.database import Database

COOKIE = "synthgen_session"
IDLE = 30 * 60.0
ABSOLUTE = 10 * 3600.0
NOTED_EVERY = 60.0
"""A session's last use is written down once a minute, not with each request."""
Kind = Literal["browser", "api"]


@dataclass(frozen=True)
class Session:
    """Who asks, and the token that each of their changes must carry."""

    person: Person
    csrf: str
    kind: Kind


def begin(database: Database, person: Person, kind: Kind, replaces: str | None = None) -> str:
    """The token of a new session. The one it `replaces` ends, and so do all that are over."""
    token = secrets.token_urlsafe(32)
    with database.write() as write:
        write.connection.execute(
            SESSIONS.delete().where(
                (SESSIONS.c.token == _hash(replaces or ""))
                | (SESSIONS.c.seen_at < write.now - IDLE)
                | (SESSIONS.c.made_at < write.now - ABSOLUTE)
            )
        )
        row = {"token": _hash(token), "person_id": person.id, "kind": kind, "csrf": secrets.token_urlsafe(32)}
        write.connection.execute(SESSIONS.insert().values(**row, made_at=write.now, seen_at=write.now))
    return token


def find(database: Database, token: str, kind: Kind) -> Session | None:
    """The session of a token, unless it is over or its person's account is closed."""
    now = time.time()
    with database.read() as connection:
        row = connection.execute(
            sa.select(SESSIONS.c.csrf, SESSIONS.c.made_at, SESSIONS.c.seen_at, PEOPLE)
            .join(PEOPLE, PEOPLE.c.id == SESSIONS.c.person_id)
            .where(SESSIONS.c.token == _hash(token), SESSIONS.c.kind == kind)
        ).first()
    if row is None or not row.active or now - row.seen_at > IDLE or now - row.made_at > ABSOLUTE:
        return None
    if now - row.seen_at > NOTED_EVERY:
        with database.write() as write:
            write.connection.execute(SESSIONS.update().where(SESSIONS.c.token == _hash(token)).values(seen_at=now))
    return Session(Person.of(row), row.csrf, kind)


def end(database: Database, token: str, person: Person) -> None:
    """Signing out."""
    with database.write() as write:
        write.connection.execute(SESSIONS.delete().where(SESSIONS.c.token == _hash(token)))
        write.log("sign-out", person.name)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
