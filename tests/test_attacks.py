"""Attacks on arrays: a planted leak is found, none is found where there is none, and what is small cannot convict."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from privacy.accounting import calibrate, gaussian_epsilon
from privacy.attacks.attribute_inference import attribute_inference
from privacy.attacks.canaries import audit_canaries, fresh_after_resume
from privacy.attacks.classifier import classifier_scores
from privacy.attacks.copies import copies
from privacy.attacks.density_ratio import density_ratio_scores, log_density
from privacy.attacks.distance import distance_scores, nearest
from privacy.attacks.gower import gower
from privacy.attacks.k_map import k_map
from privacy.attacks.linkability import linkability
from privacy.attacks.membership import epsilon_ceiling, membership, tpr_at
from privacy.attacks.one_run import lower_bound, one_run, p_value
from privacy.attacks.risk import risk
from privacy.attacks.singling_out import singling_out
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.errors import ConfigError
from privacy.individual import Contributions, individual_epsilons
from privacy.rates import auc, clopper_pearson

N, COLUMNS = 80, 8


def people(rng: np.random.Generator, count: int = N) -> np.ndarray:
    return rng.normal(size=(count, COLUMNS)) @ np.linalg.cholesky(0.6 * np.eye(COLUMNS) + 0.4)


def three(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return people(rng), people(rng), people(rng), rng


def test_the_nearest_is_found_and_nobody_is_their_own_neighbour():
    points = np.array([[0.0, 0], [3, 4], [0, 1]])
    distance, where = nearest(points, points, itself=True)
    assert where.tolist() == [2, 2, 0]
    assert distance == pytest.approx([1, math.sqrt(18), 1])
    assert distance_scores(points, np.array([[0.0, 0]])).tolist() == [0, -5, -1]


def test_a_kernel_density_integrates_to_one():
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(50, 1))
    grid = np.linspace(-8, 8, 4001)[:, None]
    assert np.trapezoid(np.exp(log_density(grid, sample)), grid[:, 0]) == pytest.approx(1, abs=1e-3)


ATTACKS = {
    "distance": lambda m, c, s, _: (distance_scores(m, s), distance_scores(c, s)),
    "density ratio": density_ratio_scores,
    "classifier": classifier_scores,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_members_are_found_in_a_noisy_copy_and_not_in_a_fresh_sample(name: str):
    found, blind = [], []
    for seed in range(2 if name == "classifier" else 5):
        members, controls, fresh, rng = three(seed)
        noisy = members + rng.normal(scale=0.3, size=members.shape)
        found.append(auc(*ATTACKS[name](members, controls, noisy, rng)))
        blind.append(auc(*ATTACKS[name](members, controls, fresh, rng)))
    assert min(found) > 0.65
    assert abs(np.mean(blind) - 0.5) < 0.08


def test_membership_reports_attack_control_and_what_so_few_can_show():
    rng = np.random.default_rng(0)
    members, controls = rng.normal(2, 1, 50), rng.normal(0, 1, 40)
    result = membership("x", members, controls, rng, attacks=3)
    assert result.auc.low < result.auc.value == auc(members, controls) < result.auc.high
    assert result.corrected_low < result.auc.low
    assert result.smallest_fpr == 1 / 40
    assert result.tpr_at_10.value == np.mean(members > np.sort(controls)[-5])


def test_a_true_positive_rate_is_read_at_the_controls_own_cut():
    controls = np.arange(100.0)
    members = np.array([99.5, 98.5, 97.5, 50])
    assert tpr_at(members, controls, 0.01).value == 0.5  # above all but one of them: 98
    assert tpr_at(members, controls[:50], 0.01).value == 1.0  # 1% of 50 is nobody
    assert tpr_at(members, np.full(100, 99.5), 0.10).value == 0  # a tie is no success


def test_the_ceiling_is_that_of_a_perfect_attack():
    tpr, fpr = clopper_pearson(156, 156, 0.975).low, clopper_pearson(0, 156, 0.975).high
    assert epsilon_ceiling(156, 156) == pytest.approx(math.log(tpr / fpr))
    assert epsilon_ceiling(10, 10) < epsilon_ceiling(300, 300)


def test_copies_are_counted_and_told_by_row():
    train, holdout, fresh, rng = three(1)
    synthetic = np.concatenate([train[:3], train[3:5] + 1e-4, fresh[:75]])
    result = copies(train, holdout, synthetic, rng)
    assert result.exact.tolist() == [0, 1, 2]
    assert result.near.tolist() == [3, 4]
    assert result.control.value == 0
    assert result.twins == 0


def test_the_nearest_real_patient_lies_on_either_side_by_chance():
    """p-values of independent samples are uniform: at most 12 of 100 lie below 5% (99.9% of the time)."""
    p = [copies(*three(seed), draws=300).p_value for seed in range(100)]
    assert sum(v <= 0.05 for v in p) <= 12
    assert 0.35 < np.mean(p) < 0.65
    train, holdout, _, rng = three(0)
    assert copies(train, holdout, train + rng.normal(scale=0.5, size=train.shape), rng).p_value < 0.001


def test_gowers_distance_by_hand():
    a = np.array([[0.2, 1.0, np.nan]])
    b = np.array([[0.5, 1.0, np.nan], [0.2, 2.0, 0.1]])
    assert gower(a, b, np.array([False, True, False])) == pytest.approx(np.array([[0.1, 2 / 3]]))


def test_risk_by_hand():
    result = risk((60, 100), (20, 100), (10, 100))
    assert result.difference.value == pytest.approx(0.4)
    assert result.excess == pytest.approx(0.5)  # (0.6 - 0.2) / (1 - 0.2)
    assert 0.26 < result.difference.low < 0.4 < result.difference.high < 0.52  # Newcombe 1998, method 10
    assert risk((3, 3), (0, 3), (0, 3)).p_value == pytest.approx(1 / 20)  # Fisher's, by hand
    assert risk((60, 100), (60, 100), (0, 100)).p_value > 0.5


def records(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Train, holdout and an independent sample with a category in the last column, which columns are discrete."""
    *tables, rng = three(seed)
    coded = [np.column_stack([t[:, :-1] / 6 + 0.5, np.digitize(t[:, -1], [-0.8, 0, 0.8])]) for t in tables]
    discrete = np.arange(COLUMNS) == COLUMNS - 1
    return *coded, discrete, rng


