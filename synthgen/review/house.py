"""What the pages share: the workspace, its database, and the synthetic cohorts that were read last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from synthgen.errors import WorkspaceError
from synthgen.review.database import Database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from privacy.ledger import Ledger, Spent
    from synthgen.flags import Flag
    from synthgen.report.context import ReportContext
    from synthgen.review.records import Records
    from synthgen.workspace import Run, Workspace

KEPT = 3


@dataclass(frozen=True)
class Given:
    """What a cohort's patients have given. `finished` is the epsilon of the runs that have ended; the rest is reserved by `open`
    ones, which may still answer: it is never given back."""

    spent: Spent
    finished: float
    open: tuple[str, ...]

    @property
    def reserved(self) -> float:
        return self.spent.epsilon - self.finished


class House:
    """One workspace, open for review."""

    def __init__(self, workspace: Workspace, jobs: Path) -> None:
        self.workspace, self.jobs = workspace, jobs
        self.database = Database(workspace)
        self._records: OrderedDict[str, Records] = OrderedDict()
        self._contexts: OrderedDict[str, tuple[object, ReportContext]] = OrderedDict()
        self._spent: tuple[str, list[Given]] = ("", [])
        self._lock = threading.Lock()

    def run(self, run_id: str) -> Run:
        """The run of exactly this id. Raises WorkspaceError."""
        for run in self.workspace.runs():
            if run.id == run_id:
                return run
        raise WorkspaceError("there is no such run in this workspace")

    def records(self, run_id: str) -> Records:
        """The run's synthetic patients; read once and kept while they are in use."""
        from synthgen.review.records import Records

        with self._lock:
            if run_id not in self._records:
                self._records[run_id] = Records.of(self.run(run_id))
                while len(self._records) > KEPT:
                    self._records.popitem(last=False)
            self._records.move_to_end(run_id)
            return self._records[run_id]

    def spent(self) -> tuple[str, list[Given]]:
        """The ledger's root, and what each cohort's patients have given; reckoned again when the ledger changes."""
        ledger = self.workspace.ledger()
        root = ledger.root
        with self._lock:
            if self._spent[0] != root:
                self._spent = (root, _given(ledger))
            return self._spent

    def context(self, run_id: str, rejected: Sequence[Flag]) -> ReportContext:
        """What an officer decides on about a run; kept until its files, the ledger or the reviews' verdicts change."""
        from synthgen.review.dossier import context_with

        run = self.run(run_id)
        files = [run.folder / name for name in ("findings.jsonl", "flags.jsonl", "stages.json")]
        state = (self.workspace.ledger().root, [f.stat().st_mtime_ns for f in files if f.exists()], list(rejected))
        with self._lock:
            if self._contexts.get(run_id, (None,))[0] != state:
                self._contexts[run_id] = (state, context_with(run, rejected))
                while len(self._contexts) > KEPT:
                    self._contexts.popitem(last=False)
            return self._contexts[run_id][1]


def _given(ledger: Ledger) -> list[Given]:
    from privacy.accounting import epsilon

    names = ledger.datasets()
    ended = {e.content["run_id"] for name in names for e in ledger.history(name) if e.content["kind"] == "close"}
    found = []
    for spent in map(ledger.spent, names):
        reservations = [ledger.reservation(run) for run in spent.runs if run in ended]
        charges = [charge for reservation in reservations if reservation for charge in reservation.charges]
        finished = epsilon(charges, spent.delta) if charges and spent.delta else 0.0
        found.append(Given(spent, min(finished, spent.epsilon), tuple(run for run in spent.runs if run not in ended)))
    return found


def house(request: Request) -> House:
    """The house a request is made to."""
    found: House = request.app.state.house
    return found
