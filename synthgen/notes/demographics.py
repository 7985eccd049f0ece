"""The age and the sex that a clinical text gives its patient, by words and pronouns; relatives are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

_AGE = re.compile(
    r"(?P<a>\d{1,3}(?:\.\d)?)[\s-]*(?:years?|yrs?|yo\b|y/o|y\.o\.)(?:[\s-]*(?:old\b|of age\b))?|"
    r"\baged?:?\s(?:of\s)?(?P<b>\d{1,3}(?:\.\d)?)"
    r"(?!\s?(?:months?|days?|weeks?))|\b(?P<c>\d{1,3})\s?(?P<c_sex>(?-i:[FM]))\b|"
    r"\b(?:woman|female|lady|girl|man|male|gentleman|gent|boy|(?-i:[FM]))\s(?P<d>\d{1,3})(?=\s*(?:[,.;)]|$))",
    re.IGNORECASE,
)
_AGE_CUE = re.compile(r"\bold\b|of age|\byo\b|y/o|y\.o\.|aged?\b", re.IGNORECASE)
_SEX_NEAR = re.compile(r"\b(?P<f>(?i:woman|female|lady|girl)|F)\b|\b(?P<m>(?i:man|male|gentleman|gent|boy)|M)\b")
_SEX = re.compile(
    r"\b(?P<f>woman|female|lady|girl|she|her)\b|\b(?P<m>man|male|gentleman|gent|boy|he|his|him)\b", re.IGNORECASE
)
_EITHER = re.compile(r"\b(?:she or he|he or she|his or her|her or his|him or her|s/he|he/she|she/he)\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\b(?:mother|father|husband|wife|partner|son|daughter|brother|sister|aunt|uncle|cousin|parents?|"
                       r"child(?:ren)?|nurse|surgeon|GP)\b", re.IGNORECASE)  # fmt: skip
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def ages(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, years as written)."""
    for found in _AGE.finditer(text):
        near = text[max(0, found.start() - 35) : found.end() + 30]
        told = bool(_AGE_CUE.search(found[0]) or found["c"] or found["d"] or _SEX_NEAR.search(near))
        if told and not _RELATIVE.search(text[max(0, found.start() - 30) : found.start()]):
            yield found.start(), found.end(), found["a"] or found["b"] or found["c"] or found["d"]


def sexes(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, `f` or `m`), each word once a text; a single letter counts beside an age only."""
    masked = _EITHER.sub(lambda m: " " * len(m[0]), text)
    found = [(m.start("c_sex"), m.end("c_sex"), m["c_sex"].lower()) for m in _AGE.finditer(text) if m["c_sex"]]
    found += [(m.start(), m.end(), str(m.lastgroup)) for m in _SEX.finditer(masked)]
    letters = (m for m in _SEX_NEAR.finditer(masked) if len(m[0]) == 1)
    found += [(m.start(), m.end(), str(m.lastgroup)) for m in letters if _beside_age(masked, m.start(), m.end())]
    seen: set[str] = set()
    for start, end, letter in sorted(set(found)):
        word = text[start:end].lower()
        if word not in seen and not _RELATIVE.search(_sentence(text, start)):
            seen.add(word)
            yield start, end, letter


def _beside_age(text: str, start: int, end: int) -> bool:
    """A single F or M counts as a sex next to an age only."""
    return any(
        m.start() - 4 <= end and start <= m.end() + 4
        for m in _AGE.finditer(text, max(0, start - 20), min(len(text), end + 20))
    )


def _sentence(text: str, at: int) -> str:
    """The sentence in which a character stands."""
    begin = max((m.end() for m in _SENTENCE.finditer(text, 0, at)), default=0)
    end = next((m.start() for m in _SENTENCE.finditer(text, at)), len(text))
    return text[begin:end]
