"""The attacker's curve against riskcal, the Gaussian closed form, a simulated attacker and hand-worked points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from scipy.stats import norm

from privacy.accounting import delta, loss_distribution
from privacy.charges import Charge
from privacy.errors import ConfigError
from privacy.tradeoff import _from_profile, curve, tpr_at


def charge(sigma: float, rate: float = 1.0, steps: int = 1) -> Charge:
    return Charge("ehr/steps", noise_multiplier=sigma, sampling_rate=rate, steps=steps)


PLANS = {
    "dp-sgd": [charge(3.0, 0.25, 100)],
    "large cohort": [charge(0.9, 0.01, 500)],
    "mixed": [charge(4.0, 0.1, 60), charge(2.0), charge(1.0, 0.02, 30)],
    "one strong step": [charge(0.5, 0.3, 1)],
}


def test_without_charges_an_attacker_can_only_guess() -> None:
    assert [tpr_at([], fpr) for fpr in (0.0, 0.01, 0.5, 1.0)] == pytest.approx([0.0, 0.01, 0.5, 1.0])


def test_full_batch_is_the_gaussian_closed_form() -> None:
    """sigma 2 taken 4 times is mu = 1: at 1% false positives Phi(-2.3263 + 1) = .0924."""
    assert tpr_at([charge(2.0, steps=4)], 0.01) == pytest.approx(0.0924, abs=5e-5)
    assert tpr_at([charge(2.0, steps=4)], 0.0) == 0.0
    assert tpr_at([charge(2.0, steps=4)], 1.0) == 1.0


@pytest.mark.parametrize("fpr", [1e-3, 0.01, 0.1, 0.5, 0.9])
def test_the_profile_of_a_gaussian_gives_its_closed_form(fpr: float) -> None:
    """The general path (a sampling rate just below one) against the closed form, from above."""
    general, exact = tpr_at([charge(1.5, 1 - 1e-9)], fpr), tpr_at([charge(1.5)], fpr)
    assert exact - 1e-7 <= general <= exact + 1e-4


def test_one_pair_gives_the_hand_worked_bound() -> None:
    """(ln 2, 0.1): at fpr .1 the bounds are 2 x .1 + .1 = .3 and 1 - (1 - .1 - .1) / 2 = .6; at fpr .8, 1.7 and .95."""
    bound = _from_profile(np.array([0.1, 0.8]), np.array([math.log(2)]), [0.1])
    assert bound == pytest.approx([0.3, 0.95])


@pytest.mark.parametrize("plan", PLANS)
def test_agrees_with_riskcal(plan: str) -> None:
    from riskcal.analysis import get_beta_from_pld

    accountant = PLDAccountant(value_discretization_interval=1e-4)
    for c in PLANS[plan]:
        one = GaussianDpEvent(c.noise_multiplier)
        step = PoissonSampledDpEvent(c.sampling_rate, one) if c.sampling_rate < 1 else one
        accountant.compose(SelfComposedDpEvent(step, c.steps))
    fpr = np.array([1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.99])
    oracle = 1 - get_beta_from_pld(accountant._pld, fpr)
    ours = np.array([tpr_at(PLANS[plan], f) for f in fpr])
    assert ours == pytest.approx(oracle, abs=2e-3)


@pytest.mark.parametrize("plan", PLANS)
def test_a_curve_is_a_concave_bound_above_guessing(plan: str) -> None:
    fpr, tpr = curve(PLANS[plan], n=400)
    assert fpr.shape == tpr.shape == (400,)
    assert fpr[0] == 0
    assert fpr[-1] == tpr[-1] == 1
    assert (tpr >= fpr).all()
    slopes = np.diff(tpr) / np.diff(fpr)
    assert (np.diff(slopes) <= 1e-6 * slopes[:-1] + 1e-9).all()


def test_the_best_attacker_on_one_step_never_passes_the_curve_and_reaches_it() -> None:
    """Likelihood-ratio attacks on one sampled step, in closed form: the patient shifts the sum by 1 with probability 0.3.
    Claiming presence is the best attack at few false alarms, claiming absence at many: the curve covers both."""
    sigma, rate = 0.5, 0.3
    thresholds = np.linspace(-3, 4, 100_001)
    absent = norm.cdf(thresholds, 0, sigma)
    present = (1 - rate) * absent + rate * norm.cdf(thresholds, 1, sigma)
    for fpr in (0.001, 0.01, 0.1, 0.3, 0.9, 0.99):
        presence = float(np.interp(fpr, (1 - absent)[::-1], (1 - present)[::-1]))
        absence = float(np.interp(fpr, present, absent))
        best = max(presence, absence)
        assert best - 1e-5 <= tpr_at([charge(sigma, rate)], fpr)
        if fpr != 0.3:  # there, tossing a coin between the two attacks is better than either
            assert tpr_at([charge(sigma, rate)], fpr) <= best + 1e-3


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 2.0])
def test_never_above_what_one_epsilon_and_delta_say(plan: str, epsilon: float) -> None:
    for fpr in (0.001, 0.01, 0.3):
        single = math.exp(epsilon) * fpr + delta(PLANS[plan], epsilon)
        assert tpr_at(PLANS[plan], fpr) <= min(1.0, single) * (1 + 1e-3)


def test_more_noise_helps_less_attack() -> None:
    assert tpr_at([charge(4.0, 0.25, 100)], 0.01) < tpr_at([charge(3.0, 0.25, 100)], 0.01)


def test_a_strong_composition_neither_overflows_nor_warns() -> None:
    strong = [charge(0.05, 0.5, 4)]
    assert loss_distribution(0.0, ((0.5, 0.05, 4),)).get_epsilon_for_delta(1e-12) > 709
    assert 0.93 < tpr_at(strong, 0.01) <= 1


@pytest.mark.parametrize("fpr", [-0.1, 1.1, math.nan])
def test_a_rate_that_is_none_is_refused(fpr: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        tpr_at([charge(1.0)], fpr)