def test_the_three_risks_see_a_copy_and_not_a_fresh_sample():
    train, holdout, fresh, discrete, rng = records(3)
    first = np.arange(COLUMNS) < 4
    for synthetic, seen in ((train, True), (fresh, False)):
        results = [
            singling_out(train, holdout, synthetic, discrete, rng, 3),
            linkability(train, holdout, synthetic, discrete, first, rng),
            attribute_inference(train, holdout, synthetic, discrete, COLUMNS - 1, rng),
        ]
        assert [r.difference.low > 0.1 for r in results] == [seen] * 3


def known_and_secret(secret: np.ndarray) -> np.ndarray:
    """[patients, 2] everybody far from everybody else by what is known of them."""
    return np.column_stack([np.arange(len(secret)) / len(secret), secret])


def test_to_name_the_common_category_is_no_success():
    """All but four secrets of forty are common."""
    real, rng, discrete = known_and_secret(np.arange(40) < 4), np.random.default_rng(0), np.array([False, True])
    told = attribute_inference(real, real, real, discrete, 1, rng)
    assert (told.attack.value, told.control.value) == (1.0, 1.0)
    never = attribute_inference(real, real, real * [1, 0], discrete, 1, rng)
    assert never.attack.value == 0.0
    assert never.p_value > 0.4
    no_control = attribute_inference(real, real[4:], real, discrete, 1, rng)  # no control has the rare one
    assert no_control.difference.low < 0.5 < no_control.difference.high


def test_a_rare_secret_counts_half_and_is_told_by_hand():
    """Of forty patients four have it; the copies of two of these and of half of the others are the synthetic cohort."""
    train = known_and_secret(np.arange(40) % 10 == 0)
    holdout = train + np.array([0.5 / 40, 0])  # each between two patients
    copied = train[[i for i in range(40) if i in (0, 20) or (i % 2 and i < 36)]]
    result = attribute_inference(train, holdout, copied, np.array([False, True]), 1, np.random.default_rng(0))
    assert result.attack.value == pytest.approx((2 / 4 + 18 / 36) / 2)
    assert result.control.value < 0.2
    assert result.p_value < 0.05


