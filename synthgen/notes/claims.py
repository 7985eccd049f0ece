"""What a clinical note says of its patient: claims with the place where each stands, found by the dictionary's words alone.

A claim is a column, the value that the text gives it, whether it is denied, and whether it is of an earlier day. `support`
compares claims with a record. What a text ponders, plans or says of relatives is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from synthgen.notes.demographics import ages, sexes
from synthgen.notes.lexicon import Concept, Lexicon
from synthgen.notes.negation import assertion, goes_on, leads_to_the_past, ponders, stopped, tells_of_the_past
from synthgen.notes.readings import BREAK, REACH, Mention, readings
from synthgen.population import dose_column

if TYPE_CHECKING:
    from synthgen.dictionary import Column, Dictionary

ClaimKind = Literal[
    "age",
    "sex",
    "diagnosis",
    "static",
    "lab",
    "flag",
    "sign",
    "grade",
    "stage",
    "drug",
    "dose",
    "event",
    "outcome",
    "day",
]
When = Literal["now", "earlier", "ever"]
STOPPED = "stopped"
"""Value of a claim that a drug was given and is no more."""
_RANGE = r"(?:the )?(?:normal|reference)(?: range| limits?)?|(?:the )?(?:limits?|range)"


def _letter(letter: str) -> str:
    """A laboratory's mark beside a number: (H), `, H`, `is H`."""
    return rf"\((?-i:{letter})\)|(?:(?<=, )|(?<=is )|(?<=\d ))(?-i:{letter})\b"


FLAGS = {
    "high": rf"\b(?:elevated|raised|(?:too )?high|hi|increased|(?:above|over) (?:{_RANGE}))\b|↑|{_letter('H')}",
    "low": rf"\b(?:(?:too )?low|lo|reduced|decreased|depressed|(?:below|under) (?:{_RANGE}))\b|↓|{_letter('L')}",
    "normal": rf"\b(?:normal|unremarkable|(?:with)?in (?:{_RANGE})|wnl|fine|ok)\b|{_letter('N')}",
}
"""How a text says on which side of its reference range a value lies."""
_FLAG = re.compile("|".join(f"(?P<{k}>(?<!not ){v})" for k, v in FLAGS.items()), re.IGNORECASE)
_DAY = re.compile(r"\b(?:on|since|until|of|from|at|by)?\s?day\s(?P<day>\d{1,5})\b", re.IGNORECASE)


_Found = tuple[int, int, Concept]


@dataclass(frozen=True)
class Claim:
    """One statement of a note.

    Args:
        kind: what sort of statement.
        table, column: where the record would have it; of events the column of codes.
        code: of a drug, its dose or an event: the code.
        value: a number (with `decimals` as written), a category, or high, low, normal; of a drug `STOPPED` where the text says
            that it was given and is no more. None: merely that it is there.
        unit: as written; None where none is.
        negated: that it is not so.
        when: of the note's day, of an earlier one, or (a drug, an event) at any time until then.
        about: said to be rounded.
        start, end: characters of the note.
    """

    kind: ClaimKind
    table: str
    column: str
    value: float | str | None
    start: int
    end: int
    code: str | None = None
    unit: str | None = None
    negated: bool = False
    when: When = "now"
    about: bool = False
    decimals: int = 0


