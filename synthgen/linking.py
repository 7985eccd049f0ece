"""Several generators make one patient: the record first, then the image and the note of that same patient.

A job has one generator of records and any number of linked ones; ids, and so files, are consistent because the record gives
them. All of them learn from the same patients, so their charges add up (`synthgen.planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthgen.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from synthgen.cohort import Cohort
    from synthgen.config import Job
    from synthgen.dictionary import Dictionary
    from synthgen.generator import Generator, Learner, LinkedGenerator


@dataclass(frozen=True)
class Linked:
    """The generators of one job by name: `record` makes patients, each of `others` adds to them, in the order of the job."""

    dictionary: Dictionary
    record: tuple[str, Generator]
    others: tuple[tuple[str, LinkedGenerator], ...]

    @classmethod
    def of(cls, job: Job, dictionary: Dictionary, device: str = "cpu") -> Linked:
        """The generators that a job names.

        Raises:
            ConfigError: for an unknown generator or setting, or unless exactly one of them makes records.
        """
        from synthgen.plugins import generator_class

        made: dict[str, Any] = {
            name: generator_class(name)(dictionary, settings, device) for name, settings in job.generators.items()
        }
        records = [name for name, model in made.items() if hasattr(model, "sample")]
        if len(records) != 1:
            found = f"it has {' and '.join(records)}" if records else "it has none"
            raise ConfigError(
                f"generators: a job needs exactly one generator of records (such as ehr or phenotypes), {found}; images and "
                "notes follow from a record"
            )
        modalities = [model.modality for model in made.values()]
        if twice := next((m for m in modalities if modalities.count(m) > 1), None):
            raise ConfigError(f"generators: two of them make {twice}; keep one")
        record = made.pop(records[0])
        return cls(dictionary, (records[0], record), tuple(made.items()))

    @property
    def all(self) -> dict[str, Learner]:
        """Every generator by its name, the record's first."""
        return dict([self.record, *self.others])

    def sample(
        self, patients: int, rng: np.random.Generator, where: Mapping[str, str] | None = None
    ) -> tuple[Cohort, dict[str, list[str]]]:
        """Whole synthetic patients, and for each generator the breaches of the dictionary that it made (none, if it is right)."""
        cohort = self.record[1].sample(patients, rng, where)
        faults = {self.record[0]: self._breaches(cohort)}
        for name, model in self.others:
            cohort = model.extend(cohort, rng)
            faults[name] = self._breaches(cohort)
        return cohort, faults

    def _breaches(self, cohort: Cohort) -> list[str]:
        from synthgen.conformance import conform

        so_far = {name: table for name, table in self.dictionary.tables.items() if name in cohort.tables}
        return conform(cohort.tables, self.dictionary.model_copy(update={"tables": so_far}), "synthetic")[1]
