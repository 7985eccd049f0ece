"""Hostile text: 42 payloads in every place where text comes from outside; nothing of it runs, leads elsewhere, or is followed.

notes of patients          labels and definitions of HPO terms     names of imported files
flags, findings            strings of DICOM files (a text column)  names of job files
reviewers' notes           labels, units and titles, in SVG too    paths (also as they climb out of a folder)
purposes and reasons       cells of exported CSV files             files that are SVG, not tables
"""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import quote

import pandas as pd
import pytest
import review_house
import review_run
import review_shown
import uvicorn
import yaml
from conftest import ROOT
from review_house import PASSWORD, Asker
from review_server import chromium, sign_in

from synthgen import ontology
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.flags import Flag
from synthgen.review import terms
from synthgen.review.access import ROUTES
from synthgen.review.app import create_app
from synthgen.workspace import Run

PAYLOADS = [
    "<script>hacked=1</script>", "</script><script>hacked=1</script>", "<img src=x onerror=hacked=1>",
    "<svg onload=hacked=1>", "<svg><script>hacked=1</script></svg>", '"><script>hacked=1</script>',
    "' onmouseover='hacked=1", '" autofocus onfocus="hacked=1', "javascript:hacked=1",
    "<a href=javascript:hacked=1>x</a>", "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "<object data=data:text/html,<script>hacked=1</script>>", "<body onload=hacked=1>",
    "<style>@import 'http://x'</style>", "<link rel=stylesheet href=http://x>",
    "<meta http-equiv=refresh content='0;url=http://x'>", "<base href=http://x/>",
    "<form action=http://x><input name=csrf>", "<textarea></textarea><script>hacked=1</script>",
    "</textarea><script>hacked=1</script>", "</title><script>hacked=1</script>", "{{ 7 * 7 }}", "{% import os %}",
    "${7*7}", "<%= 7*7 %>", "__import__('os').system('id')", "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd", "+1+1", "-2+3",
    "../../../../etc/passwd", "..\\..\\windows\\win.ini", "/etc/passwd", "file:///etc/passwd",
    "%00%0d%0aSet-Cookie: a=b", "\r\nSet-Cookie: a=b", "'; DROP TABLE looks; --", '" OR ""="', "\u202e\u2066txt.exe",
    "<details open ontoggle=hacked=1>", "<math><mi xlink:href=javascript:hacked=1>",
    "<div hx-get=http://x hx-trigger=load>",
]  # fmt: skip


TEXTS = [payload.replace("\0", "") for payload in PAYLOADS]
CLIMBING = [p for p in PAYLOADS if "etc/passwd" in p or "win.ini" in p] + [
    "..%2f..%2fledger.key",
    "%2e%2e/ledger.db",
    "....//ledger.key",
]


