"""Patients, real or synthetic: one row each in `patients`, and the tables that point at them by `patient_id` and `day`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from privacy.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.dictionary import Dictionary

Origin = Literal["real", "synthetic"]


@dataclass(frozen=True, repr=False)
class Cohort:
    """A cohort that keeps to its dictionary: `Cohort.checked` is the way to make one from untrusted tables.

    Tables a dictionary does not declare are None. Columns stand in the dictionary's order with its types: float64 for
    continuous, Int64 for integer, pandas categoricals with the dictionary's categories (ordered where ordinal), str else.
    Longitudinal tables are sorted by patient (in the order of `patients`) and day.
    """

    patients: pd.DataFrame
    visits: pd.DataFrame | None = None
    events: pd.DataFrame | None = None
    phenotypes: pd.DataFrame | None = None
    variants: pd.DataFrame | None = None
    notes: pd.DataFrame | None = None
    images: pd.DataFrame | None = None
    origin: Origin = "real"

    @classmethod
    def checked(cls, tables: Mapping[str, pd.DataFrame], dictionary: Dictionary, origin: Origin) -> Cohort:
        """A cohort from raw tables in the dictionary's column names. Raises DataError listing every breach at once."""
        from synthgen.conformance import conform

        conformed, breaches = conform(tables, dictionary, origin)
        if breaches:
            raise DataError(breaches)
        return cls(**conformed, origin=origin)

    def __repr__(self) -> str:
        """Which tables, and never a row: it may stand in a log or a traceback."""
        return f"Cohort({self.origin}: {', '.join(self.tables)})"

    def __len__(self) -> int:
        """How many patients."""
        return len(self.patients)

    @property
    def ids(self) -> pd.Index[Any]:
        """Patient ids in the order of `patients`."""
        import pandas as pd

        ids: pd.Index[Any] = pd.Index(self.patients["patient_id"])
        return ids

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables it has, `patients` first."""
        names = (f.name for f in fields(self) if f.name != "origin")
        return {name: table for name in names if (table := getattr(self, name)) is not None}

    def of(self, ids: Iterable[str]) -> Cohort:
        """The same cohort with these patients only, in its own order."""
        keep = set(ids)
        kept: dict[str, Any] = {
            name: t[t["patient_id"].isin(keep)].reset_index(drop=True) for name, t in self.tables.items()
        }
        return replace(self, **kept)


def concatenate(cohorts: Iterable[Cohort]) -> Cohort:
    """One cohort of all their patients. They share one dictionary and one origin; ids do not repeat."""
    import pandas as pd

    parts = list(cohorts)
    joined: dict[str, Any] = {
        name: pd.concat([c.tables[name] for c in parts if name in c.tables], ignore_index=True)
        for name in parts[0].tables
    }
    return replace(parts[0], **joined)
