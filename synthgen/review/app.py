"""The web application: the routes of `routes/`, each behind its guard, all behind the shield."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from synthgen.errors import SynthgenError, WorkspaceError
from synthgen.review.access import ROUTES, ChoosePasswordFirst, SignInFirst, guard
from synthgen.review.house import House
from synthgen.review.render import page
from synthgen.review.shield import Shield

if TYPE_CHECKING:
    from synthgen.workspace import Workspace

MODULES = (
    "files", "signin", "people", "log", "reviews", "triage", "releases", "privacy", "runs", "exchange",
    "api_people", "api_runs", "api_reviews", "api_office",
)  # fmt: skip
HOSTS = ("localhost", "127.0.0.1", "[::1]")
AT_ONCE = 12
"""Requests that are worked on at the same time; others wait. More would share the same processors, and keep more memory."""


def create_app(workspace: Workspace, hosts: Sequence[str] = (), jobs: Path = Path("configs")) -> FastAPI:
    """The application for one workspace. It answers to `localhost`, and to `hosts` besides; `jobs` holds what may be queued."""
    import synthgen

    for module in MODULES:
        importlib.import_module(f"synthgen.review.routes.{module}")
    app = FastAPI(
        title="synthgen", version=synthgen.__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=_open
    )
    app.state.house = House(workspace, jobs)
    for route in ROUTES:
        app.add_api_route(
            route.path,
            route.function,
            methods=[route.method],
            dependencies=[Depends(guard(route))],
            include_in_schema=route.api,
        )
    app.add_exception_handler(SignInFirst, _sign_in_first)
    app.add_exception_handler(ChoosePasswordFirst, _choose_password_first)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(SynthgenError, _to_mend)
    app.add_middleware(Shield, hosts=[*HOSTS, *hosts])
    return app


@asynccontextmanager
async def _open(_app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = AT_ONCE
    yield


def _sign_in_first(_request: Request, _error: Exception) -> Response:
    return RedirectResponse("/signin", 303)


def _choose_password_first(_request: Request, _error: Exception) -> Response:
    return RedirectResponse("/account", 303)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException | StarletteHTTPException)
    return _say(request, error.status_code, str(error.detail), dict(error.headers or {}))


def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = sorted({".".join(str(part) for part in e["loc"]) for e in error.errors()})
    return _say(request, 422, f"Missing or malformed: {', '.join(places)}.")


def _to_mend(request: Request, error: Exception) -> Response:
    return _say(request, 404 if isinstance(error, WorkspaceError) else 400, str(error))


def _say(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": message}, status, headers)
    response = page(request, "error.html", status, message=message, code=status)
    response.headers.update(headers or {})
    return response
