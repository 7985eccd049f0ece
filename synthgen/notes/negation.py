"""What a clinical sentence denies, doubts or tells of the past: cues beside a phrase (NegEx, Chapman et al. 2001; ConText,
Harkema et al. 2009), in a scope that ends where the sentence turns. One table: what a cue says of a phrase, and on which side of
it it stands."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Assertion = Literal["affirmed", "denied", "possible"]
Said = Literal["denied", "stopped", "present", "possible", "earlier", "ongoing"]

_IS = r"(?:(?:is|was|are|were|remains?|has|have|had|been|could|be|now|still|clearly|today)\s+)*"
_KEY = r"\s*(?:[:=]|->|-(?=\s*\w))\s*"
"""Behind a form's entry."""
_STOP = r"stopped|discontinued"
_PAST = (
    r"\b(?:previous(?:ly)?|prior|earlier|formerly|history of|in the past|past|last (?:visit|time)|at entry|at baseline|once|"
    r"used to|before|until (?:lately|recently))\b"
)


class Cue(NamedTuple):
    """Words before a phrase, anywhere in its clause, and words that follow it (`after` is matched at the phrase's end)."""

    before: re.Pattern[str] | None
    after: re.Pattern[str] | None


def _cue(before: str | None = None, after: str | None = None) -> Cue:
    return Cue(*(None if words is None else re.compile(words, re.IGNORECASE) for words in (before, after)))


CUES: dict[Said, Cue] = {
    "denied": _cue(
        r"\b(?:no (?:evidence|signs?|symptoms?|history|trace|features?|suggestion) of|no|denies|denied|denying|without|w/o|"
        r"negative for|neg for|absence of|(?:free|clear) (?:from|of)|resol(?:ved|ution of)|"
        r"never|neither|nor|not (?:on|taking|have|had|having|show|showing|any|"
        r"been|given|prescribed|receiving)|none of|no longer (?:on|taking|has|have)|no longer|not|ruled out|lacks?|lacking)\b",
        rf"[\s,]*(?:{_IS}"
        r"(?:not (?:present|seen|noted|found|detected|palpable|appreciated|made out|evident|visible|observed|heard|felt|reported|"
        r"given|taken|needed|there)|absent|denied|negative|neg|nil|none|off|no longer|ruled out|excluded|resolved|gone|"
        rf"{_STOP}|ended|withheld|nowhere|(?:could )?not be (?:found|seen|felt|made out))\b|"
        r"\(-\)|\(neg\)|-(?=\s*(?:[.,;]|$)))|"
        rf"[^.;\n]{{0,30}}\b(?:without success|in vain|to no avail|(?:has been|was) (?:{_STOP}|withdrawn)|was given until)\b|"
        rf"{_KEY}(?:no|none|absent|negative|neg|nil|denied|not present|not seen|n)\b",
    ),
    "stopped": _cue(
        r"\bno longer(?: (?:on|taking|has|have))?\b",
        rf"[\s,]*{_IS}(?:no longer|off|{_STOP})\b|"
        rf"[^.;\n]{{0,30}}\b(?:(?:has been|was) (?:{_STOP}|withdrawn)|was given until)\b",
    ),
    "present": _cue(
        after=rf"[\s,]*{_IS}(?:present|noted|seen|positive|pos|confirmed|palpable|evident|visible|persists?|found|detected|"
        rf"observed|yes|\(\+\)|\+)(?!\w)|{_KEY}(?:yes|present|positive|pos|noted|y|\+)(?!\w)",
    ),
    "possible": _cue(
        r"\b(?:consider(?:ing|ed)?|possible|possibly|probable|question(?:able| of)?|"
        r"suspect(?:ed)?|may|might|could(?! (?:see|feel|hear|make out))|if|"
        r"whether|risks? of|rule out|r/o|evaluat\w*|candidate|listed for|awaiting|referred|referral|plans?|planned|will|"
        r"would(?! (?:put|call|say|rate|grade))|should|recommend\w*|advi[sc]e\w*|discuss\w*|monitor\w*|watch(?:ing)? for|"
        r"look(?:ing)? out for|screen\w*|in case of|to avoid|to prevent|family history|suggest\w*|"
        r"(?:mother|father|brother|sister|aunt|uncle|son|daughter)s?)\b"
    ),
    "earlier": _cue(_PAST, rf"[^.;,\n]*?{_PAST}"),
    "ongoing": _cue(
        r"\b(?:(?:is|remains|now|still|currently|maintained) on|is taking|takes|continu\w*|current(?:ly)?|ongoing)\b",
        r"[^.;,\n]*?\b(?:carr(?:y|ies) on|continu\w*|goes on|ongoing|maintained|unchanged|currently)\b",
    ),
}
_NOT_A_DENIAL = re.compile(
    r"\b(?:no (?:change|increase|decrease|improvement|worsening|difference|doubt)|not only|no further|without (?:change|"
    r"difficulty)|not (?:certain|sure))\b",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"\b(?:but|however|although|though|except|yet|whereas|while|which|apart from|aside from|because|now|then)\b|[;:\n]|\.\s|"
    r"\s[-–/|+]{1,2}\s|\s->\s",
    re.IGNORECASE,
)
_KEYED = re.compile(_KEY)
REACH, NEAR, SOON = 90, 40, 25
"""Characters before a phrase in which a cue may stand: a dozen words; of one that tells of time, half of them. Characters after
it in which one may stand that tells of the past."""


