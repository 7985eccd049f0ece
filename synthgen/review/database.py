"""The review house's part of the workspace's database, and the log that every change is written to."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from privacy.chain import Chain
from synthgen.workspace import DATABASE

if TYPE_CHECKING:
    from synthgen.workspace import Workspace

MIGRATIONS = Path(__file__).parent / "migrations"
LOG = "audit_log"


@dataclass(frozen=True)
class Write:
    """An open transaction that nobody else writes beside. What it changes and what it logs stand or fall together."""

    connection: sa.Connection
    now: float
    _log: Chain

    def log(self, kind: str, by: str, **content: Any) -> None:
        """Adds an entry to the log. `content` never holds a value of a real patient, nor a password."""
        self._log.extend(self.connection, {"kind": kind, "by": by, "at": round(self.now, 3), **content})


class Database:
    """Opens the workspace's database and brings its tables up to date.

    Raises:
        WorkspaceError: here and in every method, for a database that cannot be reached, read or written.
    """

    def __init__(self, workspace: Workspace) -> None:
        workspace.ledger()  # makes the folder, the key and the ledger, if they are not there yet
        url = os.environ.get(DATABASE, f"sqlite:///{(workspace.root / 'ledger.db').resolve()}")
        self._turn = threading.Lock()
        self.chain = Chain(url, hmac.new(workspace.key, b"audit log", hashlib.sha256).digest(), LOG)
        with self.chain.transaction(exclusive=True) as connection:
            migrate(connection)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database."""
        with self.chain.transaction() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Write]:
        """A transaction that changes something; rolled back, log and all, if the block raises. Within a process they take turns:
        SQLite itself would let each wait by sleeping, up to a tenth of a second at a time."""
        with self._turn, self.chain.transaction(exclusive=True) as connection:
            yield Write(connection, time.time(), self.chain)


def migrate(connection: sa.Connection) -> None:
    """Brings the tables to the newest version (Alembic, `migrations/`)."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
