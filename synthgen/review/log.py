"""The log: one append-only chain of everything that people did, the ledger's entries included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from privacy.chain import Verification, canonical
from synthgen.review import passwords
from synthgen.review.tables import MIRROR, PEOPLE

if TYPE_CHECKING:
    from synthgen.review.database import Database, Write
    from synthgen.review.people import Person

LIMIT = (
    "The chain shows any change to its past, and, against a checkpoint kept outside, also that its end was cut off or that "
    "all of it was written anew. Without a checkpoint outside, whoever holds both the database and the workspace's key can "
    "write a whole new log, and nobody can see it."
)


def catch_up(database: Database) -> None:
    """Takes the ledger's new entries over, if there are any."""
    with database.read() as connection:
        newest = connection.execute(sa.text("SELECT max(number) FROM ledger")).scalar()
        done = connection.execute(sa.select(MIRROR.c.number).where(MIRROR.c.chain == "ledger")).scalar()
    if newest != done:
        with database.write() as write:
            take_over(write)


def take_over(write: Write) -> int:
    """Adds the ledger's new entries (without its patients' hashes) to the log; returns how many."""
    done = write.connection.execute(sa.select(MIRROR.c.number).where(MIRROR.c.chain == "ledger")).scalar()
    rows = write.connection.execute(
        sa.text("SELECT number, content, hash FROM ledger WHERE number > :n ORDER BY number"), {"n": done or 0}
    ).all()
    for row in rows:
        content = {key: value for key, value in json.loads(row.content).items() if key != "patients"}
        write.log("ledger", "the ledger", number=row.number, hash=row.hash, entry=content)
    if rows and done is None:
        write.connection.execute(MIRROR.insert().values(chain="ledger", number=rows[-1].number))
    elif rows:
        write.connection.execute(MIRROR.update().where(MIRROR.c.chain == "ledger").values(number=rows[-1].number))
    return len(rows)


def verify(database: Database, root: str | None = None) -> Verification:
    """Every hash of the log recomputed, and each entry taken over from the ledger compared with the ledger.

    Raises:
        ConfigError: for a root that cannot be read.
    """
    found = database.chain.verify(root)
    if not found.ok:
        return found
    with database.read() as connection:
        ledger = {row.number: row.hash for row in connection.execute(sa.text("SELECT number, hash FROM ledger"))}
    for entry in database.chain.read():
        said = entry.content
        if said["kind"] == "ledger" and ledger.get(said["number"]) != said["hash"]:
            text = f"entry {said['number']} of the ledger is not the one that entry {entry.number} of the log took over"
            return Verification(found.entries, found.root, entry.number, text)
    return found


def checkpoint(database: Database, officer: Person, password: str) -> dict[str, Any]:
    """The log's root, signed by an officer, to be kept outside.

    Raises:
        WorkspaceError: if the log is not sound.
    """
    with database.write() as write:
        take_over(write)
        write.log("checkpoint", officer.name)
    with database.read() as connection:
        sealed = connection.execute(sa.select(PEOPLE.c.sealed_key).where(PEOPLE.c.id == officer.id)).scalar_one()
    said = {"what": "synthgen audit log", "root": database.chain.root, "by": officer.name, "key": officer.public_key}
    return said | {"signature": passwords.sign(canonical(said).encode(), sealed, password)}
