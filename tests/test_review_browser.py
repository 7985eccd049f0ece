"""The review house in a real browser: the 25 flows that people go through, each test one flow.

 1 sign in and out by keyboard      10 note and reason outlive the tab      18 a scientist opens and closes a review, by keyboard
 2 100 patients by keyboard alone   11 help, and Escape                     19 a scientist queues and cancels a job
 3 reject with a reason and a note  12 a second opinion                     20 an officer accepts and signs, by keyboard
 4 reject without a reason          13 two reviewers, blind                 21 a tampered bundle is refused
 5 skip                             14 a conflict is settled                22 an officer withdraws
 6 undo ten                         15 a tablet, by touch                   23 the log verified, a checkpoint taken along
 7 double click                     16 the server killed mid-decision       24 no other machine, no complaint
 8 back button                      17 screen-reader order                  25 hostile text is only text
 9 two tabs on one patient

What holds for every page (contrast, names, widths) is in test_review_pages.py; 500 decisions under kill -9 in
test_review_hardening.py.
"""

from __future__ import annotations

import json
import re
import time
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


@pytest.fixture
def proposal(app, review) -> str:
    """The number of a release that waits for an officer; what was proposed or signed before has ended, and no review is open."""
    sam, olga = Asker(app, "sam"), Asker(app, "olga")
    sam.post(f"/reviews/{review()}/close")
    for found in sam.call("GET", "/releases").json()["releases"]:
        end = {"proposed": "refuse", "approved": "withdraw"}.get(found["state"])
        if end:
            olga.call("POST", f"/releases/{found['id']}/{end}", {"reason": "the next test", "password": PASSWORD})
    body = {"run": app.state.house.workspace.run().id, "purpose": "a methods course"}
    return str(sam.call("POST", "/releases", body).json()["release"])


def signed_by_olga(app, number: str) -> None:
    olga = Asker(app, "olga")
    olga.call("POST", f"/releases/{number}/accept", {"finding": "subgroup/worst_auc", "reason": "few men"})
    answer = olga.call("POST", f"/releases/{number}/approve", {"reason": "the claim holds", "password": PASSWORD})
    assert answer.status_code == 200, answer.text


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


def tab_to(page, target) -> None:
    """Moves the focus by the tab key alone, and sees that it shows."""
    for _ in range(150):
        if target.evaluate("e => e === document.activeElement"):
            assert target.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
            return
        page.keyboard.press("Tab")
    raise AssertionError("the tab key does not lead there")


def follow(page, target) -> None:
    """Goes to a link or a button by keyboard and takes it."""
    tab_to(page, target)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def patient(page) -> str:
    return page.locator("h1 .mono").inner_text()


def test_each_of_the_25_flows_that_are_listed_is_a_test():
    listed = {int(n) for n in re.findall(r"(?:\n *| {2,})(\d{1,2}) \w", __doc__ or "")}
    written = [int(name[5:7]) for name in globals() if re.match(r"test_\d\d_", name)]
    assert sorted(written) == sorted(listed) == list(range(1, 26))


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


def test_13_two_reviewers_are_blind(visit, review):
    number = review(most=1)
    ana, bea = visit("ana"), visit("bea")
    begin(ana, number)
    begin(bea, number)
    press(ana, "e")
    ana.keyboard.type("a secret between us")
    press(ana, "Escape", "1", "x")
    bea.reload()
    assert "secret" not in bea.content()
    press(bea, "1", "x")
    bea.goto(bea.url.replace("/look", ""))
    assert bea.get_by_text("What others decided is shown when the review is closed").is_visible()
    assert "secret" not in bea.content()


def test_14_a_third_specialist_settles_a_conflict(visit, review, app):
    number = review(most=1)
    for name, answer in (("ana", "reject"), ("bea", "accept")):
        asker = Asker(app, name)
        look = asker.call("POST", f"/reviews/{number}/look").json()["look"]
        asker.call("POST", f"/looks/{look}", {"answer": answer, "reason": "values", "note": f"a note of a {answer}"})
    cora = visit("cora")
    cora.goto(f"{cora.url}/{number}")
    cora.get_by_role("link", name="settle").click()
    assert "a note of a reject" in cora.content()
    assert "ana" not in cora.locator("main").inner_text()
    press(cora, "a")
    with app.state.house.database.read() as connection:
        assert connection.execute(ITEMS.select().where(ITEMS.c.review_id == number)).one().verdict == "accept"


