"""Accounting against independent oracles: Balle & Wang's closed form by quadrature, Renyi DP, dp-accounting's own accountant."""

from __future__ import annotations

import math

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent, get_epsilon_gaussian
from dp_accounting.pld import PLDAccountant
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm
from yardstick import at_most

from privacy import accounting
from privacy.accounting import calibrate, delta, epsilon, rdp_epsilon, replace_one_epsilon
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.errors import ConfigError


def charge(sigma: float, rate: float = 1.0, steps: int = 1, name: str = "ehr/steps") -> Charge:
    return Charge(name, noise_multiplier=sigma, sampling_rate=rate, steps=steps)


GRID = [
    charge(sigma, rate, steps) for sigma in (0.8, 2.0, 6.0) for rate in (0.01, 0.1, 0.5, 1.0) for steps in (1, 30, 300)
]
TEN = [charge(2 + i / 2, 0.05 * (i + 1), 100 + 10 * i, f"ehr/{i}") for i in range(8)] + [
    charge(5.0, name="ehr/mean"),
    charge(8.0, steps=3, name="ehr/moments"),
]


def hockey_stick(mu: float, eps: float) -> float:
    """Integral of [p_in - exp(eps) p_out]_+ for N(mu, 1) against N(0, 1), by quadrature."""
    start = eps / mu + mu / 2  # where the likelihood ratio passes exp(eps)
    gap = quad(lambda x: norm.pdf(x, mu) - math.exp(eps) * norm.pdf(x), start, start + 12, epsabs=1e-13)
    return float(gap[0])


def test_nothing_costs_nothing() -> None:
    assert epsilon([], 1e-5) == 0.0
    assert delta([], 0.0) == 0.0
    assert rdp_epsilon([], 1e-5) == 0.0
    assert replace_one_epsilon([], 1e-5) == 0.0


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("eps", [0.0, 0.3, 3.0])
def test_delta_of_a_gaussian_is_its_hockey_stick_divergence(sigma: float, eps: float) -> None:
    assert delta([charge(sigma)], eps) == pytest.approx(hockey_stick(1 / sigma, eps), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 3.0, 20.0, 500.0])
@pytest.mark.parametrize("target", [1e-3, 1e-4, 1e-8])
def test_epsilon_of_a_gaussian_is_balle_and_wangs(sigma: float, target: float) -> None:
    assert epsilon([charge(sigma)], target) == pytest.approx(get_epsilon_gaussian(sigma, target), rel=1e-6)


@pytest.mark.parametrize("x", [-1e4, -100.0, -30.001, -29.999, -8.0, -1.0, 0.0, 1.0, 8.0, 40.0])
def test_log_of_the_normal_distribution_function(x: float) -> None:
    assert accounting._log_phi(x) == pytest.approx(log_ndtr(x), rel=1e-10, abs=1e-300)


def test_full_batch_gaussians_compose_into_one() -> None:
    several = [charge(4.0, steps=7, name="a"), charge(9.0, name="b"), charge(2.5, steps=2, name="c")]
    sigma = (7 / 16 + 1 / 81 + 2 / 6.25) ** -0.5
    assert epsilon(several, 1e-4) == pytest.approx(epsilon([charge(sigma)], 1e-4), rel=1e-9)


def test_steps_under_several_names_cost_the_same_as_under_one() -> None:
    split = [charge(3.0, 0.25, 30, "a"), charge(3.0, 0.25, 70, "b")]
    assert epsilon(split, 1e-4) == epsilon([charge(3.0, 0.25, 100)], 1e-4)


@pytest.mark.parametrize("mu", [0.1, 0.6, 1.5])
def test_loss_distribution_agrees_with_the_closed_form(mu: float) -> None:
    pld = accounting.loss_distribution(mu, ())
    exact = accounting.gaussian_epsilon(mu, 1e-4)
    assert exact * (1 - 1e-9) <= pld.get_epsilon_for_delta(1e-4) <= exact * 1.002


@pytest.mark.parametrize("c", GRID, ids=lambda c: f"{c.noise_multiplier}-{c.sampling_rate}-{c.steps}")
def test_pld_is_below_rdp(c: Charge) -> None:
    assert 0 <= epsilon([c], 1e-5) <= rdp_epsilon([c], 1e-5)


def test_composition_lies_between_the_dearest_part_and_the_sum_of_parts() -> None:
    parts = [epsilon([c], 1e-5) for c in TEN]
    assert max(parts) < epsilon(TEN, 1e-5) < min(sum(parts), rdp_epsilon(TEN, 1e-5))


@pytest.mark.parametrize(
    "mechanisms",
    [[(0.25, 3.0, 300)], [(0.1, 60.0, 100)], [(0.001, 0.8, 3000)], [(0.5, 4.0, 40), (1.0, 3.0, 2), (0.05, 1.0, 60)]],
    ids=["small", "faint", "large cohort", "mixed"],
)
def test_discretisation_is_pessimistic_and_within_half_a_percent(mechanisms: list[tuple[float, float, int]]) -> None:
    """Against dp-accounting's own accountant on a grid at least three times finer."""
    fine = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=5e-5)
    for rate, sigma, steps in mechanisms:
        fine.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), steps)
    ours = epsilon([charge(sigma, rate, steps) for rate, sigma, steps in mechanisms], 1e-5)
    assert fine.get_epsilon(1e-5) * (1 - 1e-6) <= ours <= fine.get_epsilon(1e-5) * 1.005


