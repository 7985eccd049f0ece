"""Findings -> a report that a privacy officer can read (`report.html`) and a machine too (`report.json`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from synthgen.report.context import ReportContext, Spending, StageTime

if TYPE_CHECKING:
    from synthgen.findings import Audience

__all__ = ["ReportContext", "Spending", "StageTime", "artefacts", "write_report"]

ARTEFACTS = ("*.json", "*.jsonl", "*.png", "report.html", "models/**/*", "answers/**/*", "synthetic/**/*")
"""What an internal report stands for: the hashes of these files stand in its report.json, and the gate compares them."""
NOT_ARTEFACTS = ("report.json", "stages.json", "release.json")
"""Written after the report."""


def write_report(folder: Path, context: ReportContext, audience: Audience = "internal") -> tuple[Path, Path]:
    """Writes report.html and report.json into an existing folder, each whole or not at all.

    For `release`, only what never read real patients is written.

    Raises:
        WorkspaceError: when the folder cannot be written.
    """
    from privacy.files import write_durably
    from synthgen.report.page import as_dict, as_html

    shown = context.for_release() if audience == "release" else context
    page, record = folder / "report.html", folder / "report.json"
    write_durably(page, as_html(shown, audience).encode())
    content = as_dict(shown, audience)
    if audience == "internal":
        content["artefacts"] = artefacts(folder)
    write_durably(record, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return page, record


def artefacts(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a run that its report stands for."""
    from synthgen.hashes import sha256_in

    return {name: digest for name, digest in sha256_in(folder, ARTEFACTS).items() if name not in NOT_ARTEFACTS}