@pytest.mark.parametrize("rare", [0.05, 0.3])
def test_of_strangers_a_secret_is_told_as_often_as_chance_has_it(rare: float):
    """The p value is exact: of 150 honest cohorts no more lie below .05 than chance allows (once in a thousand)."""
    rng, discrete = np.random.default_rng(1), np.array([False, False, True])

    def some(n: int) -> np.ndarray:
        known = rng.random((n, 2))
        return np.column_stack([known, rng.random(n) < 2 * rare * known[:, 0]])

    p = [attribute_inference(some(60), some(30), some(40), discrete, 2, rng).p_value for _ in range(150)]
    assert binom.sf(sum(v <= 0.05 for v in p) - 1, 150, 0.05) > 0.001


def test_shuffled_secrets_of_copies_tell_nothing():
    """Everybody is recognised, and nobody's secret is learnt: that is membership, not inference."""
    rng = np.random.default_rng(2)
    train, holdout = (known_and_secret(rng.random(200) < 0.2) for _ in range(2))
    made = np.column_stack([train[:, 0], rng.permutation(train[:, 1])])
    result = attribute_inference(train, holdout + np.array([0.002, 0]), made, np.array([False, True]), 1, rng)
    assert result.p_value > 0.01
    assert abs(result.difference.value) < 0.2


def test_a_number_is_told_by_its_cell():
    rng = np.random.default_rng(3)
    train, holdout = rng.random((80, 4)), rng.random((80, 4))
    near = np.clip(train + np.array([0, 0, 0, 0.001]), 0, 1)
    result = attribute_inference(train, holdout, near, np.zeros(4, dtype=bool), 3, rng)
    assert result.attack.value > 0.9
    assert result.difference.low > 0.1
    assert result.p_value < 1e-4


def test_a_record_that_was_changed_a_little_still_singles_out():
    train, holdout, _, discrete, rng = records(5)
    near = np.where(discrete, train, np.clip(train + rng.normal(0, 0.02, train.shape), 0, 1))
    result = singling_out(train, holdout, near, discrete, rng, COLUMNS)
    assert result.difference.low > 0.1
    assert result.p_value < 1e-6


def test_one_column_alone_singles_out_by_its_very_number():
    rng = np.random.default_rng(0)
    train, holdout = rng.random((40, 2)), rng.random((40, 2))
    result = singling_out(train, holdout, train[:20], np.array([False, False]), rng, 1)
    assert (result.attack.value, result.attack.n) == (1.0, 40)  # no description is counted twice
    assert result.control.value == 0


def test_every_description_fits_one_synthetic_patient_and_the_control_is_as_large():
    train, holdout, fresh, discrete, rng = records(4)
    result = singling_out(train, holdout[:30], fresh, discrete, rng, 3)
    assert result.attack.n == result.control.n == 30
    everyone_alike = np.zeros((40, 2))
    nothing = singling_out(everyone_alike, everyone_alike, everyone_alike, np.array([True, True]), rng, 2)
    assert nothing.attack.n == 0


def test_k_map_by_hand():
    train = np.array([[1.0, 0], [2, 0], [2, 0], [np.nan, 1]])
    holdout = np.array([[1.0, 1], [5, 0]])
    result = k_map(train, holdout, np.array([[1.0, 0], [np.nan, 1], [5, 1]]))
    assert (result.attack.n, result.attack.value) == (2, 1.0)
    assert (result.control.n, result.control.value) == (2, 0.0)


# One run ------------------------------------------------------------------------------------------------------------------
def test_without_delta_the_guesses_are_a_binomial():
    for right, guesses, eps in [(80, 100, 1.0), (55, 100, 0.0), (100, 100, 3.0)]:
        q = math.exp(eps) / (1 + math.exp(eps))
        assert p_value(right, guesses, guesses, eps, 0.0) == pytest.approx(binom.sf(right - 1, guesses, q))


