"""Who may do what: every route, asked by nobody and by each role, against this table. A route that is not here fails."""

from __future__ import annotations

import re

import pytest
import review_house
import review_run
from review_house import Asker

from synthgen.review.access import OWN_PASSWORD_FIRST, ROUTES
from synthgen.review.app import create_app

ROLES = {"s": "sam", "p": "ana", "o": "olga", "a": "adam"}
"""scientist, specialist, officer, admin."""
OTHERS = {"s": "sue", "p": "bea", "o": "otto", "a": "abel"}
"""Somebody else of the same role."""
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
    "GET /looks/{look_id}/pictures/{number}": "p",
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
    "GET /reviews/{review_id}/decisions.csv": "spo",
    "POST /reviews/{review_id}/decisions": "p",
    "GET /api-docs": EVERYONE,
    "GET /api/openapi.json": None,
    "POST /api/signin": None,
    "POST /api/signout": EVERYONE,
    "GET /api/runs": "so",
    "GET /api/runs/{run_id}": "so",
    "GET /api/jobs": "so",
    "POST /api/jobs": "s",
    "GET /api/jobs/{number}": "so",
    "POST /api/jobs/{number}/cancel": "s",
    "POST /api/jobs/{number}/resume": "s",
    "GET /api/reviews": "spo",
    "POST /api/reviews": "s",
    "GET /api/reviews/{review_id}": "spo",
    "POST /api/reviews/{review_id}/close": "s",
    "POST /api/reviews/{review_id}/look": "p",
    "POST /api/looks/{look_id}": "p",
    "POST /api/looks/{look_id}/skip": "p",
    "POST /api/reviews/{review_id}/undo": "p",
    "GET /api/reviews/{review_id}/decisions": "spo",
    "POST /api/reviews/{review_id}/decisions": "p",
    "GET /api/releases": "so",
    "POST /api/releases": "s",
    "GET /api/releases/{number}": "so",
    "POST /api/releases/{number}/accept": "o",
    "POST /api/releases/{number}/approve": "o",
    "POST /api/releases/{number}/refuse": "o",
    "POST /api/releases/{number}/withdraw": "o",
    "GET /api/privacy": "o",
    "POST /api/privacy/{dataset}/cap": "o",
    "GET /api/log": "oa",
    "POST /api/log/verify": "oa",
    "GET /api/people": "a",
    "POST /api/people": "a",
    "GET /privacy": "o",
    "POST /privacy/verify": "o",
    "GET /privacy/{dataset}": "o",
    "POST /privacy/{dataset}/cap": "o",
    "POST /privacy/{dataset}/consent": "o",
    "POST /privacy/{dataset}/retention": "o",
    "POST /api/account/password": EVERYONE,
    "POST /api/people/{name}/active": "a",
    "GET /api/runs/{run_id}/report": "so",
    "GET /api/compare": "so",
    "POST /api/looks/{look_id}/draft": "p",
    "POST /api/looks/{look_id}/opinion": "p",
    "GET /api/looks/{look_id}/pictures/{number}": "p",
    "POST /api/reviews/{review_id}/conflicts/{position}": "p",
    "GET /api/releases/{number}/bundle": "so",
    "POST /api/privacy/verify": "o",
    "GET /api/privacy/{dataset}": "o",
    "POST /api/privacy/{dataset}/consent": "o",
    "POST /api/privacy/{dataset}/retention": "o",
    "POST /api/log/checkpoint": "o",
}
OWNED = {
    **{name: "no such look of yours" for name in MATRIX if "{look_id}" in name},
    **{name: "only who queued a job" for name in MATRIX if name.endswith(("/cancel", "/resume"))},
}
"""What only the person may touch who has it, and how everybody else is refused. The rest belongs to a role."""
PAGES_ALONE = ("/", "/static/{name}", "/account", "/api-docs")
"""Pages that show nothing and change nothing, so that the API has none of it."""
TWINS = {
    "/jobs/{number}/progress": "/api/jobs/{number}",
    "/reviews/{review_id}/decisions.csv": "/api/reviews/{review_id}/decisions",
}
"""Pages whose call of the API has another name than theirs."""
FIELDS: dict[str, dict[str, str]] = {
    "POST /looks/{look_id}": {"answer": "accept"},
    "POST /people": {"name": "newcomer", "role": "specialist", "password": review_house.PASSWORD},
    "POST /people/{name}/active": {"active": "true"},
    "POST /log/checkpoint": {"password": review_house.PASSWORD},
    "POST /account/password": {"old": "x", "new": "y", "again": "z"},
    "POST /signin": {"name": "ana", "password": review_house.PASSWORD},
}
BODIES: dict[str, dict[str, object]] = {
    "POST /api/signin": {"name": "ana", "password": review_house.PASSWORD},
    "POST /api/jobs": {"job": "pbc"},
    "POST /api/reviews": {"run": "none"},
    "POST /api/looks/{look_id}": {"answer": "accept"},
    "POST /api/reviews/{review_id}/decisions": {"rows": [{"patient_id": "SYN-000001", "answer": "accept"}]},
    "POST /api/releases": {"run": "none", "purpose": "a course"},
    "POST /api/releases/{number}/accept": {"finding": "none", "reason": "because"},
    "POST /api/releases/{number}/approve": {"reason": "because", "password": "x"},
    "POST /api/releases/{number}/refuse": {"reason": "because", "password": "x"},
    "POST /api/releases/{number}/withdraw": {"reason": "because", "password": "x"},
    "POST /api/privacy/{dataset}/cap": {"cap": 5, "password": "x"},
    "POST /api/log/verify": {},
    "POST /api/log/checkpoint": {"password": "x"},
    "POST /api/privacy/verify": {},
    "POST /api/privacy/{dataset}/consent": {"reason": "because", "password": "x"},
    "POST /api/privacy/{dataset}/retention": {"days": 3650, "password": "x"},
    "POST /api/account/password": {"old": "x", "new": "y"},
    "POST /api/people/{name}/active": {"active": True},
    "POST /api/looks/{look_id}/draft": {"note": "half"},
    "POST /api/people": {"name": "newer", "role": "specialist", "password": review_house.PASSWORD},
}
FRESH = ("POST /signout", "POST /signin", "POST /api/signout")
"""Routes after which a session is another one, or over."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    place = review_house.workspace(tmp_path_factory.mktemp("access"))
    review_run.finished(place, review_run.flags(6))
    return place


@pytest.fixture
def app(template, tmp_path):
    return create_app(review_house.copy(template, tmp_path))


def prepared(app) -> dict[str, str]:
    """What the routes' placeholders stand for: a review with an open look of ana's, a release and a job of sam's."""
    run = app.state.house.workspace.run().id
    sam, ana = Asker(app, "sam"), Asker(app, "ana")
    fields = {"looks": 2, "most": 6, "random": 0, "planted": 0}
    review = sam.post("/reviews", run=run, **fields).headers["location"].rsplit("/", 1)[1]
    look = re.search(r"/looks/([0-9a-f]{24})", ana.get(f"/reviews/{review}/look").text)[1]
    assert sam.post("/jobs", job="pbc").headers["location"] == "/jobs/1"
    number = sam.post("/releases", run=run, purpose="a methods course").headers["location"].rsplit("/", 1)[1]
    return {
        "number": number,
        "name": "cora",
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
    if path.startswith("/api/"):
        headers = {"authorization": f"Bearer {asker.token}"} if asker.token else {}
        return asker.client.request(
            method, path, headers=headers, **({} if method == "GET" else {"json": BODIES.get(name, {})})
        )
    return asker.get(path) if method == "GET" else asker.post(path, **FIELDS.get(name, {}))


def test_every_route_stands_in_the_matrix_and_is_the_only_way_in(app):
    assert sorted(names()) == sorted(MATRIX)
    served = {f"{m} {r.path}" for r in app.routes for m in getattr(r, "methods", None) or ()}
    assert served <= set(MATRIX), "a route was made without a guard"
    assert served == set(MATRIX)


@pytest.mark.slow
def test_each_role_gets_what_it_may_and_nothing_else(app):
    """Every route x nobody and four roles x own and another's: 0 mismatches."""
    values, asked = prepared(app), 0
    mismatches = []
    askers = {person: Asker(app, person) for person in (*ROLES.values(), *OTHERS.values())}
    for name in names():
        may = MATRIX[name]
        nobody = ask(Asker(app), name, values)
        asked_in = (401, None) if "/api/" in name else (303, "/signin")
        if may is not None and (nobody.status_code, nobody.headers.get("location")) != asked_in:
            mismatches.append(f"{name}: nobody got {nobody.status_code}")
        for role, person, own in [(r, p, people is ROLES) for people in (ROLES, OTHERS) for r, p in people.items()]:
            asker = Asker(app, person) if name in FRESH else askers[person]
            answer = ask(asker, name, values)
            asked += 1
            allowed = may is None or role in may
            if allowed is (answer.status_code == 403 and "This is for" in answer.text):
                mismatches.append(f"{name}: {person} got {answer.status_code}")
            if allowed and name in OWNED and own is (OWNED[name] in answer.text and answer.status_code in (400, 404)):
                mismatches.append(f"{name}: {person} (own: {own}) got {answer.status_code}")
            if may is not None and allowed and name in BODIES and answer.status_code == 422:
                mismatches.append(f"{name}: {person} sent a body that was not read")
            if answer.status_code >= 500:
                mismatches.append(f"{name}: {person} got a fault")
            if not re.match(r"(/(?!/)|$)", answer.headers.get("location", "")):
                mismatches.append(f"{name}: {person} was sent to {answer.headers['location']}")
    assert mismatches == []
    assert asked == 2 * len(ROLES) * len(MATRIX)


@pytest.mark.parametrize("role", ["scientist", "specialist", "officer", "admin"])
def test_a_password_that_somebody_else_chose_opens_nothing_but_the_choice_of_another(app, role):
    """Not even to the administrator who chose it: an officer's key is made with the password that only the officer knows."""
    values, adam, new = prepared(app), Asker(app, "adam"), "four quiet green hills"
    assert adam.post("/people", name="olive", role=role, password=review_house.PASSWORD).status_code == 303
    guest = Asker(app, "olive")
    for name in names():
        if MATRIX[name] is not None and name.split(" ")[1] not in OWN_PASSWORD_FIRST:
            answer = ask(guest, name, values)
            sent = (answer.status_code, answer.headers.get("location"))
            assert sent == ((403, None) if "/api/" in name else (303, "/account")), name
    assert "Choose a password of your own" in guest.get("/account").text
    change = {"old": review_house.PASSWORD, "again": new}
    assert (
        guest.post(
            "/account/password", **change | {"again": review_house.PASSWORD}, new=review_house.PASSWORD
        ).status_code
        == 400
    )
    assert guest.post("/account/password", **change, new=new).status_code == 303
    assert Asker(app).sign_in("olive").status_code == 403
    olive = Asker(app)
    olive.sign_in("olive", new)
    assert olive.get("/").headers["location"] != "/account"
    assert ("Your signature is checked" in olive.get("/account").text) is (role == "officer")


def test_the_api_does_what_the_pages_do():
    """Every page that shows or changes something has its call."""
    calls = {r.path for r in ROUTES if r.api}
    pages = {r.path for r in ROUTES if not r.api and r.path not in PAGES_ALONE}
    assert {page for page in pages if TWINS.get(page, f"/api{page}") not in calls} == set()


def test_what_is_another_persons_does_not_exist(app):
    values = prepared(app)
    bea = Asker(app, "bea")
    for name in (n for n in names() if "{look_id}" in n):
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
