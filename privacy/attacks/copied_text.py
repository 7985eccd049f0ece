"""Copied text: a run of words of a generated note that one training patient alone wrote, and that no common phrases make up.

A generator may write templates and common phrases as long as it likes: what several patients' notes hold is nobody's in
particular. Where notes are made of stock phrases, though, the *order* of these is mostly one patient's, so that a run of one
patient alone (`verbatim`) says little. Here

1. numbers are read as one sign: they are the record's, and a sentence learnt by heart is a copy with other numbers, too;
2. a common phrase is a run of `phrase` tokens or more in the notes of two training patients, or of one who was not learnt from;
3. a run of more than `allowed` tokens in one training patient's notes alone (k-eidetic memorisation with k = 1; Carlini et al.
   2021) is a copy as soon as one of its tokens lies in no common phrase.

Holdout notes, asked the same way, say how many copies there are where nothing was copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from privacy.attacks.verbatim import ALLOWED, Match, Notes, Tokens, automata, whole_runs
from privacy.rates import Rate, wilson

NUMBER = "0"
PHRASE = ALLOWED // 2
"""Tokens of the shortest common phrase: two of them make up the longest run that is allowed."""


class Copy(NamedTuple):
    """Tokens [start, end) of a note, of which `own` lie in no common phrase."""

    note: int
    start: int
    end: int
    own: int


@dataclass(frozen=True)
class CopiedText:
    """Shares of notes with a copy: of generated notes, and of holdout notes, which nobody generated."""

    copied: Rate
    control: Rate
    copies: tuple[Copy, ...]
    own_control: int
    """Most tokens in no common phrase that a copy of a holdout note has; 0 where none has a copy."""
    allowed: int

    @property
    def longest(self) -> int:
        """Tokens of the longest copy; 0 for none."""
        return max((copy.end - copy.start for copy in self.copies), default=0)


def copied_text(
    generated: Sequence[Tokens], train: Notes, holdout: Notes, allowed: int = ALLOWED, phrase: int = PHRASE
) -> CopiedText:
    """Runs of words that generated notes have of single training patients, other than templates and common phrases.

    Args:
        generated: tokens of each generated note.
        train, holdout: the patient and the tokens of each real note.

    Raises:
        ConfigError: when there are no training or no holdout notes.
    """
    seen, unseen = ([(patient, _numberless(note)) for patient, note in notes] for notes in (train, holdout))
    known, others = automata(seen, unseen)

    def copies(i: int, note: Tokens, by_others: Sequence[int]) -> list[Copy]:
        return _copies(i, known.matches(note), by_others, allowed, phrase)

    made = [_numberless(note) for note in generated]
    found = [copies(i, note, [m.run for m in others.matches(note)]) for i, note in enumerate(made)]
    control = [copies(i, note, [m.shared for m in others.matches(note)]) for i, (_, note) in enumerate(unseen)]
    return CopiedText(
        wilson(sum(map(bool, found)), len(found)),
        wilson(sum(map(bool, control)), len(control)),
        tuple(copy for each in found for copy in each),
        max((copy.own for each in control for copy in each), default=0),
        allowed,
    )


def _numberless(note: Tokens) -> list[str]:
    return [NUMBER if word[0].isdigit() else word for word in note]


def _copies(i: int, matches: Sequence[Match], by_others: Sequence[int], allowed: int, phrase: int) -> list[Copy]:
    """The copies of the note `i`.

    Args:
        matches: of the note's words in the training notes.
        by_others: tokens of the longest run that ends at the word and that somebody wrote who was not learnt from.
    """
    common = [max(match.shared, other) for match, other in zip(matches, by_others, strict=True)]
    covered = [False] * len(matches)
    for end, length in enumerate(common, 1):
        if length >= phrase:
            covered[end - length : end] = [True] * length
    found = []
    for start, end in whole_runs(matches):
        own = end - start - sum(covered[start:end])
        if own and end - start > max(allowed, common[end - 1]):
            found.append(Copy(i, start, end, own))
    return found
