"""SHA-256 of files: whether what lies on the disk is still what was looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Of one file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_in(folder: Path, patterns: Iterable[str] = ("**/*",)) -> dict[str, str]:
    """Path relative to `folder` -> SHA-256, for each file that matches one of the glob patterns, in order of paths."""
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): sha256_of(path) for path in sorted(files)}


def differences(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One sentence for each file that is missing, changed or new; none when all is as recorded."""
    missing = [f"{name} is missing" for name in recorded if name not in found]
    changed = [f"{name} has changed" for name, digest in found.items() if recorded.get(name, digest) != digest]
    new = [f"{name} was not there" for name in found if name not in recorded]
    return missing + changed + new
