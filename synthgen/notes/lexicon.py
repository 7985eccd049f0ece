"""The words of a data dictionary: which phrases of a clinical text name which column, category or event code.

Nothing but `cohort.yaml` is read: names, labels (up to the first preposition, and what stands in brackets), categories, codes
of events, and a few general words (woman, died). So the phrases are public, and they are the same for every cohort of a
dictionary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from synthgen.notes.facts import disease_name, is_age, is_sex
from synthgen.population import code_column, dose_column

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

Kind = Literal["age", "sex", "diagnosis", "static", "lab", "sign", "grade", "stage", "drug", "event", "outcome"]
"""As in `facts`: `static` is any other column of patients, `grade` a category of visits, `stage` one that is called so."""

ABSENT = frozenset({"no", "none", "absent", "negative", "false", "never", "0"})
PRESENT = frozenset({"yes", "present", "positive", "true", "1"})
PREPOSITIONS = frozenset({"of", "in", "at", "from", "to", "after", "on", "by", "for", "with", "since", "during", "per"})
GENERIC = frozenset({
    "time", "distance", "level", "count", "rate", "score", "index", "concentration", "value", "test", "result", "status",
    "measure", "measurement", "class", "type", "grade", "size", "number", "total", "serum", "blood", "plasma", "mean", "first",
    "last", "days", "day", "visit", "years", "year", "none", "other", "unknown",
})  # fmt: skip
"""Words that say nothing alone."""
TREATMENT = frozenset({"treatment", "drug", "medication", "therapy", "arm"})
WOMEN = ("woman", "female", "lady", "girl", "she", "her", "women")
MEN = ("man", "male", "gentleman", "boy", "he", "his", "him")
DEATH = ("dead", "died", "death", "deceased", "passed away", "expired")
LIFE = ("alive", "survives")
SPELLINGS = (("haem", "ha?em"), ("hem", "ha?em"), ("aemia", "a?emia"), ("emia", "a?emia"), ("oedema", "o?edema"),
             ("edema", "o?edema"), ("oesoph", "o?esoph"), ("esoph", "o?esoph"), ("tumour", "tumou?r"), ("tumor", "tumou?r"),
             ("paed", "pa?ed"), ("rrhoea", "rrho?ea"), ("rrhea", "rrho?ea"))  # fmt: skip
"""British and American spellings of one word."""


@dataclass(frozen=True)
class Concept:
    """What a phrase names: a column, or (with `category`) one category of it or one code of `events`."""

    kind: Kind
    table: str
    column: str
    category: str | None = None


@dataclass(frozen=True)
class Sign:
    """A discrete column that says whether something is there: the category of its absence, and those of its presence."""

    absent: str
    present: tuple[str, ...]


class Lexicon:
    """Phrases of one dictionary. `finditer` is the way to use it."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.signs = {n: sign for n, c in self._discrete().items() if (sign := sign_of(c)) is not None}
        self._phrases: dict[str, Concept] = {}
        for phrase, concept in self._all():
            self._phrases.setdefault(phrase, concept)

    def finditer(self, text: str) -> Iterator[tuple[int, int, Concept]]:
        """Every phrase of a text, the longest first where several could stand: (start, end, what it names)."""
        for found in self._pattern.finditer(text):
            assert found.lastgroup is not None
            yield found.start(), found.end(), self._concepts[int(found.lastgroup[1:])]

    def categories(self, concept: Concept, text: str) -> Iterator[tuple[int, int, str]]:
        """Every category of a concept's column that is named in a text (`III` is category 3)."""
        for found in self._category_patterns[concept.table, concept.column].finditer(text):
            assert found.lastgroup is not None
            column = self.dictionary.tables[concept.table].columns[concept.column]
            yield found.start(), found.end(), (column.categories or ())[int(found.lastgroup[1:])]

    @cached_property
    def age(self) -> str | None:
        """The column of `patients` that holds the age."""
        return next((name for name, column in self._columns("patients").items() if is_age(name, column)), None)

    @cached_property
    def sex(self) -> tuple[str, dict[str, str]] | None:
        """(column of `patients`, letter f or m -> its category)."""
        for name, column in self._columns("patients").items():
            if is_sex(name, column):
                letters = {c.lower()[0]: c for c in column.categories or ()}
                return name, {"f": letters.get("f", letters.get("w", "")), "m": letters.get("m", "")}
        return None

    def treats(self, concept: Concept) -> bool:
        """Whether it is a drug, or a column of patients that says which treatment they have."""
        if concept.kind == "drug":
            return True
        column = self.dictionary.tables[concept.table].columns[concept.column] if concept.column else None
        named = {w for p in names_of(concept.column, column) for w in p.split()} if column else set()
        return concept.table == "patients" and bool(named & TREATMENT)

    @cached_property
    def _concepts(self) -> list[Concept]:
        return [self._phrases[phrase] for phrase in self._ordered]

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self._phrases, key=lambda p: (-len(p), p))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = [f"(?P<p{i}>{_regex(phrase)})" for i, phrase in enumerate(self._ordered)]
        return re.compile(rf"(?<![\w])(?:{'|'.join(parts) or '(?!)'})(?![\w])", re.IGNORECASE)

    @cached_property
    def _category_patterns(self) -> dict[tuple[str, str], re.Pattern[str]]:
        patterns = {}
        for table in self.dictionary.tables:
            for name, column in self._columns(table).items():
                if column.discrete:
                    patterns[table, name] = _category_pattern(column)
        return patterns

    def _columns(self, table: str) -> dict[str, Column]:
        found = self.dictionary.tables.get(table)
        return found.columns if found else {}

    def _discrete(self) -> dict[str, Column]:
        return {n: c for t in ("patients", "visits") for n, c in self._columns(t).items() if c.discrete}

    def _all(self) -> Iterator[tuple[str, Concept]]:
        """Phrases in the order of their right: the first to claim one has it."""
        yield from self._outcomes()
        yield from self._events()
        yield from self._diseases()
        columns = dict(self._named())
        heads = Counter(tail for concept in columns for tail in {t for p in columns[concept] for t in tails(p)})
        for concept, phrases in columns.items():
            for phrase in phrases:
                yield phrase, concept
        for concept, phrases in columns.items():
            for phrase in phrases:
                yield from ((tail, concept) for tail in tails(phrase) if heads[tail] == 1)
        yield from self._distinctive(columns)
        for concept, phrases in columns.items():
            yield from ((short, concept) for p in phrases if concept.kind == "lab" and (short := initials(p)))

    def _named(self) -> Iterator[tuple[Concept, list[str]]]:
        """Each column that claims are made of, and its full names."""
        outcome = self.dictionary.outcome
        skipped = {"patient_id", "day", *((outcome.time, outcome.status) if outcome else ())}
        skipped |= {self.age} if self.age else set()
        for table in ("patients", "visits"):
            for name, column in self._columns(table).items():
                if (
                    name not in skipped
                    and (column.numeric or column.discrete)
                    and column.role not in ("time", "disease")
                ):
                    yield Concept(self._kind(table, name, column), table, name), names_of(name, column)

    def _kind(self, table: str, name: str, column: Column) -> Kind:
        if self.sex and name == self.sex[0]:
            return "sex"
        if table == "patients":
            return "static"
        if column.numeric:
            return "lab"
        if name in self.signs and len(self.signs[name].present) == 1:
            return "sign"
        return "stage" if any("stage" in phrase.split() for phrase in names_of(name, column)) else "grade"

    def _distinctive(self, columns: dict[Concept, list[str]]) -> Iterator[tuple[str, Concept]]:
        """Categories that no other column has and that are words of their own (placebo, wheelchair)."""
        shared: Counter[str] = Counter(
            c
            for concept in columns
            for c in self.dictionary.tables[concept.table].columns[concept.column].categories or ()
        )
        for concept in columns:
            column = self.dictionary.tables[concept.table].columns[concept.column]
            sign = self.signs.get(concept.column)
            for category in column.categories or ():
                phrase = " ".join(words_of(category))
                telling = len(phrase) >= 5 and phrase not in GENERIC | ABSENT | PRESENT and shared[category] == 1
                if telling and (sign is None or " " in phrase) and concept.kind != "sex":
                    yield phrase, Concept(concept.kind, concept.table, concept.column, category)

    def _events(self) -> Iterator[tuple[str, Concept]]:
        if (column := code_column(self.dictionary)) is None:
            return
        for code in self._columns("events")[column].categories or ():
            kind: Kind = "drug" if self._has_dose(code) else "event"
            yield " ".join(words_of(code)), Concept(kind, "events", column, code)

    def _has_dose(self, code: str) -> bool:
        """Whether the dictionary knows a dose of a code; where it knows nothing of it, there may be one."""
        known = self.dictionary.knowledge.events
        return dose_column(self.dictionary) is not None and (code not in known or known[code].dose is not None)

    def _outcomes(self) -> Iterator[tuple[str, Concept]]:
        outcome = self.dictionary.outcome
        if outcome is None:
            return
        for category in self._columns("patients")[outcome.status].categories or ():
            concept = Concept("outcome", "patients", outcome.status, category)
            phrase = " ".join(words_of(category))
            words = DEATH if phrase in DEATH else LIFE if phrase in LIFE else (phrase,)
            yield from ((word, concept) for word in words)

    def _diseases(self) -> Iterator[tuple[str, Concept]]:
        labels = self.dictionary.knowledge.diseases
        for name, column in self._columns("patients").items():
            if column.role == "disease":
                for code in column.categories or ():
                    phrase = labels[code].label.lower() if code in labels else " ".join(words_of(code))
                    yield phrase, Concept("diagnosis", "patients", name, code)
        if disease := disease_name(self.dictionary):
            yield disease.lower(), Concept("diagnosis", "patients", "")


