"""Utility: tasks by hand, scores against scikit-learn, calibration of known predictions, and what a useless cohort gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cohorts
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, r2_score, roc_auc_score
from test_fidelity import DICTIONARY, PATIENTS, VISITS, view

from fidelity import ranking, scoring
from fidelity.models import FAMILIES, fitted
from fidelity.tasks import enough, problem, weights
from fidelity.utility import Utility, _discriminates
from fidelity.view import View
from privacy.rates import Rate
from synthgen.dictionary import Task
from synthgen.findings import Evidence
from synthgen.floor import independent
from synthgen.simulation import simulate

EVENT = Task(name="x", event=("dead",), horizon_days=1000)
SURVIVAL = Task(name="x", kind="survival", event=("dead",), horizon_days=1000, landmark_days=100)
CLASSES = Task(name="x", kind="classification", target="sign", horizon_days=50, landmark_days=10)
VALUE = Task(name="x", kind="regression", target="lab", horizon_days=50, landmark_days=10)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    dictionary = cohorts.pbc()
    drawn = simulate(dictionary, 500, np.random.default_rng(3))  # of a population in which a third die within 5 years
    train, holdout, synthetic, more = (drawn.of(drawn.ids[i::4]) for i in range(4))
    floor = independent(train, dictionary, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    return Evidence(dictionary, train, holdout, replace(synthetic, origin="synthetic"), floor, rng, replicates=(more,))


def test_survival_counts_from_the_landmark_and_ends_at_the_horizon() -> None:
    """a dies at 400, b leaves at 800, c dies at 1200 and d leaves then: both are censored at the horizon."""
    _, truth = problem(SURVIVAL, view())
    assert truth["time"].to_dict() == {"a": 300, "b": 700, "c": 900, "d": 900}
    assert truth["event"].to_dict() == {"a": True, "b": False, "c": False, "d": False}
    early = PATIENTS.assign(followup=[99, 800, 1200, 1200])
    assert "a" not in problem(SURVIVAL, view(early, VISITS[VISITS["day"] <= 50]))[1].index


def test_a_target_is_the_first_value_recorded_from_the_horizon_on() -> None:
    assert problem(VALUE, view())[1]["value"].to_dict() == pytest.approx({"a": 1.0, "b": np.log(4), "c": np.log(2)})
    assert problem(CLASSES, view())[1]["value"].to_dict() == {"a": 1, "b": 0, "c": 1}
    assert "lab last" in problem(VALUE, view())[0]


def test_too_few_to_learn_from() -> None:
    assert not enough(EVENT, pd.DataFrame({"event": [True] * 4 + [False] * 9}))
    assert enough(EVENT, pd.DataFrame({"event": [True] * 5 + [False] * 9}))
    assert not enough(CLASSES, pd.DataFrame({"value": [0.0] * 9 + [1] * 4}))
    assert not enough(VALUE, pd.DataFrame({"value": [3.0] * 20}))


def test_censored_patients_weigh_nothing_and_the_rest_more() -> None:
    """One of four leaves at 5 before the horizon of 10: who stays longer weighs 4/3, the event before it 1."""
    truth = pd.DataFrame({"time": [3.0, 5, 8, 10], "event": [True, False, True, False]})
    task = Task(name="x", kind="survival", event=("dead",), horizon_days=10)
    event, weight = weights(task, truth)
    assert event.tolist() == [True, False, True, False]
    assert weight == pytest.approx([1, 0, 3 / 2, 3 / 2])


def test_discrimination_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    event, p = rng.random(80) < 0.4, np.round(rng.random(80), 1)
    assert scoring.concordance(EVENT, pd.DataFrame({"event": event}), p) == pytest.approx(roc_auc_score(event, p))
    classes = rng.integers(0, 3, 80)
    several = rng.dirichlet(np.ones(3), 80)
    expected = roc_auc_score(classes, several, multi_class="ovr")
    assert scoring.concordance(CLASSES, pd.DataFrame({"value": classes}), several) == pytest.approx(expected)


def test_harrells_c_by_hand() -> None:
    """Comparable: (1, 2), (1, 3), (1, 4), (3, 4) in order of time, patient 2 being censored; a tie in risk counts half."""
    truth = pd.DataFrame({"time": [1.0, 2, 3, 4], "event": [True, False, True, False]})
    assert scoring.concordance(SURVIVAL, truth, np.array([0.9, 0.1, 0.95, 0.95])) == (1 + 0 + 0 + 0.5) / 4


def test_explained_is_r_squared_and_the_scaled_brier_score() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(size=60)
    guess = value + rng.normal(size=60)
    found = scoring.explained(VALUE, pd.DataFrame({"value": value}), guess, rng)
    assert found.value == pytest.approx(r2_score(value, guess))
    assert found.low < found.value < found.high
    event, p = rng.random(60) < 0.3, rng.random(60)
    found = scoring.explained(EVENT, pd.DataFrame({"event": event}), p, rng)
    assert found.value == pytest.approx(1 - brier_score_loss(event, p) / (event.mean() * (1 - event.mean())))
    classes = rng.integers(0, 3, 60)
    perfect = np.eye(3)[classes]
    assert scoring.explained(CLASSES, pd.DataFrame({"value": classes}), perfect, rng).value == 1
    shares = np.tile(perfect.mean(axis=0), (60, 1))
    assert scoring.explained(CLASSES, pd.DataFrame({"value": classes}), shares, rng).value == pytest.approx(0)


def test_the_bootstrap_covers() -> None:
    rng, covered = np.random.default_rng(2), 0
    for _ in range(150):
        event = rng.random(100) < 0.4
        rate = scoring.discrimination(EVENT, pd.DataFrame({"event": event}), rng.normal(event * 1.0, 1), rng)
        covered += rate.low <= 0.7602 <= rate.high  # Phi(1 / sqrt 2)
    assert 0.89 <= covered / 150 <= 0.99


def test_calibration_of_overconfident_predictions() -> None:
    rng = np.random.default_rng(3)
    odds = rng.normal(-1, 1.5, 6000)
    event = rng.random(6000) < 1 / (1 + np.exp(-odds))
    truth = pd.DataFrame({"event": event})
    found = scoring.calibration(EVENT, truth, 1 / (1 + np.exp(-2 * odds - 1)))
    assert found is not None
    slope, intercept = found
    oracle = LogisticRegression(C=1e9).fit((2 * odds + 1)[:, None], event)
    assert slope.value == pytest.approx(oracle.coef_[0, 0], abs=2e-3)
    assert intercept.value == pytest.approx(oracle.intercept_[0], abs=2e-3)
    assert slope.low < 0.5 < slope.high
    survival = pd.DataFrame({"time": rng.exponential(np.exp(-odds)), "event": True})
    found = scoring.calibration(SURVIVAL, survival, 1 - np.exp(-np.exp(2 * odds)))
    assert found is not None
    assert found[0].value == pytest.approx(0.5, abs=0.03)
    assert scoring.calibration(CLASSES, truth, np.zeros((6000, 2))) is None


def test_calibration_in_the_large_by_hand() -> None:
    """Ten patients of whom four had the event, all predicted .25: .15 too low. Censored ones weigh nothing."""
    rng = np.random.default_rng(0)
    event = pd.DataFrame({"event": [True] * 4 + [False] * 6})
    rate = scoring.in_the_large(EVENT, event, np.full(10, 0.25), rng)
    assert rate is not None
    assert rate.value == pytest.approx(0.15)
    assert rate.low < 0 < rate.high
    value = pd.DataFrame({"value": [1.0, 2.0, 3.0]})
    assert scoring.in_the_large(VALUE, value, np.array([1.5, 2.5, 3.5]), rng).value == pytest.approx(-0.5)  # type: ignore[union-attr]
    survival = pd.DataFrame({"time": [100.0, 900.0, 900.0, 50.0], "event": [True, False, False, False]})
    weighed = scoring.in_the_large(SURVIVAL, survival, np.full(4, 0.5), rng)
    assert weighed is not None
    assert weighed.value == pytest.approx(1 / 3 - 0.5)  # the one censored on day 50 is unknown at the horizon
    assert scoring.in_the_large(CLASSES, value, np.zeros((3, 3)), rng) is None


def test_groups_of_risk_hold_all_patients() -> None:
    truth = pd.DataFrame({"event": [False] * 30 + [True] * 14})
    groups = scoring.calibration_groups(truth, np.linspace(0, 1, 44), 4)
    assert [g.n for _, g in groups] == [11] * 4
    assert [g.value for _, g in groups] == [0, 0, pytest.approx(3 / 11), 1]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_learns(kind: str, evidence: Evidence) -> None:
    """Better than chance on patients of the same population, and what it predicts has the shape it should."""
    task = next(t for t in evidence.dictionary.tasks if t.kind == kind)
    train, test = (View.of(c, evidence.dictionary) for c in (evidence.train, evidence.holdout))
    (x, truth), (rows, tested) = problem(task, train), problem(task, test)
    for family in FAMILIES[kind]:
        made = fitted(task, family, x, truth)(rows)
        assert len(made) == len(tested)
        assert scoring.concordance(task, tested, made) > 0.6, family
        if kind != "regression":
            assert 0 <= made.min() <= made.max() <= 1


@pytest.mark.slow
def test_a_second_sample_passes_and_independent_columns_do_not(evidence: Evidence) -> None:
    dictionary = evidence.dictionary.model_copy(
        update={"tasks": tuple(t for t in evidence.dictionary.tasks if t.kind == "event")}
    )
    good = replace(evidence, dictionary=dictionary, rng=np.random.default_rng(0))
    bad = replace(good, synthetic=replace(evidence.floor, origin="synthetic"), replicates=())
    said = {f.name: f.verdict for f in Utility().run(good)}
    assert said["utility/tstr_death_5y_logistic"] == "pass"
    assert "fail" not in said.values()
    assert {f.name: f.verdict for f in Utility().run(bad)}["utility/tstr_death_5y_logistic"] == "fail"
    names = set(said)
    for metric in ("explained", "calibration_slope", "calibration_intercept", "trts", "augmented"):
        assert f"utility/{metric}_death_5y_boosting" in names
    assert "utility/tstr_death_5y_logistic/sex = f" in names
    assert "utility/calibration_death_5y_logistic/risk group 4 of 4" in names
    assert "utility/calibration_in_the_large_death_5y_logistic/sex = f" in names


def test_more_synthetic_cohorts_widen_the_interval(evidence: Evidence) -> None:
    task = next(t for t in evidence.dictionary.tasks if t.kind == "regression")
    one = replace(evidence, dictionary=evidence.dictionary.model_copy(update={"tasks": (task,)}), replicates=())
    two = replace(one, replicates=evidence.replicates, rng=np.random.default_rng(2))
    width = [
        next(f for f in Utility().run(e) if f.metric == "tstr_albumin_2y_ridge")
        for e in (replace(one, rng=np.random.default_rng(2)), two)
    ]
    assert width[0].value == width[1].value
    assert width[1].high - width[1].low > width[0].high - width[0].low  # type: ignore[operator]


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ((0.9, 0.85, 0.95), "pass"),
        ((0.8, 0.7, 0.86), "inconclusive"),
        ((0.7, 0.6, 0.79), "fail"),
        ((0.5, 0.4, 0.59), "fail"),
    ],
)
def test_verdicts(rate: tuple[float, float, float], said: str) -> None:
    assert _discriminates(Rate(*rate, 50), 0.89, 0.6) == said


def test_kendalls_tau_agrees_with_scipy_without_ties() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((4, 6)), rng.random((4, 6))
    assert ranking.kendall(a, b) == pytest.approx([kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)])


def test_regret_is_what_the_choice_loses() -> None:
    tested = np.array([[0.7, 0.9, 0.8]])
    assert ranking._regret(np.array([[0.1, 0.2, 0.3]]), tested)[0] == pytest.approx(0.1)
    assert ranking._regret(tested, tested)[0] == 0


@pytest.mark.slow
def test_models_are_ranked_on_a_second_sample_as_on_real_patients(evidence: Evidence) -> None:
    found = {f.metric: f for f in ranking.ModelRanking().run(evidence)}
    assert found["regret_death_5y"].verdict in ("pass", "inconclusive")
    assert found["kendall_tau_death_5y"].value > -0.2
    assert found["kendall_tau_death_5y"].low <= found["kendall_tau_death_5y"].value  # type: ignore[operator]


def test_nothing_is_said_where_nothing_is_declared() -> None:
    dictionary = cohorts.two_labs()
    both: Any = cohorts.simulated(dictionary, 40)
    silent = Evidence(dictionary, both, both, both, both, np.random.default_rng(0))
    assert list(Utility().run(silent)) == list(ranking.ModelRanking().run(silent)) == []
    few = replace(silent, dictionary=DICTIONARY)
    four = cohorts.simulated(DICTIONARY, 6)
    few = Evidence(DICTIONARY, four, four, four, four, np.random.default_rng(0))
    assert list(Utility().run(few)) == []
