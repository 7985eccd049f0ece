"""The checks on cohorts small enough to work out by hand, and on floor, ceiling and absurd cohorts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.stats import ks_2samp, spearmanr

from fidelity import dependence, marginals, missingness, survival, trajectories
from fidelity.utility import labels, predictors
from fidelity.verdict import interval, verdict
from fidelity.view import View
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence
from synthgen.floor import independent
from synthgen.plugins import checks
from synthgen.storage import read_cohort

DICTIONARY = Dictionary.model_validate(
    {
        "name": "four",
        "title": "Four invented patients",
        "declared_patients": 4,
        "outcome": {"time": "followup", "status": "status", "censored": "alive"},
        "tasks": [{"name": "death", "event": ["dead"], "horizon_days": 730, "landmark_days": 100}],
        "tables": {
            "patients": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "sex": {"type": "categorical", "categories": ["f", "m"]},
                    "followup": {"type": "integer", "bounds": [0, 4000]},
                    "status": {"type": "categorical", "categories": ["alive", "dead"]},
                }
            },
            "visits": {
                "columns": {
                    "patient_id": {"type": "id"},
                    "day": {"type": "integer", "bounds": [0, 4000]},
                    "lab": {"type": "continuous", "bounds": [0.1, 1000], "scale": "log", "missing": True},
                    "sign": {"type": "categorical", "categories": ["no", "yes"]},
                }
            },
        },
    }
)
PATIENTS = pd.DataFrame(
    {
        "patient_id": list("abcd"),
        "sex": list("ffmm"),
        "followup": [400, 800, 1200, 1200],
        "status": ["dead", "alive", "dead", "alive"],
    }
)
VISITS = pd.DataFrame(
    {
        "patient_id": list("aabbccd"),
        "day": [0, 365, 0, 731, 0, 50, 0],
        "lab": [1, math.e, 4, 4, math.nan, 2, 8],
        "sign": ["no", "yes", "no", "no", "yes", "yes", "no"],
    }
)


def view(patients: pd.DataFrame = PATIENTS, visits: pd.DataFrame = VISITS) -> View:
    cohort = Cohort.checked({"patients": patients, "visits": visits}, DICTIONARY, "synthetic")
    return View.of(cohort, DICTIONARY)


def test_kaplan_meier_by_hand():
    times, event = np.array([400.0, 800, 1200, 1200]), np.array([True, False, True, False])
    assert np.allclose(
        survival.survival_curve(times, event, np.array([0.0, 399, 400, 1199, 1200])), [1, 1, 0.75, 0.75, 0.375]
    )


def test_the_same_cohort_scores_perfectly_everywhere():
    v = view()
    assert marginals.visit_shape(v, v) == marginals.baseline_shape(v, v) == trajectories.slope(v, v) == 1
    assert survival.kaplan_meier(v, v) == survival.informative(v, v) == dependence.visit_correlation(v, v) == 0
    assert missingness.rate(v, v) == missingness.pattern(v, v) == trajectories.lag_1(v, v) == 0


def test_slopes_are_per_year_on_the_declared_scale():
    assert np.allclose(sorted(trajectories.slopes(view(), "lab")), [0, 1 / (365 / 365.25)])


def test_missing_rate_by_hand():
    none = VISITS.fillna({"lab": 3.0})
    assert missingness.rate(view(), view(visits=none)) == pytest.approx(1 / 7)


def test_missing_pattern_agrees_with_scipy():
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    gone = pd.DataFrame({"z": rng.random(60) < 0.4})
    got = missingness._rank_correlations(numbers, gone)
    assert got[:, 0] == pytest.approx([spearmanr(numbers[c], gone["z"]).statistic for c in numbers])


def test_concordance_by_hand():
    """The event at 400 is comparable with the three others, the one at 1200 with nobody."""
    assert survival._concordance(view(), "lab") == pytest.approx(
        0.0
    )  # patient a has the smallest value of all that are known


def test_labels_leave_out_who_is_censored_before_the_horizon_or_gone_at_the_landmark():
    (task,) = DICTIONARY.tasks
    known = labels(task, view())
    assert dict(known) == {"a": True, "b": False, "c": False, "d": False}
    early = PATIENTS.assign(followup=[99, 729, 1200, 1200])
    visits = VISITS[(VISITS["day"] <= 50)]
    assert dict(labels(task, view(early, visits))) == {"c": False, "d": False}


def test_predictors_know_nothing_beyond_the_landmark():
    (task,) = DICTIONARY.tasks
    later = VISITS.assign(lab=VISITS["lab"].where(VISITS["day"] <= 100, 500.0))
    assert predictors(task, view()).equals(predictors(task, view(visits=later)))
    assert "followup" not in predictors(task, view())


def test_similarity_is_one_minus_kolmogorov_smirnov():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=50), rng.normal(0.5, size=70)
    assert marginals.ks_similarity(a, b) == pytest.approx(1 - ks_2samp(a, b).statistic)


@pytest.mark.parametrize(
    ("value", "best", "ceiling", "floor", "better", "expected"),
    [
        (0.9, 0.92, 0.95, 0.5, "higher", "pass"),
        (0.65, 0.70, 0.95, 0.5, "higher", "inconclusive"),
        (0.6, 0.75, 0.95, 0.5, "higher", "inconclusive"),
        (0.5, 0.60, 0.95, 0.5, "higher", "fail"),
        (0.4, 0.45, 0.95, 0.5, "higher", "fail"),
        (0.1, 0.05, 0.05, 0.6, "lower", "pass"),
        (0.4, 0.38, 0.05, 0.6, "lower", "inconclusive"),
        (0.7, 0.65, 0.05, 0.6, "lower", "fail"),
        (0.9, 0.92, 0.95, 1.0, "higher", "information"),
        (0.4, 0.45, 0.95, 1.0, "higher", "inconclusive"),
    ],
)
def test_a_value_is_read_between_floor_and_ceiling(value, best, ceiling, floor, better, expected):
    assert verdict(value, best, ceiling, floor, better) == expected


def test_the_interval_covers_what_it_should():
    """A mean of known spread: the jackknife's interval covers the truth about 95 times in 100."""

    def mean(_: View, other: View) -> float:
        return float(other.patients["x"].mean())

    rng, covered = np.random.default_rng(2), 0
    for _ in range(300):
        patients = pd.DataFrame({"x": rng.normal(0.5, 0.1, 100)}, index=[str(i) for i in range(100)])
        one = View(DICTIONARY, patients, None)
        low, high = interval(mean, one, one, mean(one, one))
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.99