def test_15_a_tablet_by_touch(browser, server, review, app):
    number = review()
    context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True)
    page = context.new_page()
    sign_in(page, server.address, "ana")
    begin(page, number)
    before = patient(page)
    for name in ("Accept", "Reject"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 1180  # in reach without scrolling
    page.get_by_text("course over time").tap()
    with page.expect_navigation():
        page.get_by_role("button", name="Reject").tap()
    assert patient(page) != before
    assert [k.reason for k in looks(app, number)] == ["course"]
    context.close()


def test_16_a_server_killed_mid_decision_loses_and_doubles_none(visit, review, app, server):
    """kill -9 between 0 and 40 ms after the key; whoever comes back finds the patient decided, or as it was left."""
    number = review(looks=1)
    page = visit("ana")
    begin(page, number)
    seen = []
    for delay in (0.0, 0.01, 0.02, 0.04):
        seen.append(patient(page))
        with page.expect_response("**/draft"):
            press(page, "2")
        page.evaluate("setTimeout(() => document.querySelector('[data-key=x]').click(), 20)")
        time.sleep(0.02 + delay)
        server.kill()
        server.start()
        begin(page, number)
        if patient(page) == seen[-1]:
            assert page.locator('input[value="course"]').is_checked()
            press(page, "x")
    assert [(k.answer, k.reason) for k in looks(app, number)] == [("reject", "course")] * len(seen)
    assert len(set(seen)) == len(seen)


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


def test_18_a_scientist_opens_a_review_and_closes_it_by_keyboard_alone(visit, review, app):
    Asker(app, "sam").post(f"/reviews/{review()}/close")
    page = visit("sam")
    follow(page, page.get_by_role("link", name="Reviews"))
    tab_to(page, page.get_by_label("Flagged patients, at most"))
    page.keyboard.press("Control+A")
    page.keyboard.type("5")
    follow(page, page.get_by_role("button", name="Open"))
    assert page.get_by_text("patients settled").is_visible()
    follow(page, page.get_by_role("button", name="Close this review"))
    assert page.get_by_text("closed", exact=True).is_visible()


def test_19_a_scientist_queues_a_job_and_cancels_it(visit):
    page = visit("sam")
    page.get_by_label("Job").select_option("pbc-nonprivate")
    page.get_by_role("button", name="Queue").click()
    assert page.get_by_text("waits for a worker").is_visible()
    page.get_by_role("button", name="Cancel").click()
    assert page.locator("#progress .chip").inner_text() == "cancelled"


def test_20_an_officer_accepts_and_signs_by_keyboard_alone(visit, proposal, tmp_path):
    page = visit("olga")
    follow(page, page.get_by_role("link", name=f"Release {proposal}", exact=True))
    assert page.get_by_role("button", name="Approve and sign").is_disabled()
    tab_to(page, page.get_by_label("Why this is acceptable"))
    page.keyboard.type("few men have this disease")
    follow(page, page.get_by_role("button", name="Accept subgroup/worst_auc"))
    for field, words in (("#a-reason", "the claim holds"), ("#a-password", PASSWORD)):
        tab_to(page, page.locator(field))
        page.keyboard.type(words)
    follow(page, page.get_by_role("button", name="Approve and sign"))
    tab_to(page, page.get_by_role("link", name="Take the signed bundle along"))
    with page.expect_download() as taken:
        page.keyboard.press("Enter")
    taken.value.save_as(tmp_path / "signed.zip")
    assert faults_of(tmp_path / "signed.zip", page.locator(".note code").first.inner_text()) == []


def test_21_a_tampered_bundle_is_refused(visit, proposal, app, tmp_path, cli):
    """By `release verify`, wherever the bundle has gone, and by the house, which does not hand it out."""
    signed_by_olga(app, proposal)
    page = visit("olga")
    page.goto(f"{page.url}/{proposal}")
    key = page.locator(".note code").first.inner_text()
    with page.expect_download() as taken:
        page.get_by_role("link", name="Take the signed bundle along").click()
    taken.value.save_as(tmp_path / "signed.zip")
    assert cli("release", "verify", tmp_path / "signed.zip", "--key", key)[0] == 0
    with zipfile.ZipFile(tmp_path / "signed.zip") as old, zipfile.ZipFile(tmp_path / "tampered.zip", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content.replace(b"alive", b"dead ") if name.endswith(".csv") else content)
    assert cli("release", "verify", tmp_path / "tampered.zip", "--key", key)[0] == 1
    claim = app.state.house.workspace.run().folder / "release" / "CLAIM.md"
    claim.write_text(claim.read_text() + "- Everything is allowed.\n")
    page.get_by_role("link", name="Take the signed bundle along").click()
    assert "The bundle is not the one that was signed: CLAIM.md" in page.get_by_role("alert").inner_text()


def test_22_an_officer_withdraws(visit, proposal, app):
    signed_by_olga(app, proposal)
    page = visit("olga")
    page.goto(f"{page.url}/{proposal}")
    page.locator("#w-reason").fill("consent withdrawn")
    page.locator("#w-password").fill(PASSWORD)
    page.get_by_role("button", name="Withdraw").click()
    assert page.get_by_role("link", name="Take the signed bundle along").count() == 0
    assert page.get_by_text("copies that have left cannot be called back").is_visible()


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
