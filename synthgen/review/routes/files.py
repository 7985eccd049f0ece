"""The few files that every page uses; they ship with the package."""

from __future__ import annotations

from pathlib import Path

from fastapi import HTTPException
from fastapi.responses import FileResponse, Response

from synthgen.review.access import ANYONE, route

STATIC = Path(__file__).parent.parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}


@route("GET", "/static/{name}", ANYONE)
def static(name: str) -> Response:
    known = {path.name: path for path in STATIC.iterdir() if path.suffix in KINDS}
    if name not in known:
        raise HTTPException(404, "There is no such file.")
    path = known[name]
    return FileResponse(path, media_type=KINDS[path.suffix], headers={"Cache-Control": "public, max-age=600"})
