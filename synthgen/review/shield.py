"""What stands around every answer: strict headers, no request from another site, none too large, and no fault that talks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 2_000_000
"""Bytes of a request's body."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send the origin of a form as null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), clipboard-read=()",
}
_LOGGER = logging.getLogger("synthgen.review")


class TooLarge(Exception):
    """A body beyond `LARGEST`."""


class Shield:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(scope)
        try:
            if answer is None:
                await self._app(scope, _limited(receive), sent)
                return
        except TooLarge:
            answer = PlainTextResponse(f"The request is larger than {LARGEST} bytes.", 413)
        except Exception as error:
            _LOGGER.error("a fault of synthgen's own: %s", place(error))  # its message could hold a value
            answer = PlainTextResponse("A fault of synthgen's own. Its place is in the server's log.", 500)
        if answer is not None and not began:
            await answer(scope, receive, sent)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return PlainTextResponse("This server does not answer to that name; `synthgen serve --name` adds one.", 400)
        if scope["method"] in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        elsewhere = origin is not None and urlsplit(origin).netloc != host
        if elsewhere or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("A change may come from this site's own pages only.", 403)
        return None


def place(error: BaseException) -> str:
    """An error's type, and the file and line where it was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + where


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message: dict[str, Any] = dict(await receive())
        size += len(message.get("body", b""))
        if size > LARGEST:
            raise TooLarge
        return message

    return limited


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rsplit("]", 1)[0] + "]" if host.startswith("[") else host.partition(":")[0]
