"""When two ids are one patient: the spelling that ledger, split and conformance share."""

from __future__ import annotations

import unicodedata


def spelled(patient: str) -> str:
    """An id without what re-exported files change: case, Unicode form and surrounding spaces."""
    return unicodedata.normalize("NFKC", patient).strip().casefold()
