"""What charges cost: one epsilon at one delta for all of them together, for adding or removing one patient.

Full-batch Gaussian mechanisms compose exactly into one (Dong et al. 2022, Cor. 3.3: mu^2 = sum steps / sigma^2), whose
price has a closed form (Balle & Wang 2018, Theorem 8). Poisson-sampled ones compose as privacy loss distributions
(`dp-accounting`, connect-the-dots discretisation, rounded against us): an upper bound, within about 0.5%.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from privacy.errors import ConfigError

if TYPE_CHECKING:
    from privacy.budget import Budget
    from privacy.charges import Charge

Subsampled = tuple[tuple[float, float, int], ...]
"""Poisson-sampled Gaussian mechanisms in canonical order: (sampling rate, noise multiplier, steps)."""

HOPELESS = 1e4
"""Above this width of the privacy loss, in nats, what sampling gains is not worth computing."""


def epsilon(charges: Sequence[Charge], delta: float) -> float:
    """The smallest epsilon >= 0 at which the composition of `charges` is (epsilon, delta)-private; 0 for no charges.

    Raises:
        ConfigError: unless 0 < delta < 1.
    """
    _check_delta(delta)
    mu, subsampled = parts(charges)
    if not subsampled:
        return gaussian_epsilon(mu, delta)
    bound = float(loss_distribution(mu, subsampled).get_epsilon_for_delta(delta))
    return bound if math.isfinite(bound) else gaussian_epsilon(_unsampled(mu, subsampled), delta)


def delta(charges: Sequence[Charge], epsilon: float) -> float:
    """The smallest delta at which the composition of `charges` is (epsilon, delta)-private; 0 for no charges.

    Raises:
        ConfigError: unless epsilon >= 0.
    """
    if not epsilon >= 0:
        raise ConfigError(f"A privacy profile is read at epsilon >= 0. Got {epsilon!r}")
    mu, subsampled = parts(charges)
    if not subsampled:
        return gaussian_delta(mu, epsilon)
    return float(loss_distribution(mu, subsampled).get_delta_for_epsilon(epsilon))


def replace_one_epsilon(charges: Sequence[Charge], delta: float) -> float:
    """Epsilon at `delta` for *replacing* one patient by another, which some papers mean by epsilon: over twice as large.

    Full batch: exact, the same mechanism at twice the sensitivity. With any Poisson-sampled charge: an upper bound. A
    replacement is a removal and an addition, so delta(e1 + e2) <= delta(e1) + exp(e1) delta(e2) (group privacy), here at
    the best of 49 ways to split delta; for Gaussian mechanisms that bound is tight.

    Raises:
        ConfigError: unless 0 < delta < 1.
    """
    _check_delta(delta)
    mu, subsampled = parts(charges)
    if not subsampled:
        return gaussian_epsilon(2 * mu, delta)
    import numpy as np

    pld = loss_distribution(mu, subsampled)
    shares = delta * np.linspace(0.02, 0.98, 49)
    first = [float(pld.get_epsilon_for_delta(share)) for share in shares]
    rest = (float(pld.get_epsilon_for_delta(math.exp(-e1) * (delta - s))) for e1, s in zip(first, shares, strict=True))
    return min(gaussian_epsilon(2 * _unsampled(mu, subsampled), delta), *map(sum, zip(first, rest, strict=True)))


def rdp_epsilon(charges: Sequence[Charge], delta: float) -> float:
    """The same epsilon by Renyi DP (Mironov et al. 2019): looser, by other code. To check `epsilon` with, not to claim."""
    _check_delta(delta)
    if not charges:
        return 0.0
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    for c in charges:
        accountant.compose(PoissonSampledDpEvent(c.sampling_rate, GaussianDpEvent(c.noise_multiplier)), c.steps)
    return float(accountant.get_epsilon(delta))


def calibrate(charges: Sequence[Charge], budget: Budget) -> tuple[Charge, ...]:
    """`charges` with all noise multipliers times one common factor, so that together they cost just under `budget`.

    The ratios between charges stay as the generators wrote them. The cost lies in (0.985 epsilon, epsilon].

    Raises:
        ConfigError: if there is nothing to calibrate.
    """
    if not charges:
        raise ConfigError("There is nothing to calibrate: the plan holds no charge, learns nothing and costs nothing.")

    @cache
    def spent(log_factor: float) -> float:
        return epsilon(_scaled(charges, log_factor), budget.delta)

    low, high = _bracket(spent, _gaussian_guess(charges, budget), budget.epsilon)
    tolerance = 1e-3
    while True:
        answer = _root(lambda x: spent(x) / budget.epsilon - 0.995, low, high, tolerance)
        if 0.985 * budget.epsilon < spent(answer) <= budget.epsilon:
            return _scaled(charges, answer)
        tolerance /= 8


def gaussian_delta(mu: float, epsilon: float) -> float:
    """delta of a Gaussian mechanism with sensitivity / sigma = mu: Phi(mu/2 - e/mu) - exp(e) Phi(-mu/2 - e/mu)."""
    if mu == 0:
        return 0.0
    log_in, log_out = _log_phi(mu / 2 - epsilon / mu), epsilon + _log_phi(-mu / 2 - epsilon / mu)
    return -math.exp(log_in) * math.expm1(min(0.0, log_out - log_in))


def _log_phi(x: float) -> float:
    """log of the normal distribution function. By hand, since the ledger prices full-batch runs in processes without SciPy."""
    if x > -30:
        return math.log1p(-math.erfc(x / math.sqrt(2)) / 2) if x > 0 else math.log(math.erfc(-x / math.sqrt(2)) / 2)
    return -(x**2) / 2 - math.log(-x * math.sqrt(2 * math.pi)) + math.log1p(-1 / x**2 + 3 / x**4)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon >= 0 at which a Gaussian mechanism with sensitivity / sigma = mu has this delta, rounded up."""
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def parts(charges: Sequence[Charge]) -> tuple[float, Subsampled]:
    """(mu, subsampled): all full-batch charges as one Gaussian mechanism with sensitivity / sigma = mu, and the others."""
    full = sum(c.steps / c.noise_multiplier**2 for c in charges if c.sampling_rate == 1)
    steps: Counter[tuple[float, float]] = Counter()
    for c in charges:
        if c.sampling_rate < 1:
            steps[c.sampling_rate, c.noise_multiplier] += c.steps
    subsampled = tuple(sorted((rate, sigma, count) for (rate, sigma), count in steps.items()))
    if _width(subsampled) > HOPELESS:  # a distribution this wide would fill the memory
        return _unsampled(math.sqrt(full), subsampled), ()
    return math.sqrt(full), subsampled


