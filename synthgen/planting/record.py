"""One patient's rows, to be spoiled: plain numbers and words, whatever the dictionary allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from synthgen.values import scale_bounds, to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

Severity = Literal["severe", "moderate", "mild"]
By = Literal["dictionary", "rule", "evidence", "real patients"]
VISIBLE = 6.0
"""A slip is planted where it moves a value by so many spreads at least: a smaller one nobody could see. Nor could anybody see one
that carries an odd value back among the patient's others, so a slip leaves a value farther from their median than it was."""


@dataclass
class Record:
    """A patient: the row of `patients`, and the rows of each other table. Numbers are floats, categories words."""

    dictionary: Dictionary
    patient: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    others: tuple[Record, ...] = ()
    """Patients that a fault may take something from."""
    real: tuple[Record, ...] = ()
    """Real patients, where the planter was given any."""
    extra: tuple[Record, ...] = ()
    """Patients that the fault adds."""
    about: str = ""
    """What a sentence must name: a column, a rule."""

    @property
    def visits(self) -> pd.DataFrame:
        return self.tables["visits"]

    @property
    def events(self) -> pd.DataFrame:
        return self.tables["events"]

    @property
    def measured(self) -> dict[str, Column]:
        """Numeric measurements."""
        return {n: c for n, c in self.dictionary.measurements.items() if c.numeric}

    def copy(self) -> Record:
        tables = {name: frame.copy() for name, frame in self.tables.items()}
        return replace(self, patient=dict(self.patient), tables=tables)

    def rows(self, name: str) -> Any:
        """Positions of the visits at which a measurement is recorded."""
        return np.flatnonzero(self.visits[name].notna().to_numpy())

    def values(self, name: str) -> Any:
        """[recorded] on the column's own scale."""
        return to_scale(self.measured[name], self.visits[name].to_numpy(dtype=np.float64)[self.rows(name)])

    def put(self, name: str, row: int, value: float) -> None:
        """A value at a visit, in the column's unit, rounded as its column is."""
        self.visits.loc[self.visits.index[row], name] = rounded(self.dictionary.measurements[name], value)

    def put_scaled(self, name: str, row: int, scaled: float) -> None:
        """A value given on the column's scale, kept within bounds."""
        column = self.measured[name]
        low, high = scale_bounds(column)
        inside = float(np.clip(scaled, low, high))
        self.put(name, row, float(np.exp(inside)) if column.scale == "log" else inside)


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `plant` spoils a copy of a record, or returns None where the record has no place for it.

    `by` says who could find it: the dictionary's contract, a rule written for it, evidence alone, or only who compares with real
    patients (such a flag is in no queue for release). A sentence names the fault when one of `words` stands in it, and the column
    that was spoiled, where one was.
    """

    name: str
    severity: Severity
    by: By
    words: tuple[str, ...]
    plant: Callable[[Record, np.random.Generator], Record | None]


def rounded(column: Column, value: float) -> float:
    """As the column's decimals say."""
    decimals = 0 if column.type == "integer" else column.decimals
    return float(value) if decimals is None else float(np.round(value, decimals))


def farther(column: Column, before: float, after: float, others: Any) -> bool:
    """Whether a slip leaves a value farther from the median of the patient's others, on the column's scale."""
    old, new, middle = to_scale(column, np.array([before, after, float(np.median(others))]))
    return bool(abs(new - middle) > abs(old - middle))


def within(column: Column) -> float:
    """The public spread of one patient's values around their trend, or a guess from the reference range or the bounds."""
    if column.knowledge and column.knowledge.within:
        return column.knowledge.within
    low, high = scale_bounds(column)
    if column.reference:
        normal = to_scale(column, np.array(column.reference, dtype=np.float64))
        return float(normal[1] - normal[0]) / 6
    return (high - low) / 20


def spread(column: Column) -> float:
    """The public spread between patients, or a guess."""
    if column.knowledge and column.knowledge.spread:
        return column.knowledge.spread
    return 2 * within(column)


def typical(column: Column) -> float:
    """The public typical value on the column's scale, or the middle of the reference range or of the bounds."""
    if column.knowledge and column.knowledge.typical is not None:
        return float(to_scale(column, np.array([column.knowledge.typical]))[0])
    return float(np.mean(to_scale(column, np.array(column.reference or column.bounds, dtype=np.float64))))


def chosen(
    record: Record, rng: np.random.Generator, least: int, fits: Callable[[str], bool] | None = None
) -> str | None:
    """A numeric measurement recorded at `least` visits or more, for which `fits` holds."""
    if "visits" not in record.tables:
        return None
    names = [n for n in record.measured if len(record.rows(n)) >= least and (fits is None or fits(n))]
    return str(rng.choice(names)) if names else None
