"""Notes as keyboards, hurry and scanners leave them: misspellings, abbreviations, and errors of optical character recognition.

For tests of robustness only: how far do checks and models fall on text that a hospital really has? Seeded; what is true of the
patient stays true, what the text says may not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from synthgen.notes.support import text_column

if TYPE_CHECKING:
    import numpy as np

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Corruption = Literal["misspelling", "abbreviation", "ocr"]
LEVELS: Mapping[str, float] = {"light": 0.02, "medium": 0.05, "heavy": 0.15}
"""Share of the words that each kind of corruption touches. Scanned records have 1 to 20% wrong words (Jatowt et al. 2019)."""

SHORTHAND = {
    "patient": "pt", "history": "hx", "diagnosis": "dx", "treatment": "tx", "symptoms": "sx", "examination": "exam",
    "with": "w/", "without": "w/o", "years": "yrs", "year-old": "yo", "years old": "yo", "follow-up": "f/u", "because": "b/c",
    "medication": "med", "medications": "meds", "laboratory": "lab", "temperature": "temp", "hospital": "hosp",
    "appointment": "appt", "every": "q", "normal": "nl", "negative": "neg", "positive": "pos",
    "elevated": "elev", "increased": "incr", "decreased": "decr", "female": "F", "male": "M", "woman": "F", "man": "M",
    "approximately": "approx", "transplantation": "tx", "including": "incl", "physical": "phys", "evaluation": "eval",
    "assessment": "asst", "recommended": "rec", "repeat": "rpt", "weeks": "wks", "months": "mos", "within normal limits": "WNL",
}  # fmt: skip
"""What clinicians write for short; of other long words they leave the end off."""
LONG = 8
"""Letters from which a word without a shorthand of its own may be cut off, after its fifth."""
LOOKALIKES = {
    "l": "1", "1": "l", "0": "O", "O": "0", "o": "0", "5": "S", "S": "5", "8": "B", "B": "8", "6": "b", "i": "l", "I": "l",
    "e": "c", "c": "e", "a": "o", "u": "v", "t": "f", "h": "b", "g": "9", "z": "2", "2": "z", "rn": "m", "m": "rn", "cl": "d",
    "d": "cl", "w": "vv", ".": "", "-": "", ":": ".", ",": ".",
}  # fmt: skip
"""What a scanner takes for what; a decimal point may vanish."""
NEIGHBOURS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"\S+")
_LETTERS = re.compile(r"[A-Za-z]{4,}")


def corrupt(
    text: str,
    rng: np.random.Generator,
    share: float = LEVELS["medium"],
    kinds: Sequence[Corruption] = ("misspelling", "abbreviation", "ocr"),
) -> str:
    """A text with this share of its words changed by each kind of corruption. Lines stay lines."""
    for kind in kinds:
        text = _SPOIL[kind](text, rng, share)
    return text


def corrupt_notes(
    cohort: Cohort,
    dictionary: Dictionary,
    rng: np.random.Generator,
    share: float = LEVELS["medium"],
    kinds: Sequence[Corruption] = ("misspelling", "abbreviation", "ocr"),
) -> Cohort:
    """The same cohort with its notes corrupted."""
    column = text_column(dictionary)
    if cohort.notes is None or column is None:
        return cohort
    texts = [corrupt(t, rng, share, kinds) if isinstance(t, str) else t for t in cohort.notes[column]]
    return replace(cohort, notes=cohort.notes.assign(**{column: texts}))


def _misspell(text: str, rng: np.random.Generator, share: float) -> str:
    """A letter swapped, left out, doubled, or its neighbour on the keyboard, in words of four letters or more."""

    def spoilt(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= share:
            return word
        at, way = int(rng.integers(1, len(word) - 1)), int(rng.integers(4))
        if way == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        replacement = ("", word[at] * 2, _neighbour(word[at], rng))[way - 1]
        return word[:at] + replacement + word[at + 1 :]

    return _LETTERS.sub(spoilt, text)


def _abbreviate(text: str, rng: np.random.Generator, share: float) -> str:
    """Words written short: by their shorthand where they have one, else cut off."""

    def shortened(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= share:
            return word
        if (short := SHORTHAND.get(word.lower())) is not None:
            return short
        return f"{word[:5]}." if len(word) >= LONG else word

    return _SHORTENED.sub(shortened, text)


def _scan(text: str, rng: np.random.Generator, share: float) -> str:
    """One lookalike in a word, or the blank after it lost."""

    def misread(found: re.Match[str]) -> str:
        word = found[0]
        if rng.random() >= share:
            return word
        places = [(i, glyph) for glyph in LOOKALIKES for i in range(len(word)) if word.startswith(glyph, i)]
        if not places or rng.random() < 0.1:
            return word + "\b"  # the blank after it goes
        at, glyph = places[int(rng.integers(len(places)))]
        return word[:at] + LOOKALIKES[glyph] + word[at + len(glyph) :]

    return re.sub(r"\x08[ ]?", "", _WORD.sub(misread, text))


def _neighbour(letter: str, rng: np.random.Generator) -> str:
    row = next((r for r in NEIGHBOURS if letter.lower() in r), None)
    if row is None:
        return letter
    at = row.index(letter.lower())
    beside = row[at - 1] if at and (at == len(row) - 1 or rng.random() < 0.5) else row[at + 1]
    return beside.upper() if letter.isupper() else beside


_SHORTENED = re.compile(
    "|".join(rf"\b{re.escape(w)}\b" for w in sorted(SHORTHAND, key=len, reverse=True)) + rf"|[A-Za-z]{{{LONG},}}",
    re.IGNORECASE,
)
_SPOIL: Mapping[Corruption, Callable[[str, np.random.Generator, float], str]] = {
    "misspelling": _misspell,
    "abbreviation": _abbreviate,
    "ocr": _scan,
}
