"""What holds for every page of the review house, at a desk and on a tablet: contrast (WCAG 2.2 AA), names, nothing cut off,
every control within reach of the tab key with a focus that shows. The pages are those of the documentation's pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import review_house
from conftest import ROOT
from review_server import chromium, serving, sign_in
from review_shown import PAGES, prepared

from synthgen.review.access import ROUTES

WIDTHS = (1280, 1024, 820, 768)
"""A desk, and tablets on their side and upright."""
SCRIPT = (Path(__file__).parent / "review_pages.js").read_text()
FILES = {
    "/", "/static/{name}", "/releases/{number}/bundle", "/runs/{run_id}/report", "/reviews/{review_id}/decisions.csv",
    "/jobs/{number}/progress", "/looks/{look_id}/pictures/{number}",
}  # fmt: skip
"""What is asked for but is no page: files, a redirection, a part of a page."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Person -> (a page of theirs, its server's address, their pages): signed in once, in a house at work."""
    place = review_house.workspace(tmp_path_factory.mktemp("pages"))
    values = prepared(place)
    with serving(place.root) as server, chromium() as browser:
        opened = {}
        for name, pages in PAGES.items():
            page = browser.new_context().new_page()
            if name:
                sign_in(page, server.address, name)
            opened[name] = page, {title: server.address + path.format(**values) for title, path in pages.items()}
        yield opened


CHECKS = ("contrast", "edges", "cut", "small", "drawing", "nameless", "order")


def ask(page, function: str) -> list[str] | None:
    """One function of review_pages.js."""
    found: list[str] | None = page.evaluate(f"(() => {{ {SCRIPT}; return {function}(); }})()")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_read_and_named_at_every_width(shown, name):
    page, addresses = shown[name]
    faults = []
    for title, address in addresses.items():
        page.goto(address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 1000})
            faults += [f"{title} at {width}, {check}: {found}" for check in CHECKS for found in ask(page, check)]
    assert faults == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_reaches_everything_and_the_focus_shows(shown, name):
    page, addresses = shown[name]
    page.set_viewport_size({"width": 1280, "height": 1000})
    faults, rounds = [], 0
    for title, address in addresses.items():
        page.goto(address)
        rounds = 0
        while rounds < 2:  # the first round may begin in the middle, at what has the focus
            page.keyboard.press("Tab")
            hidden = ask(page, "reached")
            rounds += hidden is None
            faults += [f"{title}, the focus does not show: {found}" for found in hidden or []]
        faults += [f"{title}, not reached: {found}" for found in ask(page, "unreached")]
    assert faults == []


def test_on_a_tablet_the_answers_are_always_in_reach_and_cover_nothing_for_good(shown):
    page, addresses = shown["ana"]
    page.set_viewport_size({"width": 820, "height": 1180})
    for title in ("look", "look-notes"):
        page.goto(addresses[title])
        for end in (False, True):
            page.evaluate(f"scrollTo(0, {'document.body.scrollHeight' if end else 0})")
            bar = page.locator(".decide").bounding_box()
            assert bar["y"] + bar["height"] == pytest.approx(1180, abs=1)
        help_button = page.get_by_role("button", name="Help").bounding_box()
        assert help_button["y"] + help_button["height"] < bar["y"]
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_every_page_is_looked_at(tmp_path):
    """A new page has to be put into the pictures of the documentation, and so into these tests."""
    assert review_house.app(tmp_path)  # makes the routes known
    asked = [re.sub(r"\{\w+\}", "x", path.split("?")[0]) for pages in PAGES.values() for path in pages.values()]
    shapes = {
        r.path: re.compile(re.sub(r"\{\w+\}", "[^/]+", r.path) + "$") for r in ROUTES if r.method == "GET" and not r.api
    }
    missed = {path for path, shape in shapes.items() if not any(shape.match(a) for a in asked)}
    assert missed == FILES
    shown = set(re.findall(r"review/([a-z-]+)\.png", (ROOT / "docs" / "review.md").read_text()))
    assert {title for pages in PAGES.values() for title in pages} <= shown
    assert shown == {path.stem for path in (ROOT / "docs" / "review").glob("*.png")}
