"""Cox regression against brute force and closed form; estimands and their combining rule, by hand."""

from __future__ import annotations

import sys
from itertools import pairwise

import cohorts
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from fidelity.cox import cox
from fidelity.estimands import Estimate, Z, agreement, combined, estimate
from fidelity.view import View
from synthgen.dictionary import Estimand
from synthgen.simulation import simulate

Floats = NDArray[np.float64]


def minus_efron(beta: Floats, x: Floats, time: Floats, event: NDArray[np.bool_]) -> float:
    """Efron's partial likelihood, event time by event time, in loops."""
    total = 0.0
    for moment in np.unique(time[event]):
        tied, risk = event & (time == moment), time >= moment
        total += float((x[tied] @ beta).sum())
        for k in range(int(tied.sum())):
            gone = k / tied.sum()
            total -= np.log(np.exp(x[risk] @ beta).sum() - gone * np.exp(x[tied] @ beta).sum())
    return -total


def test_cox_is_the_maximum_of_the_partial_likelihood_ties_included() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([0.0, 30.0], size=(90, 2))
    time = np.ceil(5 * rng.exponential(np.exp(-0.8 * x[:, 0])))
    event = rng.random(90) < 0.7
    best = minimize(minus_efron, np.zeros(2), (x - [0, 30], time, event), method="BFGS", options={"gtol": 1e-8})
    fit = cox(x, time, event)
    np.testing.assert_allclose(fit.coefficients, best.x, atol=1e-5)
    step, curvature = 1e-4, np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        e = np.eye(2) * step
        at = [minus_efron(best.x + s * e[i] + t * e[j], x - [0, 30], time, event) for s in (1, -1) for t in (1, -1)]
        curvature[i, j] = (at[0] - at[1] - at[2] + at[3]) / (4 * step**2)
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(curvature), rtol=1e-3)


def test_cox_in_closed_form() -> None:
    """Events of one exposed and of one other patient at times 1 and 2, a third, unexposed, stays: the score equation
    1 = e/(e+2) + 0/2 gives no finite answer, but with the order swapped 1 = e/(e+2) + e/(e+1), so e = sqrt(2)."""
    x, time = np.array([[0.0], [1.0], [0.0]]), np.array([1.0, 2.0, 3.0])
    fit = cox(x, time, np.array([True, True, False]))
    assert fit.coefficients[0] == pytest.approx(np.log(2) / 2)
    assert fit.times.tolist() == [1, 2]
    assert fit.hazard == pytest.approx(np.cumsum([1 / (2 + 2**0.5), 1 / (1 + 2**0.5)]))
    assert fit.event_by(x, 1.5) == pytest.approx(1 - np.exp(-np.exp(fit.risk(x)) / (2 + 2**0.5)))
    assert fit.event_by(x, 0.5).max() == 0


def test_separated_events_give_a_wide_interval_and_no_error() -> None:
    fit = cox(np.array([[1.0], [1], [0], [0]]), np.array([1.0, 2, 3, 4]), np.array([True, True, False, False]))
    assert fit.coefficients[0] > 5
    assert fit.covariance[0, 0] > 25


def test_a_penalty_shrinks() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 1))
    time = rng.exponential(np.exp(-x[:, 0]))
    sizes = [abs(cox(x, time, np.ones(60, bool), p).coefficients[0]) for p in (0.0, 10.0, 1000.0)]
    assert all(a > b for a, b in pairwise(sizes))


def test_the_combining_rule_by_hand() -> None:
    made = combined([Estimate(1.0, 0.2, 50), Estimate(2.0, 0.4, 50)], real_patients=100)
    assert (made.value, made.variance, made.patients) == (1.5, pytest.approx(0.3 * (0.5 + 0.5)), 50)


def test_it_covers_when_the_model_is_right_and_the_real_patients_alone_are_what_is_uncertain() -> None:
    """Means of normals: the fitted model is the real mean and spread; T_s covers the truth about 95 times in 100."""
    rng, covered = np.random.default_rng(2), 0
    for _ in range(400):
        real = rng.normal(size=40)
        drawn = rng.normal(real.mean(), real.std(ddof=1), size=(5, 40))
        low, high = combined([Estimate(d.mean(), d.var(ddof=1) / 40, 40) for d in drawn], 40).interval
        covered += low <= 0 <= high
    assert 0.91 <= covered / 400 <= 0.98


