"""One synthetic patient's whole record, as the triage screen shows it. Real patients have no way in here."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synthgen.errors import DataError, WorkspaceError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary
    from synthgen.formats.pixels import Pixels
    from synthgen.workspace import Run

Row = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """A synthetic patient: the row of `patients`, and the rows of each other table in order of days. Missing cells are None."""

    patient_id: str
    patient: Row
    tables: dict[str, list[Row]]

    def rows(self, table: str) -> list[Row]:
        """The patient's rows of a table; none where the cohort has no such table."""
        return self.tables.get(table, [])

    @property
    def pictures(self) -> list[Pixels]:
        """The patient's pictures in the order of the rows of `images`."""
        import numpy as np

        return [cell for row in self.rows("images") for cell in row.values() if isinstance(cell, np.ndarray)]


class Records:
    """The synthetic cohort of a run, one patient at a time.

    Raises:
        DataError: for a cohort that is not synthetic.
    """

    def __init__(self, cohort: Cohort, dictionary: Dictionary) -> None:
        if cohort.origin != "synthetic":
            raise DataError("only synthetic patients are shown here")
        self.dictionary = dictionary
        self._tables = cohort.tables
        self._where = {name: t.groupby("patient_id", sort=False).indices for name, t in cohort.tables.items()}
        self.ids: list[str] = [str(patient) for patient in cohort.ids]

    @classmethod
    def of(cls, run: Run) -> Records:
        """Of a run that has been sampled."""
        return cls(run.synthetic, run.dictionary)

    def __getitem__(self, patient_id: str) -> Record:
        if patient_id not in self._where["patients"]:
            raise WorkspaceError("there is no such synthetic patient in this run")
        rows = {name: _rows(table.iloc[self._where[name].get(patient_id, [])]) for name, table in self._tables.items()}
        (patient,) = rows.pop("patients")
        return Record(patient_id, patient, rows)


def spoiled(record: Record, dictionary: Dictionary, rng: np.random.Generator) -> Record:
    """A copy no clinician should believe: two measurements leap between the ends of what is possible. For hidden gold items."""
    visits = [dict(row) for row in record.rows("visits")]
    columns = [name for name, column in leaping(record, dictionary).items() if column]
    chosen = [columns[i] for i in rng.choice(len(columns), size=min(2, len(columns)), replace=False)]
    for name in chosen:
        low, high = _ends(dictionary.measurements[name])
        for place, row in enumerate(visits):
            if row[name] is not None:
                row[name] = low if place % 2 else high
    return replace(record, tables=record.tables | {"visits": visits})


def leaping(record: Record, dictionary: Dictionary) -> dict[str, Column]:
    """The continuous measurements that the patient has at three visits or more."""
    visits = record.rows("visits")
    return {
        name: column
        for name, column in dictionary.measurements.items()
        if column.type == "continuous" and sum(row[name] is not None for row in visits) >= 3
    }


def _ends(column: Column) -> tuple[float, float]:
    """Values near the lower and the upper bound, on the column's scale and in its decimals."""
    assert column.bounds is not None
    low, high = column.bounds
    if column.scale == "log":
        low, high = math.log(low), math.log(high)
    ends = low + 0.08 * (high - low), high - 0.08 * (high - low)
    if column.scale == "log":
        ends = math.exp(ends[0]), math.exp(ends[1])
    return round(ends[0], column.decimals or 2), round(ends[1], column.decimals or 2)


def _rows(frame: pd.DataFrame) -> list[Row]:
    columns = [name for name in frame.columns if name != "patient_id"]
    return [
        {name: _plain(cell) for name, cell in zip(columns, cells, strict=True)}
        for cells in frame[columns].itertuples(index=False, name=None)
    ]


def _plain(cell: Any) -> Any:
    """A number, a word or a picture (an array); None where it is missing."""
    import numpy as np
    import pandas as pd

    if isinstance(cell, np.ndarray):
        return cell
    if pd.isna(cell):
        return None
    return cell.item() if hasattr(cell, "item") else cell
