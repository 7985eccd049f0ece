"""Runs queued jobs, one after the other. A second worker on another machine may share the queue and the workspace."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from synthgen.errors import SynthgenError, WorkspaceError
from synthgen.review import jobs
from synthgen.review.shield import place

if TYPE_CHECKING:
    from synthgen.review.database import Database
    from synthgen.review.jobs import Queued
    from synthgen.workspace import Run, Workspace

TOLD_EVERY = 1.0
"""Seconds between two notes of progress."""


class Stop(BaseException):
    """Cancelled, or another worker has the job: leaves the pipeline at once, as a killed process would."""


class Told:
    """A pipeline's progress, told to the database; stops the pipeline when the job was cancelled or taken away."""

    def __init__(self, database: Database, number: int, worker: str) -> None:
        self._database, self._number, self._worker = database, number, worker
        self._seen: dict[str, Any] = {}
        self._last = 0.0
        self._over = threading.Event()
        self.lost = False

    def stage(self, name: str) -> None:
        self._tell(stage=name, what="", done=None, total=None, now=True)

    def spent(self, epsilon: float | None) -> None:
        self._tell(epsilon=epsilon, now=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        self._tell(what=what[:80], done=done, total=total)

    def finish(self) -> None:
        self._tell(now=True)

    def keep_alive(self) -> None:
        """Until `close`: long steps say nothing, but the worker lives, and what was said last is passed on."""
        while not self._over.wait(jobs.LEASE / 12):
            with self._database.write() as write:
                self.lost |= not jobs.beat(write, self._number, self._worker, **self._seen)

    def close(self) -> None:
        self._over.set()

    def _tell(self, now: bool = False, **seen: Any) -> None:
        self._seen = self._seen | seen
        if self.lost:
            raise Stop
        if now or time.monotonic() - self._last > TOLD_EVERY:
            self._last = time.monotonic()
            with self._database.write() as write:
                alive = jobs.beat(write, self._number, self._worker, **self._seen)
            if not alive:
                raise Stop


class Worker:
    """One worker of a workspace."""

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self._workspace, self._database = workspace, database
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"[:80]

    def work_once(self) -> bool:
        """Runs the next job, if there is one, to its end; False when there was none."""
        with self._database.write() as write:
            queued = jobs.claim(write, self.name)
        if queued is None:
            return False
        told = Told(self._database, queued.id, self.name)
        thread = threading.Thread(target=told.keep_alive, daemon=True)
        thread.start()
        try:
            self._run(queued, told)
        finally:
            told.close()
            thread.join()
        return True

    def _run(self, queued: Queued, told: Told) -> None:
        from synthgen.pipeline import resume

        try:
            resume(self._folder_of(queued), told)
        except Stop:
            self._end(queued, "cancelled")
        except WorkspaceError as error:
            if "another process is working" not in str(error):
                self._end(queued, "failed", str(error))
                return
            with self._database.write() as write:
                jobs.put_back(write, queued.id, self.name)
        except SynthgenError as error:
            self._end(queued, "failed", str(error))
        except Exception as error:
            self._end(queued, "failed", f"a fault of synthgen's own: {place(error)}")  # its message could hold a value
        else:
            self._end(queued, "finished")

    def _folder_of(self, queued: Queued) -> Run:
        """The job's run: the one it has, or a new one."""
        from synthgen.planning import plan

        if queued.run is not None:
            return self._workspace.run(queued.run)
        job = queued.job
        dictionary = job.dictionary
        run = self._workspace.new_run(job, dictionary, plan(job, dictionary))
        with self._database.write() as write:
            if not jobs.beat(write, queued.id, self.name, run=run.id):
                raise Stop
        return run

    def _end(self, queued: Queued, state: str, message: str | None = None) -> None:
        with self._database.write() as write:
            jobs.end(write, queued.id, self.name, state, message)
