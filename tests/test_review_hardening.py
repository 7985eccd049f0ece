"""What must not happen: real values that show, decisions lost by kill -9, a log changed unseen."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import threading
import time
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import finished_run
import httpx
import numpy as np
import pandas as pd
import pytest
import review_house
import review_run
from review_house import PASSWORD, Asker
from review_postgres import on_sqlite_alone
from review_server import serving

from privacy.chain import _hash as hashed
from synthgen.review import log
from synthgen.review.app import create_app
from synthgen.simulation import simulate
from synthgen.workspace import Workspace

DECISIONS = int(os.environ.get("SYNTHGEN_KILLED_DECISIONS", "150"))
"""Decisions during which the server is killed again and again; the full number is 500."""


def searched(content: bytes) -> str:
    """All text in some bytes: zips, Parquet and base64 decoded too."""
    found = [content.decode("utf-8", "replace")]
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found += [searched(archive.read(name)) for name in archive.namelist()]
    if content[:4] == b"PAR1":
        found.append(pd.read_parquet(io.BytesIO(content)).to_csv())
    for part in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", content):
        whole = part[: len(part) - len(part) % 4] if b"=" not in part else part
        with suppress(ValueError):
            found.append(base64.b64decode(whole).decode("utf-8", "replace"))
    return "\n".join(found)


def test_fifty_planted_identifiers_and_extreme_values_show_nowhere(tmp_path, caplog, capsys):
    """They stand in the real cohort and its internal report; no page for specialists, log, error, export or bundle holds one."""
    made = finished_run.context()
    place = review_house.workspace(tmp_path)
    run = review_run.finished(place, review_run.flags(4), [review_run.INCONCLUSIVE], real=made)
    identifiers = finished_run.REAL_IDS[:50]
    assert made.train.ids.isin(identifiers).sum() == 50
    values = [text for column in finished_run.PLANTED.values() for v in column for text in (f"{v:.6f}", f"{v:g}")]
    app = create_app(place)
    ana, sam, olga, adam = (Asker(app, n) for n in ("ana", "sam", "olga", "adam"))
    seen: list[bytes] = []
    fields = {"run": run.id, "looks": 1, "most": 4, "random": 3, "planted": 2}
    review = sam.post("/reviews", **fields).headers["location"].rsplit("/", 1)[1]
    while look := re.search(r"/looks/([0-9a-f]{24})", (page := ana.get(f"/reviews/{review}/look")).text):
        seen.append(page.content)
        ana.post(f"/looks/{look[1]}", answer="accept")
    sam.post(f"/reviews/{review}/close")
    number = sam.post("/releases", run=run.id, purpose="a course").headers["location"]
    olga.post(f"{number}/accept", finding="subgroup/worst_auc", reason="few men")
    assert olga.post(f"{number}/approve", reason="fine", password=PASSWORD).status_code == 303
    bundle = olga.get(f"{number}/bundle")
    assert bundle.headers["content-type"] == "application/zip"
    seen.append(bundle.content)
    for asker, path in (
        (ana, "/reviews"), (ana, f"/reviews/{review}"), (ana, f"/reviews/{review}/decisions.csv"), (ana, "/nowhere"),
        (ana, "/account"),
        (olga, "/log"), (olga, number), (olga, f"/runs/{run.id}"), (olga, "/privacy/pbc"), (sam, "/runs"), (adam, "/people"),
        (sam, "/runs/none"), (ana, "/looks/none"), (sam, f"/compare?a={run.id}&b={run.id}"),
    ):  # fmt: skip
        seen.append(asker.get(path).content)
    for asker, path in (
        (ana, "/reviews"), (ana, f"/reviews/{review}"), (ana, f"/reviews/{review}/decisions"), (olga, "/log"), (olga, "/privacy"),
        (olga, "/privacy/pbc"), (olga, f"/releases/{number.rsplit('/', 1)[1]}"), (sam, "/runs"), (sam, f"/runs/{run.id}"),
        (sam, f"/compare?a={run.id}&b={run.id}"), (adam, "/people"), (ana, "/nowhere"),
    ):  # fmt: skip
        seen.append(asker.call("GET", path).content)
    seen.append(
        ana.call("POST", f"/reviews/{review}/decisions", {"rows": [{"patient_id": "x", "answer": "x"}]}).content
    )
    seen += [json.dumps(dict(e.content)).encode() for e in app.state.house.database.chain.read()]
    seen += [caplog.text.encode(), "".join(capsys.readouterr()).encode()]
    text = "\n".join(searched(content) for content in seen)
    assert "SYN-000000" in text  # the search does find what is there, in the Parquet files too
    assert len(re.findall(r"synthetic_patients.parquet", text)) > 0
    assert [i for i in identifiers if i in text] == []
    assert [v for v in values if v in text] == []
    inside = searched((run.folder / "report.html").read_bytes())
    assert inside  # the internal report exists; it leaves only as a file, by a logged download


def a_thousand_entries(database) -> str:
    """Writes them, and returns a checkpoint."""
    with database.write() as write:
        for i in range(1000):
            write.log("decision", "ana", patient=f"SYN-{i:06d}", answer="accept")
    root: str = database.chain.root
    assert log.verify(database, root).ok
    return root


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flip", "delete", "reorder", "truncate", "fork", "insert"])
def test_each_of_a_thousand_entries_is_guarded(tmp_path, monkeypatch, how):
    """Every tampering at every one of the entries is found against a saved checkpoint, whoever holds the key."""
    database = create_app(review_house.workspace(tmp_path)).state.house.database
    root = a_thousand_entries(database)
    chain, rows = database.chain, None
    with database.read() as connection:
        rows = [SimpleNamespace(number=r.number, content=r.content, hash=r.hash) for r in chain._rows(connection)]

    def forked(n: int) -> list[SimpleNamespace]:
        """Whoever holds the key goes on from entry n as if nothing had been."""
        new, last = rows[:n], rows[n - 1].hash
        for row in rows[n:]:
            content = row.content.replace("accept", "reject")
            last = hashed(chain._key, last, content)
            new.append(SimpleNamespace(number=row.number, content=content, hash=last))
        return new

    changed = {
        "flip": lambda n: [
            *rows[:n],
            replaced(rows[n], content=rows[n].content.replace("accept", "reject")),
            *rows[n + 1 :],
        ],
        "delete": lambda n: [*rows[:n], *rows[n + 1 :]],
        "reorder": lambda n: [
            *rows[: n - 1],
            replaced(rows[n], number=n),
            replaced(rows[n - 1], number=n + 1),
            *rows[n + 1 :],
        ],
        "truncate": lambda n: rows[:n],
        "fork": forked,
        "insert": lambda n: [*rows[: n + 1], *(replaced(r, number=r.number + 1) for r in rows[n:])],
    }[how]
    first = next(i for i, row in enumerate(rows) if "SYN-000000" in row.content)
    unseen = []
    for n in range(first, first + 1000):
        monkeypatch.setattr(chain, "_rows", lambda _connection, now=changed(n): now)
        if chain.verify(root).ok:
            unseen.append(n)
    assert unseen == []


def replaced(row: SimpleNamespace, **values: object) -> SimpleNamespace:
    return SimpleNamespace(**vars(row) | values)


@on_sqlite_alone
@pytest.mark.parametrize("how", ["flip", "delete", "reorder", "truncate", "fork", "insert"])
def test_a_log_of_a_thousand_entries_hides_no_change_of_its_database(tmp_path, how):
    """The same by the database itself, at three entries."""
    place = review_house.workspace(tmp_path)
    database = create_app(place).state.house.database
    root = a_thousand_entries(database)
    statements = {
        "flip": ["UPDATE audit_log SET content = replace(content, 'accept', 'reject') WHERE number = {n}"],
        "delete": ["DELETE FROM audit_log WHERE number = {n}"],
        "reorder": ["UPDATE audit_log SET number = -1 WHERE number = {n}",
                    "UPDATE audit_log SET number = {n} WHERE number = {n} + 1",
                    "UPDATE audit_log SET number = {n} + 1 WHERE number = -1"],
        "truncate": ["DELETE FROM audit_log WHERE number > {n}"],
        "fork": ["DELETE FROM audit_log WHERE number > {n}"],
        "insert": ["UPDATE audit_log SET number = number + 100000 WHERE number > {n}",
                   "INSERT INTO audit_log SELECT {n} + 1, content, hash FROM audit_log WHERE number = {n}",
                   "UPDATE audit_log SET number = number - 99999 WHERE number > 100000"],
    }  # fmt: skip
    copy = (place.root / "ledger.db").read_bytes()
    for n in np.random.default_rng(0).integers(40, 1000, size=3).tolist():
        with database.chain.transaction(exclusive=True) as connection:
            for statement in statements[how]:
                connection.exec_driver_sql(statement.format(n=n))
        if how == "fork":  # whoever holds the key goes on as if nothing had been
            with database.write() as write:
                for i in range(1000 - n + 60):
                    write.log("decision", "ana", patient=f"SYN-{i:06d}", answer="reject")
        assert not log.verify(database, root).ok, n
        for leftover in place.root.glob("ledger.db-*"):
            leftover.unlink()
        (place.root / "ledger.db").write_bytes(copy)
        assert log.verify(database, root).ok


def test_kill_9_in_the_middle_loses_and_doubles_no_decision(tmp_path):
    """A client that repeats what got no answer; a server that is killed again and again."""
    place = review_house.workspace(tmp_path)
    patients = simulate(finished_run.dictionary(), DECISIONS, np.random.default_rng(3))
    cohort = finished_run.named(patients, [f"SYN-{i:06d}" for i in range(DECISIONS)], "synthetic")
    review_run.finished(place, review_run.flags(DECISIONS), cohort=cohort)
    app = create_app(place)
    fields = {"run": app.state.house.workspace.run().id, "looks": 1, "most": DECISIONS, "random": 0, "planted": 0}
    review = Asker(app, "sam").post("/reviews", **fields).headers["location"].rsplit("/", 1)[1]
    acknowledged: dict[str, str] = {}
    rng = np.random.default_rng(0)
    with serving(place.root) as server, httpx.Client(base_url=server.address, timeout=30) as client:
        token = client.post("/api/signin", json={"name": "ana", "password": PASSWORD}).json()["token"]
        client.headers["authorization"] = f"Bearer {token}"
        kills = set(rng.choice(DECISIONS, 4, replace=False).tolist())
        while (look := client.post(f"/api/reviews/{review}/look").json())["look"]:
            answer = ("accept", "reject")[len(acknowledged) % 2]
            body = {"answer": answer, "reason": "other"}
            if len(acknowledged) in kills:
                _kill_while_it_answers(server, client, f"/api/looks/{look['look']}", body, float(rng.uniform(0, 0.02)))
            assert client.post(f"/api/looks/{look['look']}", json=body).status_code == 200
            acknowledged[look["look"]] = answer
    assert len(acknowledged) == DECISIONS
    with app.state.house.database.read() as connection:
        from synthgen.review import reviews

        kept = {k.id: k.answer for k in reviews.looks(connection, int(review))}
    logged = [e.content for e in app.state.house.database.chain.read() if e.content["kind"] == "decision"]
    assert kept == acknowledged
    assert {e["look"]: e["answer"] for e in logged} == acknowledged
    assert len(logged) == DECISIONS


def _kill_while_it_answers(server, client: httpx.Client, path: str, body: dict[str, str], after: float) -> None:
    def send() -> None:
        with suppress(httpx.TransportError):
            client.post(path, json=body)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(after)
    server.kill()
    sender.join()
    server.start()


def test_the_template_workspace_holds_no_password(tmp_path):
    place = review_house.workspace(tmp_path)
    assert PASSWORD.encode() not in b"".join(p.read_bytes() for p in place.root.rglob("*") if p.is_file())
    assert oct((place.root / "ledger.key").stat().st_mode)[-3:] == "600"
    shutil.rmtree(place.root)
    assert not Workspace(place.root).runs()