@pytest.mark.parametrize(("canaries", "ceiling"), [(50, 2.78), (100, 3.49), (1000, 5.81)])
def test_the_ceiling_of_a_one_run_audit(canaries: int, ceiling: float):
    """The published numbers: at 95%, every guess right."""
    assert lower_bound(canaries, canaries, canaries, 0.0) == pytest.approx(ceiling, abs=0.01)


def test_delta_can_only_lower_the_bound():
    assert lower_bound(95, 100, 100, 1e-3) < lower_bound(95, 100, 100, 1e-6) <= lower_bound(95, 100, 100, 0.0)


def test_a_one_run_audit_errs_no_more_often_than_it_says():
    """Scores that know nothing (200 times) and randomised response at epsilon 1 (200 times), at 95%."""
    rng = np.random.default_rng(0)
    alarms, exceeded = 0, 0
    for _ in range(200):
        coins = rng.random(100) < 0.5
        noise = one_run(rng.normal(size=100), coins, 0.0, share=1.0)
        alarms += noise.epsilon_low > 0
        told = np.where(rng.random(100) < math.e / (1 + math.e), coins, ~coins)
        answered = one_run(told + 1e-6 * rng.random(100), coins, 0.0, share=1.0)
        exceeded += answered.epsilon_low > 1
    assert alarms <= 20  # 5% of 200 are 10; above 20 in one of a thousand
    assert exceeded <= 20


def test_a_one_run_audit_sees_what_is_open():
    coins = np.arange(200) % 2 == 0
    result = one_run(coins.astype(float), coins, 1e-5)
    assert result.epsilon_low == result.ceiling > 3
    assert (result.right, result.guesses) == (100, 100)
    with pytest.raises(ConfigError, match="2 canaries"):
        one_run(np.zeros(1), np.zeros(1, dtype=bool), 0.0)


# The door -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_an_honest_door_is_not_convicted(rate: float):
    charges = calibrate([Charge("a", 1.0), Charge("b", 3.0, rate, 6)], Budget(4.0, 1e-4))
    result = audit_canaries(charges, 1e-4, 4.0, 2048)
    assert result.convicted == ()
    assert 1.5 < result.epsilon_low < 4 < result.ceiling
    assert result.fpr.value < 0.5 < result.tpr.value


def test_the_bound_on_mu_is_below_and_near_the_truth():
    mu = 1.2
    (charge,) = [Charge("a", 1 / mu)]
    result = audit_canaries([charge], 1e-5, gaussian_epsilon(mu, 1e-5), 16384)
    assert 0.9 * mu < result.mu_low < mu
    assert result.epsilon_low == pytest.approx(gaussian_epsilon(result.mu_low, 1e-5))


def test_noise_is_fresh_after_a_resume():
    assert fresh_after_resume()


# Individual losses --------------------------------------------------------------------------------------------------------
def test_individual_losses_are_what_the_contributions_pay():
    charges = [Charge("a", 2.0), Charge("b", 5.0, steps=4)]
    noted = Contributions(3)
    noted.add("a", np.array([1.0, 0.25, 0.0]))
    for _ in range(4):
        noted.add("b", np.array([1.0, 0.0, 0.0]))
    found = individual_epsilons(charges, noted.shares(charges), 1e-5)
    mu = np.array([1 / 4 + 4 / 25, 0.25 / 4, 0.0]) ** 0.5
    assert found == pytest.approx([gaussian_epsilon(float(m), 1e-5) for m in mu])


def test_a_step_that_nobody_noted_counts_in_full():
    charges = [Charge("b", 5.0, steps=4)]
    noted = Contributions(2)
    noted.add("b", np.array([0.0, 1.0]))
    assert noted.shares(charges)["b"].tolist() == [0.75, 1.0]


def test_a_sampled_charge_counts_in_full():
    charges = [Charge("a", 2.0), Charge("b", 2.0, 0.5, 4)]
    noted = Contributions(2)
    noted.add("a", np.array([0.0, 1.0]))
    low, high = individual_epsilons(charges, noted.shares(charges), 1e-5)
    from privacy.accounting import epsilon

    assert low == pytest.approx(epsilon(charges[1:], 1e-5))
    assert high == pytest.approx(epsilon(charges, 1e-5), rel=1e-3)
