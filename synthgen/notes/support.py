"""Claims of notes against the record of their patient: supported, contradicted, or unsupported (the record has nothing there).

The record is read at the note's day: the last visit up to it, what has been given up to it, whether follow-up has ended by it.
Numbers agree within the digits that are written; one said to be rounded within a tenth. A note without a day is compared with
the whole record.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from synthgen.notes import units
from synthgen.notes.claims import STOPPED, Claim, ClaimExtractor
from synthgen.notes.facts import Chart, charts, flag_of, printed, spoken
from synthgen.population import DAYS_PER_YEAR, code_column, stop_column

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

Verdict = Literal["supported", "contradicted", "unsupported"]
ROUNDED = 0.1
"""How far a number may be off that is said to be `about` right."""


@dataclass(frozen=True)
class Support:
    """How the record bears on a claim; `recorded` is what stands there, in words."""

    verdict: Verdict
    recorded: str | None = None


@dataclass(frozen=True)
class Checked:
    """A claim of one note, with the record's word on it. `note` counts the patient's own notes from 0, in their order."""

    patient_id: str
    note: int
    day: int | None
    claim: Claim
    support: Support


def text_column(dictionary: Dictionary) -> str | None:
    """The column of `notes` that holds the text."""
    table = dictionary.tables.get("notes")
    return (
        None if table is None else next((n for n, c in table.columns.items() if c.type == "text" and not c.role), None)
    )


def notes_of(cohort: Cohort, dictionary: Dictionary) -> Iterator[tuple[str, int, int | None, str]]:
    """(patient id, number among the patient's notes, day, text) of every note with a text, in the cohort's order."""
    column = text_column(dictionary)
    if cohort.notes is None or column is None:
        return
    number: dict[str, int] = {}
    days = cohort.notes["day"] if "day" in cohort.notes else [None] * len(cohort.notes)
    for patient, day, text in zip(cohort.notes["patient_id"], days, cohort.notes[column], strict=True):
        number[patient] = number.get(patient, -1) + 1
        if isinstance(text, str):
            yield str(patient), number[patient], None if _absent(day) else int(day), text


def check_notes(cohort: Cohort, dictionary: Dictionary, owner: Mapping[str, str] | None = None) -> list[Checked]:
    """Every claim of every note against the record of its patient.

    Args:
        owner: whose record to compare a patient's notes with, where not their own (a floor: notes of another patient).
    """
    extractor = ClaimExtractor(dictionary)
    chart_of = {chart.patient_id: chart for chart in charts(cohort, dictionary)}
    checked = []
    for patient, note, day, text in notes_of(cohort, dictionary):
        record = Record(chart_of[owner[patient] if owner else patient], day)
        checked += [Checked(patient, note, day, claim, record.support(claim)) for claim in extractor.claims(text)]
    return checked


class Record:
    """What one patient's record says on one day (None: on any)."""

    def __init__(self, chart: Chart, day: int | None) -> None:
        self.chart, self.day, self.dictionary = chart, day, chart.dictionary

    def support(self, claim: Claim) -> Support:
        """The record's word on a claim."""
        if claim.kind == "day":
            return self._of_day(claim)
        if claim.kind == "age":
            return self._of_age(claim)
        if claim.kind == "diagnosis" and not claim.column:
            return Support("contradicted" if claim.negated else "supported", self.dictionary.disease)
        if claim.kind == "outcome":
            return self._of_outcome(claim)
        if claim.kind in ("drug", "event"):
            return self._of_event(claim)
        if claim.kind == "dose":
            return self._of_dose(claim)
        rows = [self.chart.patient] if claim.table == "patients" else self._visits(claim)
        return self._among(claim, [row[claim.column] for row in rows if not _absent(row[claim.column])])

    def _among(self, claim: Claim, values: list[Any]) -> Support:
        """Supported by any of the values that may be meant (the note's day has one)."""
        if not values:
            return Support("unsupported")
        column = self.dictionary.tables[claim.table].columns[claim.column]
        agrees = any(_agrees(claim, column, value) for value in values)
        return Support("supported" if agrees else "contradicted", said(column, values[-1]))

    def _visits(self, claim: Claim) -> list[Mapping[str, Any]]:
        """The visits that a claim may speak of: the last one up to the note's day, or all up to it for an earlier day."""
        if self.day is None:
            return self.chart.visits
        last = self.chart.visit(self.day)
        if last is None:
            return []
        return self.chart.visits[: last + 1] if claim.when == "earlier" else self.chart.visits[last : last + 1]

    def _of_day(self, claim: Claim) -> Support:
        """A note does not tell of days to come."""
        if self.day is None:
            return Support("unsupported")
        assert isinstance(claim.value, float)
        return Support("supported" if claim.value <= self.day else "contradicted", f"day {self.day}")

    def _of_age(self, claim: Claim) -> Support:
        """The age at the first visit or at the note's day, full or rounded years."""
        entry = self.chart.patient[claim.column]
        if _absent(entry):
            return Support("unsupported")
        ages = [entry, entry + (self.day or 0) / DAYS_PER_YEAR]
        whole = {
            value for age in ages for value in (math.floor(age), round(age, claim.decimals), math.floor(age + 1e-6))
        }
        return Support("supported" if claim.value in whole else "contradicted", f"{ages[-1]:.0f} years")

    def _of_outcome(self, claim: Claim) -> Support:
        """Follow-up has ended, by the note's day, as is said; until then the patient is as if censored."""
        assert self.dictionary.outcome is not None
        if self.chart.end is None:
            return Support("unsupported")
        end, status = self.chart.end
        by_then = status if self.day is None or self.day >= end else self.dictionary.outcome.censored
        agrees = (claim.value == by_then) != claim.negated
        return Support("supported" if agrees else "contradicted", spoken(by_then))

    def _of_event(self, claim: Claim) -> Support:
        """Begun by the note's day; going on if it is said to; a denial needs that it does not, an end that it did."""
        begun = self._events(claim)
        if claim.value == STOPPED and not begun:
            return Support("contradicted", "not recorded until then")
        if claim.when != "now" or not begun:
            word = "recorded until then" if begun else "not recorded until then"
            return Support("supported" if bool(begun) != claim.negated else "contradicted", word)
        going_on = [self._goes_on(row) for row in begun]
        agrees = not going_on[-1] if claim.negated else any(going_on)
        return Support("supported" if agrees else "contradicted", "going on" if any(going_on) else "ended")

    def _of_dose(self, claim: Claim) -> Support:
        """The dose that goes on, else the latest; for an earlier day any."""
        begun = self._events(claim)
        going_on = [row for row in begun if self._goes_on(row)]
        rows = begun if claim.when == "earlier" else going_on or begun[-1:]
        return self._among(claim, [row[claim.column] for row in rows if not _absent(row[claim.column])])

    def _events(self, claim: Claim) -> list[Mapping[str, Any]]:
        column = code_column(self.dictionary)
        if column is None:
            return []
        begun = [row for row in self.chart.events if self.day is None or row["day"] <= self.day]
        return [row for row in begun if str(row[column]) == claim.code]

    def _goes_on(self, row: Mapping[str, Any]) -> bool:
        stop = stop_column(self.dictionary)
        return self.day is None or stop is None or _absent(row[stop]) or bool(row[stop] >= self.day)


def said(column: Column, value: Any) -> str:
    """A recorded value in words."""
    if not column.numeric:
        return spoken(str(value))
    return f"{printed(column, value)} {column.unit}" if column.unit else printed(column, value)


def _agrees(claim: Claim, column: Column, value: Any) -> bool:
    if not column.numeric:
        if claim.value is None:  # a graded sign that is there, in whatever grade
            return str(value).lower() not in ("no", "none", "absent")
        return str(value) == claim.value
    if isinstance(claim.value, str):
        return flag_of(column, float(value)) == claim.value
    if claim.unit and column.unit and units.plain(claim.unit) not in units.forms(column.unit):
        return False
    assert claim.value is not None
    allowed = ROUNDED * abs(value) if claim.about else 0.5 * 10.0**-claim.decimals
    return bool(abs(claim.value - value) <= allowed * (1 + 1e-9) + 1e-9)


def _absent(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def as_table(checked: list[Checked]) -> pd.DataFrame:
    """One row a claim: patient_id, note, kind, column, verdict."""
    import pandas as pd

    rows = [(c.patient_id, c.note, c.claim.kind, c.claim.column, c.support.verdict) for c in checked]
    return pd.DataFrame(rows, columns=["patient_id", "note", "kind", "column", "verdict"])
