"""Who may do what: every route, asked by nobody and by each role, against this table. A route that is not here fails."""

from __future__ import annotations

import re
import shutil

import pytest
import review_house
import review_run
from review_house import Asker

from synthgen.review.access import ROUTES
from synthgen.review.app import create_app
from synthgen.workspace import Workspace

ROLES = {"s": "sam", "p": "ana", "o": "olga", "a": "adam"}
"""scientist, specialist, officer, admin."""
EVERYONE = "spoa"
MATRIX: dict[str, str | None] = {  # None: no sign-in is needed
    "GET /static/{name}": None,
    "GET /signin": None,
    "POST /signin": None,
    "GET /": EVERYONE,
    "POST /signout": EVERYONE,
    "GET /account": EVERYONE,
    "POST /account/password": EVERYONE,
    "GET /people": "a",
    "POST /people": "a",
    "POST /people/{name}/active": "a",
    "GET /log": "oa",
    "POST /log/verify": "oa",
    "POST /log/checkpoint": "o",
    "GET /reviews": "spo",
    "POST /reviews": "s",
    "GET /reviews/{review_id}": "spo",
    "POST /reviews/{review_id}/close": "s",
    "GET /reviews/{review_id}/look": "p",
    "GET /reviews/{review_id}/conflicts/{position}": "p",
    "POST /reviews/{review_id}/undo": "p",
    "POST /looks/{look_id}": "p",
    "POST /looks/{look_id}/draft": "p",
    "POST /looks/{look_id}/skip": "p",
    "POST /looks/{look_id}/opinion": "p",
    "GET /releases": "so",
    "POST /releases": "s",
    "GET /releases/{number}": "so",
    "POST /releases/{number}/accept": "o",
    "POST /releases/{number}/approve": "o",
    "POST /releases/{number}/refuse": "o",
    "POST /releases/{number}/withdraw": "o",
    "GET /releases/{number}/bundle": "so",
    "GET /runs": "so",
    "POST /jobs": "s",
    "GET /jobs/{number}": "so",
    "GET /jobs/{number}/progress": "so",
    "POST /jobs/{number}/cancel": "s",
    "POST /jobs/{number}/resume": "s",
    "GET /runs/{run_id}": "so",
    "GET /runs/{run_id}/report": "so",
    "GET /compare": "so",
    "GET /privacy": "o",
    "POST /privacy/verify": "o",
    "GET /privacy/{dataset}": "o",
    "POST /privacy/{dataset}/cap": "o",
    "POST /privacy/{dataset}/consent": "o",
}
FIELDS: dict[str, dict[str, str]] = {
    "POST /looks/{look_id}": {"answer": "accept"},
    "POST /people": {"name": "newcomer", "role": "specialist", "password": review_house.PASSWORD},
    "POST /people/{name}/active": {"active": "true"},
    "POST /log/checkpoint": {"password": review_house.PASSWORD},
    "POST /account/password": {"old": "x", "new": "y", "again": "z"},
    "POST /signin": {"name": "ana", "password": review_house.PASSWORD},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    place = review_house.workspace(tmp_path_factory.mktemp("access"))
    review_run.finished(place, review_run.flags(6))
    return place


@pytest.fixture
def app(template, tmp_path):
    shutil.copytree(template.root, tmp_path / "workspace")
    return create_app(Workspace(tmp_path / "workspace"))


def prepared(app) -> dict[str, str]:
    """What the routes' placeholders stand for: a review with an open look of ana's."""
    run = app.state.house.workspace.run().id
    sam, ana = Asker(app, "sam"), Asker(app, "ana")
    fields = {"looks": 2, "most": 6, "random": 0, "planted": 0}
    review = sam.post("/reviews", run=run, **fields).headers["location"].rsplit("/", 1)[1]
    look = re.search(r"/looks/([0-9a-f]{24})", ana.get(f"/reviews/{review}/look").text)[1]
    number = sam.post("/releases", run=run, purpose="a methods course").headers["location"].rsplit("/", 1)[1]
    return {
        "number": number,
        "name": "bea",
        "review_id": review,
        "position": "1",
        "look_id": look,
        "run_id": run,
        "dataset": "pbc",
    }


def names() -> list[str]:
    return [f"{r.method} {r.path}" for r in ROUTES]


def ask(asker: Asker, name: str, values: dict[str, str]):
    method, path = name.split(" ")
    path = path.format(**values)
    return asker.get(path) if method == "GET" else asker.post(path, **FIELDS.get(name, {}))


def test_every_route_stands_in_the_matrix_and_is_the_only_way_in(app):
    assert sorted(names()) == sorted(MATRIX)
    served = {f"{m} {r.path}" for r in app.routes for m in getattr(r, "methods", None) or ()}
    assert served <= set(MATRIX), "a route was made without a guard"
    assert served == set(MATRIX)


def test_each_role_gets_what_it_may_and_nothing_else(app):
    """Every route x nobody and four roles: 0 mismatches."""
    values = prepared(app)
    mismatches = []
    askers = {role: Asker(app, person) for role, person in ROLES.items()}
    for name in names():
        may = MATRIX[name]
        nobody = ask(Asker(app), name, values)
        if may is not None and (nobody.status_code, nobody.headers.get("location")) != (303, "/signin"):
            mismatches.append(f"{name}: nobody got {nobody.status_code}")
        for role, person in ROLES.items():
            asker = Asker(app, person) if name in ("POST /signout", "POST /signin") else askers[role]
            answer = ask(asker, name, values)
            refused = answer.status_code == 403 and "This is for" in answer.text
            if refused is (may is None or role in may):
                mismatches.append(f"{name}: {role} got {answer.status_code}")
            if answer.status_code >= 500:
                mismatches.append(f"{name}: {role} got a fault")
    assert mismatches == []


def test_what_is_another_persons_does_not_exist(app):
    values = prepared(app)
    bea = Asker(app, "bea")
    for name in (n for n in names() if n.startswith("POST /looks/")):
        assert ask(bea, name, values).status_code == 404, name
    assert Asker(app, "ana").post(f"/looks/{values['look_id']}/skip").status_code == 303


def test_a_closed_account_is_nobody(app):
    ana = Asker(app, "ana")
    Asker(app, "adam").post("/people/ana/active", active="false")
    assert ana.get("/reviews").headers["location"] == "/signin"


@pytest.mark.parametrize("token", ["", "x", "' OR '1'='1", "a" * 5000, "\u00e9"])
def test_a_made_up_session_is_nobody(app, token):
    answer = Asker(app).get("/account", headers={"cookie": f"synthgen_session={token}".encode()})
    assert answer.status_code in (303, 400)
