"""People, sign-in, sessions, the shield around every page, and the log of what was done."""

from __future__ import annotations

import json
import time

import pytest
import review_house
import sqlalchemy as sa
from review_house import PASSWORD, PEOPLE, Asker
from review_postgres import on_sqlite_alone

from synthgen.errors import ConfigError
from synthgen.review import log, passwords, people, sessions
from synthgen.review.database import Database, migrate
from synthgen.review.tables import METADATA, SESSIONS


@pytest.fixture
def app(tmp_path):
    return review_house.app(tmp_path)


def kinds(database: Database) -> list[str]:
    return [e.content["kind"] for e in database.chain.read()]


def test_the_migrations_make_the_tables_that_the_code_expects(database):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert [d for d in differences if "audit_log" not in str(d) and "ledger" not in str(d)] == []
    with database.chain.transaction(exclusive=True) as connection:
        migrate(connection)  # a second time changes nothing


def test_a_database_of_the_first_version_is_brought_up_to_date_with_its_people(app):
    house = app.state.house
    with house.database.write() as write:
        for statement in (
            "DROP TABLE job_log", "ALTER TABLE people DROP COLUMN temporary", "UPDATE alembic_version SET version_num = '0001'",
        ):  # fmt: skip
            write.connection.exec_driver_sql(statement)
    with Database(house.workspace).read() as connection:
        assert [p.name for p in people.everybody(connection)] == sorted(PEOPLE)
        assert not any(p.temporary for p in people.everybody(connection))
    assert Asker(app).sign_in("ana").status_code == 303


def test_everyone_signs_in_and_lands_on_their_own_first_page(app):
    for name, role in PEOPLE.items():
        asker = Asker(app, name)
        first = asker.get("/").headers["location"]
        assert (
            first == {"scientist": "/runs", "specialist": "/reviews", "officer": "/releases", "admin": "/people"}[role]
        )
        assert f"{name}, {role}" in asker.get("/account").text


@pytest.mark.parametrize(
    ("name", "password"), [("ana", "wrong password!"), ("nobody", PASSWORD), ("ana", ""), ("' OR 1=1 --", PASSWORD)]
)
def test_a_wrong_name_and_a_wrong_password_get_one_answer(app, name, password):
    answer = Asker(app).sign_in(name, password)
    assert answer.status_code in (403, 422)
    assert sessions.COOKIE not in answer.cookies
    if password:
        assert "Name or password is not right." in answer.text


def test_the_sixth_wrong_password_waits_even_for_the_right_one_and_others_do_not(app, database):
    asker = Asker(app)
    assert [asker.sign_in("ana", "wrong password!").status_code for _ in range(6)] == [403] * 5 + [429]
    refused = asker.sign_in("ana")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 4
    assert Asker(app).sign_in("bea").status_code == 303
    time.sleep(int(refused.headers["retry-after"]))
    assert asker.sign_in("ana").status_code == 303
    assert kinds(database).count("sign-in refused") == 5


def test_sessions_rotate_at_sign_in_and_the_old_token_is_worth_nothing(app):
    asker = Asker(app, "ana")
    old = asker.client.cookies[sessions.COOKIE]
    asker.sign_in("ana")
    assert asker.client.cookies[sessions.COOKIE] != old
    thief = Asker(app)
    thief.client.cookies.set(sessions.COOKIE, old)
    assert thief.get("/account").headers.get("location") == "/signin"


def test_the_cookie_is_strict_and_the_database_holds_no_token(app, database):
    answer = Asker(app).sign_in("ana")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    token = cookie.split("=")[1].split(";")[0]
    with database.read() as connection:
        stored = connection.execute(sa.select(SESSIONS.c.token)).scalars().all()
    assert token not in stored
    assert PASSWORD not in json.dumps([dict(e.content) for e in database.chain.read()])


@pytest.mark.parametrize(("column", "seconds"), [("seen_at", sessions.IDLE), ("made_at", sessions.ABSOLUTE)])
def test_sessions_end_when_idle_and_when_old(app, database, column, seconds):
    asker = Asker(app, "ana")
    for age, alive in ((seconds - 30, True), (seconds + 1, False)):
        with database.write() as write:
            write.connection.execute(SESSIONS.update().values({"seen_at": write.now, column: write.now - age}))
        assert (asker.get("/account").status_code == 200) is alive


def test_signing_out_and_closing_an_account_end_its_sessions(app):
    ana, bea, adam = Asker(app, "ana"), Asker(app, "bea"), Asker(app, "adam")
    assert ana.post("/signout").status_code == 303
    assert ana.get("/account").status_code == 303
    assert adam.post("/people/bea/active", active="false").status_code == 303
    assert bea.get("/account").status_code == 303
    assert Asker(app).sign_in("bea").status_code == 403
    assert adam.post("/people/adam/active", active="false").status_code == 400
    assert adam.post("/people/bea/active", active="true").status_code == 303
    assert Asker(app).sign_in("bea").status_code == 303


