"""Saved states: a killed fit goes on from the last one, and nothing that an answer promises is lost with the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from privacy import journal as journal_file
from privacy.charges import Charge
from privacy.errors import PrivacyError, Unaccounted, WorkspaceError
from privacy.journal import STATE, Journal
from privacy.session import Session

CHARGES = (Charge("a", 1.0, sampling_rate=0.5, steps=6), Charge("b", 1.0))


class Killed(Exception):
    """Stands for kill -9."""


def session(folder: Path, mark: Path | None = None, from_start: bool = False) -> Session:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    return Session({"x": x}, CHARGES, 20, journal=Journal(folder, mark, from_start))


def values(records) -> Tensor:
    return records["x"]


def fit(door: Session, die_after: int = 99, every: int = 2) -> Tensor:
    """A model that adds up its answers: `b` once, then six times `a`, with a state after every second step."""
    state = door.restored() or {"sum": door.sum(values, 1.0, "b"), "step": torch.tensor(0)}
    for step in range(int(state["step"]), 6):
        if step == die_after:
            raise Killed
        state = {"sum": state["sum"] + door.sum(values, 1.0, "a"), "step": torch.tensor(step + 1)}
        if (step + 1) % every == 0:
            door.checkpoint(state)
    return state["sum"]


@pytest.fixture(params=[2**30, 0], ids=["answers kept", "answers dropped"])
def budget(request, monkeypatch) -> int:
    monkeypatch.setattr(journal_file, "KEPT_BYTES", request.param)
    return int(request.param)


def answers(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.safetensors"))}


@pytest.mark.parametrize("die_after", [1, 2, 3, 5])
def test_a_killed_fit_goes_on_from_its_state_and_is_answered_no_question_twice(tmp_path, budget, die_after):
    with pytest.raises(Killed):
        fit(session(tmp_path / "a", tmp_path / "mark"), die_after)
    before = answers(tmp_path / "a")
    model = fit(session(tmp_path / "a", tmp_path / "mark"))
    after = answers(tmp_path / "a")
    assert all(after[name] == content for name, content in before.items() if name in after)
    assert (tmp_path / "mark").read_text() == "7\n"  # seven charged, seven ever given
    finished = Journal(tmp_path / "a", tmp_path / "mark")
    assert len(finished) == 7
    assert finished.dropped == (0 if budget else 7)
    assert torch.equal(fit(session(tmp_path / "a")), model)  # whoever asks again is told the same


def test_while_all_answers_are_kept_they_alone_make_the_model(tmp_path, budget):
    model = fit(session(tmp_path))
    blank = Session({"x": torch.zeros(1, 3)}, CHARGES, 20, journal=Journal(tmp_path, from_start=True))
    assert (blank.restored() is None) == bool(budget)  # what was dropped cannot be replayed
    replayed = fit(Session({"x": torch.zeros(1, 3)}, CHARGES, 20, journal=Journal(tmp_path, from_start=True)))
    assert torch.equal(replayed, model)
    assert len(Journal(tmp_path)) == 7


@pytest.mark.usefixtures("budget")
def test_a_restored_session_has_used_what_was_used(tmp_path):
    fit(session(tmp_path))
    door = session(tmp_path)
    door.restored()
    for charge in ("a", "b"):
        with pytest.raises(Unaccounted, match="all are used"):
            door.sum(values, 1.0, charge)


def test_answers_that_were_dropped_are_never_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "KEPT_BYTES", 0)
    fit(session(tmp_path))
    with pytest.raises(WorkspaceError, match="was dropped behind a saved state"):
        session(tmp_path).sum(values, 1.0, "b")


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("damage", ["flip", "shorten", "empty", "foreign"])
def test_a_corrupt_state_is_refused_by_name(tmp_path, damage):
    with pytest.raises(Killed):
        fit(session(tmp_path / "a"), 5)  # a state after four steps, one answer after it
    path = tmp_path / "a" / STATE
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "shorten":
        content = content[:-5]
    elif damage == "empty":
        content = bytearray()
    else:
        with pytest.raises(Killed):
            fit(session(tmp_path / "b"), 5)
        content = bytearray((tmp_path / "b" / STATE).read_bytes())
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="corrupt"):
        Journal(tmp_path / "a")


@pytest.mark.usefixtures("budget")
def test_an_earlier_state_put_back_is_refused(tmp_path):
    with pytest.raises(Killed):
        fit(session(tmp_path / "a", tmp_path / "mark"), 3)
    older = {p: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    fit(session(tmp_path / "a", tmp_path / "mark"))
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    for path, content in older.items():
        path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="put back to an earlier state"):
        Journal(tmp_path / "a", tmp_path / "mark")


def test_a_state_that_is_gone_with_the_answers_before_it_is_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "KEPT_BYTES", 0)
    with pytest.raises(Killed):
        fit(session(tmp_path), 5)
    (tmp_path / STATE).unlink()
    with pytest.raises(WorkspaceError, match=r"000000.*missing although later ones exist"):
        Journal(tmp_path)


@pytest.mark.parametrize("removed", [1, 3])
def test_a_crash_while_answers_are_dropped_leaves_a_whole_journal(tmp_path, removed):
    with pytest.raises(Killed):
        fit(session(tmp_path), 5)
    for name in sorted(answers(tmp_path))[:removed]:  # five lie behind the state, the oldest go first
        (tmp_path / name).unlink()
    again = Journal(tmp_path)
    assert (len(again), again.dropped) == (6, 5)
    assert list(answers(tmp_path)) == ["000005.safetensors"]
    fit(session(tmp_path))


def test_a_state_is_on_disk_before_an_answer_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "KEPT_BYTES", 0)
    real = journal_file.write_durably

    def full(path: Path, content: bytes) -> None:
        if path.name == STATE:
            raise WorkspaceError(f"{path}: cannot be written")
        real(path, content)

    monkeypatch.setattr(journal_file, "write_durably", full)
    with pytest.raises(WorkspaceError, match="cannot be written"):
        fit(session(tmp_path))
    monkeypatch.setattr(journal_file, "write_durably", real)
    assert len(answers(tmp_path)) == 3
    fit(session(tmp_path))


def test_a_state_is_asked_for_before_the_first_question(tmp_path):
    door = session(tmp_path)
    door.sum(values, 1.0, "b")
    with pytest.raises(PrivacyError, match="before the first question"):
        door.restored()


def test_revealed_training_goes_on_from_its_state_too(tmp_path):
    door = Session({"x": torch.ones(2, 1)}, (), 2, journal=Journal(tmp_path))
    door.checkpoint({"weights": door.reveal()["x"] * 3})
    door.checkpoint({"weights": torch.full((2, 1), 4.0)})
    again = Session({"x": torch.ones(2, 1)}, (), 2, journal=Journal(tmp_path))
    assert torch.equal(again.restored()["weights"], torch.full((2, 1), 4.0))
    assert Journal(tmp_path).marks() == ["revealed"]


def test_long_answers_are_single_precision_on_disk_and_off(tmp_path):
    size = journal_file.LONG + 1
    charge = Charge("a", 1.0)
    first = Session({"x": torch.ones(2, size)}, [charge], 2, journal=Journal(tmp_path)).sum(values, 1.0, "a")
    second = Session({"x": torch.zeros(1, size)}, [charge], 2, journal=Journal(tmp_path)).sum(values, 1.0, "a")
    assert torch.equal(first, second)
    assert np.array_equal(first.numpy(), first.numpy().astype(np.float32))
    assert (tmp_path / "000000.safetensors").stat().st_size < 5 * size