def test_one_sampled_step_matches_the_exact_mixture() -> None:
    """delta of one Poisson-sampled Gaussian by quadrature, the larger of adding and removing."""
    rate, sigma, eps = 0.3, 0.9, 0.5

    def mixture(x: float) -> float:
        return (1 - rate) * norm.pdf(x, 0, sigma) + rate * norm.pdf(x, 1, sigma)

    def positive(gap: object) -> float:
        return float(quad(gap, -12, 12, epsabs=1e-12, limit=400)[0])

    remove = positive(lambda x: max(0.0, mixture(x) - math.exp(eps) * norm.pdf(x, 0, sigma)))
    add = positive(lambda x: max(0.0, norm.pdf(x, 0, sigma) - math.exp(eps) * mixture(x)))
    ours = delta([charge(sigma, rate)], eps)
    assert max(remove, add) * (1 - 1e-6) <= ours <= max(remove, add) * 1.001 + 1e-9


def test_epsilon_and_delta_are_inverse() -> None:
    for charges in ([charge(1.3)], TEN):
        assert delta(charges, epsilon(charges, 1e-5)) == pytest.approx(1e-5, rel=1e-3)


def test_sampling_and_noise_only_help() -> None:
    assert (
        epsilon([charge(2.0, 0.1, 50)], 1e-5)
        < epsilon([charge(2.0, 0.3, 50)], 1e-5)
        < epsilon([charge(2.0, 1.0, 50)], 1e-5)
    )
    assert epsilon([charge(2.2, 0.1, 50)], 1e-5) < epsilon([charge(2.0, 0.1, 50)], 1e-5)


def test_sampling_rate_just_below_one_costs_the_full_batch() -> None:
    assert epsilon([charge(3.0, 1 - 1e-9, 30)], 1e-4) == pytest.approx(epsilon([charge(3.0, 1.0, 30)], 1e-4), rel=1e-4)


def test_too_little_noise_gives_a_finite_upper_bound_in_bounded_memory() -> None:
    hopeless = [charge(0.002, 0.1, 100)]
    assert epsilon([charge(0.02, 0.1, 100)], 1e-4) < epsilon(hopeless, 1e-4) < math.inf
    assert epsilon(hopeless, 1e-4) == epsilon([charge(0.002, 1.0, 100)], 1e-4)


def test_a_delta_below_what_floats_resolve_is_answered_by_a_bound() -> None:
    assert epsilon([charge(2.0, 0.1, 50)], 1e-30) == epsilon([charge(2.0, 1.0, 50)], 1e-30)


@pytest.mark.parametrize("target", [0.1, 1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    "charges",
    [[charge(1.0)], [charge(0.2, steps=30), charge(7.0, name="b")], [charge(1.0, 0.25, 300)], TEN],
    ids=["one", "full batch", "dp-sgd", "ten"],
)
def test_calibration_meets_the_target_from_below(charges: list[Charge], target: float) -> None:
    calibrated = calibrate(charges, Budget(target, 1e-4))
    assert 0.985 * target < epsilon(calibrated, 1e-4) <= target
    factors = [new.noise_multiplier / old.noise_multiplier for new, old in zip(calibrated, charges, strict=True)]
    assert factors == pytest.approx([factors[0]] * len(factors))
    assert [(c.name, c.sampling_rate, c.steps) for c in calibrated] == [
        (c.name, c.sampling_rate, c.steps) for c in charges
    ]


def test_calibration_does_not_depend_on_the_scale_of_the_relative_noise() -> None:
    small, large = (calibrate([charge(s, 0.2, 50)], Budget(2.0, 1e-4))[0].noise_multiplier for s in (1e-3, 1e3))
    assert small == pytest.approx(large, rel=0.01)


def test_calibration_of_ten_charges_is_fast() -> None:
    accounting.loss_distribution.cache_clear()
    with at_most(100):
        calibrate(TEN, Budget(3.0, 1e-4))


def test_replacing_a_patient_costs_more_than_twice() -> None:
    """The noise of epsilon 3 at delta 1e-4 for add / remove is epsilon 6.9 for replacing."""
    calibrated = calibrate([charge(1.0)], Budget(3.0, 1e-4))
    assert replace_one_epsilon(calibrated, 1e-4) == pytest.approx(6.9, abs=0.05)
    doubled = charge(calibrated[0].noise_multiplier / 2)
    assert replace_one_epsilon(calibrated, 1e-4) == pytest.approx(epsilon([doubled], 1e-4), rel=1e-9)


def test_replacing_with_sampling_is_a_tight_upper_bound() -> None:
    """At sampling rate ~1 the bound is the full batch's exact value; below, it exceeds what dp-accounting estimates."""
    nearly = replace_one_epsilon([charge(3.0, 1 - 1e-9, 30)], 1e-4)
    exact = replace_one_epsilon([charge(3.0, 1.0, 30)], 1e-4)
    assert exact * (1 - 1e-6) <= nearly <= exact * 1.002
    sampled = [charge(3.0, 0.25, 100)]
    reference = PLDAccountant(NeighboringRelation.REPLACE_ONE, value_discretization_interval=1e-3)
    reference.compose(PoissonSampledDpEvent(0.25, GaussianDpEvent(3.0)), 100)
    assert reference.get_epsilon(1e-4) <= replace_one_epsilon(sampled, 1e-4) <= 1.2 * reference.get_epsilon(1e-4)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_that_is_none_is_refused(bad: float) -> None:
    for function in (epsilon, rdp_epsilon, replace_one_epsilon):
        with pytest.raises(ConfigError, match="0 < delta < 1"):
            function([charge(1.0)], bad)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ConfigError, match="epsilon >= 0"):
        delta([charge(1.0)], math.nan)
    with pytest.raises(ConfigError, match="nothing to calibrate"):
        calibrate([], Budget(1.0, 1e-4))
