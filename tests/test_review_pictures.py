"""Pictures and notes on the triage screen: what is shown is the synthetic patient's own, marked, escaped, and no script's."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import review_house
import review_run
from conftest import ROOT
from PIL import Image
from review_house import Asker
from review_server import chromium, serving, sign_in

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.flags import Flag
from synthgen.linked_simulation import simulate_linked
from synthgen.review.app import create_app
from synthgen.review.marks import marked, spans_of

HOSTILE = "<script>window.hacked=1</script> Ascites is seen."


def dictionary() -> Dictionary:
    return read_dictionary(ROOT / "configs" / "linked" / "cohort.yaml")


def linked() -> Cohort:
    """Simulated patients with pictures and notes; the first note of the first patient is hostile."""
    cohort = simulate_linked(dictionary(), 12, np.random.default_rng(3))
    names = {old: f"SYN-{k:06d}" for k, old in enumerate(cohort.ids)}
    tables = {n: t.assign(patient_id=t["patient_id"].map(names)) for n, t in cohort.tables.items()}
    cohort = replace(cohort, **tables)
    assert cohort.notes is not None
    text = cohort.notes["text"].copy()
    text[cohort.notes["patient_id"] == patient(cohort)] = HOSTILE
    return replace(cohort, notes=cohort.notes.assign(text=text))


def patient(cohort: Cohort) -> str:
    """The first with a picture and a note."""
    assert cohort.images is not None
    assert cohort.notes is not None
    return next(
        p for p in cohort.ids if (cohort.images["patient_id"] == p).any() and (cohort.notes["patient_id"] == p).any()
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place, cohort = review_house.workspace(tmp_path_factory.mktemp("pictures")), linked()
    start = HOSTILE.index("Ascites")
    evidence = {"note": 0, "spans": [{"note": 0, "start": start, "end": start + len("Ascites")}]}
    flag = Flag(patient(cohort), "note_contradicts_record", "severe", "The note says ascites.", False, evidence)
    review_run.finished(place, [flag], cohort=cohort, dictionary=dictionary())
    run = place.run().id
    sam = Asker(create_app(place), "sam")
    assert sam.post("/reviews", run=run, looks=1, most=6, random=0, planted=0).status_code == 303
    return place


@pytest.fixture
def ana(place) -> Asker:
    return Asker(create_app(place), "ana")


def test_a_picture_is_the_patients_own_and_says_that_it_is_synthetic(ana, place):
    page = ana.get("/reviews/1/look").text
    addresses = re.findall(r'src="(/looks/[0-9a-f]{24}/pictures/\d+)"', page)
    cohort = place.run().synthetic
    own = cohort.images.loc[cohort.images["patient_id"] == patient(cohort), "image"].tolist()
    assert len(addresses) == len(own)
    for address, pixels in zip(addresses, own, strict=True):
        answer = ana.get(address)
        assert answer.headers["content-type"] == "image/png"
        shown = Image.open(io.BytesIO(answer.content))
        assert shown.text == {"synthetic": "yes"}
        assert np.array_equal(np.asarray(shown), pixels)
    assert ana.get(f"{addresses[0].rsplit('/', 1)[0]}/99").status_code == 404


def test_nobody_else_sees_it(ana, place):
    address = re.search(r'src="(/looks/[0-9a-f]{24}/pictures/\d+)"', ana.get("/reviews/1/look").text)[1]
    app = create_app(place)
    assert Asker(app, "bea").get(address).status_code == 404
    assert Asker(app, "sam").get(address).status_code == 403
    assert Asker(app).get(address).status_code == 303


def test_the_suspicious_words_are_marked_and_the_rest_is_escaped(ana):
    page = ana.get("/reviews/1/look").text
    assert "&lt;script&gt;window.hacked=1&lt;/script&gt; <mark>Ascites</mark> is seen." in page
    assert "<script>window" not in page


def test_the_api_gives_the_address_of_a_picture(ana):
    look = ana.client.post("/api/reviews/1/look", headers={"authorization": f"Bearer {ana.token}"}).json()
    address = look["tables"]["images"][0]["image"]
    assert address == f"/api/looks/{look['look']}/pictures/1"
    headers = {"authorization": f"Bearer {ana.token}"}
    assert ana.client.get(address, headers=headers).headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "a&lt;b"),
        ([(0, 1)], "<mark>a</mark>&lt;b"),
        ([(1, 9)], "a<mark>&lt;b</mark>"),
        ([(0, 2), (1, 3)], "<mark>a&lt;</mark><mark>b</mark>"),
        ([(-5, 1), (7, 9)], "<mark>a</mark>&lt;b"),
    ],
)
def test_marks_are_cut_to_the_text(spans, expected):
    assert str(marked("a<b", spans)) == expected


def test_spans_are_of_one_note():
    flags = [
        {"evidence": {"spans": [{"note": 0, "start": 1, "end": 2}, {"note": 1, "start": 3, "end": 4}]}},
        {"evidence": {}},
        {},
    ]
    assert spans_of(flags, 1) == [(3, 4)]


@pytest.mark.slow
def test_window_and_zoom_by_keyboard_in_a_real_browser(place, tmp_path):
    with chromium() as browser, serving(place.root) as server:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        sign_in(page, server.address, "ana")
        page.goto(f"{server.address}/reviews/1/look")
        picture = page.locator("[data-picture]").first
        wide = picture.bounding_box()["width"]
        page.locator("[name=zoom]").focus()
        page.keyboard.press("PageUp")
        assert picture.bounding_box()["width"] > wide
        page.locator("[name=contrast]").focus()
        page.keyboard.press("PageUp")
        assert "contrast(1)" not in picture.evaluate("e => e.style.filter")
        page.screenshot(path=tmp_path / "look.png", full_page=True)
        page.locator("[data-reset]").click()
        assert picture.bounding_box()["width"] == wide
        assert page.evaluate("window.hacked") is None
        assert page.locator("mark").first.inner_text() == "Ascites"