class ClaimExtractor:
    """Finds the claims of notes. One for a dictionary; reading a note changes nothing in it."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.lexicon = Lexicon(dictionary)

    def claims(self, text: str) -> list[Claim]:
        """Every claim of a note, in the order of where it begins."""
        found = [*self._ages(text), *self._sexes(text), *_days(text)]
        mentions = _merged(text, list(self.lexicon.finditer(text)))
        taken: set[int] = set()
        for i, (start, end, concept) in enumerate(mentions):
            if i in taken:
                continue
            until = mentions[i + 1][0] if i + 1 < len(mentions) else len(text)
            since = mentions[i - 1][1] if i else 0
            mention = Mention(text, start, end, since, until)
            near = BREAK.search(text, end, until) is None and until - end <= REACH
            if near and concept.category is None and i + 1 < len(mentions) and _belongs(concept, mentions[i + 1]):
                taken.add(i + 1)
                mention = replace(mention, until=mentions[i + 2][0] if i + 2 < len(mentions) else len(text))
            found += self._of(concept, mention)
        return sorted(found, key=lambda claim: (claim.start, claim.end))

    def _of(self, concept: Concept, mention: Mention) -> Iterator[Claim]:
        if concept.table == "events":
            yield from self._events(concept, mention)
        elif concept.kind in ("outcome", "diagnosis") or concept.category is not None:
            yield from self._asserted(concept, mention)
        elif (column := self.dictionary.tables[concept.table].columns[concept.column]).numeric:
            yield from self._numbers(concept, column, mention)
        elif concept.column in self.lexicon.signs:
            yield from self._signs(concept, mention)
        else:
            yield from self._grades(concept, mention)

    def _numbers(self, concept: Concept, column: Column, mention: Mention) -> Iterator[Claim]:
        """A name and its value: after it (`albumin was 3.4`), of two the earlier one (`from 2.4 to 3.1`), or before it."""
        values = list(readings(mention, column))
        if ponders(mention.text, mention.start):
            return
        for value in values:
            low, high = min(mention.start, value.start), max(mention.end, value.end)
            yield Claim(
                "lab" if concept.table == "visits" else "static", concept.table, concept.column, value.number, low, high,
                unit=value.unit, when=_when(value.earlier), about=value.about, decimals=value.decimals,
            )  # fmt: skip
        if column.reference is not None:
            yield from self._flags(concept, mention, values[-1].end if values else mention.end)

    def _flags(self, concept: Concept, mention: Mention, after: int) -> Iterator[Claim]:
        """`raised`, `low` or `normal` beside a name: after it and its value, else right before it."""
        tail = BREAK.split(mention.text[mention.end : min(mention.until, after + 45)])[0]
        leads_on = mention.end + len(tail) == mention.until
        after_it = [m for m in _FLAG.finditer(tail) if not (leads_on and not tail[m.end() :].strip())]
        begin = max(mention.since, mention.start - 40, mention.text.rfind("\n", 0, mention.start) + 1)
        before_it = [
            m for m in _FLAG.finditer(mention.text[begin : mention.start]) if m.end() == mention.start - begin - 1
        ]
        for offset, found in [*((mention.end, m) for m in after_it), *((begin, m) for m in before_it)][:1]:
            low, high = min(mention.start, offset + found.start()), max(mention.end, offset + found.end())
            when = _when(tells_of_the_past(mention.text, mention.start, mention.end))
            yield Claim("flag", concept.table, concept.column, found.lastgroup, low, high, when=when)

    def _signs(self, concept: Concept, mention: Mention) -> Iterator[Claim]:
        """Present or denied; where it has grades, which."""
        sign = self.lexicon.signs[concept.column]
        graded = self._category_after(concept, mention)
        if graded and (graded[2] in sign.present and len(sign.present) > 1):
            yield from self._claim(concept, mention, graded[2], False, graded[1])
            return
        said = assertion(mention.text, mention.start, mention.end)
        if graded and said == "affirmed" and graded[2] == sign.absent and _keyed(mention, graded[0]):
            said = "denied"
        if said != "possible":
            value = sign.present[0] if len(sign.present) == 1 else None
            yield from self._claim(concept, mention, sign.absent if said == "denied" else value, said == "denied")

    def _grades(self, concept: Concept, mention: Mention) -> Iterator[Claim]:
        """A name and its category beside it."""
        if ponders(mention.text, mention.start):
            return
        if found := self._category_after(concept, mention):
            yield from self._claim(concept, mention, found[2], False, found[1])
        elif found := self._category_before(concept, mention):
            yield from self._claim(concept, replace(mention, start=found[0]), found[2], False)

    def _asserted(self, concept: Concept, mention: Mention) -> Iterator[Claim]:
        """A phrase that is a category by itself: placebo, died, the disease."""
        said = assertion(mention.text, mention.start, mention.end)
        if said != "possible":
            yield from self._claim(concept, mention, concept.category, said == "denied")

    def _events(self, concept: Concept, mention: Mention) -> Iterator[Claim]:
        """A drug or event, and the drug's dose."""
        said = assertion(mention.text, mention.start, mention.end)
        if said == "possible":
            return
        kind: Literal["drug", "event"] = "drug" if concept.kind == "drug" else "event"
        when: When = "ever"
        if said == "denied":
            past = leads_to_the_past(mention.text, mention.start)  # `given until lately` is a denial of today
            if kind == "event":
                past = tells_of_the_past(mention.text, mention.start, mention.end)
            when = _when(past)
        elif tells_of_the_past(mention.text, mention.start, mention.end):
            when = "earlier"
        elif goes_on(mention.text, mention.start, mention.end):
            when = "now"
        ended = kind == "drug" and said == "denied" and stopped(mention.text, mention.start, mention.end)
        yield Claim(
            kind, "events", concept.column, STOPPED if ended else concept.category, mention.start, mention.end, concept.category,
            negated=said == "denied", when=when,
        )  # fmt: skip
        if self._dose is None or said == "denied":
            return
        name, column = self._dose
        for value in list(readings(mention, column))[:1]:
            low, high = min(mention.start, value.start), max(mention.end, value.end)
            yield Claim(
                "dose", "events", name, value.number, low, high, concept.category, value.unit,
                when="earlier" if value.earlier else when, about=value.about, decimals=value.decimals,
            )  # fmt: skip

    def _claim(
        self, concept: Concept, mention: Mention, value: str | None, negated: bool, end: int | None = None
    ) -> Iterator[Claim]:
        lasting = concept.kind in ("outcome", "diagnosis", "static", "sex")
        when = _when(not lasting and tells_of_the_past(mention.text, mention.start, mention.end))
        yield Claim(
            concept.kind, concept.table, concept.column, value, mention.start, max(mention.end, end or 0), negated=negated,
            when=when,
        )  # fmt: skip

    def _category_after(self, concept: Concept, mention: Mention) -> tuple[int, int, str] | None:
        stop = min(mention.until, mention.end + REACH)
        tail = BREAK.split(mention.text[mention.end : stop])[0]
        found = next(self.lexicon.categories(concept, tail), None)
        return None if found is None else (mention.end + found[0], mention.end + found[1], found[2])

    def _category_before(self, concept: Concept, mention: Mention) -> tuple[int, int, str] | None:
        """`home physiotherapy`: right before the name."""
        begin = max(mention.since, mention.start - 30)
        for low, high, category in self.lexicon.categories(concept, mention.text[begin : mention.start]):
            if re.fullmatch(r"[\s-]*(?:for |of |on )?", mention.text[begin + high : mention.start]):
                return begin + low, begin + high, category
        return None

    def _ages(self, text: str) -> Iterator[Claim]:
        if self.lexicon.age is None:
            return
        for start, end, number in ages(text):
            decimals = len(number.partition(".")[2])
            yield Claim("age", "patients", self.lexicon.age, float(number), start, end, unit="years", decimals=decimals)

    def _sexes(self, text: str) -> Iterator[Claim]:
        if self.lexicon.sex is None:
            return
        column, letters = self.lexicon.sex
        for start, end, letter in sexes(text):
            if letters[letter]:
                yield Claim("sex", "patients", column, letters[letter], start, end)

    @cached_property
    def _dose(self) -> tuple[str, Column] | None:
        name = dose_column(self.dictionary)
        return None if name is None else (name, self.dictionary.tables["events"].columns[name])


