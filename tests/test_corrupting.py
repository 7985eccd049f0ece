"""Corrupted notes: as much as was asked, the same for the same seed, and lines stay lines."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from clinic import CLINIC, clinic
from cohorts import two_labs

from synthgen.notes.corrupting import LEVELS, SHORTHAND, corrupt, corrupt_notes

TEXT = (
    "The patient was seen because of abdominal swelling, bilirubin 2.4 mg/dL and albumin 3.35 g/dL.\nTreatment goes on. "
    * 40
)
KINDS = ("misspelling", "abbreviation", "ocr")


def changed(before: str, after: str) -> float:
    """Share of the words of `before` that `after` no longer has."""
    words = Counter(before.split())
    return (words - Counter(after.split())).total() / words.total()


@pytest.mark.parametrize("kind", KINDS)
def test_the_share_of_words_is_about_what_was_asked(kind):
    shares = [changed(TEXT, corrupt(TEXT, np.random.default_rng(1), share, (kind,))) for share in (0.0, 0.05, 0.2)]
    assert shares[0] == 0
    assert 0.005 < shares[1] < 0.1  # short words and numbers are not misspelt or abbreviated
    assert shares[1] < shares[2] < 0.4


def test_the_same_seed_gives_the_same_text_and_another_does_not():
    a, b, c = (corrupt(TEXT, np.random.default_rng(seed), 0.1) for seed in (1, 1, 2))
    assert a == b != c


def test_lines_stay_lines():
    assert corrupt(TEXT, np.random.default_rng(0), 0.3).count("\n") == TEXT.count("\n")


def test_each_kind_does_what_it_is_called():
    rng = np.random.default_rng(0)
    assert corrupt("patient with years", rng, 1.0, ("abbreviation",)) == "pt w/ yrs"
    assert corrupt("hepatomegaly", rng, 1.0, ("abbreviation",)) == "hepat."
    misspelt = corrupt("hepatomegaly", rng, 1.0, ("misspelling",))
    assert misspelt != "hepatomegaly"
    assert abs(len(misspelt) - 12) <= 1
    assert corrupt("no on at", rng, 1.0, ("misspelling",)) == "no on at"
    assert len({corrupt("15.8", np.random.default_rng(s), 1.0, ("ocr",)) for s in range(30)} - {"15.8"}) >= 3


def test_shorthand_is_shorter():
    assert all(len(short) < len(word) for word, short in SHORTHAND.items())


def test_a_cohort_keeps_all_but_its_notes():
    cohort = clinic([(0, TEXT), (200, "No ascites.")])
    spoilt = corrupt_notes(cohort, CLINIC, np.random.default_rng(0), LEVELS["heavy"])
    assert spoilt.visits is cohort.visits
    assert list(spoilt.notes["day"]) == [0, 200]
    assert spoilt.notes["text"][0] != TEXT
    dictionary = two_labs()
    assert corrupt_notes(cohort, dictionary, np.random.default_rng(0)) is cohort  # nothing that it declares is a text
