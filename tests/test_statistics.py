"""Counts, moments and quantiles as noisy sums."""

from __future__ import annotations

import numpy as np
import torch

from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from privacy.statistics import counts, moments, quantiles

EXACT = 1e-12


def door(x: np.ndarray, sigma: float = EXACT) -> Session:
    return Session({"x": torch.from_numpy(x)}, [Charge("a", sigma)], len(x), noise=Noise(seed=0))


def test_counts_are_the_histogram_of_each_column():
    x = np.array([[0.0, 1.0], [0.0, np.nan], [2.0, 0.0]])
    first, second = counts(door(x), lambda r: r["x"], [3, 2], "a")
    assert np.allclose(first, [2, 0, 1])
    assert np.allclose(second, [1, 1])


def test_moments_are_those_of_the_values_within_bounds():
    rng = np.random.default_rng(0)
    x = rng.normal([3.0, 50.0], [1.0, 10.0], size=(500, 2))
    x[:100, 1] = np.nan
    got = moments(door(x), lambda r: r["x"], np.array([0.0, 0.0]), np.array([10.0, 100.0]), "a")
    assert np.allclose(got.count, [500, 400])
    assert np.allclose(got.mean, [np.clip(x[:, 0], 0, 10).mean(), np.nanmean(np.clip(x[:, 1], 0, 100))])
    assert np.allclose(got.deviation, [np.clip(x[:, 0], 0, 10).std(), np.nanstd(np.clip(x[:, 1], 0, 100))])


def test_no_patient_adds_more_than_the_clip_norm():
    """One patient more moves the noisy vector by at most the clip norm, whatever their values."""
    rng = np.random.default_rng(1)
    x = rng.normal(0, 3, (20, 4))
    low, high = np.full(4, -1.0), np.full(4, 1.0)
    for extreme in (-1e9, 1e9, 0.0, np.nan):
        more = np.vstack([x, np.full((1, 4), extreme)])
        one, other = (
            np.concatenate([m.count, m.count * m.mean, m.count * (m.deviation**2 + m.mean**2)])
            for m in (moments(door(d), lambda r: r["x"], low, high, "a") for d in (x, more))
        )
        assert np.linalg.norm(one - other) <= np.sqrt(12) + 1e-6


def test_a_variance_made_negative_by_noise_is_held_at_zero():
    x = np.full((5, 3), 0.5)
    got = moments(door(x, sigma=3.0), lambda r: r["x"], np.zeros(3), np.ones(3), "a")
    assert np.isfinite(got.deviation).all()
    assert (got.deviation >= 0).all()
    assert ((got.mean >= 0) & (got.mean <= 1)).all()


def test_quantiles_come_from_the_noisy_histogram_alone():
    edges = np.linspace(0, 10, 11)
    assert np.allclose(quantiles(np.full(10, 7.0), edges, np.array([0.0, 0.25, 0.5, 1.0])), [0, 2.5, 5, 10])
    assert np.allclose(quantiles(np.array([-5.0, 0, 0, 8, 0, 0, 0, 0, 0, -1]), edges, np.array([0.5])), [3.5])
    assert np.allclose(quantiles(np.full(10, -1.0), edges, np.array([0.5])), [5.0])
