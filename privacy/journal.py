"""The checkpoint of a fit: its noisy answers in order, each on disk before anyone has seen it.

A killed fit starts again, is told the recorded answers, and goes on live where they end. So nothing can be charged twice, no
noise is ever used with another sample, and an answer lost before it was written was seen by nobody: it is drawn afresh,
sample and noise. Recorded answers are all that a model knows of its patients (the replay test).

A fit whose answers are long leaves a *saved state* now and then (`keep`): the tensors that answers up to there were made into,
with their place in the chain. It is on disk before any answer behind it goes, and answers go only where they would fill the
disk (`KEPT_BYTES`): while all are there, the replay test can still start at the first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from privacy.errors import WorkspaceError
from privacy.files import write_durably

LONG = 2**16
"""Answers of more numbers than this are recorded, and given, in single precision."""
KEPT_BYTES = 2**30
"""Recorded answers behind a saved state are dropped when all answers together take more than this."""
STATE = "state.checkpoint"
"""The file of the saved state."""
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Query:
    """Which question an answer belongs to. Two questions that differ here are never given one answer."""

    charge: str
    step: int
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    length: int


@dataclass(frozen=True)
class Saved:
    """A saved state: what a fit made of its first answers.

    Args:
        arrays: whatever the fit needs to go on.
        asked: charge -> how many of its steps had been answered.
        chain: hash of the last answer before it, which the next one names.
    """

    arrays: Arrays
    asked: dict[str, int]
    chain: str

    @property
    def position(self) -> int:
        """How many answers lie before it."""
        return sum(self.asked.values())


class Journal:
    """Recorded answers in a folder, one file each, chained by hash, and at most one saved state.

    Args:
        folder: where they lie; None keeps them in memory (tests, rehearsals).
        high_water: a file outside the run's folder that holds how many answers were ever given. An older journal put back from a
            backup is shorter, and would draw other noise for questions that were answered before.
        from_start: leaves the saved state aside as long as no answer was dropped behind it (the replay test).

    Raises:
        WorkspaceError: when a recorded answer or state is missing, corrupt, or belongs to another question.
    """

    def __init__(self, folder: Path | None = None, high_water: Path | None = None, from_start: bool = False) -> None:
        self.folder = folder
        self.saved: Saved | None = None
        self._high_water = high_water
        self._queries: list[Query | None] = []
        self._memory: dict[int, NDArray[np.float64]] = {}
        self._bytes = 0
        self._chain = ""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._read(folder)
            if from_start and not self.dropped:
                self.saved = None
        if high_water is not None and high_water.exists() and int(high_water.read_text()) > len(self):
            raise WorkspaceError(
                f"{folder}: {high_water.read_text().strip()} answers were given and fewer are here: the folder was put back to "
                "an earlier state. What was answered cannot be asked again; start a new run"
            )

    def __len__(self) -> int:
        """How many answers were given, those dropped behind a saved state among them."""
        return len(self._queries)

    @property
    def dropped(self) -> int:
        """How many answers are no longer there: the replay test begins after them."""
        return sum(query is None for query in self._queries)

    def recall(self, index: int, query: Query) -> NDArray[np.float64] | None:
        """The recorded answer number `index`, or None when it has not been asked yet."""
        if index >= len(self):
            return None
        recorded = self._queries[index]
        if recorded is None:
            raise WorkspaceError(
                f"{self.folder}: answer {index} was dropped behind a saved state, and the fit did not go on from that state. "
                "Start a new run: what it spent stays spent"
            )
        if recorded != query:
            raise WorkspaceError(
                f"{self.folder}: recorded answer {index} belongs to another question than the one asked now; the job, its "
                "settings or the code changed since the run began. Start a new run"
            )
        return self._memory[index].copy() if self.folder is None else _parse(self._path(index))[1]

    def record(self, query: Query, answer: NDArray[np.float64]) -> NDArray[np.float64]:
        """Makes the next answer durable, and returns it as recorded. Only then may anyone see it."""
        stored: NDArray[np.floating[Any]] = answer.astype(np.float32 if len(answer) > LONG else np.float64)
        if self.folder is None:
            self._memory[len(self)] = stored.astype(np.float64)
        else:
            self._write(self._path(len(self)), query, stored)
        if self._high_water is not None:
            write_durably(self._high_water, f"{len(self) + 1}\n".encode())
        self._queries.append(query)
        return stored.astype(np.float64)

    def keep(self, arrays: Mapping[str, NDArray[Any]], asked: Mapping[str, int]) -> None:
        """Makes a state durable that was made of all answers so far, in place of an earlier one; then drops answers that would
        fill the disk.

        Args:
            asked: charge -> how many of its steps were answered; together as many as there are answers.
        """
        state = Saved({k: np.array(v, order="C") for k, v in arrays.items()}, dict(asked), self._chain)
        assert state.position == len(self), "a state belongs behind the last answer"
        if self.folder is not None:
            metadata = {"asked": json.dumps(state.asked), "chain": state.chain}
            write_durably(self.folder / STATE, _sealed(save(state.arrays, metadata=metadata)))
        self.saved = state
        if self.folder is None or self._bytes > KEPT_BYTES:
            self._drop()

    def mark(self, name: str) -> None:
        """Leaves a durable mark (`revealed`, `seeded`): such a run is never releasable."""
        if self.folder is not None:
            write_durably(self.folder / f"{name.upper()}", b"This run is never releasable.\n")

    def marks(self) -> list[str]:
        """The marks left so far."""
        return [] if self.folder is None else sorted(p.name.lower() for p in self.folder.iterdir() if p.name.isupper())

    def _path(self, index: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{index:06d}.safetensors"

    def _write(self, path: Path, query: Query, answer: NDArray[np.floating[Any]]) -> None:
        content = save({"answer": answer}, metadata={"query": json.dumps(asdict(query)), "previous": self._chain})
        write_durably(path, _sealed(content))
        self._chain = hashlib.sha256(content).hexdigest()
        self._bytes += len(content)

    def _drop(self) -> None:
        """Removes every answer so far, oldest first: what a crash leaves of it is a tail, and is removed on reading."""
        for index, query in enumerate(self._queries):
            if query is not None and self.folder is not None:
                self._path(index).unlink(missing_ok=True)
            self._queries[index] = None
        self._memory.clear()
        self._bytes = 0

    def _read(self, folder: Path) -> None:
        if (folder / STATE).exists():
            self.saved = _parse_state(folder / STATE)
        position = self.saved.position if self.saved else 0
        names = sorted(p.name for p in folder.glob("*.safetensors"))
        if position and self._path(0).name not in names:
            self._go_on_from(self.saved, names)
            names = [name for name in names if name >= self._path(position).name]
        for name in names:
            if self.saved and len(self) == position and self._chain != self.saved.chain:
                raise _corrupt(folder / STATE)
            path = self._path(len(self))
            if name != path.name:
                raise WorkspaceError(f"{path}: this checkpoint is missing although later ones exist. Start a new run")
            query, _, previous, digest = _parse(path)
            if previous != self._chain:
                raise _corrupt(path)
            self._queries.append(query)
            self._chain = digest
            self._bytes += path.stat().st_size
        if len(self) < position or (self.saved and len(self) == position and self._chain != self.saved.chain):
            raise _corrupt(folder / STATE)

    def _go_on_from(self, saved: Saved | None, names: list[str]) -> None:
        """The answers behind the saved state were dropped; a crash may have left the last of them."""
        assert saved is not None
        for name in names:
            if name < self._path(saved.position).name:
                (self._path(0).parent / name).unlink(missing_ok=True)
        self._queries = [None] * saved.position
        self._chain = saved.chain


def _sealed(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def _corrupt(path: Path) -> WorkspaceError:
    return WorkspaceError(f"{path}: this checkpoint is corrupt. Start a new run: what it spent stays spent")


def _opened(path: Path) -> tuple[Arrays, dict[str, str], str]:
    """Arrays, metadata and hash of a sealed file. Raises WorkspaceError when it is not as it was written."""
    stored = path.read_bytes()
    content, digest = stored[:-32], stored[-32:]
    if hashlib.sha256(content).digest() != digest:
        raise _corrupt(path)
    try:
        size = int.from_bytes(content[:8], "little")
        return load(content), json.loads(content[8 : 8 + size])["__metadata__"], hashlib.sha256(content).hexdigest()
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise _corrupt(path) from None


def _parse(path: Path) -> tuple[Query, NDArray[np.float64], str, str]:
    """An answer's question, its numbers, the hash of the one before it and its own."""
    arrays, metadata, digest = _opened(path)
    try:
        return Query(**json.loads(metadata["query"])), arrays["answer"].astype(np.float64), metadata["previous"], digest
    except (KeyError, TypeError, ValueError):
        raise _corrupt(path) from None


def _parse_state(path: Path) -> Saved:
    arrays, metadata, _ = _opened(path)
    try:
        return Saved(arrays, {str(k): int(v) for k, v in json.loads(metadata["asked"]).items()}, metadata["chain"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _corrupt(path) from None