class Tags(HTMLParser):
    """The elements of a page with their attributes' names, and with the values of those that are followed or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        followed = ("href", "src", "action", "hx-post", "hx-get", "hx-trigger")
        kept = ((name, _without_numbers(value) if name in followed else None) for name, value in attrs)
        element = tag, tuple(kept)
        if tag != "text" or self.found[-1] != element:  # a long label of the drawing takes two lines
            self.found.append(element)


def _without_numbers(value: str | None) -> str:
    return re.sub(r"[0-9a-f]{24}|\d{8}-\d{6}-[a-z]+-[0-9a-f]{4}|\d+", "N", value or "")


class House:
    """A house with a text of one's choice in every place: each of the payloads, or a harmless word."""

    def __init__(self, folder, texts: list[str]) -> None:
        folder.mkdir()
        jobs = folder / "jobs"
        jobs.mkdir()
        self.texts = texts
        for text in texts:
            name = text.replace("/", "_").strip()[:80]
            job = yaml.safe_load((ROOT / "configs/pbc.yaml").read_text())
            job["cohort"] = str(ROOT / "configs/pbc/cohort.yaml")
            (jobs / f"{name}.yaml").write_text(yaml.safe_dump(job))
        place = review_house.workspace(folder)
        self.linked, self.terms = self._linked(place), self._terms(place)
        self.app = create_app(place, jobs=jobs)
        self.sam, self.ana, self.bea, self.olga = (Asker(self.app, n) for n in ("sam", "ana", "bea", "olga"))
        self.reviews = [
            self.sam.call("POST", "/reviews", {"run": run.id, "looks": 2, "random": 0, "planted": 0}).json()["review"]
            for run in (self.linked, self.terms)
        ]
        purpose = {"run": self.linked.id, "purpose": " ".join(texts)[:2000]}
        self.release = self.sam.call("POST", "/releases", purpose).json()["release"]
        for text in texts:
            fields = {"data": {"csrf": self.ana.csrf}, "files": {"file": (quote(text), b"<svg onload=hacked=1></svg>")}}
            assert self.ana.client.post(f"/reviews/{self.reviews[0]}/decisions", **fields).status_code == 400
            rows = {"rows": [{"patient_id": "SYN-000001", "answer": "accept"}], "source": text}
            self.bea.call("POST", f"/reviews/{self.reviews[1]}/decisions", rows)

    def _linked(self, place) -> Run:
        """One patient with a note, a picture's string and a flag for each text; labels, units and title are texts too."""
        cohort, about = review_shown.linked()
        raw = about.model_dump(mode="json")
        raw["tables"]["images"]["columns"]["series"] = {"type": "text", "label": self.texts[0]}
        raw["title"] = " ".join(self.texts)
        named = iter(self.texts * 3)
        for table in ("patients", "visits"):
            for column in raw["tables"][table]["columns"].values():
                if column["type"] not in ("id", "text", "image"):
                    column["label"] = next(named)
                if column["unit"] and column["role"] == "measurement":
                    column["unit"] = next(named)
        dictionary, n = Dictionary.model_validate(raw), len(self.texts)
        assert cohort.images is not None
        notes = pd.DataFrame({"patient_id": "SYN-000001", "day": range(n), "kind": "follow_up", "text": self.texts})
        notes["kind"] = pd.Categorical(notes["kind"], ["first_visit", "follow_up", "closing"])
        pictures = pd.concat([cohort.images.iloc[:1]] * n, ignore_index=True).assign(
            patient_id="SYN-000001", series=self.texts
        )
        tables = {**cohort.tables, "notes": notes, "images": pictures}
        flags = [Flag("SYN-000001", f"h{i}", "moderate", text, False) for i, text in enumerate(self.texts)]
        findings = [
            review_run.INCONCLUSIVE.__class__(**{**vars(review_run.INCONCLUSIVE), "text": " ".join(self.texts)})
        ]
        return review_run.finished(place, flags, findings, Cohort(**tables, origin="synthetic"), dictionary=dictionary)

    def _terms(self, place) -> Run:
        """One patient with a term for each text, which is what `known` says that it is called and means."""
        cohort, about = review_shown.described([(f"HP:{1 + i:07d}", "observed") for i in range(len(self.texts))])
        return review_run.finished(
            place, [Flag("SYN-000001", "odd", "mild", "Odd.", False)], (), cohort, dictionary=about
        )

    def known(self) -> SimpleNamespace:
        """An ontology in which the terms are called and defined by the texts."""
        text = lambda term: self.texts[int(term[3:]) - 1]  # noqa: E731
        return SimpleNamespace(name=text, definition=text)

    def pages(self) -> dict[str, str]:
        """Every page on which any of it stands, after ana has written each text into her note."""
        look = f"/reviews/{self.reviews[0]}/look"
        number = re.search(r"/looks/([0-9a-f]{24})", self.ana.get(look).text)[1]
        found = {}
        for i, text in enumerate(self.texts):
            self.ana.post(f"/looks/{number}/draft", reason="other", note=text)
            found[f"look {i}"] = self.ana.get(look).text
        found["terms"] = self.ana.get(f"/reviews/{self.reviews[1]}/look").text
        asked = (
            "/runs",
            f"/runs/{self.linked.id}",
            f"/releases/{self.release}",
            "/releases",
            "/log",
            f"/reviews/{self.reviews[0]}",
        )
        asked += (f"/compare?a={self.linked.id}&b={self.terms.id}",)
        found |= {path: (self.sam if path == "/runs" else self.olga).get(path).text for path in asked}
        self.olga.post(f"/releases/{self.release}/refuse", reason=" ".join(self.texts)[:2000], password=PASSWORD)
        return found | {"refused": self.olga.get(f"/releases/{self.release}").text}


@pytest.fixture
def ontology_of(monkeypatch):
    """ontology_of(house): its terms are called by its texts from now on."""

    def use(house: House) -> None:
        for cached in (terms.label, terms.definition):
            cached.cache_clear()
        monkeypatch.setattr(ontology, "read_ontology", house.known)

    yield use
    for cached in (terms.label, terms.definition):
        cached.cache_clear()


def test_every_page_has_the_elements_and_links_that_it_has_with_plain_words(tmp_path, ontology_of):
    assert len(PAYLOADS) >= 40
    shapes = []
    for name, texts in (("hostile", TEXTS), ("plain", [f"plain {i}" for i in range(len(TEXTS))])):
        house = House(tmp_path / name, texts)
        ontology_of(house)
        pages = house.pages()
        shapes.append([Tags(page).found for page in pages.values()])
        words = {path: _text(page) for path, page in pages.items()}
        everywhere = " ".join(words.values())
        assert [t for t in texts if _squeezed(t) not in _squeezed(everywhere)] == []  # it is there, as words
        for i, text in enumerate(texts):
            assert _squeezed(text) in _squeezed(words["terms"]), text
            assert _squeezed(words[f"look {i}"]).count(_squeezed(text)) >= 3, text  # flag, note and picture at least
    for path, hostile, plain in zip(pages, *shapes, strict=True):
        assert [pair for pair in zip(hostile, plain, strict=False) if pair[0] != pair[1]] == [], path
        assert len(hostile) == len(plain), path


def _text(page: str) -> str:
    """What a reader sees: no element, entities resolved."""
    parser, found = HTMLParser(convert_charrefs=True), []
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(page)
    return " ".join(found)


def _squeezed(text: str) -> str:
    return re.sub(r"[\s_]+", " ", text).strip().lower()


@contextmanager
def answering(app) -> Iterator[str]:
    """The application in a thread of this process, so that it sees what the test has put in place; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.slow
def test_nothing_runs_in_a_browser_and_nobody_else_is_asked(tmp_path, ontology_of):
    house = House(tmp_path / "hostile", TEXTS)
    ontology_of(house)
    house.pages()
    with answering(house.app) as address, chromium() as browser:
        asked: list[str] = []
        for name, paths in {
            "ana": [f"/reviews/{n}/look" for n in house.reviews] + ["/reviews"],
            "olga": [f"/releases/{house.release}", f"/runs/{house.linked.id}", "/log", "/releases"],
            "sam": ["/runs", "/reviews", "/releases"],
        }.items():
            page = browser.new_context().new_page()
            page.on("request", lambda r: asked.append(r.url))
            page.on("dialog", lambda d: asked.append(f"dialog {d.message}"))
            sign_in(page, address, name)
            for path in paths:
                page.goto(address + path)
                page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
                page.mouse.move(300, 300)
                page.keyboard.press("Tab")
                page.wait_for_timeout(100)
                assert page.evaluate("typeof hacked") == "undefined", path
                assert page.url == address + path
        assert [url for url in asked if not url.startswith((address, "data:"))] == []


def test_no_cell_of_a_csv_file_is_a_formula_and_no_text_is_lost(tmp_path):
    place = review_house.workspace(tmp_path)
    run = review_run.finished(place, review_run.flags(len(TEXTS)))
    app = create_app(place)
    sam, ana = Asker(app, "sam"), Asker(app, "ana")
    body = {"run": run.id, "looks": 1, "random": 0, "planted": 0}
    review = sam.call("POST", "/reviews", body).json()["review"]
    for text in TEXTS:
        look = ana.call("POST", f"/reviews/{review}/look").json()["look"]
        ana.call("POST", f"/looks/{look}", {"answer": "reject", "reason": "other", "note": text})
    exported = sam.get(f"/reviews/{review}/decisions.csv").text
    rows = list(csv.DictReader(io.StringIO(exported)))
    assert [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert {_squeezed(row["note"].removeprefix("'")) for row in rows} == {_squeezed(t.removeprefix("'")) for t in TEXTS}


def test_no_path_leads_out_of_where_it_belongs(tmp_path):
    """Every route with a name in its path, for each text; nothing is read, made or moved."""
    place = review_house.workspace(tmp_path)
    run = review_run.finished(place, review_run.flags(3))
    app = create_app(place)
    askers = {role: Asker(app, name) for role, name in
              (("scientist", "sam"), ("specialist", "ana"), ("officer", "olga"), ("admin", "adam"))}  # fmt: skip
    before = set(tmp_path.rglob("*"))
    secret, asked = place.key.hex(), 0
    for found in ROUTES:
        if found.method == "GET" and re.search(r"\{(name|run_id|look_id|dataset)\}", found.path):
            asker = askers[found.roles[0] if found.roles else "scientist"]
            for text in (*CLIMBING, *TEXTS):
                for spelled in (text, quote(text, safe=""), quote(quote(text, safe=""))):
                    path = re.sub(r"\{\w+\}", lambda m: spelled if m[0] != "{number}" else "1", found.path)  # noqa: B023
                    if not path.isprintable() or " " in path:
                        continue
                    headers = {"authorization": f"Bearer {asker.token}"}
                    answer = asker.client.get(path, headers=headers)
                    asked += 1
                    assert answer.status_code in (303, 400, 401, 403, 404, 405, 422), path
                    assert "root:" not in answer.text, path
                    assert secret not in answer.text, path
    assert asked > 1000
    for text in (*CLIMBING, *TEXTS):
        assert askers["scientist"].call("POST", "/jobs", {"job": text.replace("\0", "")[:2000]}).status_code == 400
        assert askers["scientist"].call("POST", "/reviews", {"run": text}).status_code in (400, 404)
        assert (
            askers["admin"].call("POST", "/people", {"name": text, "role": "admin", "password": PASSWORD}).status_code
            == 400
        )
    assert set(tmp_path.rglob("*")) - before <= {run.folder / ".lock", *place.root.glob("ledger.db*")}
