"""The coupling test: no patient's row may hang on who else is there, whoever they are and however long the vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privacy.charges import Charge
from privacy.gradients import Records
from privacy.journal import Journal
from synthgen.auditing import replay
from synthgen.auditing.replay import Witness

PATIENTS = 200


def witness(steps: int = 1, patients: int = PATIENTS) -> Witness:
    records = {"x": torch.rand(patients, 3, dtype=torch.float64), "row": torch.arange(patients)}
    return Witness(records, [Charge("a", 1.0, steps=steps)], patients, Journal())


def coupled(rows: Records) -> torch.Tensor:
    """The last patient's row is measured from the mean of all who are there."""
    last = (rows["row"] == PATIENTS - 1).unsqueeze(1)
    return rows["x"] - last * rows["x"].mean(dim=0)


def test_a_row_of_the_last_patient_that_hangs_on_the_others_is_found():
    for _ in range(10):
        asked = witness()
        asked.sum(coupled, 1.0, "a")
        assert asked.coupled == ["a"]


def test_rows_of_their_own_are_let_pass():
    asked = witness()
    asked.sum(lambda rows: rows["x"] * torch.rand(1, 3), 1.0, "a")
    assert asked.seen == {"a"}
    assert asked.coupled == []


def test_one_more_question_is_looked_at_and_nobody_knows_which():
    """Of four questions only the third couples: it is looked at in a quarter of the audits (3 to 25 of 50, 99.9% of the time)."""
    found = 0
    for _ in range(50):
        asked = witness(steps=4)
        for step in range(4):
            asked.sum(coupled if step == 2 else lambda rows: rows["x"], 1.0, "a")
        found += bool(asked.coupled)
    assert 3 <= found <= 25


def test_long_vectors_are_compared_a_few_patients_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replay, "HELD", 64)
    sizes: list[int] = []

    def long(rows: Records) -> torch.Tensor:
        sizes.append(len(rows["x"]))
        return coupled(rows).repeat(1, 10)  # 30 numbers each

    asked = witness()
    asked.sum(long, 1.0, "a")
    compared = (
        sizes[1:-1] if sizes[-1] == PATIENTS else sizes[1:]
    )  # the first measures the length, the last is the answer
    assert asked.coupled == ["a"]
    assert max(compared) <= 2 * (64 // 30)


def test_every_patient_is_compared():
    seen: list[int] = []

    def noted(rows: Records) -> torch.Tensor:
        seen.extend(rows["row"].tolist())
        return rows["x"]

    asked = witness(patients=301)
    asked.sum(noted, 1.0, "a")
    assert set(np.unique(seen).tolist()) == set(range(301))
    assert len(seen) >= 2 * 301 + 301  # together, in halves, and in the answer


def test_charges_behind_a_saved_state_leave_the_question_open():
    asked = witness()
    assert replay._coupled("x", False, asked).verdict == "pass"
    left = replay._coupled("x", False, asked, dropped=3)
    assert left.verdict == "inconclusive"
    assert "Not looked at" in left.text
    asked.sum(lambda rows: rows["x"], 1.0, "a")
    assert replay._coupled("x", False, asked, dropped=3).verdict == "pass"
    asked.coupled.append("a")
    assert replay._coupled("x", False, asked, dropped=3).verdict == "fail"
