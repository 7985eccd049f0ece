"""What the patients added over public knowledge, for every measure, and the sentence that says so."""

from __future__ import annotations

from dataclasses import replace

import cohorts
import numpy as np
import pytest

from fidelity.marginals import Marginals
from synthgen.findings import Evidence, Finding
from synthgen.floor import independent
from synthgen.gain import gained
from synthgen.simulation import simulate


def finding(name: str, value: float, prior: float | None, better: str = "higher", half: float = 0.03) -> Finding:
    found = Finding("a", name, value, "pass", "in words.", low=value - half, high=value + half, better=better)  # type: ignore[arg-type]
    return found if prior is None else found.beside(prior, prior - 0.04, prior + 0.04)


def test_a_gain_counts_in_the_direction_that_is_better_and_its_interval_adds_in_squares() -> None:
    assert finding("m", 0.9, 0.8).gain == pytest.approx((0.1, 0.05, 0.15))
    assert finding("m", 0.1, 0.2, "lower").gain == pytest.approx((0.1, 0.05, 0.15))
    assert finding("m", 0.9, None).gain is None
    assert replace(finding("m", 0.9, 0.8), low=None).gain is None


def test_the_sentence_counts_what_is_beyond_chance() -> None:
    (said,) = gained(
        [finding("up", 0.9, 0.8), finding("same", 0.9, 0.89), finding("down", 0.7, 0.8), finding("x", 1, None)]
    )
    assert said.name == "gain/patients"
    assert said.value == pytest.approx(1 / 3)
    assert "1 of 3" in said.text
    assert "a/up" in said.text
    assert "1 worse: a/down" in said.text


def test_it_says_plainly_that_nothing_was_added() -> None:
    (said,) = gained([finding("same", 0.9, 0.89), finding("down", 0.7, 0.8)])
    assert said.text.startswith("THE PATIENTS ADDED NOTHING")
    assert gained([finding("x", 1, None)]) == []


def test_a_check_measures_the_public_prior_like_the_cohort_itself() -> None:
    """A prior that is the synthetic cohort scores what it scores; one of another population scores less."""
    dictionary = cohorts.two_labs()
    both = simulate(dictionary, 240, np.random.default_rng(0))
    train, synthetic = both.of(both.ids[:120]), both.of(both.ids[120:])
    other = simulate(dictionary, 120, np.random.default_rng(5))
    floor = independent(train, dictionary, np.random.default_rng(1))
    evidence = Evidence(dictionary, train, synthetic, synthetic, floor, np.random.default_rng(2))
    assert all(f.prior is None for f in Marginals().run(evidence))
    for f in Marginals().run(replace(evidence, prior=synthetic)):
        assert (f.prior, f.prior_low, f.prior_high) == (f.value, f.low, f.high)
    assert all(f.gain is not None and f.gain[1] > 0 for f in Marginals().run(replace(evidence, prior=other)))
