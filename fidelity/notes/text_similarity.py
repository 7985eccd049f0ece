"""Text: do synthetic notes read like real ones?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.marginals import ks_similarity
from fidelity.notes.corpus import Notes, compared, each, has_notes
from fidelity.notes.mauve import Floats, cells, lexical, mauve
from fidelity.notes.self_bleu import grams, self_bleu
from fidelity.notes.sentence_embedding import embed, folder
from fidelity.verdict import GROUPS, Compared, Measure, judged
from synthgen.findings import Evidence, Finding
from synthgen.notes.lexicon import Lexicon

Cells = NDArray[np.int64]
FLOOR = "real notes with their words shuffled"
PREDICTED = 150
"""Notes of each cohort that self-BLEU looks at; it grows with their number, so that all cohorts have the same."""
EMBEDDED = 250
"""Sentences of each cohort that are embedded."""
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Za-z/' \-]{1,40}?)[ \t]*:", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_VOWELS = re.compile(r"[aeiouy]+")


class TextSimilarity:
    """Notes against the training notes; the ceiling is the holdout's, the floor training notes with their words shuffled.
    `length` and `readability`: 1 - Kolmogorov-Smirnov distance of words a note and of Flesch-Kincaid grades. `sections`: 1 -
    total variation distance of which heading follows which. `vocabulary`: share of real notes' words that synthetic notes know.
    `terms`: mean absolute difference of the share of notes that name each column of the dictionary. `self_bleu`: how well notes
    predict each other; its floor is one note over and over. `mauve`: area under the divergence frontier of notes, by words and
    pairs of words; `mauve_sentences` by embeddings of their sentences, with the extra `pretrained`. Nothing without notes."""

    name = "note-text"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if not has_notes(evidence):
            return []
        lexicon = Lexicon(evidence.dictionary)
        views = each(compared(evidence), lambda notes: _described(notes, lexicon))
        seed = int(evidence.rng.integers(2**31))
        measures: list[tuple[str, str, Measure[Notes], Literal["lower", "higher"]]] = [
            ("length", "How alike numbers of words a note are", length, "higher"),
            ("readability", "How alike grades of reading are", readability, "higher"),
            ("sections", "How alike the order of sections is", sections, "higher"),
            ("vocabulary", "How much of real notes' words synthetic notes use", vocabulary, "higher"),
            ("terms", "How far the dictionary's columns are named more or less often", terms, "lower"),
        ]
        found = [f for name, text, measure, better in measures for f in _judged(name, text, measure, views, better)]
        found += _sameness(views)
        quantised = _by_words(views, seed)
        found += _judged("mauve", "How near the distributions of notes are", nearness, quantised, "higher")
        if (path := folder()) is not None:
            embedded = _by_sentences(views, seed, lambda sentences: embed(sentences, path))
            found += _judged(
                "mauve_sentences", "How near the distributions of sentences are", nearness, embedded, "higher"
            )
        return found


def length(real: Notes, other: Notes) -> float:
    """1 is the same."""
    return ks_similarity(real.frame["length"], other.frame["length"])


def readability(real: Notes, other: Notes) -> float:
    """1 is the same."""
    return ks_similarity(real.frame["grade"], other.frame["grade"])


def sections(real: Notes, other: Notes) -> float:
    """1 is the same. NaN where real notes have no headings."""
    first, second = _transitions(real), _transitions(other)
    if not first:
        return float("nan")
    shares = [{k: n / max(1, counts.total()) for k, n in counts.items()} for counts in (first, second)]
    return 1 - sum(abs(shares[0].get(k, 0.0) - shares[1].get(k, 0.0)) for k in {**shares[0], **shares[1]}) / 2


def vocabulary(real: Notes, other: Notes) -> float:
    """Share of the words of real notes (numbers left out, each as often as it stands there) that stand in the other's."""
    known = {word for note in other.words for word in note}
    asked = [word in known for note in real.words for word in note if not word[0].isdigit()]
    return float(np.mean(asked)) if asked else float("nan")


def terms(real: Notes, other: Notes) -> float:
    """0 is the same. NaN where no real note names a column."""
    names = sorted({name for named in real.frame["named"] for name in named})
    if not names:
        return float("nan")
    first, second = (
        np.mean([[x in named for x in names] for named in n.frame["named"]], axis=0) for n in (real, other)
    )
    return float(np.abs(first - second).mean())


def sameness(notes: Notes, number: int) -> float:
    """Self-BLEU of so many notes, spread over the cohort; 1 is one note over and over."""
    chosen = np.linspace(0, len(notes) - 1, number).astype(int)
    return self_bleu([notes.frame["grams"].iloc[i] for i in chosen])