def test_a_new_password_ends_all_sessions_and_keeps_the_signing_key(app, database):
    olga, elsewhere = Asker(app, "olga"), Asker(app, "olga")
    new = "four quiet green hills"
    assert olga.post("/account/password", old="wrong password!", new=new, again=new).status_code == 403
    assert olga.post("/account/password", old=PASSWORD, new="short", again="short").status_code == 400
    assert olga.post("/account/password", old=PASSWORD, new=new, again=new + "!").status_code == 400
    assert olga.post("/account/password", old=PASSWORD, new=new, again=new).status_code == 303
    assert elsewhere.get("/account").status_code == 303
    assert Asker(app).sign_in("olga").status_code == 403
    assert Asker(app).sign_in("olga", new).status_code == 303
    with database.read() as connection:
        person = people.named(connection, "olga")
    signed = log.checkpoint(database, person, new)
    assert _signature_holds(signed)


def _signature_holds(signed: dict[str, str]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    said = json.dumps({k: v for k, v in signed.items() if k != "signature"}, sort_keys=True, separators=(",", ":"))
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["key"])).verify(
            bytes.fromhex(signed["signature"]), said.encode()
        )
    except InvalidSignature:
        return False
    return True


def test_a_signing_key_does_not_open_with_another_password():
    from cryptography.exceptions import InvalidTag

    _, sealed = passwords.new_signing_key(PASSWORD)
    with pytest.raises(InvalidTag):
        passwords.sign(b"message", sealed, PASSWORD + "!")


@pytest.mark.parametrize("fields", [
    {"name": "ana"}, {"name": "Ana"}, {"name": "a"}, {"name": "../x"}, {"name": "a" * 40}, {"role": "king"},
    {"password": "short"}, {"password": "x" * 300}, {"name": "<script>"},
])  # fmt: skip
def test_accounts_that_make_no_sense_are_refused(app, database, fields):
    before = kinds(database)
    adam = Asker(app, "adam")
    answer = adam.post("/people", **({"name": "newcomer", "role": "specialist", "password": PASSWORD} | fields))
    assert answer.status_code == 400
    assert kinds(database)[len(before) :] == ["sign-in", "sign-in"]


def test_a_change_without_the_token_of_the_session_is_refused(app):
    ana, bea = Asker(app, "ana"), Asker(app, "bea")
    for csrf in ("", "guess", bea.csrf):
        assert ana.client.post("/signout", data={"csrf": csrf}).status_code == 403
    assert ana.client.post("/signout").status_code == 403
    assert ana.client.post("/signout", headers={"x-csrf-token": ana.csrf}).status_code == 303


@pytest.mark.parametrize("headers", [
    {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost.evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
])  # fmt: skip
def test_a_change_from_another_site_is_refused_even_with_the_token(app, headers):
    ana = Asker(app, "ana")
    assert ana.client.post("/signout", data={"csrf": ana.csrf}, headers=headers).status_code == 403
    assert ana.client.post("/signin", data={"name": "ana", "password": PASSWORD}, headers=headers).status_code == 403
    assert ana.get("/account").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil.example:80"])
def test_other_host_names_are_not_answered(app, host):
    assert Asker(app).get("/signin", headers={"host": host}).status_code == 400


def test_every_answer_carries_the_strict_headers(app):
    ana = Asker(app, "ana")
    for path in ("/signin", "/account", "/static/app.css", "/people", "/nowhere", "/api/nowhere"):
        headers = ana.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "no-store" in headers["cache-control"] or path.startswith("/static")


def test_no_page_holds_inline_script_or_style():
    from synthgen.review import render

    loader = render.environment().loader
    for name in loader.list_templates():
        if name.endswith((".html", ".svg")):
            source, _, _ = loader.get_source(render.environment(), name)
            assert " style=" not in source, name
            assert "<style" not in source, name
            assert " onclick" not in source, name
            assert "<script>" not in source, name
            assert "| safe" not in source.replace("|safe", "| safe"), name


def test_a_body_too_large_and_a_path_that_climbs_are_refused(app):
    ana = Asker(app, "ana")
    assert ana.post("/signout", padding="x" * 2_100_000).status_code == 413
    for path in ("/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py", "/static/app.py", "/static//etc/passwd"):
        assert ana.get(path).status_code == 404


def test_a_fault_of_ours_says_where_but_not_what(app, caplog, monkeypatch):
    monkeypatch.setattr(people, "everybody", lambda _: 1 / len("MRN-secret"[:0]))
    answer = Asker(app, "adam").get("/people")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in caplog.text
    assert "division" not in caplog.text + answer.text


def test_what_fails_leaves_neither_change_nor_entry(database):
    with pytest.raises(ConfigError, match="already"):
        people.add(database, "ana", "specialist", PASSWORD, "test")

    def fails() -> None:
        with database.write() as write:
            write.log("something", "test")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert "something" not in kinds(database)
    assert database.chain.verify().ok


@on_sqlite_alone
def test_the_command_adds_lists_and_closes_accounts(tmp_path, cli, monkeypatch):
    monkeypatch.setenv("SYNTHGEN_PASSWORD", PASSWORD)
    place = ("--workspace", tmp_path / "w")
    assert cli("user", "add", "olga", "--role", "officer", *place)[0] == 0
    code, out, _ = cli("user", "list", "--json", *place)
    (row,) = json.loads(out)["people"]
    assert (code, row["name"], row["role"], row["open"]) == (0, "olga", "officer", True)
    assert row["public_key"] is None  # made with the first password that only she knows
    assert cli("user", "add", "olga", "--role", "officer", *place)[0] == 2
    assert cli("user", "add", "zed", "--role", "king", *place)[0] == 2
    assert cli("user", "close", "olga", *place)[0] == 0
    assert json.loads(cli("user", "list", "--json", *place)[1])["people"][0]["open"] is False
