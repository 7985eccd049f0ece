"""Takes the pictures of docs/review.md: `.venv/bin/python docs/screenshots.py`. Needs Chromium, as the browser tests do."""

from __future__ import annotations

import random
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import finished_run  # noqa: E402
import review_house  # noqa: E402
import review_run  # noqa: E402
from review_house import PASSWORD, Asker  # noqa: E402
from review_server import chromium, serving, sign_in  # noqa: E402

from synthgen.flags import Flag  # noqa: E402
from synthgen.review.app import create_app  # noqa: E402
from synthgen.workspace import Workspace  # noqa: E402

OUT = ROOT / "docs" / "review"
PAGES = {
    "ana": {"reviews": "/reviews", "look": "/reviews/3/look", "review-own": "/reviews/3", "account": "/account"},
    "cora": {"conflict": "/reviews/1/conflicts/{conflict}"},
    "sam": {"runs": "/runs", "job": "/jobs/1", "run": "/runs/{run}", "compare": "/compare?a={run}&b={other}",
            "review": "/reviews/1"},
    "olga": {"releases": "/releases", "release": "/releases/2", "approved": "/releases/1", "privacy": "/privacy",
             "cohort": "/privacy/pbc", "log": "/log"},
    "adam": {"people": "/people", "api": "/api-docs"},
}  # fmt: skip


def flags() -> list[Flag]:
    """The dictionary's own rules, broken by one patient after the other."""
    rules = [r for r in finished_run.dictionary().rules if r.severity != "hard"]
    return [
        Flag(f"SYN-{i:06d}", r.name, r.severity, f"{r.text} It fails at {1 + i % 3} visits.", False, {}, 1 - i / 100)  # type: ignore[arg-type]
        for i in range(36)
        for r in [rules[i % len(rules)]]
    ]


def prepared(place: Workspace) -> dict[str, str]:
    """A house at work: a review with a conflict, a release that was signed, one that waits, a job."""
    run, other = (review_run.finished(place, flags(), [review_run.INCONCLUSIVE]) for _ in range(2))
    app = create_app(place)
    sam, olga = Asker(app, "sam"), Asker(app, "olga")
    rng = random.Random(1)
    sam.call("POST", "/reviews", {"run": run.id, "most": 20})
    for name in ("ana", "bea"):
        asker = Asker(app, name)
        while (look := asker.call("POST", "/reviews/1/look").json())["look"]:
            odd = rng.random() < (0.75 if int(look["patient_id"][4:]) % 3 == 0 else 0.1)
            asker.call(
                "POST",
                f"/looks/{look['look']}",
                {"answer": "reject", "reason": "values"} if odd else {"answer": "accept"},
            )
    conflict = re.findall(r"Patient (\d+)", sam.get("/reviews/1").text)[0]
    sam.call("POST", "/reviews", {"run": other.id})
    number = sam.call("POST", "/releases", {"run": other.id, "purpose": "Survival methods course"}).json()["release"]
    olga.call(
        "POST", f"/releases/{number}/accept", {"finding": "subgroup/worst_auc", "reason": "few men have this disease"}
    )
    sam.call("POST", "/reviews/2/close")
    olga.call("POST", f"/releases/{number}/approve", {"reason": "the claim holds", "password": PASSWORD})
    sam.call("POST", "/reviews", {"run": other.id})
    sam.call("POST", "/releases", {"run": run.id, "purpose": "Feasibility of a registry study"})
    sam.call("POST", "/jobs", {"job": "pbc", "seed": 4})
    return {"run": run.id, "other": other.id, "conflict": conflict}


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = review_house.workspace(Path(folder))
        values = prepared(place)
        with serving(place.root) as server, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{server.address}/signin")
            page.screenshot(path=OUT / "signin.png")
            for name, pages in PAGES.items():
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                page = context.new_page()
                sign_in(page, server.address, name)
                for title, path in pages.items():
                    page.goto(server.address + path.format(**values))
                    page.screenshot(path=OUT / f"{title}.png", full_page=title != "log")
                    if title == "look":
                        page.set_viewport_size({"width": 820, "height": 1100})
                        page.screenshot(path=OUT / "look-tablet.png", full_page=True)
                        page.set_viewport_size({"width": 1280, "height": 800})
                context.close()
    for path in OUT.glob("*.png"):
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
