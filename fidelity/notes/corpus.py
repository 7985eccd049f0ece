"""A cohort's notes the way measures want them: one row a note, with its words, of the patients who have any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fidelity.verdict import Compared
from synthgen.notes.support import notes_of, text_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.findings import Evidence

FEWEST = 10
"""Notes below which nothing is compared."""
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+(?:'[^\W\d_]+)?")
_PIECE = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class Notes:
    """Notes of one cohort.

    `frame`: one row a note, with `patient_id`, `note` (its number among the patient's own), `day` (NaN without one), `text`; a
    measure may add columns of its own. `patients`: indexed by the ids of those who have a note.
    """

    frame: pd.DataFrame
    patients: pd.DataFrame

    @classmethod
    def of(cls, cohort: Cohort, dictionary: Dictionary) -> Notes:
        """The notes of a cohort; empty where it has none."""
        rows = list(notes_of(cohort, dictionary))
        frame = pd.DataFrame(rows, columns=["patient_id", "note", "day", "text"]).astype({"day": "float64"})
        return cls.from_frame(frame)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Notes:
        """The notes of these rows, with their words."""
        counts = frame.groupby("patient_id", sort=False).size().rename("notes").to_frame()
        return cls(frame, counts).having(words=[words(text) for text in frame["text"]])

    def __len__(self) -> int:
        """How many notes."""
        return len(self.frame)

    def without(self, ids: pd.Index[Any]) -> Notes:
        """The same notes without these patients'."""
        return Notes(self.frame[~self.frame["patient_id"].isin(ids)], self.patients.drop(ids))

    def having(self, **columns: Sequence[Any] | NDArray[Any]) -> Notes:
        """The same notes with further columns."""
        return replace(self, frame=self.frame.assign(**columns))

    @cached_property
    def texts(self) -> list[str]:
        return list(self.frame["text"])

    @cached_property
    def words(self) -> list[list[str]]:
        """[notes] lower-case words and numbers of each."""
        return list(self.frame["words"])


def words(text: str) -> list[str]:
    """Lower-case words and numbers; no punctuation."""
    return _WORD.findall(text.lower())


def has_notes(evidence: Evidence) -> bool:
    """Whether there are notes to compare: the dictionary declares a text, and real and synthetic patients have enough."""
    if text_column(evidence.dictionary) is None:
        return False
    cohorts = (evidence.train, evidence.holdout, evidence.synthetic)
    return all(c.notes is not None and len(c.notes) >= FEWEST for c in cohorts)


def compared(evidence: Evidence) -> Compared[Notes]:
    """The notes of the evidence; the floor is the training notes with their words shuffled."""
    train, holdout, synthetic = (
        Notes.of(c, evidence.dictionary) for c in (evidence.train, evidence.holdout, evidence.synthetic)
    )
    prior = evidence.prior
    made = None if prior is None or prior.notes is None else Notes.of(prior, evidence.dictionary)
    return Compared(train, holdout, synthetic, shuffled(train, evidence.rng), made)


def shuffled(notes: Notes, rng: np.random.Generator) -> Notes:
    """The same notes with the words of each in another order; blanks and lines stay where they are."""
    texts = [_shuffled(text, rng) for text in notes.texts]
    return Notes.from_frame(notes.frame.assign(text=texts))


def _shuffled(text: str, rng: np.random.Generator) -> str:
    pieces = _PIECE.findall(text)
    at = [i for i, piece in enumerate(pieces) if not piece.isspace()]
    order = [pieces[at[j]] for j in rng.permutation(len(at))]
    for i, piece in zip(at, order, strict=True):
        pieces[i] = piece
    return "".join(pieces)


def each(views: Compared[Notes], prepare: Callable[[Notes], Notes]) -> Compared[Notes]:
    """The same with every sample prepared."""
    prior = None if views.prior is None else prepare(views.prior)
    return Compared(prepare(views.train), prepare(views.holdout), prepare(views.synthetic), prepare(views.floor), prior)
