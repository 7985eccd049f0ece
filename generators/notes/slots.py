"""The slots of a cohort's notes: what stands in them for the names, numbers, units, categories and gendered words of a record.

The language model reads and writes text with slots only, `{name:bilirubin|high} of {bilirubin|high} {#unit}`, and may write no
slot but those of its record (`known`). So what a slot stands for is the record's by construction; and since a slot carries the
*state* that the record gives (high, absent, stopped), the words around it need only fit it: `No {name:ascites|absent} was found`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from synthgen.dictionary import Column, Dictionary
from synthgen.notes.facts import SEXES, Fact, is_age, is_sex, is_sign, names_of, spoken
from synthgen.population import code_column

UNIT, DISEASE, DAY, AGE, NUMBER = "{#unit}", "{#disease}", "{#day}", "{#age}", "{#number}"
"""The unit of the value before it; the disease; the note's day; the patient's age on it; a number the record does not hold."""
GENDERED = (("woman", "man"), ("lady", "gentleman"), ("lady", "gent"), ("female", "male"), ("girl", "boy"), ("she", "he"),
            ("her", "his"), ("F", "M"))  # fmt: skip
"""Words for a woman, and for a man. Either stands in one slot."""
COURSES = ("rising", "falling", "stable", "worse", "same", "better")
"""What a prompt says of a value's or a patient's course."""
SIGN, GIVEN, RANGE = ("present", "absent"), ("active", "stopped"), ("low", "normal", "high")
"""States of signs and grades, of drugs and events, and of measurements with a reference range."""
_NAMED = ("label", "name")


def value(column: str, state: str = "") -> str:
    """The slot of a column's value."""
    return f"{{{column}|{state}}}" if state else f"{{{column}}}"


def name(column: str, which: int, state: str = "") -> str:
    """The slot of the `which`-th name of a column."""
    return value(f"{_NAMED[which]}:{column}", state)


def gendered(pair: tuple[str, str]) -> str:
    """The slot of two words of `GENDERED`."""
    return f"{{#{pair[0]}/{pair[1]}}}"


def course(word: str) -> str:
    """What stands in a prompt beside a slot."""
    return f"{{={word}}}"


def category(column: str, word: str) -> str:
    """A category of a column, in a prompt."""
    return f"{{{column}={word}}}"


def state(fact: Fact) -> str:
    """What a fact's slots say of it."""
    if fact.kind in ("sign", "grade"):
        return SIGN[fact.negated]
    if fact.kind in ("drug", "event"):
        return GIVEN[not fact.active]
    return fact.flag or ""


def sex_of(facts: Iterable[Fact]) -> str | None:
    """female, male or None where the record does not say."""
    return next((SEXES.get(f.value) for f in facts if f.kind == "sex"), None)


