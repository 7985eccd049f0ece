"""Notes that contradict their own record are written again: chance picks another phrase.

A model that learnt little under privacy at times puts an absent sign behind *Examination shows*. What a note claims is read here
by the extractor that scores factuality, too; so the factuality of what is kept says less of the model than that of first drafts,
which is what benchmarks/notes.py measures. Only the synthetic record is looked at: no patient takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from generators.notes.encoding import Page
from synthgen.dictionary import Dictionary
from synthgen.notes.claims import ClaimExtractor
from synthgen.notes.support import Record

Writer = Callable[[Sequence[Page]], list[str]]


def rewritten(write: Writer, pages: Sequence[Page], dictionary: Dictionary, rewrites: int) -> list[str]:
    """One note a page: of up to `rewrites` + 1 drafts the first with the fewest contradictions."""
    extractor = ClaimExtractor(dictionary)
    notes = write(pages)
    wrong = {
        k: n for k, (page, text) in enumerate(zip(pages, notes, strict=True)) if (n := _wrong(extractor, page, text))
    }
    for _ in range(rewrites):
        again = list(wrong)
        for k, text in zip(again, write([pages[k] for k in again]) if again else [], strict=True):
            if (n := _wrong(extractor, pages[k], text)) < wrong[k]:
                notes[k], wrong[k] = text, n
        wrong = {k: n for k, n in wrong.items() if n}
    return notes


def _wrong(extractor: ClaimExtractor, page: Page, text: str) -> int:
    """Claims that the page's record contradicts."""
    record = Record(page.chart, page.day)
    return sum(record.support(claim).verdict == "contradicted" for claim in extractor.claims(text))