@pytest.fixture(scope="module")
def pbc() -> dict[str, Any]:
    dictionary = read_dictionary(ROOT / "configs/pbc/cohort.yaml")
    cohort = read_cohort(ROOT / "configs/pbc", dictionary)
    order = np.random.default_rng(0).permutation(cohort.ids.to_numpy())
    parts = [cohort.of(order[i::3]) for i in range(3)]
    rng = np.random.default_rng(0)
    floor = independent(parts[0], dictionary, rng)
    return {"dictionary": dictionary, "train": parts[0], "holdout": parts[1], "real": parts[2], "floor": floor}


def findings(pbc: dict[str, Any], synthetic: Cohort) -> list[Any]:
    rng = np.random.default_rng(1)
    evidence = Evidence(pbc["dictionary"], pbc["train"], pbc["holdout"], synthetic, pbc["floor"], rng)
    return [f for check in checks() for f in check.run(evidence)]


@pytest.mark.slow
def test_another_real_sample_fails_nowhere(pbc):
    found = findings(pbc, replace(pbc["real"], origin="synthetic"))
    assert {f.section for f in found} == {"fidelity", "rules", "utility"}
    assert [f.name for f in found if f.verdict == "fail" and f.name != "rules/conformance"] == []


@pytest.mark.slow
def test_independent_columns_fail_wherever_relations_are_measured(pbc):
    found = findings(pbc, replace(pbc["floor"], origin="synthetic"))
    failed = {f.name for f in found if f.verdict == "fail"}
    torn = {
        "dependence/visit_correlation",
        "dependence/baseline_correlation",
        "trajectories/lag_1",
        "rules/conformance",
    }
    assert torn <= failed
    assert {f.verdict for f in found if f.check == "detection"} == {"inconclusive"}


def test_the_floor_keeps_columns_and_visits_and_tears_them_apart(pbc):
    train, floor = pbc["train"], pbc["floor"]
    assert floor.visits["day"].equals(train.visits["day"])
    for column in ("bilirubin", "sex", "followup_days"):
        table = "visits" if column in train.visits else "patients"
        before, after = train.tables[table][column], floor.tables[table][column]
        assert sorted(before.astype(str)) == sorted(after.astype(str))
        assert not before.equals(after)