def assertion(text: str, start: int, end: int) -> Assertion:
    """Whether a text affirms, denies or merely ponders what stands at [start, end)."""
    after = _right(text, end)
    denied, present = (_follows(said, after) for said in ("denied", "present"))
    if _KEYED.match(after) and (denied or present):
        return "denied" if denied else "affirmed"
    before = _left(text, start)
    if _leads("possible", before):
        return "possible"
    if denied:
        return "denied"
    cue = _leads("denied", _NOT_A_DENIAL.sub(lambda m: "x" * len(m[0]), before))
    if cue is None:
        return "affirmed"
    between = before[cue.end() :]
    one_list = "," not in between or re.search(r"\b(?:or|nor)\b", between)
    return "affirmed" if present and not one_list else "denied"


def stopped(text: str, start: int, end: int) -> bool:
    """Whether what stands at [start, end) is said to have ended, and so to have been: `no longer on steroids`."""
    return _leads("stopped", _left(text, start)) is not None or _follows("stopped", _right(text, end))


def tells_of_the_past(text: str, start: int, end: int) -> bool:
    """Whether the phrase at [start, end) is told of an earlier day."""
    return leads_to_the_past(text, start) or _follows("earlier", _right(text, end)[:SOON])


def leads_to_the_past(text: str, start: int) -> bool:
    """Whether what stands before a phrase tells of an earlier day (`no previous biopsy`)."""
    return _leads("earlier", _left(text, start)[-NEAR:]) is not None


def goes_on(text: str, start: int, end: int) -> bool:
    """Whether what stands at [start, end) is said to go on: `is on steroids`, `steroids carry on`."""
    return _leads("ongoing", _left(text, start)[-NEAR:]) is not None or _follows(
        "ongoing", _right(text, end)[: 2 * SOON]
    )


def ponders(text: str, start: int) -> bool:
    """Whether a clause up to `start` speaks of what may be, is planned, or is so of somebody else."""
    return _leads("possible", _left(text, start)) is not None


def _left(text: str, start: int) -> str:
    """What stands before a phrase in its clause."""
    reach = text[max(0, start - REACH) : start]
    turns = [m.end() for m in _TURN.finditer(reach)]
    return reach[turns[-1] :] if turns else reach


def _right(text: str, end: int) -> str:
    """What follows a phrase on its line."""
    return text[end : end + 60].split("\n")[0]


def _leads(said: Said, before: str) -> re.Match[str] | None:
    """The last cue of its kind before a phrase."""
    pattern = CUES[said].before
    return None if pattern is None else max(pattern.finditer(before), key=lambda m: m.start(), default=None)


def _follows(said: Said, after: str) -> bool:
    pattern = CUES[said].after
    return pattern is not None and pattern.match(after) is not None
