"""Folders of the cache: made whole or not at all, whoever else makes the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from synthgen.errors import WorkspaceError


def store(folder: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a folder aside, which then takes its name; one that another job made meanwhile stays.

    Raises:
        WorkspaceError: when the disk is full or the cache cannot be written; nothing is left behind then.
    """
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        try:
            write(temporary)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise WorkspaceError(f"{folder}: the cache cannot be written ({why}). Free some space or rights") from None
