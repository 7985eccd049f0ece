"""A folder of the cache is whole or not there, whoever else makes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthgen.cache import store
from synthgen.errors import WorkspaceError


def fill(text: str):
    return lambda aside: (aside / "weights").write_text(text)


def test_a_folder_appears_whole_and_leaves_nothing_beside(tmp_path: Path):
    store(tmp_path / "cache" / "key", fill("a"))
    assert (tmp_path / "cache" / "key" / "weights").read_text() == "a"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == ["key"]


def test_what_another_job_made_meanwhile_stays(tmp_path: Path):
    store(tmp_path / "key", fill("first"))
    store(tmp_path / "key", fill("second"))
    assert (tmp_path / "key" / "weights").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_a_full_disk_leaves_nothing(tmp_path: Path):
    def full(aside: Path) -> None:
        (aside / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(WorkspaceError, match="No space left on device"):
        store(tmp_path / "key", full)
    assert list(tmp_path.iterdir()) == []