@dataclass(frozen=True)
class Catalogue:
    """Every slot that notes of a cohort may hold, from its dictionary."""

    dictionary: Dictionary

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Column or code -> what notes call it, longest first where they name a value."""
        found: dict[str, tuple[str, ...]] = {}
        for column, about in self._columns.items():
            if not (is_age(column, about) or is_sex(column, about) or about.role == "disease"):
                found[column] = names_of(column, about)
        return found | {code: (spoken(code),) for code in self.codes}

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Codes of the table of events."""
        code = code_column(self.dictionary)
        return () if code is None else tuple(self.dictionary.tables["events"].columns[code].categories or ())

    @cached_property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """Discrete columns of the notes, such as their kind."""
        notes = self.dictionary.tables.get("notes")
        return {} if notes is None else {k: tuple(c.categories or ()) for k, c in notes.columns.items() if c.discrete}

    @cached_property
    def by_name(self) -> dict[str, tuple[str, int]]:
        """Name in lower case -> its column and which of its names it is; the first column that has it."""
        found: dict[str, tuple[str, int]] = {}
        for column, names in self.names.items():
            for k, words in enumerate(names):
                found.setdefault(words.lower(), (column, k))
        return found

    @cached_property
    def naming(self) -> re.Pattern[str]:
        """Matches any name."""
        longest = sorted(self.by_name, key=len, reverse=True)
        return re.compile("|".join(rf"(?<!\w){re.escape(n)}(?!\w)" for n in longest) or r"(?!)", re.IGNORECASE)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """Slots that a note may hold, in a fixed order."""
        outcome = self.dictionary.outcome
        slots = [UNIT, DISEASE, DAY, AGE, NUMBER, *map(gendered, GENDERED)]
        for column, names in self.names.items():
            slots += [name(column, k, s) for k in range(len(names)) for s in self._all(column)]
            about = self.dictionary.measurements.get(column)
            slots += [] if about is not None and is_sign(about) else [value(column, s) for s in self._all(column)]
        slots += [value(outcome.status)] if outcome else []
        return tuple(dict.fromkeys(slots))

    @cached_property
    def prompted(self) -> tuple[str, ...]:
        """What only a prompt may hold."""
        columns = dict(self._columns)
        if outcome := self.dictionary.outcome:
            columns |= {outcome.status: self.dictionary.tables["patients"].columns[outcome.status]}
        found = [category(k, word) for k, c in columns.items() for word in c.categories or () if c.role != "disease"]
        found += [category(k, word) for k, words in self.kinds.items() for word in words]
        return tuple(dict.fromkeys([*found, *map(course, COURSES)]))

    @cached_property
    def named(self) -> dict[str, str]:
        """Slot of a name -> the column it names."""
        return {name(c, k, s): c for c, names in self.names.items() for k in range(len(names)) for s in self._all(c)}

    @cached_property
    def measured(self) -> dict[str, str]:
        """Slot of a measurement or a dose -> its column. A number stands behind its own name."""
        found = [*self.codes, *self.dictionary.measurements]
        return {value(column, s): column for column in found for s in self._all(column)}

    def prompt(self, facts: Sequence[Fact], kinds: dict[str, str], trend: str | None) -> list[str]:
        """The record as the model reads it before it writes."""
        said = [category(k, word) for k, word in kinds.items()] + [DAY]
        said += [course("same" if trend == "stable" else trend)] if trend else []
        for fact in facts:
            said += self._told(fact)
        return said

    def known(self, facts: Sequence[Fact]) -> set[str]:
        """The slots that these facts fill."""
        found = {DAY, *(map(gendered, GENDERED) if sex_of(facts) else ())}
        for fact in facts:
            if fact.kind in ("age", "diagnosis"):
                found.add(AGE if fact.kind == "age" else DISEASE)
                continue
            found |= {name(fact.column, k, state(fact)) for k in range(len(self.names.get(fact.column, ())))}
            if fact.value and fact.kind not in ("sex", "sign"):
                found.add(value(fact.column, state(fact)))
            if fact.unit:
                found.add(UNIT)
        return found & set(self.written)

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return self.dictionary.static | self.dictionary.measurements

    def _all(self, column: str) -> tuple[str, ...]:
        """The states that a column's slots may have; none for what a note says that the record does not."""
        if column in self.codes:
            return ("", *GIVEN)
        if (about := self.dictionary.measurements.get(column)) is None:
            return ("",)
        return ("", *SIGN) if about.discrete else ("",) if about.reference is None else ("", *RANGE)

    @staticmethod
    def _told(fact: Fact) -> list[str]:
        if fact.kind in ("age", "diagnosis"):
            return [AGE if fact.kind == "age" else DISEASE]
        if fact.kind == "sign":
            return [name(fact.column, 0, state(fact))]
        if fact.kind in ("drug", "event"):
            return [name(fact.column, 0, state(fact)), *([value(fact.column, state(fact))] if fact.value else [])]
        if fact.kind == "lab" or (fact.kind == "static" and fact.unit is not None):
            return [value(fact.column, state(fact)), *([course(fact.trend)] if fact.trend else [])]
        return [category(fact.column, fact.value)]
