"""Takes the pictures of docs/review.md: `.venv/bin/python docs/screenshots.py`. Needs Chromium, as the browser tests do."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import review_house  # noqa: E402
from review_server import chromium, serving, sign_in  # noqa: E402
from review_shown import PAGES, prepared  # noqa: E402

OUT = ROOT / "docs" / "review"
DESK, TABLET = {"width": 1280, "height": 800}, {"width": 820, "height": 1180}
ON_A_TABLET = ("look", "look-notes", "release")
TALL = ("log", "api")
"""Pages whose pictures end where the screen does."""


def take(page: Any, title: str) -> None:
    """One page as it looks at a desk, and some of them on a tablet."""
    page.evaluate("document.querySelector('td details')?.setAttribute('open', '')")  # what one term means
    page.screenshot(path=OUT / f"{title}.png", full_page=title not in TALL)
    if title in ON_A_TABLET:
        page.set_viewport_size(TABLET)
        page.screenshot(path=OUT / f"{title}-tablet.png")
        page.set_viewport_size(DESK)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = review_house.workspace(Path(folder))
        values = prepared(place)
        with serving(place.root) as server, chromium() as browser:
            for name, pages in PAGES.items():
                context = browser.new_context(viewport=DESK)
                page = context.new_page()
                if name:
                    sign_in(page, server.address, name)
                for title, path in pages.items():
                    page.goto(server.address + path.format(**values))
                    take(page, title)
                context.close()
    for path in OUT.glob("*.png"):
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
