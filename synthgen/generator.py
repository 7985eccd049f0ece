"""What the pipeline asks of a generator. Generators are found by entry point `synthgen.generators`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from privacy.charges import Charge
    from privacy.session import Session
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Progress = Callable[[str, int, int], None]
"""Called as progress(what, done, total)."""


class Learner(Protocol):
    """Learns one modality through a `Session`.

    One glance at `fit` shows everything it learns from patients: nothing but the session holds them.
    """

    modality: ClassVar[str]
    """ehr, images, notes or phenotypes: its room in the run's `models/` folder."""
    private: ClassVar[bool]
    """False for a baseline that reveals its patients: its runs are never releasable."""

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any], device: str = "cpu") -> None:
        """Raises ConfigError on a setting it does not know or cannot use."""
        ...

    def charges(self, declared_patients: int) -> Sequence[Charge]:
        """What `fit` will do, from public numbers alone; noise multipliers relative to each other."""
        ...

    def encode(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        """[patients, ...] tensors. Row i depends on patient i and the dictionary, and on nobody else."""
        ...

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        """Learns what is public (epsilon 0); cached under a key of everything it depends on.

        From here on `sample` (or `extend`) works: before `fit` it draws from public knowledge alone. A generator that knows
        nothing public raises WorkspaceError instead.
        """
        ...

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        """Learns from patients. Deterministic given `seed` and the session's answers: that is how a killed job resumes."""
        ...

    def save(self, folder: Path) -> None:
        """safetensors and JSON into an existing folder."""
        ...

    def load(self, folder: Path) -> None:
        """What `save` wrote. Raises WorkspaceError when it is missing or corrupt."""
        ...


class Generator(Learner, Protocol):
    """Samples whole patients without any patient: the record that everything else of a synthetic patient follows."""

    def sample(self, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
        """Whole synthetic patients with ids SYN-..., in memory proportional to `patients`; `where` fixes static columns.

        Raises ConfigError for a column or category that does not exist.
        """
        ...


class LinkedGenerator(Learner, Protocol):
    """Adds its modality to patients that have a record: their images, their notes."""

    def extend(self, record: Cohort, rng: np.random.Generator) -> Cohort:
        """The same synthetic patients with this modality's table, each row following from its patient's own record. A patient who
        has none in life has none here (`synthgen.occurrence`)."""
        ...
