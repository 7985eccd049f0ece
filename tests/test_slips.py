"""A decimal point that slipped, told by the patient's other values, the cohort's level and the digits."""

from __future__ import annotations

import numpy as np
import pytest
from cohorts import DICTIONARIES, pbc, simulated

from synthgen.planting import kinds, plant
from synthgen.planting.record import farther
from synthgen.screening.scales import measured, noughts
from synthgen.screening.slips import DoseSlip, Slip, _against
from synthgen.screening.view import View
from synthgen.simulation import simulate

ABOUT = pbc()
BILIRUBIN = ABOUT.measurements["bilirubin"]


@pytest.mark.parametrize(("value", "times"), [(14.0, 10.0), (0.14, 0.1), (140.0, 100.0), (24.0, 17.1)])
def test_the_likelihood_ratio_finds_the_factor(value: float, times: float) -> None:
    column = BILIRUBIN.model_copy(update={"bounds": (0.05, 800.0)})
    score, factor = _against(column, np.log([value]), np.log([1.4]), np.array([0.3]), None)
    assert score[0] > 5
    assert factor[0] == pytest.approx(times)


def test_what_is_only_odd_is_no_slip() -> None:
    """4 is far from 1.4, but neither .4 nor 40 is nearer."""
    score, _ = _against(BILIRUBIN, np.log([4.0]), np.log([1.4]), np.array([0.2]), None)
    assert score[0] == -np.inf


def test_noughts_count_as_far_as_they_are_unusual() -> None:
    column = BILIRUBIN.model_copy(update={"bounds": (0.05, 800.0), "decimals": 1})
    assert noughts(column, np.array([140.0, 14.0, 14.1, 0.0, 1000.0])).tolist() == [2, 1, 0, 0, 3]
    at = np.log([14.0]), np.log([1.4]), np.array([0.5])
    plain, rare, common = (float(_against(column, *at, n)[0][0]) for n in (None, (0.1, 0.01, 0.001), (0.9, 0.5, 0.1)))
    assert rare == pytest.approx(plain + np.log(10))
    assert common == pytest.approx(plain - np.log(0.9))


def test_the_cohort_says_how_often_values_end_in_noughts() -> None:
    cohort = simulate(ABOUT, 300, np.random.default_rng(1), populations=30)  # digits are even over many populations
    usual = measured(View(cohort.tables, ABOUT))
    assert usual.noughts["bilirubin"][0] == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize("name", [n for n in DICTIONARIES if n != "events_only"])
def test_planted_slips_score_highest(name: str) -> None:
    """The wrong value itself is named, by the factor it was planted with, in nine patients of ten."""
    about = DICTIONARIES[name]()
    cohort = simulated(about, 300, seed=6)
    usual = measured(View(cohort.tables, about))
    wanted = [k for k in kinds() if k.name == "slip by a hundred"]
    spoiled, faults = plant(cohort, about, wanted * 15, np.random.default_rng(3))
    view = View(spoiled.tables, about)
    found = Slip().scores(view, usual)
    hits = []
    for fault in faults:
        row = int(view.ids.get_loc(fault.patients[0]))
        hits.append(
            np.isfinite(found.value[row])
            and Slip().told(view, usual, row, found.place[row])[1]["column"] == fault.about
        )
    assert np.mean(hits) >= 0.9


def test_a_dose_off_by_a_hundred_is_named() -> None:
    about = DICTIONARIES["registry"]()
    cohort = simulated(about, 300, seed=2)
    usual = measured(View(cohort.tables, about))
    wanted = [k for k in kinds() if k.name == "dose off by a hundred"]
    spoiled, faults = plant(cohort, about, wanted * 10, np.random.default_rng(1))
    view = View(spoiled.tables, about)
    found = DoseSlip().scores(view, usual)
    bad = [int(view.ids.get_loc(f.patients[0])) for f in faults]
    others = np.delete(found.value, bad)
    assert np.median(found.value[bad]) > np.quantile(others[np.isfinite(others)], 0.99)
    text, evidence = DoseSlip().told(view, usual, bad[0], found.place[bad[0]])
    assert "dose of" in text
    assert evidence["would_fit"] > 0


def test_a_slip_that_carries_an_odd_value_home_is_not_planted() -> None:
    others = np.array([50.0, 60.0, 70.0])
    assert farther(BILIRUBIN.model_copy(update={"scale": "linear"}), 60.0, 600.0, others)
    assert not farther(BILIRUBIN.model_copy(update={"scale": "linear"}), 600.0, 60.0, others)