def _when(earlier: bool) -> When:
    return "earlier" if earlier else "now"


def _merged(text: str, mentions: list[_Found]) -> list[_Found]:
    """One mention where a name is told twice in a row: `prothrombin time (PT)`."""
    merged: list[_Found] = []
    for start, end, concept in mentions:
        if merged and merged[-1][2] == concept and concept.category is None:
            between = text[merged[-1][1] : start]
            if len(between) <= 30 and not re.search(r"[.;,:\n\d]", between):
                merged[-1] = (merged[-1][0], end, concept)
                continue
        merged.append((start, end, concept))
    return merged


def _belongs(concept: Concept, following: _Found) -> bool:
    """Whether the next phrase is a category of this very column."""
    other = following[2]
    return other.category is not None and (other.table, other.column) == (concept.table, concept.column)


def _keyed(mention: Mention, where: int) -> bool:
    """Whether a category stands right after the name, as in a form: `oedema: none`, `oedema - none`, `oedema none`."""
    return bool(re.fullmatch(r"\s*(?:[:=\-]|->|is|was)?\s*", mention.text[mention.end : where]))


def _days(text: str) -> Iterator[Claim]:
    """Days that a note speaks of as past or present."""
    for found in _DAY.finditer(text):
        if not ponders(text, found.start()):
            yield Claim("day", "notes", "day", float(found["day"]), found.start("day") - 4, found.end())
