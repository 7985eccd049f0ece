"""The review house in a real browser: the flows that people go through, each test one flow.

 1 sign in and out by keyboard     10 note and reason outlive the tab     18 a scientist opens a review
 2 100 patients, keyboard alone    11 help, and Escape                    19 a scientist queues and cancels a job
 3 reject with a reason            12 second opinion                      20 officer: accept, approve, sign
 4 reject without one              13 two reviewers, blind                21 tampered bundle refused
 5 skip                            14 conflict settled                    22 officer withdraws
 6 undo ten                        15 tablet                              23 log: verify, checkpoint
 7 double click                    16 contrast and names (AA)             24 no other machine, no complaint
 8 back button                     17 screen-reader order                 25 hostile text is only text
 9 two tabs on one patient

The server that is killed mid-decision is in test_review_hardening.py.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile

import pytest
import review_house
import review_run
from review_house import PASSWORD, Asker
from review_server import chromium, serving, sign_in

from synthgen.flags import Flag
from synthgen.review.app import create_app
from synthgen.review.approval import faults_of
from synthgen.review.tables import ITEMS, LOOKS

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One workspace for all flows: each works in its own review or release."""
    place = review_house.workspace(tmp_path_factory.mktemp("browser"))
    hostile = Flag("SYN-000140", "text", "severe", HOSTILE, False)
    review_run.finished(place, [hostile, *review_run.flags(100)], [review_run.INCONCLUSIVE])
    return place


@pytest.fixture(scope="module")
def server(place):
    with serving(place.root) as running:
        yield running


@pytest.fixture(scope="module")
def app(place):
    """The same house within the test's process, to prepare and to look at what was kept."""
    return create_app(place)


@pytest.fixture(scope="module")
def profiles(browser, server):
    """One browser profile for each person, signed in once."""
    kept: dict[str, object] = {}

    def profile(name: str):
        if name not in kept:
            kept[name] = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
            sign_in(kept[name].new_page(), server.address, name)
        return kept[name]

    yield profile
    for context in kept.values():
        context.close()


@pytest.fixture
def visit(profiles, server):
    """visit("ana") -> a fresh page of ana's, on her first page; its requests and its complaints are noted."""
    opened = []

    def go(name: str, width: int = 1280, height: int = 860):
        page = profiles(name).new_page()
        opened.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.complaints, page.asked = [], []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: page.asked.append(r.url))
        page.goto(server.address)
        return page

    yield go
    for page in opened:
        page.close()


@pytest.fixture
def review(app):
    """A fresh review of the run; what was open before is closed."""

    def fresh(**wish) -> int:
        sam = Asker(app, "sam")
        for number in re.findall(r'href="/reviews/(\d+)"', sam.get("/reviews").text):
            sam.post(f"/reviews/{number}/close")
        run = app.state.house.workspace.run().id
        fields = {"run": run, "looks": 2, "most": 12, "random": 0, "planted": 0} | wish
        return int(sam.post("/reviews", **fields).headers["location"].rsplit("/", 1)[1])

    return fresh


def looks(app, number: int, answered: bool = True):
    with app.state.house.database.read() as connection:
        query = LOOKS.select().join(ITEMS, ITEMS.c.id == LOOKS.c.item_id).where(ITEMS.c.review_id == number)
        rows = connection.execute(query.where(LOOKS.c.undone_at.is_(None))).all()
    return [row for row in rows if row.answer or not answered]


def begin(page, number: int) -> None:
    page.goto(re.sub(r"^(https?://[^/]+).*", rf"\1/reviews/{number}/look", page.url))
    page.wait_for_selector("#decision")


def press(page, *keys: str) -> None:
    """Presses keys one after the other; those that lead to another page are waited for."""
    for key in keys:
        if key in ("a", "x", "f", "Space", "Backspace"):
            with page.expect_navigation():
                page.keyboard.press(key)
        else:
            page.keyboard.press(key)


def patient(page) -> str:
    return page.locator("h1 .mono").inner_text()


