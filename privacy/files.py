"""Files that are whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

from privacy.errors import WorkspaceError

PARTIAL = ".partial"
"""Ending of a file that is still being written (its name begins with a dot)."""


def write_durably(path: Path, content: bytes) -> None:
    """Writes a whole file or nothing, and returns once it would survive a power cut.

    Raises:
        WorkspaceError: when the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WorkspaceError(
            f"{path}: cannot be written ({error.strerror}). Free some space or rights, then resume"
        ) from None
