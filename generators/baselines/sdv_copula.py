"""SDV's GaussianCopulaSynthesizer on the wide table: the strongest tabular peer at small n, without privacy.

It reveals its patients, so a run with it is never releasable. SDV can only pickle its models, and nothing is unpickled here:
what is saved are the revealed numbers, in the run's internal folder, and loading fits again (under a second at n = 300).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sdv.metadata import Metadata
from sdv.single_table import GaussianCopulaSynthesizer

from generators.baselines.wide import columns, narrowed, widened
from privacy.charges import Charge
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.errors import ConfigError, WorkspaceError
from synthgen.generator import Progress

MODEL = "revealed.safetensors"


class Settings(BaseModel):
    """Settings of `SDVCopula`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    visits: int = Field(default=6, ge=1, le=50)
    """How many visits of a patient stand side by side; later ones are not looked at."""


class SDVCopula:
    """See `synthgen.generator.Generator`."""

    modality: ClassVar[str] = "ehr"
    private: ClassVar[bool] = False

    def __init__(self, dictionary: Dictionary, settings: Mapping[str, Any] | None = None, device: str = "cpu") -> None:
        self.dictionary, self.device = dictionary, device
        try:
            self.settings = Settings.model_validate(dict(settings or {}))
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise ConfigError("; ".join(f"generators.sdv.{e['loc'][0]}: {e['msg']}" for e in faults)) from None
        self._values: torch.Tensor | None = None
        self._synthesizer: GaussianCopulaSynthesizer | None = None

    def charges(self, declared_patients: int) -> Sequence[Charge]:
        return ()

    def encode(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        return {"wide": torch.from_numpy(widened(cohort, self.dictionary, self.settings.visits))}

    def pretrain(self, seed: int, cache: Path, progress: Progress) -> None:
        """It knows nothing of what is public."""

    def fit(self, session: Session, seed: int, progress: Progress) -> None:
        progress("GaussianCopula", 0, 1)
        self._learn(session.reveal()["wide"])
        progress("GaussianCopula", 1, 1)

    def sample(self, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None) -> Cohort:
        if where:
            raise ConfigError("--where: this baseline does not sample under conditions")
        if self._synthesizer is None:
            raise WorkspaceError("the SDV baseline has no model yet: fit or load it first")
        with _quiet():
            self._synthesizer._set_random_state(int(rng.integers(2**32)))  # SDV offers no public seed
            drawn = self._synthesizer.sample(patients)["wide"]
        ids = [f"SYN-{i:06d}" for i in range(1, patients + 1)]
        return narrowed(drawn.to_numpy(dtype=np.float64), self.dictionary, self.settings.visits, ids)

    def save(self, folder: Path) -> None:
        if self._values is None:
            raise WorkspaceError("the SDV baseline has no model yet: fit or load it first")
        save_file({"wide": self._values}, folder / MODEL)
        (folder / "model.json").write_text(json.dumps({"generator": "SDVCopula", **self.settings.model_dump()}) + "\n")

    def load(self, folder: Path) -> None:
        try:
            self._learn(load_file(folder / MODEL)["wide"])
        except (OSError, SafetensorError, KeyError):
            raise WorkspaceError(f"{folder / MODEL}: the model is missing or corrupt. Run the job again") from None

    def _learn(self, values: torch.Tensor) -> None:
        frame = pd.DataFrame(values.numpy(), columns=columns(self.dictionary, self.settings.visits)).dropna(
            axis=1, how="all"
        )
        frame = frame.reindex(columns=columns(self.dictionary, self.settings.visits))
        with _quiet():
            metadata = Metadata.load_from_dict(
                {
                    "tables": {"wide": {"columns": {name: {"sdtype": "numerical"} for name in frame}}},
                    "relationships": [],
                }
            )
            self._synthesizer = GaussianCopulaSynthesizer(metadata, enforce_rounding=False)
            self._synthesizer.fit({"wide": frame})
        self._values = values.contiguous()


class _quiet(warnings.catch_warnings):
    """SDV and its packages warn about their own deprecations."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")


if TYPE_CHECKING:
    from synthgen.generator import Generator

    def _is_a_generator(dictionary: Dictionary) -> Generator:
        return SDVCopula(dictionary)
