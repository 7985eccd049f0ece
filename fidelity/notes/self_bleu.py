"""Self-BLEU (Zhu et al. 2018): how well a cohort's notes predict each other; 1 is one note over and over.

BLEU-4 of each note against all others as references, with the closest reference's length and add-one smoothing of the higher
orders (Lin & Och 2004).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

ORDERS = 4
Grams = tuple[Counter[tuple[str, ...]], ...]
"""n-grams of one note, by order."""


def grams(words: Sequence[str]) -> Grams:
    """The note's n-grams, n = 1 ... 4, with how often each stands in it."""
    return tuple(Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, ORDERS + 1))


def self_bleu(notes: Sequence[Grams]) -> float:
    """Mean over notes. NaN with fewer than two."""
    if len(notes) < 2:
        return float("nan")
    most = [_two_most([note[n] for note in notes]) for n in range(ORDERS)]
    lengths = sorted(note[0].total() for note in notes)
    return sum(_bleu(note, most, lengths) for note in notes) / len(notes)


def _two_most(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int]]:
    """n-gram -> the highest and the second highest count in any note: a note's own count is no reference to it."""
    most: dict[tuple[str, ...], tuple[int, int]] = {}
    for count in counts:
        for gram, n in count.items():
            first, second = most.get(gram, (0, 0))
            most[gram] = (n, first) if n > first else (first, max(second, n))
    return most


def _bleu(note: Grams, most: Sequence[dict[tuple[str, ...], tuple[int, int]]], lengths: Sequence[int]) -> float:
    logs = 0.0
    for order, (count, highest) in enumerate(zip(note, most, strict=True)):
        total = count.total()
        matched = 0
        for gram, n in count.items():
            first, second = highest[gram]
            matched += min(n, second if n == first else first)
        smooth = int(order > 0)
        if matched + smooth == 0 or total + smooth == 0:
            return 0.0
        logs += math.log((matched + smooth) / (total + smooth)) / ORDERS
    return math.exp(logs) * _brevity(note[0].total(), lengths)


def _brevity(length: int, lengths: Sequence[int]) -> float:
    """exp(1 - reference / length) where the closest other length is longer."""
    from bisect import bisect_left, bisect_right

    if length == 0:
        return 0.0
    low, high = bisect_left(lengths, length), bisect_right(lengths, length)
    if high - low > 1:  # another note of this length
        return 1.0
    longer = lengths[high] if high < len(lengths) else None
    shorter = lengths[low - 1] if low else None
    if longer is None or (shorter is not None and length - shorter <= longer - length):
        return 1.0
    return math.exp(1 - longer / length)
