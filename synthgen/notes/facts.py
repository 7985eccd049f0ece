"""What a record says of one patient on one day: the facts that a clinical note of that day may state.

By the dictionary alone: labels, units, reference ranges, categories, roles. Nothing here knows a disease.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from synthgen.population import DAYS_PER_YEAR, code_column, dose_column, stop_column

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

Kind = Literal["age", "sex", "diagnosis", "static", "lab", "sign", "grade", "stage", "drug", "event", "outcome"]
"""`sign` is present or absent, `grade` a category, `stage` a grade that is called so, `drug` an event with a dose."""
Flag = Literal["high", "low", "normal"]
Trend = Literal["rising", "falling", "stable"]
Row = Mapping[str, Any]

AGE, SEX = "LOINC:30525-0", "LOINC:46098-0"
SEXES = {"f": "female", "m": "male", "female": "female", "male": "male", "woman": "female", "man": "male"}
STEADY = 0.15
"""A measurement that moved by less than this share of its earlier value is stable."""


@dataclass(frozen=True)
class Fact:
    """One thing that is so.

    Args:
        kind: what sort of thing.
        column: the column it stands in; of an event or drug its code; of the diagnosis empty.
        value: as a note prints it: a number with the column's decimals, a category, `yes` or `no`.
        unit: of the number; of a drug that of its dose.
        negated: a sign that is absent, a grade of none.
        names: what a note may call it, the dictionary's label first.
        flag: where a measurement lies beside its reference range.
        trend: where it went since the visit before.
        active: whether a drug or event goes on.
    """

    kind: Kind
    column: str
    value: str
    unit: str | None = None
    negated: bool = False
    names: tuple[str, ...] = ()
    flag: Flag | None = None
    trend: Trend | None = None
    active: bool = True


@dataclass(frozen=True)
class Chart:
    """One patient's record, row by row."""

    dictionary: Dictionary
    patient: Row
    visits: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)

    @property
    def patient_id(self) -> str:
        return str(self.patient["patient_id"])

    @property
    def end(self) -> tuple[int, str] | None:
        """(day, status) at which follow-up ended, where the cohort has an outcome and this patient's is recorded."""
        if (outcome := self.dictionary.outcome) is None:
            return None
        day, status = self.patient[outcome.time], self.patient[outcome.status]
        return None if _absent(day) or _absent(status) else (int(day), str(status))

    def visit(self, day: int) -> int | None:
        """Number of the last visit up to this day."""
        before = [k for k, row in enumerate(self.visits) if row["day"] <= day]
        return before[-1] if before else None

    def at(self, day: int, closing: bool | None = None) -> list[Fact]:
        """The facts of this day: the patient's, those of the last visit up to it, events up to it, and the outcome if the note
        is `closing` (default: from the end of follow-up on)."""
        closing = closing if closing is not None else self.end is not None and day >= self.end[0]
        facts = [f for name, column in self.dictionary.static.items() if (f := self._static(name, column, day))]
        facts += [Fact("diagnosis", "", disease, names=(disease,)) for disease in self._diseases()]
        if (last := self.visit(day)) is not None:
            before = self.visits[last - 1] if last else None
            found = (_measured(n, c, self.visits[last], before) for n, c in self.dictionary.measurements.items())
            facts += [fact for fact in found if fact]
        facts += self._coded(day)
        if closing and self.end and self.dictionary.outcome:
            status = self.dictionary.outcome.status
            column = self.dictionary.tables["patients"].columns[status]
            facts.append(Fact("outcome", status, self.end[1], names=names_of(status, column)))
        return facts

    def _static(self, name: str, column: Column, day: int) -> Fact | None:
        value = self.patient[name]
        if _absent(value) or column.role == "disease":
            return None
        if is_age(name, column):
            return Fact("age", name, str(math.floor(value + day / DAYS_PER_YEAR)), column.unit, names=("age",))
        if is_sex(name, column):
            return Fact("sex", name, str(value), names=("sex",))
        if column.numeric:
            return Fact("static", name, printed(column, value), column.unit, names=names_of(name, column))
        return Fact("static", name, str(value), names=names_of(name, column))

    def _diseases(self) -> list[str]:
        known = self.dictionary.knowledge.diseases
        for name, column in self.dictionary.tables["patients"].columns.items():
            if column.role == "disease" and not _absent(self.patient[name]):
                code = str(self.patient[name])
                return [known[code].label if code in known else code]
        return [disease] if (disease := disease_name(self.dictionary)) else []

    def _coded(self, day: int) -> list[Fact]:
        """The latest occurrence of every code up to the day."""
        code, stop, dose = code_column(self.dictionary), stop_column(self.dictionary), dose_column(self.dictionary)
        if code is None:
            return []
        columns = self.dictionary.tables["events"].columns
        latest = {str(row[code]): row for row in self.events if row["day"] <= day}
        facts = []
        for name, row in latest.items():
            ends = row[stop] if stop else row["day"]
            active = _absent(ends) or bool(ends >= day)
            given = dose is not None and not _absent(row[dose])
            if given and dose is not None:
                amount = printed(columns[dose], row[dose])
                facts.append(Fact("drug", name, amount, columns[dose].unit, names=(spoken(name),), active=active))
            else:
                kind: Kind = "drug" if "drug" in [row[c] for c in columns if columns[c].discrete] else "event"
                facts.append(Fact(kind, name, "", names=(spoken(name),), active=active))
        return facts


