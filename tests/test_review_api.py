"""The JSON API does what the pages do, decisions go out and come in as files, and no request makes the server fault."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
import review_house
import review_run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from review_house import PASSWORD, Asker

from synthgen.review.app import create_app
from synthgen.review.routes import api_bodies

CASES = int(os.environ.get("SYNTHGEN_API_CASES", "100"))
"""Generated requests for each role; the full number is 1,000."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    place = review_house.workspace(tmp_path_factory.mktemp("api"))
    review_run.finished(place, review_run.flags(6), [review_run.INCONCLUSIVE])
    return place


def fresh(template, folder):
    return create_app(review_house.copy(template, folder))


@pytest.fixture
def app(template, tmp_path):
    return fresh(template, tmp_path)


def opened(app, **wish) -> int:
    run = app.state.house.workspace.run().id
    body = {"run": run, "looks": 1, "random": 0, "planted": 0} | wish
    return Asker(app, "sam").call("POST", "/reviews", body).json()["review"]


def test_a_whole_review_and_release_by_api_alone(app):
    sam, ana, olga = (Asker(app, n) for n in ("sam", "ana", "olga"))
    review = opened(app)
    seen = []
    while (look := ana.call("POST", f"/reviews/{review}/look").json())["look"]:
        assert look["tables"]["visits"]
        seen.append(look["patient_id"])
        body = {"answer": "reject", "reason": "course"} if len(seen) == 1 else {"answer": "accept"}
        assert ana.call("POST", f"/looks/{look['look']}", body).json() == {"changed": True}
        assert ana.call("POST", f"/looks/{look['look']}", body).json() == {"changed": False}
    assert seen == [f"SYN-{i:06d}" for i in range(6)]
    assert "outcome" not in ana.call("GET", f"/reviews/{review}").json()
    assert sam.call("GET", f"/reviews/{review}").json()["outcome"]["rejected"] == 1
    assert ana.call("POST", f"/reviews/{review}/undo").json() == {"undone": True}
    sam.call("POST", f"/reviews/{review}/close")
    run = app.state.house.workspace.run().id
    number = sam.call("POST", "/releases", {"run": run, "purpose": "a course"}).json()["release"]
    (blocker,) = olga.call("GET", f"/releases/{number}").json()["blockers"]
    assert blocker["who"] == "officer"
    olga.call("POST", f"/releases/{number}/accept", {"finding": "subgroup/worst_auc", "reason": "few men"})
    approval = olga.call("POST", f"/releases/{number}/approve", {"reason": "fine", "password": PASSWORD}).json()
    assert approval["statement"]["left_out"] == 1
    assert olga.call("GET", f"/releases/{number}").json()["state"] == "approved"
    assert olga.call("POST", "/log/verify", {}).json()["sound"]


def test_a_cookie_opens_no_api_and_a_token_opens_no_page(app):
    ana = Asker(app, "ana")
    assert ana.client.get("/api/reviews").status_code == 401
    ana.client.cookies.clear()
    ana.client.cookies.set("synthgen_session", ana.token)
    assert ana.get("/reviews").headers["location"] == "/signin"
    ana.call("POST", "/signout")
    assert ana.call("GET", "/reviews").status_code == 401


def test_the_description_names_every_call_and_the_page_shows_them(app):
    sam = Asker(app, "sam")
    described = sam.client.get("/api/openapi.json").json()
    page = sam.get("/api-docs").text
    assert len(described["paths"]) > 20
    for path, methods in described["paths"].items():
        assert path.startswith("/api/")
        assert path in page
        assert all(call["description"] for call in methods.values())


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def bring(asker: Asker, review: int, content: str, name: str = "mine.csv"):
    fields = {"data": {"csrf": asker.csrf}, "files": {"file": (name, content.encode())}}
    return asker.client.post(f"/reviews/{review}/decisions", **fields)


def test_decisions_come_in_as_csv_and_as_json_once_and_go_out_again(app):
    review = opened(app, looks=2)
    ana, bea, sam = (Asker(app, n) for n in ("ana", "bea", "sam"))
    content = 'patient_id,answer,reason,note\nSYN-000000,accept,,\nSYN-000001,reject,values,"two, lines\nof it"\n'
    assert bring(ana, review, content).status_code == 303
    assert bring(ana, review, content).status_code == 303
    body = {"rows": [{"patient_id": "SYN-000000", "answer": "reject", "reason": "other"}], "source": "office"}
    assert bea.call("POST", f"/reviews/{review}/decisions", body).json() == {"new": 1}
    out = rows_of(sam.get(f"/reviews/{review}/decisions.csv").text)
    assert [(r["patient_id"], r["person"], r["answer"]) for r in out] == [
        ("SYN-000000", "ana", "accept"),
        ("SYN-000000", "bea", "reject"),
        ("SYN-000001", "ana", "reject"),
    ]
    assert out[2]["note"] == "two, lines\nof it"
    own = rows_of(ana.get(f"/reviews/{review}/decisions.csv").text)
    assert {r["person"] for r in own} == {"ana"}
    assert "planted" not in own[0]


