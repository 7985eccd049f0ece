"""Simulated pictures: do they follow the stage, and nothing but the stage and the seed?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from synthgen.errors import ConfigError
from synthgen.phantoms import phantom


def pictures(stages: np.ndarray, size: int = 28, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([phantom(float(stage), size, rng) for stage in stages])


@pytest.mark.parametrize(("size", "channels", "shape"), [(28, 1, (28, 28)), (33, 1, (33, 33)), (16, 3, (16, 16, 3))])
def test_a_phantom_is_a_picture(size, channels, shape):
    made = phantom(0.5, size, np.random.default_rng(0), channels)
    assert (made.shape, made.dtype) == (shape, np.uint8)
    assert made.max() > 150
    assert np.median(made[:2]) < 30  # air around the body


def test_the_seed_is_all_there_is():
    a, b, other = (phantom(0.7, 28, np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, other)


def test_lesions_follow_the_stage():
    """Bright pixels in the liver's quarter, away from the spine: more with every stage."""
    stages = np.repeat([0.0, 0.33, 0.67, 1.0], 40)
    bright = (pictures(stages)[:, 6:17, 4:14] > 175).sum(axis=(1, 2))
    means = [bright[stages == s].mean() for s in (0.0, 0.33, 0.67, 1.0)]
    assert means == sorted(means)
    assert spearmanr(stages, bright).statistic > 0.7


def test_the_spleen_grows_with_the_stage_and_the_spine_does_not():
    ends = np.repeat([0.0, 1.0], 60)
    made = pictures(ends, 56).astype(float)
    spleen, spine = made[:, 20:36, 40:50].mean(axis=(1, 2)), made[:, 38:42, 26:30].mean(axis=(1, 2))
    assert spleen[ends == 1].mean() > spleen[ends == 0].mean() + 5
    assert abs(spine[ends == 1].mean() - spine[ends == 0].mean()) < 12


def test_one_stage_is_many_pictures():
    flat = pictures(np.full(20, 0.5)).reshape(20, -1).astype(float)
    apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    assert apart[~np.eye(20, dtype=bool)].min() > 100


@pytest.mark.parametrize(("stage", "size", "channels"), [(-0.1, 28, 1), (1.1, 28, 1), (0.5, 4, 1), (0.5, 28, 2)])
def test_nonsense_is_refused(stage, size, channels):
    with pytest.raises(ConfigError, match="a phantom needs"):
        phantom(stage, size, np.random.default_rng(0), channels)
