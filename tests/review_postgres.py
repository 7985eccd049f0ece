"""The review house's tests on PostgreSQL: with SYNTHGEN_REVIEW_POSTGRES set to a server's URL, each workspace of theirs keeps its
database there, and a copied workspace gets a copy of it. Without it this file does nothing and SQLite is used.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa

from synthgen.workspace import DATABASE

SERVER = os.environ.get("SYNTHGEN_REVIEW_POSTGRES")
_NAMES: dict[Path, str] = {}

on_sqlite_alone = pytest.mark.skipif(SERVER is not None, reason="about the file of SQLite, or about a second workspace")


def made(root: Path) -> None:
    """A new, empty database for a workspace, which is the one in use from now on."""
    _make(root, "template1")


def copied(template: Path, root: Path) -> None:
    """A copy of another workspace's database; in use from now on."""
    _make(root, _NAMES.get(template, ""))


def _make(root: Path, template: str) -> None:
    if SERVER is None:
        os.environ.pop(DATABASE, None)
        return
    name = f"review_{os.urandom(6).hex()}"
    with _engine().connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    _NAMES[root] = name
    os.environ[DATABASE] = sa.make_url(SERVER).set(database=name).render_as_string(hide_password=False)


@cache
def _engine() -> sa.Engine:
    assert SERVER is not None
    atexit.register(_drop)
    url = sa.make_url(SERVER).set(drivername="postgresql+psycopg")
    return sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")


def _drop() -> None:
    with _engine().connect() as connection:
        for name in _NAMES.values():
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
