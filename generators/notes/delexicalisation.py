"""A note's text -> the same with slots for what its patient's own record says, and back (delexicalisation, Wen et al. 2015)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from generators.notes.slots import (
    AGE,
    DAY,
    DISEASE,
    GENDERED,
    NUMBER,
    UNIT,
    Catalogue,
    gendered,
    name,
    sex_of,
    state,
    value,
)
from synthgen.notes.facts import Fact, spoken

_SLOT = re.compile(r"\{[^{}]+\}")
_SLOT_OR_NUMBER = re.compile(r"\{[^{}]+\}|\d+(?:\.\d+)?")
_TIGHT = "([\n"
"""A slot after one of these stands without a space."""
WORDS_ANYWHERE = ("static", "outcome")
"""Kinds whose categories are replaced wherever they stand; those of others only in a sentence that names their column."""
_EITHER_SEX = r"(?:s?he|her|his|hers?self) or (?:s?he|her|his|himself|herself)"
_HIS, _HERS = ({pair[k].lower(): pair for pair in reversed(GENDERED)} for k in (1, 0))
_GENDERED = {
    sex: re.compile(
        rf"\b{_EITHER_SEX}\b|(?<![\w/])(?:{'|'.join(w for w in words if len(w) > 1)}|(?-i:[FM]))(?![\w/])",
        re.IGNORECASE,
    )
    for sex, words in {"female": _HERS, "male": _HIS}.items()
}


def plain(text: str) -> str:
    """A note's text without the characters that slots are made of."""
    return text.replace("{", "(").replace("}", ")")


def delexicalised(catalogue: Catalogue, text: str, facts: Sequence[Fact], day: int) -> str:
    """A note's text with slots for all that its patient's own record says; numbers it does not say become `{#number}`."""
    text = plain(text)
    for fact in facts:
        if fact.kind == "diagnosis":
            text = re.sub(re.escape(fact.value), DISEASE, text, flags=re.IGNORECASE)
    states = {fact.column: state(fact) for fact in facts}

    def named(found: re.Match[str]) -> str:
        column, which = catalogue.by_name[found.group().lower()]
        return name(column, which, states.get(column, ""))

    text = _with_gendered(catalogue.naming.sub(named, text), facts)
    for fact in facts:
        if fact.kind in ("static", "grade", "stage", "outcome") and not re.fullmatch(r"[\d.]+", fact.value):
            text = _with_category(text, fact, catalogue.names.get(fact.column, ()))
    return _tidy(_with_numbers(text, facts, day))


def lexicalised(catalogue: Catalogue, text: str, facts: Sequence[Fact], day: int) -> str:
    """The note: every slot filled from the record. Sentences with a slot that the record does not fill are left out."""
    states = {fact.column: state(fact) for fact in facts}
    values = {
        name(column, k, states.get(column, "")): words
        for column, names in catalogue.names.items()
        for k, words in enumerate(names)
    }
    units = {value(f.column, state(f)): f.unit or "" for f in facts}
    values |= {value(f.column, state(f)): spoken(f.value) for f in facts if f.value and f.kind not in ("sex", "sign")}
    own = {"diagnosis": DISEASE, "age": AGE}
    values |= {own[f.kind]: f.value for f in facts if f.kind in own} | {DAY: str(day)}
    if sex := sex_of(facts):
        values |= {gendered(pair): pair[sex == "male"] for pair in GENDERED}
    lines = [_filled(line, values, units) for line in text.split("\n")]
    return "\n".join(line for line in lines if line)


def _with_gendered(text: str, facts: Sequence[Fact]) -> str:
    """`she or he` stays, and so do words for the other sex."""
    if (sex := sex_of(facts)) is None:
        return text
    pairs = _HERS if sex == "female" else _HIS
    parts = re.split(r"(\{[^{}]+\})", text)
    parts[::2] = [
        _GENDERED[sex].sub(lambda m: gendered(pairs[m[0].lower()]) if m[0].lower() in pairs else m[0], part)
        for part in parts[::2]
    ]
    return "".join(parts)


def _with_category(text: str, fact: Fact, names: tuple[str, ...]) -> str:
    word = re.compile(rf"(?<![\w{{:=|]){re.escape(spoken(fact.value))}(?![\w}}|])", re.IGNORECASE)
    slot = value(fact.column, state(fact))
    if fact.kind in WORDS_ANYWHERE:
        return word.sub(slot, text)
    slots = [name(fact.column, k, state(fact)) for k in range(len(names))]
    parts = re.split(r"(?<=[.\n])", text)
    return "".join(word.sub(slot, p) if any(s in p for s in slots) else p for p in parts)


def _with_numbers(text: str, facts: Sequence[Fact], day: int) -> str:
    """From left to right: a number becomes the slot of the fact that has it, the one whose name stands nearest before it first;
    the unit that follows becomes `{#unit}`."""
    candidates = [("", DAY, float(day), "d")]
    for fact in facts:
        if re.fullmatch(r"\d+(?:\.\d+)?", fact.value):
            slot = AGE if fact.kind == "age" else value(fact.column, state(fact))
            candidates.append((fact.column, slot, float(fact.value), fact.unit or ""))
    out, at, named = [], 0, ""
    for found in _SLOT_OR_NUMBER.finditer(text):
        if found.start() < at:  # inside a unit
            continue
        out.append(text[at : found.start()])
        at = found.end()
        word = found.group()
        if word[0] == "{":
            named = word[1:-1].split(":")[-1].split("|")[0] if ":" in word else named
            out.append(word)
            continue
        fitting = [c for c in candidates if c[2] == float(word)]
        _, slot, _, unit = next((c for c in fitting if c[0] == named), fitting[0] if fitting else ("", NUMBER, 0.0, ""))
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
        if all(s in values or s == UNIT for s in _SLOT.findall(sentence)) and "{" not in _SLOT.sub("", sentence):
            kept.append(_written(sentence, values, units, heading=k == 0))
    return " ".join(kept)


def _written(sentence: str, values: dict[str, str], units: dict[str, str], heading: bool) -> str:
    """One sentence, with a capital at its start and after its line's heading."""
    last = ""
    out: list[str] = []
    at = 0
    for found in _SLOT.finditer(sentence):
        out.append(sentence[at : found.start()])
        at, slot = found.end(), found.group()
        text = units.get(last, "") if slot == UNIT else values[slot]
        before = "".join(out).rstrip()
        starts = not before or (heading and before.find(":") == len(before) - 1)
        out.append(text[:1].upper() + text[1:] if starts and text else text)
        last = slot if slot in units else last
    return re.sub(r" +([.,;:)\]])", r"\1", re.sub(r" {2,}", " ", "".join([*out, sentence[at:]])))
