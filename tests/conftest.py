"""What every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command line in this process: cli("plan", "job.yaml") -> (exit code, standard output, standard error)."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        from synthgen.cli import main

        monkeypatch.setattr("sys.argv", ["synthgen", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return call


@pytest.fixture
def app(template: Path, tmp_path: Path):
    """A review house on a copy of the module's `template`, a workspace."""
    import review_house

    from synthgen.review.app import create_app

    return create_app(review_house.copy(template, tmp_path))


@pytest.fixture
def database(app):
    """The review house's."""
    return app.state.house.database