@lru_cache(maxsize=16)
def loss_distribution(mu: float, subsampled: Subsampled) -> Any:
    """The `PrivacyLossDistribution` (dp-accounting) of a composition given as its `parts`, both directions, pessimistic."""
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism, identity

    interval = _interval(mu, subsampled)
    composed = identity(interval)
    if mu > 0:
        composed = composed.compose(from_gaussian_mechanism(1 / mu, value_discretization_interval=interval))
    for rate, sigma, steps in subsampled:
        one = from_gaussian_mechanism(sigma, value_discretization_interval=interval, sampling_prob=rate)
        composed = composed.compose(one.self_compose(steps))
    return composed


def _interval(mu: float, subsampled: Subsampled) -> float:
    """Discretisation of the privacy loss, in nats.

    Rounding to a grid adds about interval x (typical loss) to the variance of each step's loss, so it stays well below
    the typical loss; and no finer than needed to keep the distribution at some hundred thousand points.
    """
    mechanisms = ((1.0, 1 / mu, 1), *subsampled) if mu else subsampled
    losses = [(steps, min(1.0, _spread(rate, sigma))) for rate, sigma, steps in mechanisms]
    typical = sum(n * loss**2 for n, loss in losses) / sum(n * loss for n, loss in losses)
    return max(min(1e-3, typical / 5), _width(mechanisms) / 2e5)


def _width(mechanisms: Subsampled) -> float:
    """How far the privacy loss reaches, in nats: the largest mean loss of one step, plus an upper bound of the total's mean."""
    total = sum(rate * steps / (2 * sigma**2) for rate, sigma, steps in mechanisms)
    return total + max((1 / (2 * sigma**2) for _, sigma, _ in mechanisms), default=0.0)


def _unsampled(mu: float, subsampled: Subsampled) -> float:
    """The mu of the same mechanisms over all patients. Sampling only ever helps, so it bounds `subsampled` from above."""
    return math.sqrt(mu**2 + sum(steps / sigma**2 for _, sigma, steps in subsampled))


def _spread(rate: float, sigma: float) -> float:
    """Standard deviation of one step's likelihood ratio, rate sqrt(exp(1 / sigma^2) - 1): the step's mu in the central
    limit (Dong et al. 2022, Cor. 5.4)."""
    return rate * math.sqrt(math.expm1(min(500.0, sigma**-2)))


def _gaussian_guess(charges: Sequence[Charge], budget: Budget) -> float:
    """log of the factor at which the central limit of the charges, one Gaussian mechanism, meets the budget."""

    def spent(log_factor: float) -> float:
        mu, subsampled = parts(_scaled(charges, log_factor))
        limit = math.hypot(mu, *(math.sqrt(steps) * _spread(rate, sigma) for rate, sigma, steps in subsampled))
        return gaussian_epsilon(limit, budget.delta)

    low, high = _bracket(spent, 0.0, budget.epsilon, step=1.0)
    return _root(lambda x: spent(x) - budget.epsilon, low, high, 1e-3)


def _bracket(spent: Callable[[float], float], guess: float, target: float, step: float = 0.05) -> tuple[float, float]:
    """Two log factors near `guess` between which the cost, falling with the noise, crosses the target."""
    low = high = guess
    while spent(low) <= target:
        low, step = low - step, 2 * step
    while spent(high) > 0.99 * target:
        high, step = high + step, 2 * step
    return low, high


def _root(function: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=tolerance))


def _scaled(charges: Sequence[Charge], log_factor: float) -> tuple[Charge, ...]:
    return tuple(c.scaled(math.exp(log_factor)) for c in charges)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"delta needs 0 < delta < 1. Got {delta!r}")
