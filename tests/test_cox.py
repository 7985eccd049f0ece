"""The benchmark's Cox regression against a brute-force maximum of the partial likelihood."""

from __future__ import annotations

import sys

import numpy as np
from conftest import ROOT
from scipy.optimize import minimize_scalar

sys.path.insert(0, str(ROOT / "benchmarks"))
from coverage_of_replicates import cox


def test_it_is_the_maximum_of_the_partial_likelihood_ties_included() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=80)
    time = np.ceil(5 * rng.exponential(np.exp(-0.8 * x)))  # many ties
    event = rng.random(80) < 0.7

    def minus_log_likelihood(beta: float) -> float:
        terms = [beta * x[i] - np.log(np.exp(beta * x[time >= time[i]]).sum()) for i in np.flatnonzero(event)]
        return -float(np.sum(terms))

    best = minimize_scalar(minus_log_likelihood, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8}).x
    value, variance = cox(x, time, event)
    step = 1e-3
    curvature = sum(s * minus_log_likelihood(best + k * step) for k, s in ((-1, 1), (0, -2), (1, 1))) / step**2
    np.testing.assert_allclose(value, best, atol=1e-5)
    np.testing.assert_allclose(variance, 1 / curvature, rtol=1e-3)
