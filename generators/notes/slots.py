"""Text with slots in place of what the record says: `{name:bilirubin} of {bilirubin} {unit}`.

The language model reads and writes such text only, so that every number, unit, category and name in a note is the record's by
construction. What a slot stands for is looked up in the facts of the patient and day, on the way in and on the way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from synthgen.dictionary import Dictionary
from synthgen.notes.facts import SEXES, Fact, is_age, is_sex, is_sign, names_of, spoken
from synthgen.population import code_column

UNIT, DISEASE, DAY, AGE, NUMBER = "{#unit}", "{#disease}", "{#day}", "{#age}", "{#number}"
"""The unit of the value before it; the disease; the note's day; the patient's age on it; a number the record does not hold."""
STATES = ("high", "low", "normal", "rising", "falling", "stable", "active", "stopped", "worse", "same", "better")
"""What a prompt says of a value."""
_NAMED = ("label", "name")
_SLOT_OR_NUMBER = re.compile(r"\{[^{}]+\}|\d+(?:\.\d+)?")
_SENTENCE_END = re.compile(r"[.\n]")
_TIGHT = "([\n"
"""A slot after one of these stands without a space."""
WORDS_ANYWHERE = ("static", "outcome")
"""Kinds whose categories are replaced wherever they stand; those of others only in a sentence that names their column."""


def value(column: str) -> str:
    """The slot of a column's value."""
    return f"{{{column}}}"


def name(column: str, which: int) -> str:
    """The slot of the `which`-th name of a column."""
    return f"{{{_NAMED[which]}:{column}}}"


def state(word: str) -> str:
    """What stands in a prompt beside a slot."""
    return f"{{={word}}}"


def category(column: str, word: str) -> str:
    """A category of a column, in a prompt."""
    return f"{{{column}={word}}}"


def plain(text: str) -> str:
    """A note's text without the characters that slots are made of."""
    return text.replace("{", "(").replace("}", ")")


