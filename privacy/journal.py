"""The checkpoint of a fit: its noisy answers in order, each on disk before anyone has seen it.

A killed fit starts again, is told the recorded answers, and goes on live where they end. So nothing can be charged twice, no
noise is ever used with another sample, and an answer lost before it was written was seen by nobody: it is drawn afresh,
sample and noise. Recorded answers are all that a model knows of its patients (the replay test).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from privacy.errors import WorkspaceError
from privacy.files import write_durably


@dataclass(frozen=True)
class Query:
    """Which question an answer belongs to. Two questions that differ here are never given one answer."""

    charge: str
    step: int
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    length: int


class Journal:
    """Recorded answers in a folder, one file each, chained by hash.

    Args:
        folder: where they lie; None keeps them in memory (tests, rehearsals).
        high_water: a file outside the run's folder that holds how many answers were ever given. An older journal put back from a
            backup is shorter, and would draw other noise for questions that were answered before.

    Raises:
        WorkspaceError: when a recorded answer is missing, corrupt, or belongs to another question.
    """

    def __init__(self, folder: Path | None = None, high_water: Path | None = None) -> None:
        self.folder = folder
        self._high_water = high_water
        self._answers: list[tuple[Query, NDArray[np.float64]]] = []
        self._chain = ""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._read(folder)
        if high_water is not None and high_water.exists() and int(high_water.read_text()) > len(self._answers):
            raise WorkspaceError(
                f"{folder}: {high_water.read_text().strip()} answers were given and fewer are here: the folder was put back to "
                "an earlier state. What was answered cannot be asked again; start a new run"
            )

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, index: int, query: Query) -> NDArray[np.float64] | None:
        """The recorded answer number `index`, or None when it has not been asked yet."""
        if index >= len(self._answers):
            return None
        recorded, answer = self._answers[index]
        if recorded != query:
            raise WorkspaceError(
                f"{self.folder}: recorded answer {index} belongs to another question than the one asked now; the job, its "
                "settings or the code changed since the run began. Start a new run"
            )
        return answer.copy()

    def record(self, query: Query, answer: NDArray[np.float64]) -> None:
        """Makes the next answer durable. Only after this returns may anyone see it."""
        if self.folder is not None:
            self._write(self._path(len(self._answers)), query, answer)
        if self._high_water is not None:
            write_durably(self._high_water, f"{len(self._answers) + 1}\n".encode())
        self._answers.append((query, answer.copy()))

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

    def _write(self, path: Path, query: Query, answer: NDArray[np.float64]) -> None:
        metadata = {"query": json.dumps(asdict(query)), "previous": self._chain}
        content = save({"answer": answer}, metadata=metadata)
        write_durably(path, content + hashlib.sha256(content).digest())
        self._chain = hashlib.sha256(content).hexdigest()

    def _read(self, folder: Path) -> None:
        names = sorted(p.name for p in folder.glob("*.safetensors"))
        for index, name in enumerate(names):
            path = self._path(index)
            if name != path.name:
                raise WorkspaceError(f"{path}: this checkpoint is missing although later ones exist. Start a new run")
            query, answer = self._parse(path)
            self._answers.append((query, answer))

    def _parse(self, path: Path) -> tuple[Query, NDArray[np.float64]]:
        stored = path.read_bytes()
        content, digest = stored[:-32], stored[-32:]
        fault = WorkspaceError(f"{path}: this checkpoint is corrupt. Start a new run: what it spent stays spent")
        if hashlib.sha256(content).digest() != digest:
            raise fault
        try:
            size = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + size])["__metadata__"]
            answer = load(content)["answer"]
            query = Query(**json.loads(metadata["query"]))
        except (SafetensorError, KeyError, TypeError, ValueError):
            raise fault from None
        if metadata["previous"] != self._chain:
            raise fault
        self._chain = hashlib.sha256(content).hexdigest()
        return query, answer