def sign_of(column: Column) -> Sign | None:
    """How a column says that something is not there; None for one that always is (a stage, a lab)."""
    categories = column.categories or ()
    if not column.discrete or not categories:
        return None
    absent = [c for c in categories if c.lower() in ABSENT]
    if len(absent) != 1 or (len(categories) > 2 and (absent[0] != categories[0] or absent[0] == "0")):
        return None
    present = tuple(c for c in categories if c != absent[0])
    return Sign(absent[0], present) if len(present) > 1 or present[0].lower() in PRESENT else None


def names_of(name: str, column: Column) -> list[str]:
    """The names of a column, lower case: its label, that up to the first preposition, what is in brackets, its own name."""
    label = column.label or ""
    bracketed = [b.lower() for b in re.findall(r"\(([^)]+)\)", label) if len(b.split()) == 1]
    whole = re.sub(r"\([^)]*\)", " ", label).lower().replace("-", " ").split()
    head = whole[: next((i for i, word in enumerate(whole) if word in PREPOSITIONS), len(whole))]
    found = [" ".join(whole), " ".join(words_of(name)), " ".join(head), *bracketed]
    return list(dict.fromkeys(phrase for phrase in found if phrase and phrase not in GENERIC))


def tails(phrase: str) -> list[str]:
    """What a name is called for short: its last word; the rest where that says nothing (`prothrombin time`)."""
    words = phrase.split()
    if set(words) & PREPOSITIONS:
        return []
    while words and words[-1] in GENERIC:
        words.pop()
    while words and words[0] in GENERIC:
        words.pop(0)
    last = words[-1:] if len(words) > 1 else []
    return [p for p in (" ".join(words), *last) if len(p) >= 4 and p != phrase and p not in TREATMENT]