def test_01_signing_in_and_out_by_keyboard(browser, server):
    page = browser.new_page()
    sign_in(page, server.address, "ana")
    assert page.url.endswith("/reviews")
    page.get_by_role("button", name="Sign out").press("Enter")
    page.wait_for_url("**/signin")
    page.close()


def test_02_a_hundred_patients_by_keyboard_alone(visit, review, app):
    number = review(looks=1, most=100)
    page = visit("ana")
    page.keyboard.press("Tab")
    page.get_by_role("link", name="Begin").press("Enter")
    page.wait_for_selector("#decision")
    for i in range(100):
        press(page, "2", "x") if i % 3 == 0 else press(page, "a")
    assert page.get_by_text("Nothing is left for you").is_visible()
    answers = [k.answer for k in looks(app, number)]
    assert (len(answers), answers.count("reject")) == (100, 34)


def test_03_rejecting_with_a_reason_and_a_note(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    press(page, "3", "e")
    page.keyboard.type("albumin a x 5")  # keys typed into the note are no commands
    press(page, "Escape", "x")
    (look,) = looks(app, number)
    assert (look.answer, look.reason, look.note) == ("reject", "disease", "albumin a x 5")


def test_04_rejecting_without_a_reason_asks_for_one(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    before = patient(page)
    press(page, "x")
    assert page.get_by_role("status").inner_text().startswith("A rejection needs a reason")
    assert (patient(page), looks(app, number)) == (before, [])


def test_05_skipping_puts_a_patient_at_the_end(visit, review):
    page = visit("ana")
    begin(page, review(most=3))
    first = patient(page)
    press(page, "Space")
    assert patient(page) != first
    press(page, "a", "a")
    assert patient(page) == first


def test_06_ten_decisions_are_undone_by_backspace(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    seen = []
    for _ in range(11):
        seen.append(patient(page))
        press(page, "a")
    for expected in reversed(seen[1:]):
        press(page, "Backspace")
        assert patient(page) == expected
    press(page, "Backspace")
    assert "nothing to take back" in page.get_by_role("status").inner_text()
    assert len(looks(app, number)) == 1


def test_07_a_double_click_decides_once(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    before = patient(page)
    page.get_by_role("button", name="Accept").dblclick()
    page.wait_for_function("p => document.querySelector('h1 .mono').innerText !== p", arg=before)
    page.wait_for_load_state("networkidle")
    assert len(looks(app, number)) == 1


def test_08_the_back_button_decides_nothing_twice(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    press(page, "a")
    second = patient(page)
    page.go_back()
    page.go_forward()
    page.reload()
    assert patient(page) == second
    assert len(looks(app, number)) == 1


def test_09_two_tabs_on_one_patient(visit, review, app):
    number = review()
    page = visit("ana")
    begin(page, number)
    other = page.context.new_page()
    other.goto(page.url)
    assert patient(other) == patient(page)
    press(page, "a")
    press(other, "1", "x")
    assert "decided before" in other.get_by_role("status").inner_text()
    assert [k.answer for k in looks(app, number)] == ["accept"]


def test_10_reason_and_note_are_kept_when_the_tab_is_closed(visit, review):
    number = review()
    page = visit("ana")
    begin(page, number)
    before = patient(page)
    with page.expect_response("**/draft"):
        press(page, "4")
    press(page, "e")
    with page.expect_response("**/draft"):
        page.keyboard.type("half a thou")
    again, address = page.context.new_page(), page.url
    page.close()
    again.goto(address)
    assert patient(again) == before
    assert again.locator("#note").input_value() == "half a thou"
    assert again.locator('input[value="events"]').is_checked()


def test_11_help_opens_and_closes_by_keyboard(visit, review):
    page = visit("ana")
    begin(page, review())
    press(page, "h")
    assert page.locator("dialog#help").is_visible()
    before = patient(page)
    page.keyboard.press("a")  # a command of the page behind
    press(page, "Escape")
    assert not page.locator("dialog#help").is_visible()
    assert patient(page) == before


def test_12_a_second_opinion_is_asked_once(visit, review, app):
    number = review(looks=1)
    page = visit("ana")
    begin(page, number)
    press(page, "f")
    assert "One more person" in page.get_by_role("status").inner_text()
    assert page.get_by_role("button", name="Second opinion asked").is_disabled()
    with app.state.house.database.read() as connection:
        wanted = (
            connection.execute(ITEMS.select().where(ITEMS.c.review_id == number, ITEMS.c.position == 1)).one().wanted
        )
    assert wanted == 2


def test_13_and_14_two_reviewers_are_blind_and_a_third_settles_their_conflict(visit, review, app):
    number = review(most=1)
    ana, bea, cora = visit("ana"), visit("bea"), visit("cora")
    begin(ana, number)
    begin(bea, number)
    press(ana, "e")
    ana.keyboard.type("a secret between us")
    press(ana, "Escape", "1", "x")
    bea.reload()
    assert "secret" not in bea.content()
    press(bea, "a")
    cora.goto(f"{cora.url}/{number}")
    cora.get_by_role("link", name="settle").click()
    assert "a secret between us" in cora.content()
    press(cora, "a")
    with app.state.house.database.read() as connection:
        assert connection.execute(ITEMS.select().where(ITEMS.c.review_id == number)).one().verdict == "accept"


def test_15_on_a_tablet_nothing_is_cut_off_and_buttons_are_large_enough(visit, review):
    page = visit("ana", 768, 1024)
    begin(page, review())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.get_by_role("button", name="Accept").bounding_box()
    assert box["height"] >= 44
    page.get_by_role("button", name="Accept").tap() if page.context.browser is None else page.get_by_role(
        "button", name="Accept"
    ).click()
    page.wait_for_load_state()


CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 };
  const luminance = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const rgba = s => (s.match(/[\\d.]+/g) || []).map(Number);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c } return [255, 255, 255] };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility({opacityProperty: true}) || e.closest('.unseen, .skip, kbd, button:disabled')) continue;
    const style = getComputedStyle(e), svg = e.closest('svg');
    const ink = luminance(rgba(svg ? style.fill : style.color)), paper = luminance(behind(svg ? svg.parentElement : e));
    const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
    if (ratio < 4.5) bad.push(`${e.tagName} "${e.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return bad }"""
NAMELESS = """() => [...document.querySelectorAll('button, a, input:not([type=hidden]), select, textarea, svg, progress')]
  .filter(e => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
  .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length))
  .map(e => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("ana", ["/reviews", "/reviews/{n}", "/reviews/{n}/look", "/account"]),
        ("sam", ["/runs", "/reviews", "/releases"]),
        ("olga", ["/releases", "/privacy", "/privacy/pbc", "/log", "/runs"]),
        ("adam", ["/people"]),
    ],
)
def test_16_contrast_is_aa_and_everything_has_a_name(visit, review, server, name, paths):
    number = review(planted=2, random=2)
    page = visit(name)
    for path in paths:
        page.goto(server.address + path.format(n=number))
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(NAMELESS) == [], path
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_17_a_screen_reader_meets_why_then_the_record_then_the_decision(visit, review):
    page = visit("ana")
    begin(page, review())
    order = page.evaluate(
        "[...document.querySelectorAll('section[aria-label]')].map(s => s.getAttribute('aria-label'))"
    )
    assert order == ["Flags", "The record", "Decision"]
    page.get_by_text("All values as a table").click()
    assert page.get_by_role("cell", name="cholesterol").count() + page.locator("table.values td").count() > 10
    focused = []
    page.reload()
    for _ in range(24):
        page.keyboard.press("Tab")
        focused.append(
            page.evaluate("document.activeElement.textContent.trim().slice(0, 20) || document.activeElement.id")
        )
    joined = " | ".join(focused)
    assert "To the content" in joined
    assert joined.index("All values") < joined.index("Accept") < joined.index("Reject") < joined.index("Skip")


def test_18_a_scientist_opens_a_review_and_closes_it(visit, review, app):
    Asker(app, "sam").post(f"/reviews/{review()}/close")
    page = visit("sam")
    page.get_by_role("link", name="Reviews").click()
    page.get_by_label("Flagged patients, at most").fill("5")
    page.get_by_role("button", name="Open").click()
    assert page.get_by_text("patients settled").is_visible()
    page.get_by_role("button", name="Close this review").click()
    assert page.get_by_text("closed", exact=True).is_visible()


def test_19_a_scientist_queues_a_job_and_cancels_it(visit):
    page = visit("sam")
    page.get_by_label("Job").select_option("pbc-nonprivate")
    page.get_by_role("button", name="Queue").click()
    assert page.get_by_text("waits for a worker").is_visible()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#progress .chip").inner_text() == "cancelled"


def test_20_to_22_an_officer_accepts_approves_signs_and_withdraws_and_a_tampered_bundle_is_refused(
    visit, review, app, tmp_path
):
    Asker(app, "sam").post(f"/reviews/{review()}/close")
    sam, olga = visit("sam"), visit("olga")
    sam.get_by_role("link", name="Releases").click()
    sam.get_by_label("Purpose").fill("a methods course")
    sam.get_by_role("button", name="Propose").click()
    olga.goto(sam.url)
    assert olga.get_by_role("button", name="Approve and sign").is_disabled()
    olga.get_by_label("Why this is acceptable").fill("few men have this disease")
    olga.get_by_role("button", name="Accept subgroup/worst_auc").click()
    olga.locator("#a-reason").fill("the claim holds")
    olga.locator("#a-password").fill(PASSWORD)
    olga.get_by_role("button", name="Approve and sign").click()
    with olga.expect_download() as taken:
        olga.get_by_role("link", name="Take the signed bundle along").click()
    path = tmp_path / "signed.zip"
    taken.value.save_as(path)
    key = olga.locator(".note code").first.inner_text()
    assert faults_of(path, key) == []
    shutil.copy(path, tmp_path / "tampered.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "tampered.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"alive", b"dead ") if name.endswith(".csv") else old.read(name))
    assert faults_of(tmp_path / "tampered.zip", key)
    olga.locator("#w-reason").fill("consent withdrawn")
    olga.locator("#w-password").fill(PASSWORD)
    olga.get_by_role("button", name="Withdraw").click()
    assert olga.get_by_role("link", name="Take the signed bundle along").count() == 0


def test_23_the_log_is_verified_and_a_checkpoint_taken_along(visit, tmp_path):
    page = visit("olga")
    page.get_by_role("link", name="Log").click()
    page.get_by_label("Your password").fill(PASSWORD)
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download a checkpoint").click()
    taken.value.save_as(tmp_path / "checkpoint.json")
    root = json.loads((tmp_path / "checkpoint.json").read_text())["root"]
    page.get_by_label("Root of a checkpoint").fill(root)
    page.get_by_role("button", name="Verify").click()
    assert page.get_by_role("status").inner_text().startswith("The chain is sound.")


def test_24_nothing_asks_another_machine_and_no_script_complains(visit, review, server):
    number = review()
    for name in ("ana", "olga", "sam", "adam"):
        page = visit(name)
        for link in page.locator("header nav a").all():
            page.goto(server.address + link.get_attribute("href"))
        if name == "ana":
            begin(page, number)
            press(page, "a", "Backspace", "h")
        assert {url.split("/")[2] for url in page.asked if not url.startswith("data:")} == {
            server.address.split("/")[2]
        }
        assert page.complaints == []


def test_25_hostile_text_is_only_text(visit, review):
    page = visit("ana")
    begin(page, review())
    assert patient(page) == "SYN-000140"
    assert HOSTILE in page.locator("ul.flags").inner_text()
    press(page, "e")
    page.keyboard.type(HOSTILE)
    press(page, "Escape")
    page.wait_for_timeout(800)
    page.reload()
    assert page.locator("#note").input_value() == HOSTILE
    assert page.evaluate("window.hacked") is None
