"""Numbers beside names: which number of a clause is the value of what it names, in which unit, and of which day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synthgen.notes import units
from synthgen.notes.negation import tells_of_the_past

if TYPE_CHECKING:
    from synthgen.dictionary import Column

REACH = 60
"""Characters after a name in which its value may stand."""
_NUMBER = re.compile(r"(?<![\w.,/])(?P<about>(?:about|around|approximately|approx\.?|roughly|nearly|ca\.?|~)\s?)?"
                     r"(?P<number>-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?!\d)", re.IGNORECASE)  # fmt: skip
_SKIPPED = re.compile(r"(?:\b(?:day|visit|week|month|year|no\.|number|grade|reference|ref|range|normal|uln|limit)\s*[:#]?\s*|"
                      r"[#(]\s*(?:ref|reference|normal)[^)]*)$", re.IGNORECASE)  # fmt: skip
_RANGE = re.compile(r"\s?(?:-|–|to)\s?\d")
_ENDS_RANGE = re.compile(r"\d\s?[-–]\s?$")
_NO_VALUE = re.compile(r"(?:st|nd|rd|th)\b|/\d|:\d")
BREAK = re.compile(r"[;\n]|\.(?:\s|$)")
_SECOND = re.compile(r"^[^.;\n\d]{0,30}\b(?P<cue>previously|prior|was|from|compared (?:with|to)|versus|vs\.?|last|before|earlier|"
                     r"against)\b[^.;\n\d]{0,20}$", re.IGNORECASE)  # fmt: skip
_FROM = re.compile(r"\bfrom\s*$", re.IGNORECASE)
_THEN = re.compile(r"^\s*(?:to|->|→)\s*$")


@dataclass(frozen=True)
class Mention:
    """A name at [start, end) of a text, and where the names before and after it leave off and begin."""

    text: str
    start: int
    end: int
    since: int
    until: int


@dataclass(frozen=True)
class Reading:
    """A number as a value: its digits after the point, the unit written after it, where it stands."""

    number: float
    decimals: int
    unit: str | None
    about: bool
    earlier: bool
    start: int
    end: int


def readings(mention: Mention, column: Column) -> Iterator[Reading]:
    """The value of a name and, where told, the one before it."""
    after = _numbers_in(mention.text, mention.end, min(mention.until, mention.end + REACH), column)
    if not after:
        yield from _before(mention, column)
        return
    first, *more = after
    gap = mention.text[mention.end : first.start]
    past = tells_of_the_past(mention.text, mention.start, mention.end) or bool(_FROM.search(gap))
    second = more[0] if more else None
    if second is not None and _THEN.match(mention.text[first.end : second.start]):
        yield replace(first, earlier=True)
        yield second
    else:
        yield replace(first, earlier=past)
        if second is not None and _SECOND.match(mention.text[first.end : second.start]):
            yield replace(second, earlier=True)


def _before(mention: Mention, column: Column) -> Iterator[Reading]:
    """`3.4 g/dL of albumin`: a number with its unit right before the name."""
    begin = max(mention.since, mention.start - 25)
    for value in _numbers_in(mention.text, begin, mention.start, column):
        if value.unit and re.fullmatch(r"\s*(?:of|for|-)?\s*", mention.text[value.end : mention.start]):
            yield value


def _numbers_in(text: str, start: int, stop: int, column: Column) -> list[Reading]:
    """Numbers of a clause that can be values of a column: no dates, ranges, visit numbers or times ago."""
    if broken := BREAK.search(text, start, stop):
        stop = broken.start() + (1 if broken[0] == "." else 0)
    own = units.forms(column.unit) if column.unit else frozenset()
    found = []
    for m in _NUMBER.finditer(text, start, stop):
        if not _may_be_value(text[start : m.start()], text[m.end() : stop + 4]):
            continue
        unit = units.pattern(column.unit).match(text, m.end())
        written = unit[0].strip() if unit else None
        if written and units.plain(written) in units.TIME - own:
            continue
        number = m["number"].replace(",", "")
        decimals = len(number.partition(".")[2])
        end = unit.end() if unit else m.end()
        found.append(Reading(float(number), decimals, written, bool(m["about"]), False, m.start(), end))
    return found


def _may_be_value(before: str, after: str) -> bool:
    """Not the number of a visit, an end of a range, part of a date, nor an ordinal."""
    if _SKIPPED.search(before) or _ENDS_RANGE.search(before) or _NO_VALUE.match(after):
        return False
    return not _RANGE.match(after) or bool(_FROM.search(before))
