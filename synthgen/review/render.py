"""Pages from templates: autoescaped, without inline script or style."""

from __future__ import annotations

import functools
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse

from synthgen.claim import up

if TYPE_CHECKING:
    from jinja2 import Environment

    from synthgen.review.people import Role

NAVIGATION: dict[Role, tuple[tuple[str, str], ...]] = {
    "specialist": (("/reviews", "Reviews"),),
    "scientist": (("/runs", "Runs"), ("/reviews", "Reviews"), ("/releases", "Releases")),
    "officer": (
        ("/releases", "Releases"),
        ("/privacy", "Privacy"),
        ("/runs", "Runs"),
        ("/reviews", "Reviews"),
        ("/log", "Log"),
    ),
    "admin": (("/people", "People"), ("/log", "Log")),
}
"""What each role sees at the top; the first is where they begin."""


def page(request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """A page with the person's own navigation."""
    session = getattr(request.state, "session", None)
    role = session.person.role if session else None
    text = environment().get_template(template).render(
        person=session.person if session else None,
        csrf=session.csrf if session else "",
        navigation=NAVIGATION[role] if role else (),
        here=request.url.path,
        **context,
    )  # fmt: skip
    return HTMLResponse(text, status)


def see(path: str) -> RedirectResponse:
    """After a change: look at this page (so that going back or loading again repeats nothing)."""
    return RedirectResponse(path, 303)


@functools.cache
def environment() -> Environment:
    """The templates of `pages/`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("synthgen.review", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    from synthgen.review.marks import marked, spans_of
    from synthgen.review.terms import definition, label

    made.filters |= {"label": label, "definition": definition}
    made.filters |= {"when": when, "duration": duration, "number": number, "up": up, "left": left}
    made.filters |= {"marked": marked, "spans_of": spans_of, "counted": counted, "words": words, "moment": moment}
    return made


def counted(number: int, one: str, many: str = "") -> str:
    """`1 look`, `2 looks`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def words(name: object) -> str:
    """A column's name or a category as words that begin a line."""
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def left(cap: float, spent: float) -> str:
    """What a cap still allows, rounded down."""
    return f"{math.floor(max(0.0, cap - spent) * 100) / 100:.2f}"


def when(seconds: float | None) -> str:
    """A moment, in UTC."""
    return "–" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%-d %b %Y, %H:%M} UTC"


def moment(seconds: float) -> str:
    """A moment to the second, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %b %Y, %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """About how long."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def number(value: float | None) -> str:
    """Three significant digits."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
