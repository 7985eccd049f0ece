"""A job (`configs/*.yaml`): which cohort, at which price, by which generators."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from privacy.budget import Budget, default_delta
from privacy.errors import ConfigError
from synthgen.dictionary import LINKED, Dictionary, Entry, parse, read_dictionary, read_yaml

DEFAULT_CAP = 10.0
"""The most that may ever be spent on a cohort's patients unless an officer sets another cap (`synthgen budget`)."""


class Privacy(Entry):
    """The price of a job."""

    epsilon: float | None
    """Total epsilon of everything learnt from a patient. `null` means no privacy at all: never releasable."""
    delta: float | None = None
    """Default: min(1e-4, 1 / (10 declared patients))."""
    share: dict[str, float] | None = None
    """Generator -> its share of what is spent, in mu squared (of Gaussian differential privacy), where they are several.
    Default: half for the record, the rest in equal parts for what is linked to it."""
    noise_seed: int | None = None
    """Predictable noise, for tests only: a run that uses it is never releasable."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.epsilon is not None and not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError("epsilon needs to be finite and > 0, or null for a run without privacy")
        if self.share is not None and not (self.share and all(math.isfinite(s) and s > 0 for s in self.share.values())):
            raise ValueError("share needs a number above 0 for each generator")
        if self.delta is not None and not 0 < self.delta < 1:
            raise ValueError("delta needs to lie between 0 and 1")
        return self


class Job(Entry):
    """One job. Paths are relative to the file the job stands in."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """The job's name; every run of it is called after it."""
    cohort: Path
    """The data dictionary, cohort.yaml."""
    data: Path | None = None
    """The folder of the cohort's tables; default: the dictionary's folder."""
    knowledge: Literal["informed", "vague"] = "informed"
    """Whether generators may use the dictionary's public knowledge; `vague` leaves bounds, categories, units and scales."""
    privacy: Privacy
    """What the job may learn from its patients, in total."""
    generators: dict[str, dict[str, Any]] = Field(min_length=1)
    """Registered generators and their settings."""
    holdout: float = Field(default=0.5, gt=0, lt=1)
    """Share of the patients kept from training, to compare and attack with."""
    patients: int | None = Field(default=None, ge=1, le=10_000_000)
    """How many synthetic patients; default: the declared size of the training set."""
    audit: Literal["quick", "standard", "deep"] = "quick"
    """How deep the attacks go; `quick` ends within the demo's minutes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is a GPU when there is one."""
    seed: int = Field(default=0, ge=0)
    """For everything but noise and the sampling of patients."""

    @property
    def dictionary(self) -> Dictionary:
        """The cohort's dictionary as this job may use it: without images and notes that none of its generators makes."""
        dictionary = read_dictionary(self.cohort)
        if unmade := [table for table in LINKED if table in dictionary.tables and table not in self._modalities()]:
            dictionary = dictionary.without(unmade)
        return dictionary if self.knowledge == "informed" else dictionary.vague()

    def _modalities(self) -> set[str]:
        from synthgen.plugins import generator_class

        return {generator_class(name).modality for name in self.generators}

    @property
    def folder(self) -> Path:
        """Where the cohort's tables lie."""
        return self.data or self.cohort.parent

    def declared_training(self, dictionary: Dictionary) -> int:
        """Public size of the training set: what rates and normalisers come from."""
        return max(1, round(dictionary.declared_patients * (1 - self.holdout)))

    def budget(self, dictionary: Dictionary) -> Budget | None:
        """The target, or None for a job without privacy.

        Raises:
            ConfigError: for a delta that would allow a whole patient to be published.
        """
        if self.privacy.epsilon is None:
            return None
        n = dictionary.declared_patients
        delta = self.privacy.delta if self.privacy.delta is not None else default_delta(n)
        if delta >= 1 / n:
            raise ConfigError(
                f"privacy.delta: {delta:g} is 1/n or more for {n} declared patients: publishing one patient outright would "
                f"meet it. Leave it out for {default_delta(n):g}"
            )
        return Budget(self.privacy.epsilon, delta)


def load_job(path: str | Path) -> Job:
    """The job in a YAML file, its paths made absolute.

    Raises:
        ConfigError: with every fault of the file and its place.
    """
    path = Path(path)
    content = read_yaml(path)
    if isinstance(content, dict) and "tables" in content:
        raise ConfigError(f"{path}: this is a data dictionary, not a job; a job names it as `cohort`")
    job = parse(Job, content, str(path))
    base = path.resolve().parent
    return job.model_copy(
        update={"cohort": (base / job.cohort).resolve(), "data": (base / job.data).resolve() if job.data else None}
    )