@dataclass(frozen=True)
class Catalogue:
    """Every slot that notes of a cohort may hold, from its dictionary."""

    dictionary: Dictionary

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Column or code -> what notes call it, longest first where they name a value."""
        found: dict[str, tuple[str, ...]] = {}
        for column, about in (self.dictionary.static | self.dictionary.measurements).items():
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
    def written(self) -> tuple[str, ...]:
        """Slots that a note may hold, in a fixed order."""
        outcome = self.dictionary.outcome
        slots = [UNIT, DISEASE, DAY, AGE, NUMBER]
        slots += [name(column, k) for column, names in self.names.items() for k in range(len(names))]
        slots += [value(column) for column in self.names if not self._is_sign(column)]
        slots += [value(outcome.status)] if outcome else []
        return tuple(dict.fromkeys(slots))

    @cached_property
    def prompted(self) -> tuple[str, ...]:
        """What only a prompt may hold."""
        columns = self.dictionary.static | self.dictionary.measurements
        if outcome := self.dictionary.outcome:
            columns |= {outcome.status: self.dictionary.tables["patients"].columns[outcome.status]}
        found = [category(k, word) for k, c in columns.items() for word in c.categories or () if c.role != "disease"]
        found += [category(k, word) for k, words in self.kinds.items() for word in words]
        return tuple(dict.fromkeys([*found, *map(state, STATES)]))

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """Name in lower case -> its slot; the first column that has it."""
        found: dict[str, str] = {}
        for column, names in self.names.items():
            for k, words in enumerate(names):
                found.setdefault(words.lower(), name(column, k))
        return found

    @cached_property
    def _naming(self) -> re.Pattern[str]:
        longest = sorted(self._by_name, key=len, reverse=True)
        return re.compile("|".join(rf"(?<!\w){re.escape(n)}(?!\w)" for n in longest) or r"(?!)", re.IGNORECASE)

    def _is_sign(self, column: str) -> bool:
        about = self.dictionary.measurements.get(column)
        return about is not None and is_sign(about)

    def prompt(self, facts: Sequence[Fact], kinds: dict[str, str], course: str | None) -> list[str]:
        """The record as the model reads it before it writes."""
        said = [category(k, word) for k, word in kinds.items()] + [DAY]
        said += [state("same" if course == "stable" else course)] if course else []
        for fact in facts:
            said += self._told(fact)
        return said

    def _told(self, fact: Fact) -> list[str]:
        if fact.kind == "age":
            return [AGE]
        if fact.kind == "diagnosis":
            return [DISEASE]
        if fact.kind in ("drug", "event"):
            told = [name(fact.column, 0), state("active" if fact.active else "stopped")]
            return [*told, value(fact.column)] if fact.value else told
        if self._is_numeric(fact):
            return [value(fact.column), *(state(word) for word in (fact.flag, fact.trend) if word)]
        return [category(fact.column, fact.value)]

    @staticmethod
    def _is_numeric(fact: Fact) -> bool:
        return fact.kind == "lab" or (fact.kind == "static" and fact.unit is not None)

    def known(self, facts: Iterable[Fact]) -> set[str]:
        """The slots that these facts fill."""
        found = {DAY}
        for fact in facts:
            if fact.kind in ("age", "diagnosis"):
                found.add(AGE if fact.kind == "age" else DISEASE)
                continue
            found |= {name(fact.column, k) for k in range(len(self.names.get(fact.column, ())))}
            if fact.value and fact.kind not in ("sex", "sign"):
                found.add(value(fact.column))
            if fact.unit:
                found.add(UNIT)
        return found & set(self.written)

    def delexicalise(self, text: str, facts: Sequence[Fact], day: int) -> str:
        """A note's text with slots for all that its patient's own record says; numbers it does not say become `{#number}`."""
        text = plain(text)
        for fact in facts:
            if fact.kind == "diagnosis":
                text = re.sub(re.escape(fact.value), DISEASE, text, flags=re.IGNORECASE)
        text = self._naming.sub(lambda found: self._by_name[found.group().lower()], text)
        for fact in facts:
            if fact.kind in ("static", "grade", "stage", "outcome") and not re.fullmatch(r"[\d.]+", fact.value):
                text = _replace_category(text, fact, self.names.get(fact.column, ()))
        return _tidy(_replace_numbers(text, facts, day))

    def fill(self, text: str, facts: Sequence[Fact], day: int) -> str:
        """The note: every slot filled from the record. Sentences with a slot that the record does not fill are left out."""
        values = {value(f.column): spoken(f.value) for f in facts if f.value and f.kind not in ("sex", "sign")}
        units = {value(f.column): f.unit or "" for f in facts}
        values |= {name(c, k): words for c, names in self.names.items() for k, words in enumerate(names)}
        own = {"diagnosis": DISEASE, "age": AGE}
        values |= {own[f.kind]: f.value for f in facts if f.kind in own} | {DAY: str(day)}
        lines = [_filled(line, values, units) for line in text.split("\n")]
        return "\n".join(line for line in lines if line)


def sex_of(facts: Iterable[Fact]) -> str | None:
    """female, male or None where the record does not say."""
    return next((SEXES.get(f.value) for f in facts if f.kind == "sex"), None)


def _replace_category(text: str, fact: Fact, names: tuple[str, ...]) -> str:
    word = re.compile(rf"(?<![\w{{:=]){re.escape(spoken(fact.value))}(?![\w}}])", re.IGNORECASE)
    if fact.kind in WORDS_ANYWHERE:
        return word.sub(value(fact.column), text)
    slots = [name(fact.column, k) for k in range(len(names))]
    parts = re.split(r"(?<=[.\n])", text)
    return "".join(word.sub(value(fact.column), p) if any(s in p for s in slots) else p for p in parts)


def _replace_numbers(text: str, facts: Sequence[Fact], day: int) -> str:
    """From left to right: a number becomes the slot of the fact that has it, the one whose name stands nearest before it first;
    the unit that follows becomes `{#unit}`."""
    of_age = {f.column for f in facts if f.kind == "age"}
    candidates = [(DAY, float(day), "d")]
    for fact in facts:
        if re.fullmatch(r"\d+(?:\.\d+)?", fact.value):
            slot = AGE if fact.column in of_age else value(fact.column)
            candidates.append((slot, float(fact.value), fact.unit or ""))
    out, at, named = [], 0, ""
    for found in _SLOT_OR_NUMBER.finditer(text):
        if found.start() < at:  # inside a unit
            continue
        out.append(text[at : found.start()])
        at = found.end()
        word = found.group()
        if word[0] == "{":
            named = value(word[1:-1].split(":")[-1]) if ":" in word else named
            out.append(word)
            continue
        fitting = [c for c in candidates if c[1] == float(word)]
        slot, _, unit = next((c for c in fitting if c[0] == named), fitting[0] if fitting else (NUMBER, 0.0, ""))
        out.append(slot)
        if unit and text.startswith(f" {unit}", at) and slot not in (DAY, AGE):
            out.append(f" {UNIT}")
            at += 1 + len(unit)
    return "".join([*out, text[at:]])


def _tidy(text: str) -> str:
    """A space before every slot but at the start of a line or after an opening bracket: a tokenizer needs not learn it."""
    text = re.sub(r"[ \t]*(\{[^{}]+\})", r" \1", text)
    text = re.sub(rf"(^|[{re.escape(_TIGHT)}]) (\{{)", r"\1\2", text)
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip())


def _filled(line: str, values: dict[str, str], units: dict[str, str]) -> str:
    kept = []
    for k, sentence in enumerate(re.split(r"(?<=\.)\s+", line)):
        slots = re.findall(r"\{[^{}]+\}", sentence)
        if all(s in values or s == UNIT for s in slots) and "{" not in re.sub(r"\{[^{}]+\}", "", sentence):
            kept.append(_written(sentence, values, units, heading=k == 0))
    return " ".join(kept)


def _written(sentence: str, values: dict[str, str], units: dict[str, str], heading: bool) -> str:
    """One sentence, with a capital at its start and after its line's heading."""
    last = ""
    out: list[str] = []
    at = 0
    for found in re.finditer(r"\{[^{}]+\}", sentence):
        out.append(sentence[at : found.start()])
        at, slot = found.end(), found.group()
        text = units.get(last, "") if slot == UNIT else values[slot]
        before = "".join(out).rstrip()
        starts = not before or (heading and before.find(":") == len(before) - 1)
        out.append(text[:1].upper() + text[1:] if starts and text else text)
        last = slot if slot in units else last
    return re.sub(r" +([.,;:)\]])", r"\1", re.sub(r" {2,}", " ", "".join([*out, sentence[at:]])))