def test_estimates_agree_with_what_made_the_patients() -> None:
    dictionary = cohorts.pbc()
    view = View.of(simulate(dictionary, 3000, np.random.default_rng(3)), dictionary)
    found = {e.name: estimate(e, view) for e in dictionary.estimands}
    assert all(e is not None for e in found.values())
    low, high = found["treatment_death"].interval  # type: ignore[union-attr]
    assert low < 0 < high  # severity 0
    assert found["bilirubin_death"].interval[0] > 0  # type: ignore[union-attr]
    assert found["stage_albumin"].interval[1] < 0  # type: ignore[union-attr]


def test_a_mean_difference_is_least_squares_of_the_first_value_from_its_day_on() -> None:
    dictionary = cohorts.two_labs()
    estimand = Estimand(name="x", kind="mean_difference", exposure="age", response="haemoglobin", at_days=100, per=10)
    patients = pd.DataFrame({"age": [10.0, 20, 30, 40, 50]}, index=list("abcde"))
    rows = [(p, day, value) for p, base in zip("abcde", [1, 2, 3, 4, 6], strict=True)
            for day, value in ((0, 99.0), (100, np.nan), (101, float(base)), (300, 50.0))]  # fmt: skip
    visits = pd.DataFrame(rows, columns=["patient_id", "day", "haemoglobin"])
    found = estimate(estimand, View(dictionary, patients, visits.assign(ferritin=1.0)))
    assert found is not None
    x, y = np.arange(5.0), np.array([2.0, 2, 3, 4, 6])  # 1 lies below the public bound of 2
    slope, cut = np.polyfit(x, y, 1)
    variance = ((y - slope * x - cut) ** 2).sum() / 3 / 10
    assert (found.value, found.variance) == (pytest.approx(slope), pytest.approx(variance))


def test_what_cannot_be_estimated_is_none() -> None:
    dictionary = cohorts.pbc()
    view = View.of(simulate(dictionary, 12, np.random.default_rng(4)), dictionary)
    nobody = View(dictionary, view.patients.assign(status=0.0), view.visits)
    assert estimate(dictionary.estimands[0], nobody) is None


@pytest.mark.parametrize(
    ("made", "real", "said"),
    [((1.0, 0.04), (1.1, 0.04), "pass"), ((0.1, 0.04), (-0.1, 0.04), "pass"), ((0.2, 0.04), (0.6, 0.04), "inconclusive"),
     ((0.0, 0.04), (1.0, 0.04), "fail"), ((0.5, 4.0), (1.0, 0.04), "inconclusive")],
)  # fmt: skip
def test_verdicts(made: tuple[float, float], real: tuple[float, float], said: str) -> None:
    assert agreement(Estimate(*made, 50), Estimate(*real, 50)) == said


def test_the_benchmark_widens_each_interval_by_what_the_others_missed() -> None:
    sys.path.insert(0, str(cohorts.REPOSITORY / "benchmarks"))
    from estimands import beside, randomised, rows, widening

    assert widening(np.array([0.0, 2, 2]), np.array([Z, Z, Z])) == pytest.approx([2, 2**0.5, 2**0.5])
    assert widening(np.array([0.1, 0.1]), np.array([Z, Z])).tolist() == [1, 1]
    found = [{"real patients": {"x": [0.0, 1.0, 0.5]}, "no DP": {"x": [0.0, 1.0, 0.5]}}] * 3
    of = {(r["setting"], r["metric"]): r["value"] for r in rows(found)}
    assert (of["no DP", "coverage"], of["no DP, widened", "coverage"]) == (0, 1)
    kept = {"no DP": {"x": [[0.5, 0.0, 9], [0.4, 0.04, 100], [1.0, 0.2, 50], [2.0, 0.4, 50]]}}
    made = beside(kept)
    assert made["real patients"]["x"] == pytest.approx([0.5, 0.4, Z * 0.2])
    assert made["no DP"]["x"] == pytest.approx([0.5, 1.5, Z * 0.3**0.5])
    dictionary = cohorts.pbc()
    cohort = simulate(dictionary, 200, np.random.default_rng(5))
    dealt = randomised(cohort, np.random.default_rng(6))
    assert sorted(dealt.patients["treatment"]) == sorted(cohort.patients["treatment"])
    assert not dealt.patients["treatment"].equals(cohort.patients["treatment"])
    assert dealt.patients["age"].equals(cohort.patients["age"])
