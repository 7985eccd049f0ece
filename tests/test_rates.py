"""Intervals against independent oracles: SciPy, closed forms, and coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, mannwhitneyu

from privacy.errors import ConfigError
from privacy.rates import Rate, auc, auc_interval, clopper_pearson, combined, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (7, 156), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_exact_interval_is_scipys(successes: int, trials: int, confidence: float):
    rate = clopper_pearson(successes, trials, confidence)
    expected = binomtest(successes, trials).proportion_ci(confidence, "exact")
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert (rate.value, rate.n) == (successes / trials, trials)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (7, 156)])
def test_the_score_interval_is_scipys(successes: int, trials: int):
    rate = wilson(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_exact_interval_never_covers_less_than_it_says():
    for n, share in [(20, 0.05), (60, 0.5), (156, 0.01)]:
        counts = np.arange(n + 1)
        covers = [r.low <= share <= r.high for r in (clopper_pearson(int(k), n) for k in counts)]
        assert binom.pmf(counts, n, share)[covers].sum() >= 0.95


def test_nothing_tried_tells_nothing():
    for interval in (clopper_pearson, wilson):
        rate = interval(0, 0)
        assert (rate.low, rate.high, rate.n) == (0.0, 1.0, 0)


@pytest.mark.parametrize("wrong", [(-1, 5), (6, 5)])
def test_a_rate_beyond_its_trials_is_refused(wrong: tuple[int, int]):
    for interval in (clopper_pearson, wilson):
        with pytest.raises(ConfigError, match="successes <= trials"):
            interval(*wrong)


def test_a_weighted_sum_of_rates_by_hand():
    one, other = Rate(0.5, 0.2, 0.9, 10), Rate(0.7, 0.3, 1.0, 30)
    assert vars(combined([1], [one], 10)) == pytest.approx(vars(one))
    assert vars(combined([0.5, 0.5], [one, other], 40)) == pytest.approx(
        {"value": 0.6, "low": 0.35, "high": 0.85, "n": 40}
    )
    gap = combined([1, -1], [one, other], 40)  # Newcombe 1998: the lower limit meets the other's upper one
    assert (gap.value, gap.low) == pytest.approx((-0.2, -0.2 - (0.3**2 + 0.3**2) ** 0.5))
    assert gap.high == pytest.approx(-0.2 + (0.4**2 + 0.4**2) ** 0.5)


def test_the_area_is_mann_whitneys_with_ties_counted_half():
    rng = np.random.default_rng(0)
    members, controls = rng.integers(0, 6, 40), rng.integers(0, 5, 30)
    assert auc(members, controls) == pytest.approx(mannwhitneyu(members, controls).statistic / (40 * 30))
    assert auc([1, 1], [1, 1]) == 0.5
    with pytest.raises(ConfigError, match="each kind"):
        auc([], [1.0])


def test_the_bootstrap_of_an_area_covers_about_as_often_as_it_says():
    """At a true area of 0.64 (unit normals half a standard deviation apart), over 200 pairs of samples of 60."""
    rng = np.random.default_rng(1)
    truth, covered = 0.6382, 0
    for _ in range(200):
        rate = auc_interval(rng.normal(0.5, 1, 60), rng.normal(0, 1, 60), rng, draws=500)
        covered += rate.low <= truth <= rate.high
    assert 180 <= covered <= 199


def test_groups_wholly_apart_are_not_certain():
    rng = np.random.default_rng(2)
    apart = auc_interval(np.arange(20) + 100.0, np.arange(30.0), rng)
    assert apart.value == apart.high == 1
    assert apart.low == pytest.approx(clopper_pearson(20, 20).low)
    reversed_ = auc_interval(np.arange(30.0), np.arange(20) + 100.0, rng)
    assert reversed_.value == reversed_.low == 0
    assert reversed_.high == pytest.approx(clopper_pearson(0, 20).high)
