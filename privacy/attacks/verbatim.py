"""Verbatim copies: runs of words that generated notes share with a single training patient.

A run that two training patients wrote, or any holdout patient, is a template or a common phrase; a longer run that stands in one
training patient's notes alone is a copy of that patient (Carlini et al. 2021 call it k-eidetic memorisation with k = 1; Lee et
al. 2022 count such runs). Holdout notes, asked the same way, say how many runs of one patient chance and a common style make.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

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
    """`copied` and `control` are shares of notes with a run of more than `allowed` tokens of one training patient alone."""

    copied: Rate
    """Of generated notes."""
    control: Rate
    """Of holdout notes, which nobody generated."""
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
    if not train or not holdout:
        raise ConfigError("copies need notes of training and of holdout patients")
    owner = _owners(train, allowed + 1)
    held = {gram for _, note in holdout for gram in _grams(note, allowed + 1)}
    control = [_copies(note, owner, set(), allowed) for _, note in holdout]
    copies = [_copies(note, owner, held, allowed) for note in generated]
    spans = tuple((i, start, end) for i, found in enumerate(copies) for start, end in found)
    known = Automaton(generated)
    return Verbatim(
        wilson(sum(map(bool, copies)), len(copies)),
        wilson(sum(map(bool, control)), len(control)),
        max((end - start for _, start, end in spans), default=0),
        max((end - start for found in control for start, end in found), default=0),
        auc_interval(_longest(train, known), _longest(holdout, known), rng),
        allowed,
        spans,
    )


class Automaton:
    """All runs of words of some notes (a suffix automaton; Blumer et al. 1985), to ask for the longest that another note has."""

    def __init__(self, notes: Sequence[Tokens]) -> None:
        self._next: list[dict[Hashable, int]] = [{}]
        self._link, self._length = [-1], [0]
        last = 0
        for i, note in enumerate(notes):
            for word in (*note, i):  # the note's number is a word that no note holds
                last = self._extend(last, word)

    def longest_run(self, note: Tokens) -> int:
        """Tokens of the longest run of `note` that stands in any of the notes."""
        state = length = best = 0
        for word in note:
            while state and word not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if word in self._next[state]:
                state, length = self._next[state][word], length + 1
            best = max(best, length)
        return best

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


def _longest(notes: Notes, known: Automaton) -> list[float]:
    """[patients] the longest run of any of a patient's notes that the automaton knows."""
    best: dict[Hashable, float] = {}
    for patient, note in notes:
        best[patient] = max(best.get(patient, 0.0), float(known.longest_run(note)))
    return list(best.values())


_MANY = object()


def _owners(notes: Notes, size: int) -> dict[tuple[str, ...], Hashable]:
    """Run of words -> the one patient whose notes hold it, or `_MANY`."""
    owner: dict[tuple[str, ...], Hashable] = {}
    for patient, note in notes:
        for gram in _grams(note, size):
            if owner.setdefault(gram, patient) != patient:
                owner[gram] = _MANY
    return owner


def _grams(note: Tokens, size: int) -> list[tuple[str, ...]]:
    return [tuple(note[i : i + size]) for i in range(len(note) - size + 1)]


def _copies(
    note: Tokens, owner: dict[tuple[str, ...], Hashable], common: set[tuple[str, ...]], allowed: int
) -> list[tuple[int, int]]:
    """(first token, end) of every run of more than `allowed` tokens that is one patient's and not common."""
    found: list[tuple[int, int]] = []
    running: Hashable = None
    for i, gram in enumerate(_grams(note, allowed + 1)):
        whose = None if gram in common else owner.get(gram)
        whose = None if whose is _MANY else whose
        if whose is not None:
            if whose == running:
                found[-1] = (found[-1][0], i + allowed + 1)
            else:
                found.append((i, i + allowed + 1))
        running = whose
    return found