def initials(phrase: str) -> str:
    """PT for `prothrombin time`: capitals, which `_regex` keeps as they are; empty for one word."""
    words = phrase.split()
    return "".join(word[0] for word in words).upper() if 2 <= len(words) <= 4 and not set(words) & PREPOSITIONS else ""


def words_of(name: str) -> list[str]:
    """The words of a column's, category's or code's name, lower case."""
    return re.sub(r"[\s_\-/]+", " ", name).strip().lower().split() or [name.lower()]


def _regex(phrase: str) -> str:
    """A phrase as pattern: hyphen or blank, plural, either spelling; capitals are initials and keep their case."""
    if phrase.isupper() and phrase.isalpha():
        return f"(?-i:{phrase})"
    return r"[\s_\-]*".join(_word(word) for word in phrase.split())


def _word(word: str) -> str:
    plural = word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word
    pattern = re.escape(plural)
    for spelling, either in SPELLINGS:
        if spelling in plural:
            pattern = pattern.replace(spelling, either, 1)
            break
    return pattern + ("s?" if len(word) > 3 and word[-1].isalpha() else "")


ROMAN = {"1": "I", "2": "II", "3": "III", "4": "IV", "5": "V", "6": "VI"}


def _category_pattern(column: Column) -> re.Pattern[str]:
    order = sorted(enumerate(column.categories or ()), key=lambda pair: -len(pair[1]))
    parts = []
    for i, category in order:
        pattern = _regex(" ".join(words_of(category)))
        parts.append(f"(?P<c{i}>{pattern}{'|(?-i:' + ROMAN[category] + ')' if category in ROMAN else ''})")
    return re.compile(rf"(?<![\w.])(?:{'|'.join(parts)})(?![\w]|\.\d)", re.IGNORECASE)