@pytest.mark.parametrize(("content", "said"), [
    ("", "no row"), ("patient_id,answer\n", "no row"), ("a,b\n1,2\n", "patient_id is missing"), ("[1, 2]", "no list of rows"),
    ("[{]", "neither CSV nor JSON"), ("patient_id,answer\nSYN-999999,accept\n", "row 1: no patient"),
    ("patient_id,answer\nSYN-000000,maybe\n", "row 1: the answer"),
    ("patient_id,answer\nSYN-000000,reject\n", "row 1: a rejection needs"),
    ("patient_id,answer\nSYN-000000,accept\nSYN-000000,accept\n", "twice"),
    ("patient_id,answer\nSYN-000001,accept\nSYN-000000,x\n", "row 2"),
])  # fmt: skip
def test_a_file_with_a_fault_changes_nothing_and_says_where(app, content, said):
    review = opened(app)
    ana = Asker(app, "ana")
    answer = bring(ana, review, content)
    assert answer.status_code == 400
    assert said in answer.text
    assert rows_of(ana.get(f"/reviews/{review}/decisions.csv").text) == []


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x")', "\t=1", "=cmd|' /C calc'!A0"]
)
def test_no_exported_cell_is_run_by_a_spreadsheet_and_notes_come_back_as_they_were(app, formula):
    review = opened(app)
    ana = Asker(app, "ana")
    look = ana.call("POST", f"/reviews/{review}/look").json()["look"]
    ana.call("POST", f"/looks/{look}", {"answer": "accept", "note": formula})
    text = ana.get(f"/reviews/{review}/decisions.csv").text
    (row,) = rows_of(text)
    assert row["note"][0] == "'"
    from synthgen.review.exchange import parse

    assert parse(text.encode())[0]["note"] == formula.strip()


def test_unknown_keys_nan_and_nul_are_refused(app):
    sam, olga = Asker(app, "sam"), Asker(app, "olga")
    headers = {"authorization": f"Bearer {olga.token}", "content-type": "application/json"}
    for raw in (
        '{"cap": NaN, "password": "x"}',
        '{"cap": Infinity, "password": "x"}',
        '{"cap": 1e999, "password": "x"}',
        "{",
        "[]",
        "\ud800",
    ):
        content = raw.encode("utf-8", "surrogatepass")
        assert olga.client.post("/api/privacy/pbc/cap", content=content, headers=headers).status_code in (400, 422), raw
    for body in (
        {"job": "pbc", "king": 1},
        {"job": "p\0bc"},
        {"job": "pbc", "epsilon": -1},
        {"job": "pbc", "seed": 2**70},
    ):
        assert sam.call("POST", "/jobs", body).status_code == 422, body
    for path in ("/jobs/0", "/jobs/-1", "/jobs/99999999999999999999", "/jobs/x", "/releases/2147483648"):
        assert sam.call("GET", path).status_code == 422, path
    assert sam.call("GET", "/runs/%00").status_code in (400, 404)


@pytest.mark.parametrize("name", ["sam", "ana", "olga", "adam"])
def test_no_generated_request_makes_the_server_fault(template, tmp_path, name):
    """Schemathesis over the API's description, as each role."""
    import schemathesis

    app = fresh(template, tmp_path)
    opened(app)
    asker = Asker(app, name)
    schema = schemathesis.openapi.from_dict(app.openapi())
    calls = [r.ok() for r in schema.get_all_operations() if r.ok().path != "/api/signout"]
    cases = st.one_of([call.as_strategy() for call in calls])
    faults, asked = [], []

    @settings(
        max_examples=CASES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=cases)
    def ask(case):
        headers = {"authorization": f"Bearer {asker.token}"}
        sent = case.as_transport_kwargs(base_url=review_house.BASE, headers=headers)
        content = {"content" if key == "data" else key: value for key, value in sent.items() if key not in ("cookies",)}
        answer = asker.client.request(**content)
        asked.append(case.method)
        if answer.status_code >= 500:
            faults.append((case.method, case.formatted_path, case.body))

    ask()
    assert faults == []
    assert len(asked) >= CASES


def test_every_body_refuses_what_it_does_not_know():
    bodies = [b for b in vars(api_bodies).values() if isinstance(b, type) and issubclass(b, api_bodies.Body)]
    assert len(bodies) > 10
    assert all(b.model_config["extra"] == "forbid" and not b.model_config["allow_inf_nan"] for b in bodies)
    assert json.dumps([b.model_json_schema() for b in bodies])
