"""Verbatim copies: runs of words that generated notes share with a single training patient.

A run that two training patients wrote, or any holdout patient, is a template or a common phrase; a longer run that stands in one
training patient's notes alone is a copy of that patient (Carlini et al. 2021 call it k-eidetic memorisation with k = 1; Lee et
al. 2022 count such runs). Holdout notes, asked the same way, say how many runs of one patient chance and a common style make.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from privacy.errors import ConfigError
from privacy.rates import Rate, auc_interval, wilson

Tokens = Sequence[str]
Notes = Sequence[tuple[Hashable, Tokens]]
"""(patient, tokens) of each note."""
ALLOWED = 12
"""Tokens that a shared run may have."""
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]")


@dataclass(frozen=True)
class Verbatim:
    """`copied` and `control` are shares of notes with a run of more than `allowed` tokens of one training patient alone; `longer`
    and `longer_control` of notes with one of more than `usual`, so long as hardly any unseen patient's note has: where notes are
    made of stock phrases, the order of these alone makes runs that only one patient has."""

    copied: Rate
    """Of generated notes."""
    control: Rate
    """Of holdout notes, which nobody generated."""
    usual: int
    """Tokens: `allowed`, or where that is more, what 99 of 100 holdout notes do not exceed."""
    longer: Rate
    longer_control: Rate
    longest: int
    """Tokens of the longest such run of a generated note; 0 for none."""
    longest_control: int
    membership: Rate
    """AUC of the longest run that each patient's notes share with any generated note, training against holdout patients."""
    allowed: int
    where: tuple[tuple[int, int, int], ...]
    """(generated note, first token, end token) of every copy."""


def tokens(text: str) -> list[str]:
    """Words, numbers and signs, lower case."""
    return _TOKEN.findall(text.lower())


def spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each token."""
    return [found.span() for found in _TOKEN.finditer(text.lower())]


def verbatim(
    generated: Sequence[Tokens], train: Notes, holdout: Notes, rng: np.random.Generator, allowed: int = ALLOWED
) -> Verbatim:
    """Copies of single training patients among generated notes.

    Args:
        generated: tokens of each generated note.
        train, holdout: the patient and the tokens of each real note.

    Raises:
        ConfigError: when there are no training or no holdout notes.
    """
    learnt, unseen = automata(train, holdout)
    copies = [_copies(learnt.matches(note), [m.run for m in unseen.matches(note)], allowed) for note in generated]
    control = [_copies(learnt.matches(note), [m.shared for m in unseen.matches(note)], allowed) for _, note in holdout]
    runs, expected = ([max((e - s for s, e in found), default=0) for found in each] for each in (copies, control))
    usual = max(allowed, int(np.quantile(expected, 0.99, method="higher")))
    where = tuple((i, start, end) for i, found in enumerate(copies) for start, end in found)
    known = Automaton(list(enumerate(generated)))
    return Verbatim(
        wilson(sum(map(bool, copies)), len(copies)),
        wilson(sum(map(bool, control)), len(control)),
        usual,
        wilson(sum(run > usual for run in runs), len(runs)),
        wilson(sum(run > usual for run in expected), len(expected)),
        max(runs, default=0),
        max(expected),
        auc_interval(_longest(train, known), _longest(holdout, known), rng),
        allowed,
        where,
    )


class Match(NamedTuple):
    """Tokens of the longest run that ends at a word of a note and stands in the automaton's notes: of anybody, and of two."""

    run: int
    shared: int


class Automaton:
    """All runs of words of some patients' notes (a suffix automaton; Blumer et al. 1985), and whether two patients wrote them."""

    def __init__(self, notes: Notes) -> None:
        self._next: list[dict[Hashable, int]] = [{}]
        self._link, self._length = [-1], [0]
        last = 0
        for i, (_, note) in enumerate(notes):
            for word in (*note, i):  # the note's number is a word that no note holds
                last = self._extend(last, word)
        self._several = self._written_by_several(notes)

    def matches(self, note: Tokens) -> list[Match]:
        """One for each word of a note."""
        state = length = 0
        found = []
        for word in note:
            while state and word not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if word in self._next[state]:
                state, length = self._next[state][word], length + 1
            found.append(Match(length, self._shared(state, length)))
        return found

    def _shared(self, state: int, length: int) -> int:
        """Tokens of the longest end of a run that two patients wrote."""
        while state and not self._several[state]:
            state = self._link[state]
            length = self._length[state]
        return length

    def _written_by_several(self, notes: Notes) -> list[bool]:
        """[states] whether notes of two patients or more hold the state's runs."""
        nobody = object()
        owner: list[Hashable] = [nobody] * len(self._next)
        several = [False] * len(self._next)
        for patient, note in notes:
            state = 0
            for word in note:
                state = self._next[state][word]
                above = state
                while above > 0 and owner[above] != patient and not several[above]:
                    several[above] = owner[above] is not nobody
                    owner[above] = patient
                    above = self._link[above]
        return several

    def _extend(self, last: int, word: Hashable) -> int:
        new = self._add({}, 0, self._length[last] + 1)
        state = last
        while state != -1 and word not in self._next[state]:
            self._next[state][word] = new
            state = self._link[state]
        if state == -1:
            return new
        target = self._next[state][word]
        if self._length[state] + 1 == self._length[target]:
            self._link[new] = target
            return new
        clone = self._add(dict(self._next[target]), self._link[target], self._length[state] + 1)
        while state != -1 and self._next[state].get(word) == target:
            self._next[state][word] = clone
            state = self._link[state]
        self._link[target] = self._link[new] = clone
        return new

    def _add(self, following: dict[Hashable, int], link: int, length: int) -> int:
        self._next.append(following)
        self._link.append(link)
        self._length.append(length)
        return len(self._next) - 1


def automata(train: Notes, holdout: Notes) -> tuple[Automaton, Automaton]:
    """Of notes that were learnt from, and of others. Raises ConfigError when there are none of either."""
    if not train or not holdout:
        raise ConfigError("copies need notes of training and of holdout patients")
    return Automaton(train), Automaton(holdout)


def whole_runs(matches: Sequence[Match]) -> Iterator[tuple[int, int]]:
    """(first token, end) of every run of a note that no longer run of it holds."""
    for end, match in enumerate(matches, 1):
        if end == len(matches) or matches[end].run != match.run + 1:
            yield end - match.run, end


def _longest(notes: Notes, known: Automaton) -> list[float]:
    """[patients] the longest run of any of a patient's notes that the automaton knows."""
    best: dict[Hashable, float] = {}
    for patient, note in notes:
        longest = max((match.run for match in known.matches(note)), default=0)
        best[patient] = max(best.get(patient, 0.0), float(longest))
    return list(best.values())


def _copies(matches: Sequence[Match], common: Sequence[int], allowed: int) -> list[tuple[int, int]]:
    """(first token, end) of every longest run of more than `allowed` tokens that one training patient alone wrote.

    Args:
        matches: of a note's words in the training notes.
        common: tokens of the longest run that ends at the word and that others wrote, too.
    """
    return [
        (start, end)
        for start, end in whole_runs(matches)
        if end - start > max(allowed, matches[end - 1].shared, common[end - 1])
    ]