def nearness(real: Notes, other: Notes) -> float:
    """MAUVE of the cells that the notes were put into."""
    first, second = (np.concatenate(list(notes.frame["cells"])) for notes in (real, other))
    return mauve(first, second) if len(first) and len(second) else float("nan")


def grade(text: str, words: Sequence[str]) -> float:
    """Flesch-Kincaid grade: .39 words a sentence + 11.8 syllables a word - 15.59 (Kincaid et al. 1975); a syllable is a group of
    vowels."""
    spoken = [word for word in words if not word[0].isdigit()]
    if not spoken:
        return float("nan")
    sentences = max(1, len(sentences_of(text)))
    syllables = sum(max(1, len(_VOWELS.findall(word))) for word in spoken)
    return 0.39 * len(words) / sentences + 11.8 * syllables / len(spoken) - 15.59


def sentences_of(text: str) -> list[str]:
    """Sentences and lines, without blanks around them."""
    return [s.strip() for s in _SENTENCE.split(text) if s.strip()]


def _described(notes: Notes, lexicon: Lexicon) -> Notes:
    """With what the measures look at, worked out once a note."""
    return notes.having(
        length=[len(w) for w in notes.words],
        grade=[grade(text, w) for text, w in zip(notes.texts, notes.words, strict=True)],
        headings=[_HEADING.findall(text) for text in notes.texts],
        named=[{concept.column for _, _, concept in lexicon.finditer(text)} for text in notes.texts],
        grams=[grams(w) for w in notes.words],
    )


def _transitions(notes: Notes) -> Counter[tuple[str, str]]:
    """How often a heading follows another; the beginning and the end of a note count as headings."""
    found: Counter[tuple[str, str]] = Counter()
    for headings in notes.frame["headings"]:
        if headings:
            found.update(zip(["", *headings], [*headings, ""], strict=True))
    return found


def _samples(views: Compared[Notes]) -> list[Notes]:
    return [n for n in (views.train, views.holdout, views.synthetic, views.floor, views.prior) if n is not None]


def _sameness(views: Compared[Notes]) -> list[Finding]:
    """Self-BLEU, between a second real sample and one note over and over; of as many notes whoever is left out."""
    number = min(PREDICTED, *(len(notes) - 2 * len(notes) // GROUPS for notes in _samples(views)))
    stuck = views.train.having(grams=[views.train.frame["grams"].iloc[0]] * len(views.train))
    beside = Compared(views.train, views.holdout, views.synthetic, stuck, views.prior)

    def measure(_: Notes, other: Notes) -> float:
        return sameness(other, min(number, len(other)))

    words = "How well notes predict each other"
    return judged("note-text", "self_bleu", words, measure, beside, "lower", "one note over and over")


def _with_cells(views: Compared[Notes], found: Sequence[Sequence[Cells]]) -> Compared[Notes]:
    made = [notes.having(cells=list(some)) for notes, some in zip(_samples(views), found, strict=True)]
    return Compared(made[0], made[1], made[2], made[3], made[4] if len(made) > 4 else None)


def _by_words(views: Compared[Notes], seed: int) -> Compared[Notes]:
    """One cell a note."""
    found = cells(lexical([n.texts for n in _samples(views)]), seed)
    return _with_cells(views, [[np.array([cell]) for cell in some] for some in found])


def _by_sentences(views: Compared[Notes], seed: int, embedder: Callable[[list[str]], Floats]) -> Compared[Notes]:
    """The cells of a note's sentences, of those that are drawn."""
    rng = np.random.default_rng(seed)
    drawn, owners = [], []
    for notes in _samples(views):
        pairs = [(i, s) for i, text in enumerate(notes.texts) for s in sentences_of(text)]
        chosen = rng.permutation(len(pairs))[:EMBEDDED]
        owners.append([pairs[k][0] for k in chosen])
        drawn.append([pairs[k][1] for k in chosen])
    vectors = embedder([s for some in drawn for s in some])
    found = cells(np.split(vectors, np.cumsum([len(some) for some in drawn])[:-1]), seed)
    per_note = []
    for notes, owner, cell in zip(_samples(views), owners, found, strict=True):
        mine: list[list[int]] = [[] for _ in range(len(notes))]
        for i, c in zip(owner, cell, strict=True):
            mine[i].append(int(c))
        per_note.append([np.array(some, dtype=np.int64) for some in mine])
    return _with_cells(views, per_note)


def _judged(
    name: str, text: str, measure: Measure[Notes], views: Compared[Notes], better: Literal["lower", "higher"]
) -> list[Finding]:
    return judged("note-text", name, text, measure, views, better, FLOOR)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = TextSimilarity()
