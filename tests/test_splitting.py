"""Train and holdout: one patient more moves nobody else, and only the key tells who is where."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from synthgen.cohort import Cohort
from synthgen.errors import ConfigError
from synthgen.splitting import split

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def cohort(n: int) -> Cohort:
    return Cohort(pd.DataFrame({"patient_id": [f"patient {i}" for i in range(n)]}))


@pytest.mark.parametrize("holdout", [0.1, 0.3, 0.5, 0.8])
def test_the_share_is_as_declared_within_chance(holdout: float):
    n = 20_000
    train, held = split(cohort(n), holdout, KEY)
    assert len(train) + len(held) == n
    assert not set(train) & set(held)
    assert abs(len(held) - n * holdout) < 4 * math.sqrt(n * holdout * (1 - holdout))


@pytest.mark.parametrize("leaving", [0, 7, 99])
def test_one_patient_more_or_less_moves_nobody_else(leaving: int):
    everyone = cohort(100)
    without = everyone.of(set(everyone.ids) - {f"patient {leaving}"})
    for side, side_without in zip(split(everyone, 0.5, KEY), split(without, 0.5, KEY), strict=True):
        assert [p for p in side if p != f"patient {leaving}"] == side_without


def test_the_order_of_the_file_moves_nobody():
    everyone = cohort(100)
    turned = Cohort(everyone.patients.iloc[::-1].reset_index(drop=True))
    assert [set(side) for side in split(everyone, 0.5, KEY)] == [set(side) for side in split(turned, 0.5, KEY)]
    assert split(everyone, 0.5, KEY)[0] == [p for p in everyone.ids if p in split(everyone, 0.5, KEY)[0]]


def test_a_larger_holdout_keeps_those_of_the_smaller():
    small, large = (set(split(cohort(500), share, KEY)[1]) for share in (0.2, 0.4))
    assert small < large


def test_another_key_is_an_independent_split():
    n = 20_000
    same = len(set(split(cohort(n), 0.5, KEY)[1]) & set(split(cohort(n), 0.5, OTHER)[1]))
    assert abs(same - n / 4) < 4 * math.sqrt(n * 3 / 16)


@pytest.mark.parametrize("holdout", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_holdout_of_everything_or_nothing_is_refused(holdout: float):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        split(cohort(100), holdout, KEY)


@pytest.mark.parametrize(("holdout", "side"), [(1e-9, "the holdout"), (1 - 1e-9, "training")])
def test_a_side_without_patients_is_refused(holdout: float, side: str):
    with pytest.raises(ConfigError, match=f"no patient of the cohort falls to {side}; bring it nearer"):
        split(cohort(20), holdout, KEY)


def test_a_guessable_key_is_refused():
    with pytest.raises(ConfigError, match="at least 16 bytes"):
        split(cohort(20), 0.5, b"key")
