"""An append-only table in which every entry is hashed together with the one before: a change to the past shows.

The hash is keyed (HMAC-SHA256), so that whoever can write the database but does not hold the key cannot forge an entry.
Cutting off the end leaves a shorter chain that is sound in itself: only a `root` that was saved elsewhere shows it.

SQLite runs in WAL mode with synchronous=FULL and BEGIN IMMEDIATE; PostgreSQL under one advisory lock. Either way an append
sees all earlier entries, nobody appends beside it, and it is on disk before it is answered.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from privacy.errors import ConfigError, WorkspaceError

PATIENCE = 120
"""Seconds to wait while others append."""

_LOCK = int.from_bytes(hashlib.sha256(b"synthgen ledger").digest()[:7], "big")


def _table(name: str) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )


@dataclass(frozen=True)
class Entry:
    """One entry: its place in the chain, counted from 1, and what it says."""

    number: int
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Verification:
    """Whether a chain is sound. `first_bad` is the number of the first entry that is not as it was written."""

    entries: int
    root: str
    first_bad: int | None
    text: str

    @property
    def ok(self) -> bool:
        return self.first_bad is None


@dataclass
class Append:
    """An open transaction: all entries so far, and the only way to add one. Nothing is kept unless it ends well."""

    entries: list[Entry]
    _connection: sa.Connection = field(repr=False)
    _last: str = field(repr=False)
    _chain: Chain = field(repr=False)

    def append(self, content: Mapping[str, Any]) -> None:
        number = len(self.entries) + 1
        self._last = self._chain._insert(self._connection, number, self._last, content)
        self.entries.append(Entry(number, content))


class Chain:
    """The chain in one database.

    Args:
        url: `sqlite:///path` or `postgresql://...`.
        key: the secret that all entries are hashed with.
        table: the chain's own table; one database can hold several chains.

    Raises:
        ConfigError: for a URL of another kind.
        WorkspaceError: for a database that is corrupt, tampered with, full, cannot be written, or was begun with another key.
    """

    def __init__(self, url: str, key: bytes, table: str = "ledger") -> None:
        self._engine = _engine(url)
        self._table = _table(table)
        self._key = key
        self._place = self._engine.url.render_as_string(hide_password=True)
        if not self._begun():
            self._begin()

    def read(self) -> list[Entry]:
        """All entries, verified."""
        with self.transaction() as connection:
            return self._sound(self._rows(connection))

    @contextmanager
    def append(self) -> Iterator[Append]:
        """A transaction that nobody else appends beside; rolled back if the block raises."""
        with self.transaction(exclusive=True) as connection:
            rows = self._rows(connection)
            yield Append(self._sound(rows), connection, rows[-1].hash, self)

    def extend(self, connection: sa.Connection, content: Mapping[str, Any]) -> Entry:
        """Adds an entry within an exclusive `transaction`, at the cost of reading the last one alone.

        What came before is not verified here: a change to it shows in `verify` all the same.
        """
        newest = sa.select(self._table).order_by(self._table.c.number.desc()).limit(1)
        last = connection.execute(newest).one()
        self._insert(connection, last.number + 1, last.hash, content)
        return Entry(last.number + 1, content)

    def newest(self, count: int, before: int | None = None) -> list[Entry]:
        """The last `count` entries (those `before` a number), newest first; for display, so not verified."""
        query = sa.select(self._table).order_by(self._table.c.number.desc()).limit(count)
        if before is not None:
            query = query.where(self._table.c.number < before)
        with self.transaction() as connection:
            return [Entry(row.number, json.loads(row.content)) for row in connection.execute(query)]

    def verify(self, root: str | None = None) -> Verification:
        """Recomputes every hash; with a `root` saved earlier, also tells whether the chain still goes through it."""
        with self.transaction() as connection:
            rows = self._rows(connection)
        return self._verification(rows, root)

    @property
    def root(self) -> str:
        """`number:hash` of the last entry. Saved elsewhere, it proves later that nothing before it was changed or cut off."""
        with self.transaction() as connection:
            rows = self._rows(connection)
        self._sound(rows)
        return _root(rows)

    def _begun(self) -> bool:
        with self.transaction() as connection:
            if not sa.inspect(connection).has_table(self._table.name):
                return False
            first = connection.execute(sa.select(self._table).where(self._table.c.number == 1)).first()
        if first is None or first.hash != _hash(self._key, "", first.content):
            raise WorkspaceError(
                f"{self._place}: this ledger was begun with another key, or its first entry was changed. Restore ledger.key "
                "from the workspace's backup: without it no patient can be recognised, so nothing may be spent"
            )
        return True

    def _begin(self) -> None:
        with self.transaction(exclusive=True) as connection:
            connection.execute(CreateTable(self._table, if_not_exists=True))
            if not self._rows(connection):
                Append([], connection, "", self).append({"kind": "begin", "format": 1})

    def _insert(self, connection: sa.Connection, number: int, previous: str, content: Mapping[str, Any]) -> str:
        text = canonical(content)
        digest = _hash(self._key, previous, text)
        connection.execute(self._table.insert().values(number=number, content=text, hash=digest))
        return digest

    def _rows(self, connection: sa.Connection) -> Sequence[Any]:
        return connection.execute(sa.select(self._table).order_by(self._table.c.number)).all()

    def _sound(self, rows: Sequence[Any]) -> list[Entry]:
        found = self._verification(rows)
        if not found.ok:
            raise WorkspaceError(
                f"{self._place}: {found.text}. What was spent cannot be known, so nothing may be spent: restore the ledger from "
                "a backup whose root matches"
            )
        return [Entry(row.number, json.loads(row.content)) for row in rows]

    def _verification(self, rows: Sequence[Any], saved: str | None = None) -> Verification:
        last, root = "", _root(rows)
        for number, row in enumerate(rows, start=1):
            if row.number != number:
                return Verification(len(rows), root, number, f"entry {number} is missing")
            if not isinstance(row.content, str) or row.hash != (last := _hash(self._key, last, row.content)):
                return Verification(len(rows), root, number, f"entry {number} is not what was written there")
        first_bad, text = _against(rows, saved) if saved else (None, "")
        if not rows:
            first_bad, text = 1, "entry 1 is missing"
        return Verification(len(rows), root, first_bad, text or f"{len(rows)} entries, chain sound, root {root}")

    @contextmanager
    def transaction(self, exclusive: bool = False) -> Iterator[sa.Connection]:
        """A transaction on the chain's database, with its complaints in words; in an exclusive one nobody writes beside us."""
        try:
            with self._engine.connect().execution_options(exclusive=exclusive) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise WorkspaceError(f"{self._place}: {_in_words(error)}") from None
        except SQLAlchemyError as error:
            raise WorkspaceError(f"{self._place}: the ledger cannot be used ({type(error).__name__})") from None


