"""Notes of a synthetic patient as the triage screen shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape


def marked(text: str, spans: Sequence[tuple[int, int]]) -> Markup:
    """The text, escaped, with `<mark>` around each (start, end) of its characters; those outside it are cut, nested merge."""
    parts, at = [], 0
    for start, end in sorted(spans):
        start, end = max(at, start), min(end, len(text))
        if start < end:
            parts += [escape(text[at:start]), Markup("<mark>"), escape(text[start:end]), Markup("</mark>")]
            at = end
    return Markup("").join([*parts, escape(text[at:])])


def spans_of(flags: Sequence[Mapping[str, Any]], note: int) -> list[tuple[int, int]]:
    """The characters of a patient's note number `note` (from 0) that flags are about."""
    found = [span for flag in flags for span in (flag.get("evidence") or {}).get("spans", ()) if span["note"] == note]
    return [(int(span["start"]), int(span["end"])) for span in found]
