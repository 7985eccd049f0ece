"""Which columns the generator models, and as what: read from the dictionary alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthgen.dictionary import Column, Dictionary
from synthgen.population import code_column, horizon_days, stop_column

BINS = 16
"""Bins of the horizon for hazards and rates; the last is open, and begins where public knowledge says that follow-up ends."""


@dataclass(frozen=True)
class Layout:
    """The columns of a patient's record by kind, in the dictionary's order."""

    dictionary: Dictionary
    max_visits: int
    max_events: int

    @cached_property
    def static_numeric(self) -> dict[str, Column]:
        return {n: c for n, c in self.dictionary.static.items() if c.numeric}

    @cached_property
    def static_discrete(self) -> dict[str, Column]:
        return {n: c for n, c in self.dictionary.static.items() if c.discrete}

    @cached_property
    def numeric(self) -> dict[str, Column]:
        """Numbers measured at visits."""
        return {n: c for n, c in self.dictionary.measurements.items() if c.numeric}

    @cached_property
    def ordered(self) -> dict[str, Column]:
        """Categories measured at visits that have an order: ordinal ones, and all with two categories."""
        return {n: c for n, c in self.dictionary.measurements.items() if c.discrete and is_ordered(c)}

    @cached_property
    def nominal(self) -> dict[str, Column]:
        """Categories measured at visits without an order."""
        return {n: c for n, c in self.dictionary.measurements.items() if c.discrete and not is_ordered(c)}

    @cached_property
    def gappy(self) -> list[str]:
        """Columns of `visits` whose values may be missing."""
        return [n for n in (*self.numeric, *self.ordered, *self.nominal) if self.dictionary.measurements[n].missing]

    @cached_property
    def static_gappy(self) -> list[str]:
        return [n for n, c in self.dictionary.static.items() if c.missing]

    @property
    def has_visits(self) -> bool:
        return "visits" in self.dictionary.tables

    @cached_property
    def code(self) -> str | None:
        return code_column(self.dictionary)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Every code an event may have."""
        return () if self.code is None else self.dictionary.tables["events"].columns[self.code].categories or ()

    @cached_property
    def stop(self) -> str | None:
        return stop_column(self.dictionary)

    @cached_property
    def event_numeric(self) -> dict[str, Column]:
        """Doses, and whatever other number an event has."""
        if self.code is None:
            return {}
        taken = ("day", self.stop)
        return {n: c for n, c in self.dictionary.tables["events"].columns.items() if c.numeric and n not in taken}

    @cached_property
    def event_discrete(self) -> dict[str, Column]:
        """Categories of an event beside its code."""
        if self.code is None:
            return {}
        columns = self.dictionary.tables["events"].columns
        return {n: c for n, c in columns.items() if c.discrete and n != self.code}

    @cached_property
    def causes(self) -> tuple[str, ...]:
        """What may end follow-up: the outcome's events, and last its plain end."""
        return (*self.dictionary.outcome_events, "")

    @property
    def ends_at_last_visit(self) -> bool:
        """Nothing says when follow-up ends but the visits."""
        return self.dictionary.outcome is None and self.has_visits

    @cached_property
    def horizon(self) -> float:
        """Days that count as 1 on the model's clock; public."""
        return horizon_days(self.dictionary) * BINS / (BINS - 1)

    @cached_property
    def schedule_gaps(self) -> tuple[float, float] | None:
        """(mean, spread) of log gaps between visits in twelfths of the horizon, where a schedule is publicly known."""
        stated = self.dictionary.knowledge.schedule
        if stated is None:
            return None
        days = np.unique(
            [0.0, *stated.days, *np.arange(stated.days[-1] + stated.every, stated.follow_up[1], stated.every)]
        )
        gaps = np.diff(days) if len(days) > 1 else np.array([stated.every])
        variance = np.log(gaps).var() + 2 * (stated.jitter / np.median(gaps)) ** 2 + stated.missed * np.log(2) ** 2
        return float(np.log(gaps * 12 / self.horizon).mean()), float(np.clip(1.5 * np.sqrt(variance), 0.17, 1.0))

    @cached_property
    def last_day(self) -> float:
        """No day of a synthetic patient lies beyond this public bound."""
        tables = self.dictionary.tables
        columns = [tables[t].columns[n] for t in ("visits", "events") if t in tables for n in ("day",)]
        if self.dictionary.outcome:
            columns.append(tables["patients"].columns[self.dictionary.outcome.time])
        if self.stop:
            columns.append(tables["events"].columns[self.stop])
        return float(int(min([c.bounds[1] for c in columns if c.bounds], default=2 * self.horizon)))


def is_ordered(column: Column) -> bool:
    return column.type == "ordinal" or len(column.categories or ()) == 2


def size(column: Column) -> int:
    """How many categories."""
    return len(column.categories or ())
