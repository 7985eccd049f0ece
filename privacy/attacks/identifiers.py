"""Identifiers in text: names, dates, record numbers, phone numbers, e-mail and network addresses, by their form.

The kinds that HIPAA's safe harbour lists (45 CFR 164.514(b)(2)) and that have a form. A name without a title or a cue before it
has none and is not found: `known` takes those that somebody has (the cohort's own ids, staff lists).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "date", "record_number", "phone", "email", "address", "age_over_89", "known"]


@dataclass(frozen=True)
class Identifier:
    """What looks like an identifier, at [start, end) of the text."""

    kind: Kind
    start: int
    end: int


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d{2}"
_CAPITAL = r"[A-Z][a-zà-öø-ÿ]+(?:-[A-Z][a-zà-öø-ÿ]+)?"
_STREET = r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Way)"
_TITLE = r"(?:Mrs?|Ms|Miss|Dr|Prof(?:essor)?|Sir|Dame|Doctor|Nurse|Sister)"
_FIELD = (
    r"(?:[Nn]ame|[Pp]atient name|[Ss]igned(?: by)?|[Dd]ictated by|[Rr]eferred by|[Ss]een by|[Aa]ttending|[Cc]onsultant|"
    r"[Rr]e|RE)"
)
_NUMBERED = (
    r"(?:mrn|nhs|ssn|(?:medical |hospital |patient |case )?(?:record|file|chart|hospital|insurance|accession|account|policy)"
    r"(?:\s(?:number|no\.?|num|id|#))|(?:patient|case) (?:id|number|no\.))"
)
_CALLED = r"(?:known as|called|named|seen by|signed by|dictated by|referred by)"
_CALL = r"(?:tel|phone|fax|mobile|call|ring|bleep|pager)"
_FORMS: tuple[tuple[Kind, tuple[str, ...], bool], ...] = (
    ("email", (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b",), False),
    (
        "address",
        (
            r"\b(?:https?://|www\.)\S+",
            r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
            rf"\b\d{{1,5}}\s{_CAPITAL}(?:\s{_CAPITAL})?\s{_STREET}\b",
        ),
        False,
    ),
    (
        "record_number",
        (
            rf"\b{_NUMBERED}\s?(?:is|[:#.=])?\s*#?\s*(?=[\w-]*\d)[A-Z0-9][\w-]{{3,}}",
            r"\b\d{3}-\d{2}-\d{4}\b",
            r"\b\d{3}\s\d{3}\s\d{4}\b(?=\s*\(NHS)",
        ),
        True,
    ),
    (
        "date",
        (
            rf"\b{_YEAR}-(?:0?[1-9]|1[0-2])-{_DAY}\b",
            rf"\b{_DAY}[/.]{_DAY}[/.](?:{_YEAR}|\d{{2}})\b(?!\.\d)",
            rf"\b{_DAY}(?:st|nd|rd|th)?(?:\sof)?[\s-]{_MONTH}\b(?:[\s,-]+{_YEAR}\b)?",
            rf"\b{_MONTH}\s{_DAY}(?:st|nd|rd|th)?\b(?!\s?[a-z%/]|\.\d)(?:,?\s{_YEAR}\b)?",
            rf"\b{_MONTH},?\s{_YEAR}\b",
        ),
        True,
    ),
    (
        "phone",
        (
            r"(?<![\w.])\+\d{1,3}[\s.-]?(?:\(0?\d{1,4}\)|\d{1,4})(?:[\s.-]?\d{2,4}){2,4}(?!\w)",
            r"(?<![\w.])(?:\(\d{3,5}\)\s?\d{3}[\s.-]?\d{3,4}|\d{3}[.-]\d{3}[.-]\d{4})(?!\w)",
            rf"\b{_CALL}\.?:?\s(?:on\s)?\+?\d[\d\s().-]{{5,}}\d(?!\w)",
        ),
        True,
    ),
    (
        "name",
        (
            rf"\b{_TITLE}\.?\s(?:[A-Z]\.?\s){{0,2}}{_CAPITAL}(?:\s{_CAPITAL})?",
            rf"\b{_FIELD}\s?[:,]\s?{_CAPITAL},?\s(?:[A-Z]\.\s?)?{_CAPITAL}",
            rf"\b{_CALLED}\s{_CAPITAL}\s{_CAPITAL}",
        ),
        False,
    ),
    (
        "age_over_89",
        (r"\b(?:9\d|1[01]\d)[\s-]?(?:years?[\s-]old|yo\b|y/o|years of age)", r"\baged?\s(?:9\d|1[01]\d)\b"),
        True,
    ),
)
_PATTERNS = [(kind, re.compile("|".join(forms), re.I if any_case else 0)) for kind, forms, any_case in _FORMS]


def identifiers(text: str, known: Collection[str] = ()) -> list[Identifier]:
    """What looks like an identifier, in the order of the text; where two kinds overlap, the one that the list has first.

    Args:
        known: words that are identifiers whatever they look like; found as whole words, in any case.
    """
    found: list[Identifier] = []
    for word in sorted(known, key=lambda w: (-len(w), w)):
        pattern = re.compile(rf"(?<![\w]){re.escape(word)}(?![\w])", re.IGNORECASE)
        found += [Identifier("known", m.start(), m.end()) for m in pattern.finditer(text)] if word else []
    for kind, pattern in _PATTERNS:
        found += [Identifier(kind, m.start(), m.end()) for m in pattern.finditer(text)]
    kept: list[Identifier] = []
    for one in found:
        if not any(one.start < other.end and other.start < one.end for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)
