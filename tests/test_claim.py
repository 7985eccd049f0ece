"""The claim: its numbers against closed forms of the Gaussian mechanism, its words for whoever has none."""

from __future__ import annotations

import json
import math

import pytest
from finished_run import BUDGET, dictionary
from scipy.optimize import brentq
from scipy.stats import norm

from privacy.charges import Charge
from synthgen.claim import NO_GUARANTEE, claim, factor, up

CHARGES = (Charge("ehr/a", 3.0), Charge("ehr/b", 8.0, 1.0, 30))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Balle & Wang 2018, Theorem 8, solved by SciPy."""

    def excess(e: float) -> float:
        return norm.cdf(mu / 2 - e / mu) - math.exp(e) * norm.cdf(-mu / 2 - e / mu) - delta

    return float(brentq(excess, 0, 100))


def mu_of(charges: tuple[Charge, ...]) -> float:
    return math.sqrt(sum(c.steps / c.noise_multiplier**2 for c in charges))


def test_numbers_agree_with_closed_forms():
    guarantee = claim(CHARGES, BUDGET, dictionary()).guarantee
    mu = mu_of(CHARGES)
    assert guarantee.delta == BUDGET.delta
    assert guarantee.epsilon == pytest.approx(gaussian_epsilon(mu, BUDGET.delta), rel=1e-3)
    assert guarantee.epsilon_all_runs == guarantee.epsilon
    assert guarantee.epsilon_replace_one == pytest.approx(gaussian_epsilon(2 * mu, BUDGET.delta), rel=1e-3)
    for rate, found in guarantee.attacker:
        assert found == pytest.approx(norm.cdf(norm.ppf(rate) + mu), rel=1e-3)


def test_all_runs_count_also_for_the_attacker():
    """Two runs of equal noise are one run with mu larger by the square root of two."""
    once, twice = (claim(CHARGES, BUDGET, dictionary(), all_runs=CHARGES * runs).guarantee for runs in (1, 2))
    mu = math.sqrt(2) * mu_of(CHARGES)
    assert twice.epsilon == once.epsilon
    assert twice.epsilon_all_runs == pytest.approx(gaussian_epsilon(mu, BUDGET.delta), rel=1e-3)
    assert dict(twice.attacker)[0.01] == pytest.approx(norm.cdf(norm.ppf(0.01) + mu), rel=1e-3)


def test_words_hold_every_number_never_understated():
    made = claim(CHARGES, BUDGET, dictionary(), all_runs=CHARGES * 2)
    words = " ".join((made.headline, *made.sentences))
    guarantee = made.guarantee
    for value in (guarantee.epsilon, guarantee.epsilon_all_runs, guarantee.epsilon_replace_one):
        assert float(up(value)) >= value
        assert up(value) in words
    assert f"at most {up(100 * dict(guarantee.attacker)[0.01], 1)} in 100 true members" in words
    assert "312 patients, is published" in words
    assert "adding or removing one patient" in words
    assert "31 such sums under 2 charges" in words
    assert NO_GUARANTEE not in words


@pytest.mark.parametrize(
    ("budget", "marks", "removed", "reason"),
    [
        (None, (), 0, "epsilon: null"),
        (BUDGET, ("revealed",), 0, "read the patients directly"),
        (BUDGET, ("seeded",), 0, "drawn from a seed"),
        (BUDGET, ("unheard_of",), 0, "unheard_of"),
        (BUDGET, (), 3, "3 synthetic patients were removed on evidence that read real patients"),
    ],
)
def test_no_guarantee_is_shouted(budget, marks, removed, reason):
    made = claim(CHARGES, budget, dictionary(), marks=marks, removed_on_real_data=removed)
    assert made.guarantee is None
    assert made.headline == NO_GUARANTEE
    assert any(NO_GUARANTEE in sentence and reason in sentence for sentence in made.sentences)
    assert "epsilon " not in " ".join(made.sentences).replace("epsilon: null", "")
    assert made.as_dict()["guarantee"] is None
    assert made.as_markdown().startswith(f"# {NO_GUARANTEE}")


def test_a_plan_that_learns_nothing_costs_nothing():
    made = claim((), BUDGET, dictionary())
    assert made.guarantee.epsilon == 0
    assert dict(made.guarantee.attacker)[0.01] == pytest.approx(0.01)
    assert "Nothing was learnt from patients" in " ".join(made.sentences)


def test_dropped_patients_are_counted():
    made = claim(CHARGES, BUDGET, dictionary()).without(2).without(3)
    assert made.dropped == 5
    assert any("5 synthetic patients were left out" in sentence for sentence in made.sentences)


def test_outside_says_what_epsilon_does_not_cover():
    outside = " ".join(claim(CHARGES, BUDGET, dictionary()).outside)
    for word in ("declared size", "holdout", "Findings", "Decisions of people", "settings"):
        assert word in outside


def test_json_has_no_nan_and_goes_round():
    content = claim(CHARGES, BUDGET, dictionary()).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False))["guarantee"]["delta"] == BUDGET.delta


def test_rounding_goes_up_but_not_beyond_noise():
    assert (up(2.991), up(3.0), up(3.0000000001), up(0.0), up(12.34, 1)) == ("3.00", "3.00", "3.00", "0.00", "12.4")
    assert factor(1.0) == "2.8"
    assert factor(50.0) == "e to the power of 50.00"
