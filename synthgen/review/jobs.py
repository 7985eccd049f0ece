"""The queue of jobs: submitted by a scientist, run by a worker that holds a lease, taken over by another when it dies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from synthgen.config import Job, load_job
from synthgen.errors import ConfigError, SynthgenError, WorkspaceError
from synthgen.review.tables import JOB_LOG, JOBS

if TYPE_CHECKING:
    from synthgen.review.database import Write
    from synthgen.review.people import Person

LEASE = 60.0
"""Seconds after which a worker that said nothing counts as dead."""
OVER = ("finished", "failed", "cancelled")


@dataclass(frozen=True)
class Queued:
    """One job in the queue: queued, running, finished, failed or cancelled."""

    id: int
    config: str
    run: str | None
    state: str
    queued_by: int
    queued_at: float
    worker: str | None
    leased_until: float | None
    cancel: bool
    stage: str | None
    what: str | None
    done: int | None
    total: int | None
    epsilon: float | None
    message: str | None
    ended_at: float | None

    @property
    def job(self) -> Job:
        return Job.model_validate_json(self.config)


def offered(folder: Path) -> dict[str, Job]:
    """The jobs a scientist may start: the files of the jobs folder that can be read, by name. Paths come from nowhere else."""
    found = {}
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
        try:
            found[path.stem] = load_job(path)
        except SynthgenError:
            continue
    return found


def changed(job: Job, epsilon: float | None, patients: int | None, seed: int | None) -> Job:
    """The job with another price, size or seed. Raises ConfigError."""
    update: dict[str, Any] = job.model_dump(mode="json")
    if epsilon is not None:
        update["privacy"] = update["privacy"] | {"epsilon": epsilon}
    update |= {k: v for k, v in (("patients", patients), ("seed", seed)) if v is not None}
    try:
        return Job.model_validate(update)
    except ValueError:
        raise ConfigError(
            "epsilon needs to be above 0, patients between 1 and 10,000,000, the seed 0 or above"
        ) from None


def submit(write: Write, job: Job, by: Person) -> int:
    """Puts a job into the queue and returns its number."""
    row = {
        "config": job.model_dump_json(),
        "state": "queued",
        "queued_by": by.id,
        "queued_at": write.now,
        "cancel": False,
    }
    (number,) = write.connection.execute(JOBS.insert().values(**row).returning(JOBS.c.id)).one()
    write.log("job queued", by.name, job=number, name=job.name, epsilon=job.privacy.epsilon)
    _note(write, number, f"queued by {by.name}")
    return int(number)


def find(connection: sa.Connection, number: int) -> Queued:
    """Raises WorkspaceError."""
    row = connection.execute(sa.select(JOBS).where(JOBS.c.id == number)).first()
    if row is None:
        raise WorkspaceError("there is no such job")
    return Queued(**row._mapping)


def everything(connection: sa.Connection) -> list[Queued]:
    """All jobs, newest first."""
    return [Queued(**row._mapping) for row in connection.execute(sa.select(JOBS).order_by(JOBS.c.id.desc()))]


def claim(write: Write, worker: str) -> Queued | None:
    """The oldest job that waits, or whose worker is dead, leased to this worker."""
    waits = (JOBS.c.state == "queued") | ((JOBS.c.state == "running") & (JOBS.c.leased_until < write.now))
    row = write.connection.execute(sa.select(JOBS).where(waits).order_by(JOBS.c.id).limit(1)).first()
    if row is None:
        return None
    begun = {"state": "running", "worker": worker, "leased_until": write.now + LEASE}
    _change(write, row.id, **begun, message=None, stage=None)
    if row.state == "running":
        write.log("job taken over", worker, job=row.id, run=row.run, dead=row.worker)
        _note(
            write, row.id, f"taken over by {worker}: {row.worker or 'the worker before'} has been silent for too long"
        )
    else:
        write.log("job started", worker, job=row.id)
        _note(write, row.id, f"started by {worker}")
    return find(write.connection, row.id)


def beat(write: Write, number: int, worker: str, **seen: Any) -> bool:
    """The worker lives, and this is how far it is. False: it must stop (cancelled, or the job was taken over)."""
    now = find(write.connection, number)
    if now.worker != worker or now.state != "running" or now.cancel:
        return False
    _change(write, number, leased_until=write.now + LEASE, **seen)
    for name, words in (("run", "run {}"), ("stage", "stage {}"), ("epsilon", "epsilon {:.4g} charged, in full")):
        if seen.get(name) is not None and seen[name] != getattr(now, name):
            _note(write, number, words.format(seen[name]))
    return True


def end(write: Write, number: int, worker: str, state: str, message: str | None = None) -> None:
    """How it ended; nothing happens when another worker has it by now."""
    if find(write.connection, number).worker == worker:
        _change(write, number, state=state, message=message, ended_at=write.now, leased_until=None)
        write.log(f"job {state}", worker, job=number, **({"message": message} if message else {}))
        _note(write, number, f"{state}: {message}" if message else state)


def put_back(write: Write, number: int, worker: str) -> None:
    """The run's folder is still held by a process that is about to die: somebody tries again in a while."""
    if find(write.connection, number).worker == worker:
        _change(write, number, leased_until=write.now + LEASE / 4, worker=None)
        _note(write, number, "another process still holds the run; tried again in a while")


def cancel(write: Write, number: int, by: Person) -> None:
    """Stops a job at its worker's next sign of life. What was charged stays charged. Raises ConfigError."""
    now = _own(write, number, by)
    if now.state in OVER:
        raise ConfigError(f"this job is {now.state} already")
    over = {"state": "cancelled", "ended_at": write.now} if now.state == "queued" else {}
    _change(write, number, cancel=True, **over)
    write.log("job cancelled by hand", by.name, job=number)
    _note(write, number, f"cancelled by {by.name}")


def resume(write: Write, number: int, by: Person) -> None:
    """Puts a stopped job back: its run goes on where it stopped. Raises ConfigError."""
    now = _own(write, number, by)
    if now.state not in ("failed", "cancelled"):
        raise ConfigError(f"this job is {now.state}; only one that failed or was cancelled can go on")
    _change(write, number, state="queued", cancel=False, message=None, worker=None, ended_at=None)
    write.log("job resumed", by.name, job=number, run=now.run)
    _note(write, number, f"resumed by {by.name}")


def history(connection: sa.Connection, number: int) -> list[tuple[float, str]]:
    """What became of a job, (when, what), oldest first."""
    query = sa.select(JOB_LOG.c.at, JOB_LOG.c.text).where(JOB_LOG.c.job_id == number).order_by(JOB_LOG.c.id)
    return [(row.at, row.text) for row in connection.execute(query)]


def _note(write: Write, number: int, text: str) -> None:
    write.connection.execute(JOB_LOG.insert().values(job_id=number, at=write.now, text=text))


def _own(write: Write, number: int, by: Person) -> Queued:
    now = find(write.connection, number)
    if now.queued_by != by.id:
        raise ConfigError("only who queued a job may stop it or let it go on")
    return now


def _change(write: Write, number: int, **values: Any) -> None:
    write.connection.execute(JOBS.update().where(JOBS.c.id == number).values(**values))


def as_row(queued: Queued) -> dict[str, Any]:
    """For JSON: without the paths of the job's file."""
    shown = {k: v for k, v in vars(queued).items() if k not in ("config", "leased_until", "queued_by")}
    privacy = json.loads(queued.config)["privacy"]
    return shown | {"name": queued.job.name, "wanted_epsilon": privacy["epsilon"]}