def canonical(content: Mapping[str, Any]) -> str:
    """The one spelling of a JSON object that is hashed and stored."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _hash(key: bytes, previous: str, text: str) -> str:
    return hmac.new(key, f"entry\0{previous}\0{text}".encode(), hashlib.sha256).hexdigest()


def _root(rows: Sequence[Any]) -> str:
    return f"{rows[-1].number}:{rows[-1].hash}" if rows else "0:"


def _against(rows: Sequence[Any], saved: str) -> tuple[int | None, str]:
    number, _, digest = saved.partition(":")
    if not number.isdecimal() or int(number) < 1 or len(digest) != 64:
        raise ConfigError("A saved root reads number:hash, as `root` gave it")
    if int(number) > len(rows):
        return len(rows) + 1, f"entries {len(rows) + 1} to {number} are missing: the end was cut off"
    if rows[int(number) - 1].hash != digest:
        return int(number), f"entry {number} is not the one in the saved root: the ledger was forked or rewritten"
    return None, ""


def _engine(url: str) -> sa.Engine:
    try:
        place = sa.make_url(url)
    except ArgumentError:
        raise ConfigError(
            "The ledger's URL cannot be read; use sqlite:///path/to/ledger.db or postgresql://..."
        ) from None
    kind = place.get_backend_name()
    if kind == "sqlite":
        engine = sa.create_engine(place, poolclass=sa.NullPool, connect_args={"timeout": PATIENCE})
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine
    if kind == "postgresql":
        try:
            engine = sa.create_engine(
                place.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool, isolation_level="READ COMMITTED"
            )
        except ModuleNotFoundError:
            raise ConfigError("A ledger in PostgreSQL needs psycopg: pip install 'synthgen[postgres]'") from None
        sa.event.listen(engine, "begin", _postgres_begin)
        return engine
    raise ConfigError(f"The ledger lives in SQLite or PostgreSQL, not in {kind}")


def _sqlite_connect(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own would come too late to lock
    try:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise WorkspaceError("The ledger needs SQLite's write-ahead log: keep the workspace on a local disk")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise


def _sqlite_begin(connection: sa.Connection) -> None:
    exclusive = connection.get_execution_options().get("exclusive")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if exclusive else "BEGIN")


def _postgres_begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("exclusive"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


_COMPLAINTS = {
    "not a database": "is no database, or corrupt. Restore it from a backup: what was spent cannot be known without it",
    "malformed": "is corrupt. Restore it from a backup: what was spent cannot be known without it",
    "readonly": "cannot be written. Give this account the right to write the ledger and its folder",
    "read-only": "cannot be written. Give this account the right to write the ledger",
    "permission denied": "cannot be written. Give this account the right to write the ledger",
    "unable to open": "cannot be opened. Check that its folder exists and can be written",
    "full": "cannot be written: no space is left on the disk. Nothing was reserved",
    "no space": "cannot be written: no space is left on the disk. Nothing was reserved",
    "lock": f"is held by another process for over {PATIENCE} seconds. Try again when that has ended",
    "connect": "cannot be reached. Check that the database server runs and that its URL is right",
}


def _in_words(error: DBAPIError) -> str:
    """What the database complains of, without its own text, which may quote an entry."""
    said = str(error.orig).lower()
    words = next((words for mark, words in _COMPLAINTS.items() if mark in said), None)
    return f"the ledger {words}" if words else f"the ledger cannot be used ({type(error.orig).__name__})"
