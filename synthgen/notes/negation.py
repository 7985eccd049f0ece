"""What a clinical sentence denies, doubts or tells of the past: the cues around a phrase (NegEx, Chapman et al. 2001; ConText,
Harkema et al. 2009), with a scope that ends where the sentence turns."""

from __future__ import annotations

import re
from typing import Literal

Assertion = Literal["affirmed", "denied", "possible"]

_BEFORE = re.compile(
    r"\b(?:no (?:evidence|signs?|symptoms?|history|trace|features?|suggestion) of|no|denies|denied|denying|without|w/o|"
    r"negative for|neg for|absence of|free (?:from|of)|never|neither|nor|not (?:on|taking|have|had|having|show|showing|any|"
    r"been|given|prescribed|receiving)|none of|no longer (?:on|taking|has|have)|no longer|not|ruled out|lacks?|lacking)\b",
    re.IGNORECASE,
)
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
_AFTER = re.compile(
    r"^[\s,]*(?:(?:(?:is|was|are|were|has|have|had|been|could|be|today)\s+)*"
    r"(?:not (?:present|seen|noted|found|detected|palpable|appreciated|made out|evident|visible|observed|heard|felt|reported|"
    r"given|taken|needed|there)|absent|denied|negative|neg|nil|none|off|no longer|ruled out|excluded|resolved|gone|stopped|"
    r"discontinued|ended|withheld|nowhere|(?:could )?not be (?:found|seen|felt|made out))\b|\(-\)|\(neg\)|-(?=\s*(?:[.,;]|$)))|"
    r"^[^.;\n]{0,30}\b(?:without success|in vain|to no avail|has been (?:stopped|discontinued|withdrawn)|was (?:stopped|"
    r"discontinued|withdrawn|given until))\b",
    re.IGNORECASE,
)
_PRESENT = re.compile(
    r"^[\s,]*(?:(?:is|was|are|were|remains?|now|still|clearly)\s+)*(?:present|noted|seen|positive|pos|confirmed|palpable|evident|"
    r"visible|persists?|found|detected|observed|yes|\(\+\)|\+)(?![\w])",
    re.IGNORECASE,
)
_KEYED = re.compile(
    r"^\s*(?:[:=]|->|-(?=\s*\w))\s*(?P<no>no|none|absent|negative|neg|nil|denied|not present|not seen|n)\b|"
    r"^\s*(?:[:=]|->|-(?=\s*\w))\s*(?P<yes>yes|present|positive|pos|noted|y|\+)(?![\w])",
    re.IGNORECASE,
)
_POSSIBLE = re.compile(
    r"\b(?:consider(?:ing|ed)?|possible|possibly|probable|suspect(?:ed)?|may|might|could(?! (?:see|feel|hear|make out))|if|"
    r"whether|risks? of|rule out|r/o|evaluat\w*|candidate|listed for|awaiting|referred|referral|plans?|planned|will|"
    r"would(?! (?:put|call|say|rate|grade))|should|recommend\w*|advi[sc]e\w*|discuss\w*|monitor\w*|watch(?:ing)? for|"
    r"look(?:ing)? out for|screen\w*|in case of|to avoid|to prevent|family history|suggest\w*|"
    r"(?:mother|father|brother|sister|aunt|uncle|son|daughter)s?)\b",
    re.IGNORECASE,
)
_EARLIER = re.compile(
    r"\b(?:previous(?:ly)?|prior|earlier|formerly|history of|in the past|past|last (?:visit|time)|at entry|at baseline|"
    r"once|used to|before|until (?:lately|recently))\b",
    re.IGNORECASE,
)
_ONGOING = re.compile(
    r"\b(?:(?:is|remains|now|still|currently|maintained) on|is taking|takes|continu\w*|current(?:ly)?|ongoing)\b", re.I
)
_CONTINUES = re.compile(r"\b(?:carr(?:y|ies) on|continu\w*|goes on|ongoing|maintained|unchanged|currently)\b", re.I)
REACH = 90
"""Characters before a phrase in which a cue may stand: a dozen words."""


def assertion(text: str, start: int, end: int) -> Assertion:
    """Whether a text affirms, denies or merely ponders what stands at [start, end)."""
    before, after = _left(text, start), text[end : end + 60].split("\n")[0]
    if keyed := _KEYED.match(after):
        return "denied" if keyed["no"] else "affirmed"
    if _POSSIBLE.search(before):
        return "possible"
    if _AFTER.match(after):
        return "denied"
    cue = _last(_BEFORE, _NOT_A_DENIAL.sub(lambda m: "x" * len(m[0]), before))
    if cue is None:
        return "affirmed"
    between = before[cue.end() :]
    one_list = "," not in between or re.search(r"\b(?:or|nor)\b", between)
    return "affirmed" if _PRESENT.match(after) and not one_list else "denied"


def tells_of_the_past(text: str, start: int, end: int) -> bool:
    """Whether the phrase at [start, end) is told of an earlier day."""
    after = re.split(r"[.;,\n]", text[end : end + 25])[0]
    return leads_to_the_past(text, start) or bool(_EARLIER.search(after))


def leads_to_the_past(text: str, start: int) -> bool:
    """Whether what stands before a phrase tells of an earlier day (`no previous biopsy`)."""
    return bool(_EARLIER.search(_left(text, start)[-40:]))


def goes_on(text: str, start: int, end: int) -> bool:
    """Whether what stands at [start, end) is said to go on: `is on steroids`, `steroids carry on`."""
    after = re.split(r"[.;,\n]", text[end : end + 50])[0]
    return bool(_ONGOING.search(_left(text, start)[-40:]) or _CONTINUES.search(after))


def ponders(text: str, start: int) -> bool:
    """Whether a clause up to `start` speaks of what may be, is planned, or is so of somebody else."""
    return bool(_POSSIBLE.search(_left(text, start)))


def _left(text: str, start: int) -> str:
    """What stands before a phrase in its clause."""
    reach = text[max(0, start - REACH) : start]
    turns = [m.end() for m in _TURN.finditer(reach)]
    return reach[turns[-1] :] if turns else reach


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return found