def charts(cohort: Cohort, dictionary: Dictionary) -> Iterator[Chart]:
    """One chart a patient, in the cohort's order."""
    rows: dict[str, dict[str, list[Row]]] = {}
    for name in ("visits", "events"):
        rows[name] = defaultdict(list)
        for row in [] if (table := cohort.tables.get(name)) is None else _rows(table):
            rows[name][str(row["patient_id"])].append(row)
    for patient in _rows(cohort.patients):
        key = str(patient["patient_id"])
        yield Chart(dictionary, patient, rows["visits"][key], rows["events"][key])


def _rows(table: pd.DataFrame) -> list[Row]:
    return [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]


def is_age(name: str, column: Column) -> bool:
    """Whether a static column is the patient's age in years at the first visit."""
    return column.numeric and (column.code == AGE or (name.split("_")[0] == "age" and column.unit == "years"))


def is_sex(name: str, column: Column) -> bool:
    """Whether a static column is the patient's sex."""
    return column.discrete and (column.code == SEX or name in ("sex", "gender"))


def is_sign(column: Column) -> bool:
    """Whether a column says yes or no."""
    return column.discrete and set(column.categories or ()) == {"yes", "no"}


def names_of(name: str, column: Column) -> tuple[str, ...]:
    """What a note may call a column: its label, then its own name in words."""
    short = name.upper() if len(name) <= 3 else spoken(name)
    label = column.label
    if not label:
        return (short,)
    if not label[:2].isupper():
        label = label[0].lower() + label[1:]
    return (label,) if label.lower() == short.lower() else (label, short)


def spoken(word: str) -> str:
    """A category or code in words: no_diuretics -> no diuretics."""
    return word.replace("_", " ")


def disease_name(dictionary: Dictionary) -> str | None:
    """The words of `disease`, without its code: primary biliary cholangitis (ORPHA:186) -> primary biliary cholangitis."""
    words = [w for w in (dictionary.disease or "").split() if ":" not in w]
    return " ".join(words) or None


def printed(column: Column, value: float) -> str:
    """A number with the column's decimals."""
    if column.type == "integer":
        return str(int(value))
    return f"{value:.4g}" if column.decimals is None else f"{value:.{column.decimals}f}"


def flag_of(column: Column, value: float) -> Flag | None:
    """Where a value lies beside the reference range; None without one."""
    if column.reference is None:
        return None
    low, high = column.reference
    return "low" if value < low else "high" if value > high else "normal"


def trend_of(value: float, before: Any) -> Trend | None:
    """Where a value went; None without an earlier one."""
    if _absent(before):
        return None
    change = (value - before) / max(abs(before), 1e-9)
    return "stable" if abs(change) < STEADY else "rising" if change > 0 else "falling"


def _measured(name: str, column: Column, row: Row, before: Row | None) -> Fact | None:
    value = row[name]
    if _absent(value):
        return None
    names = names_of(name, column)
    if column.numeric:
        earlier = None if before is None else before[name]
        flag, trend = flag_of(column, value), trend_of(float(value), earlier)
        return Fact("lab", name, printed(column, value), column.unit, False, names, flag, trend)
    if is_sign(column):
        return Fact("sign", name, str(value), negated=value == "no", names=names)
    kind: Kind = "stage" if "stage" in " ".join(names).lower() else "grade"
    return Fact(kind, name, str(value), negated=str(value) == "none", names=names)


def _absent(value: Any) -> bool:
    """None, NaN and pandas' NA."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)
