"""Exposure of canaries in a language model: does it find a planted text likelier than others that might have been planted?

exposure = log2 |alternatives| - log2 rank (Carlini et al. 2019, equation 1). A canary has a prefix like the notes themselves and
a suffix of random words: what is in distribution is generated, and what is not is remembered (Meeus et al. 2025, "The canary's
echo"). The model is asked through a function of negative log-likelihoods; where there is only generated text, `echo` makes one
of it (their attack by an n-gram model).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.errors import ConfigError
from privacy.rates import Rate, clopper_pearson

Tokens = tuple[str, ...]
Floats = NDArray[np.float64]
NLL = Callable[[Sequence[Tokens]], Floats]
"""[texts] negative log-likelihoods, summed over a text's tokens."""
DRAWS = 20_000


@dataclass(frozen=True)
class Canary:
    """What is planted (`text`), and what might have been in its stead: the same prefix, other random suffixes."""

    prefix: Tokens
    suffix: Tokens
    alternatives: tuple[Tokens, ...]

    @property
    def text(self) -> Tokens:
        return self.prefix + self.suffix


@dataclass(frozen=True)
class Exposure:
    """`bits.value` is the mean over canaries; a model that saw none of them gives 1.44 on average (`chance`)."""

    bits: Rate
    ranks: NDArray[np.int64]
    """[canaries] 1: likelier than every alternative."""
    ceiling: float
    """log2 of the number of texts that each canary was one of: what a model that knows it by heart gives."""
    chance: float
    p_value: float
    """How often canaries that were never planted are as exposed on average."""
    first: Rate
    """Share of the canaries that rank first; chance gives 1 / (alternatives + 1)."""


def canaries(
    prefixes: Sequence[Tokens],
    vocabulary: Sequence[str],
    rng: np.random.Generator,
    suffix: int = 8,
    alternatives: int = 255,
) -> list[Canary]:
    """One canary a prefix.

    Args:
        prefixes: beginnings of notes that nobody wrote (of public, rendered or generated notes, never of a patient's).
        vocabulary: words from which suffixes are drawn, each as likely as any other.
        suffix: words of a suffix.
        alternatives: suffixes that each canary is ranked among.

    Raises:
        ConfigError: for a vocabulary of fewer than two words, or no suffix.
    """
    if len(set(vocabulary)) < 2 or suffix < 1 or alternatives < 1:
        raise ConfigError("a canary needs two words or more to draw from, a suffix, and alternatives to it")
    words = np.array(sorted(set(vocabulary)), dtype=object)
    drawn = words[rng.integers(len(words), size=(len(prefixes), alternatives + 1, suffix))]  # [canaries, texts, words]
    return [
        Canary(tuple(prefix), tuple(mine[0]), tuple(tuple(other) for other in mine[1:]))
        for prefix, mine in zip(prefixes, drawn.tolist(), strict=True)
    ]


def exposure(planted: Sequence[Canary], nll: NLL, rng: np.random.Generator, confidence: float = 0.95) -> Exposure:
    """How exposed the canaries are in a model, with a bootstrap interval over canaries.

    Args:
        planted: the canaries that the model was trained on (or, for a control, was not).
        nll: of the model, or `echo` of what it generated.

    Raises:
        ConfigError: without a canary, or where the function gives no finite number.
    """
    if not planted:
        raise ConfigError("exposure needs at least one canary")
    texts = len(planted[0].alternatives) + 1
    ranks = np.array([_rank(canary, nll, rng) for canary in planted], dtype=np.int64)
    bits = math.log2(texts) - np.log2(ranks)
    resampled = bits[rng.integers(len(bits), size=(DRAWS, len(bits)))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    null = (math.log2(texts) - np.log2(rng.integers(1, texts + 1, size=(DRAWS, len(bits))))).mean(axis=1)
    if ranks.max() == 1:  # all by heart: the bootstrap has no width, the share of first ranks has
        low = clopper_pearson(len(bits), len(bits), confidence).low * math.log2(texts)
    return Exposure(
        Rate(float(bits.mean()), float(low), float(high), len(bits)),
        ranks,
        math.log2(texts),
        float(math.log2(texts) - np.log2(np.arange(1, texts + 1)).mean()),
        float(((null >= bits.mean() - 1e-12).sum() + 1) / (DRAWS + 1)),
        clopper_pearson(int((ranks == 1).sum()), len(ranks), confidence),
    )


def _rank(canary: Canary, nll: NLL, rng: np.random.Generator) -> int:
    """1 + alternatives that are likelier; of those as likely as the canary, a random number."""
    found = np.asarray(nll([canary.prefix + s for s in (canary.suffix, *canary.alternatives)]), dtype=np.float64)
    if found.shape != (len(canary.alternatives) + 1,) or not np.isfinite(found).all():
        raise ConfigError("exposure needs one finite negative log-likelihood for every text")
    ties = int((found[1:] == found[0]).sum())
    return 1 + int((found[1:] < found[0]).sum()) + int(rng.integers(ties + 1))


def echo(generated: Sequence[Tokens], order: int = 2, weight: float = 0.01) -> NLL:
    """Negative log-likelihoods under an n-gram model of generated notes (Meeus et al. 2025, section 4.2): what of a canary came
    out of the model again, no model needed.

    Args:
        order: words of an n-gram.
        weight: Laplace's pseudo-count of every word.
    """
    counts: dict[Tokens, int] = {}
    totals: dict[Tokens, int] = {}
    words = {word for note in generated for word in note}
    for note in generated:
        for context, word in _steps(note, order):
            counts[(*context, word)] = counts.get((*context, word), 0) + 1
            totals[context] = totals.get(context, 0) + 1

    def nll(texts: Sequence[Tokens]) -> Floats:
        def step(context: Tokens, word: str) -> float:
            seen, all_ = counts.get((*context, word), 0), totals.get(context, 0)
            return math.log((seen + weight) / (all_ + weight * (len(words) + 1)))

        return np.array([-sum(step(c, w) for c, w in _steps(text, order)) for text in texts], dtype=np.float64)

    return nll


def _steps(note: Tokens, order: int) -> list[tuple[Tokens, str]]:
    """(the words before, the word) for every word."""
    padded = ("",) * (order - 1) + tuple(note)
    return [(padded[i : i + order - 1], padded[i + order - 1]) for i in range(len(note))]
