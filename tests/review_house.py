"""A review house for tests: a workspace with people of every role, prepared once and copied, and a way to ask it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import pytest
import review_postgres
from fastapi import FastAPI
from starlette.testclient import TestClient

from synthgen.review import passwords, people
from synthgen.review.app import create_app
from synthgen.review.database import Database
from synthgen.workspace import Workspace

PASSWORD = "correct horse battery"
PEOPLE = {
    "sam": "scientist", "sue": "scientist", "ana": "specialist", "bea": "specialist", "cora": "specialist", "dora": "specialist",
    "olga": "officer", "otto": "officer", "adam": "admin", "abel": "admin",
}  # fmt: skip
BASE = "http://localhost"


@cache
def _prepared() -> Path:
    """A workspace with an account for each of `PEOPLE`."""
    folder = Path(mkdtemp(prefix="synthgen-review-")) / "workspace"
    patch = pytest.MonkeyPatch()
    review_postgres.made(folder)
    patch.setattr(passwords, "hashed", quickly)
    database = Database(Workspace(folder))
    for name, role in PEOPLE.items():
        people.add(database, name, role, PASSWORD, "test", temporary=False)
    patch.undo()
    return folder


def quickly(password: str) -> str:
    """Argon2 at its smallest: tests sign in often."""
    from pwdlib.hashers.argon2 import Argon2Hasher

    return Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


def workspace(folder: Path) -> Workspace:
    """A copy of the prepared workspace."""
    return copy(Workspace(_prepared()), folder)


def copy(template: Workspace, folder: Path) -> Workspace:
    """The same workspace once more, database and all."""
    shutil.copytree(template.root, folder / "workspace")
    place = Workspace(folder / "workspace")
    review_postgres.copied(template.root, place.root)
    return place


def app(folder: Path) -> FastAPI:
    """An application over a fresh copy."""
    return create_app(workspace(folder))


class Asker:
    """A browser without a screen: keeps its cookie, and sends the form's token as the page would."""

    def __init__(self, application: FastAPI, name: str | None = None) -> None:
        self.client = TestClient(application, base_url=BASE, follow_redirects=False, raise_server_exceptions=False)
        self.csrf = self.token = ""
        if name is not None:
            self.sign_in(name)

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        answer = self.client.post("/signin", data={"name": name, "password": password})
        if answer.status_code == 303:
            self.csrf = self.get("/account").text.split('name="csrf" value="')[1].split('"')[0]
            self.token = self.client.post("/api/signin", json={"name": name, "password": password}).json()["token"]
        return answer

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **fields: Any) -> httpx.Response:
        return self.client.post(path, data={"csrf": self.csrf, **fields})

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Of the JSON API."""
        headers = {"authorization": f"Bearer {self.token}"}
        return self.client.request(method, f"/api{path}", headers=headers, **({} if body is None else {"json": body}))
