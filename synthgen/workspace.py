"""The workspace: a folder that holds the ledger, its keys, the cache of public pretraining, and every run."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privacy.errors import WorkspaceError
from privacy.files import PARTIAL, write_durably
from synthgen.config import Job
from synthgen.dictionary import Dictionary

if TYPE_CHECKING:
    from privacy.ledger import Ledger
    from synthgen.cohort import Cohort
    from synthgen.findings import Finding
    from synthgen.flags import Flag
    from synthgen.planning import Plan

DATABASE = "SYNTHGEN_DATABASE"
"""Environment variable with the URL of a PostgreSQL ledger; default: SQLite in the workspace."""
STAMP, STAMP_LENGTH = "%Y%m%d-%H%M%S", 15
"""How a run's id begins: when it was made, in UTC."""


def default_workspace() -> Path:
    """$SYNTHGEN_WORKSPACE, or ./workspace."""
    return Path(os.environ.get("SYNTHGEN_WORKSPACE", "workspace"))


@dataclass(frozen=True, init=False)
class Workspace:
    """A workspace folder; made when first used."""

    root: Path

    def __init__(self, root: str | Path) -> None:
        object.__setattr__(self, "root", Path(root))

    @property
    def cache(self) -> Path:
        """Public pretraining, shared by all runs."""
        return _made(self.root / "cache")

    def high_water(self, run_id: str, generator: str) -> Path:
        """Where it is kept, outside the run's own folder, how many noisy answers a run was ever given."""
        return _made(self.root / "answered") / f"{run_id}-{generator}"

    @property
    def key(self) -> bytes:
        """The secret that hides patient ids in the ledger and decides train or holdout."""
        from privacy.ledger import ledger_key

        return ledger_key(_made(self.root) / "ledger.key")

    def ledger(self) -> Ledger:
        """What was spent, in this workspace's database."""
        from privacy.ledger import Ledger

        key, url = self.key, os.environ.get(DATABASE)  # the key first: a database without one is refused
        if url is None:
            database = _made(self.root) / "ledger.db"
            database.touch(mode=0o600)  # SQLite would let everybody read it
            url = f"sqlite:///{database.resolve()}"
        return Ledger(url, key)

    def runs(self) -> list[Run]:
        """All runs, oldest first: by when their job was written, since several may begin within one second."""
        jobs = [(job.stat().st_mtime_ns, job.parent) for job in (self.root / "runs").glob("*/job.json")]
        return [Run(folder) for _, folder in sorted(jobs)]

    def run(self, run_id: str | None = None, done: str | None = None) -> Run:
        """One run by its id (or an unambiguous beginning of it); without one the newest.

        Args:
            done: a stage that the run needs to have finished; the newest is the newest that has.
        """
        runs = self.runs()
        if run_id is None:
            found = [r for r in runs if done is None or done in r.stages][-1:]
            what = f"no run has reached {done}" if runs else "no run"
        else:
            found = [r for r in runs if r.id.startswith(run_id)]
            what = f"{len(found)} runs begin with {run_id}" if found else f"no run {run_id}"
        if len(found) != 1:
            raise WorkspaceError(f"{self.root}: {what}; `synthgen status` lists them")
        if done is not None and done not in found[0].stages:
            raise WorkspaceError(f"run {found[0].id} has not reached {done}; `synthgen resume {found[0].id}`")
        return found[0]

    def new_run(self, job: Job, dictionary: Dictionary, plan: Plan) -> Run:
        """A run that holds its own copy of job, dictionary and plan, so that later edits change nothing."""
        stamp = datetime.now(UTC).strftime(STAMP)
        run = Run(_made(self.root / "runs" / f"{stamp}-{job.name}-{secrets.token_hex(2)}"))
        run.write_json("dictionary.json", dictionary.model_dump(mode="json"))
        run.write_json("plan.json", plan.as_dict())
        run.write_json("job.json", job.model_dump(mode="json"))  # last: it is what makes the folder a run
        return run


@dataclass(frozen=True)
class Run:
    """One run's folder. Everything a stage leaves lies here; there is no other state."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder.parent.parent)

    @property
    def begun(self) -> float:
        """When it was made, in seconds since 1970. Its id says so, which the ledger's chain holds; a file's date changes
        with each copy. Raises WorkspaceError for an id that no `new_run` gave."""
        try:
            return datetime.strptime(self.id[:STAMP_LENGTH], STAMP).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise WorkspaceError(
                f"{self.folder}: the folder's name does not say when the run began; rename it back"
            ) from None

    @property
    def job(self) -> Job:
        return Job.model_validate(self.read_json("job.json"))

    @property
    def dictionary(self) -> Dictionary:
        return Dictionary.model_validate(self.read_json("dictionary.json"))

    @property
    def plan(self) -> Plan:
        from synthgen.planning import Plan

        return Plan.from_dict(self.read_json("plan.json"))

    @property
    def report(self) -> Path:
        """The report to look at."""
        return self.folder / "report.html"

    @property
    def synthetic(self) -> Cohort:
        """The synthetic cohort as it was sampled."""
        from synthgen.storage import read_synthetic

        return read_synthetic(self.folder / "synthetic", self.dictionary)

    @property
    def findings(self) -> list[Finding]:
        from synthgen.findings import Finding

        return [Finding(**row) for row in self.read_lines("findings.jsonl")]

    @property
    def flags(self) -> list[Flag]:
        from synthgen.flags import Flag

        return [Flag(**row) for row in self.read_lines("flags.jsonl")]

    @property
    def marks(self) -> list[str]:
        """`revealed` and `seeded`, where a generator's answers carry such a mark: never releasable."""
        return sorted({p.name.lower() for p in self.folder.glob("answers/*/*") if p.name.isupper()})

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """What each finished stage took: {stage: {seconds, peak_mb}}, in order."""
        return self.read_json("stages.json") if (self.folder / "stages.json").exists() else {}

    def path(self, *parts: str) -> Path:
        """A folder inside the run, made if need be."""
        return _made(self.folder.joinpath(*parts))

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises WorkspaceError when the file is missing or corrupt."""
        path = self.folder / name
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise WorkspaceError(f"{path}: missing; `synthgen resume {self.id}` makes what is not there yet") from None
        except (OSError, ValueError):
            raise WorkspaceError(f"{path}: corrupt; restore it from a backup or start a new run") from None
        return content

    def write_json(self, name: str, content: Any) -> None:
        """The whole file or nothing."""
        write_durably(self.folder / name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """One JSON object a line; an absent file has none."""
        path = self.folder / name
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError:
            raise WorkspaceError(f"{path}: corrupt; delete it and run `synthgen resume {self.id}`") from None

    def write_lines(self, name: str, rows: Sequence[Finding | Flag]) -> None:
        """The whole file or nothing."""
        write_durably(self.folder / name, "".join(row.as_json() + "\n" for row in rows).encode())

    def sweep(self) -> None:
        """Removes what a killed process was still writing: it was never part of the run."""
        beside = (self.workspace.root / "answered").glob(f".{self.id}-*{PARTIAL}")
        for leftover in (*self.folder.rglob(f".*{PARTIAL}*"), *beside):
            leftover.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process works on a run: two would draw different noise for one question."""
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise WorkspaceError(f"{self.folder}: another process is working on this run") from None
            yield


def _made(folder: Path) -> Path:
    """The folder, for nobody else to look into, and so every folder above it that was made for it."""
    try:
        for part in [*reversed(folder.parents), folder]:
            part.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder
