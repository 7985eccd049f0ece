"""Relations, time and cause: each measure against hand-worked numbers or an independent oracle."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import cohorts
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from test_fidelity import VISITS, view

from fidelity import (
    causal,
    conditional,
    correlation,
    dependence,
    functional,
    hazards,
    lagged,
    subgroups,
    tails,
    transitions,
)
from fidelity.cox import cox
from fidelity.verdict import Compared, judged, verdict
from fidelity.view import View, once
from synthgen.dictionary import Dictionary, parse
from synthgen.errors import ConfigError
from synthgen.findings import Evidence
from synthgen.floor import independent
from synthgen.plugins import checks
from synthgen.simulation import simulate

MEASURES = (
    dependence.visit_categories, dependence.baseline_categories,
    conditional.visit_partial, conditional.baseline_partial, functional.covariance, functional.mean_curve,
    transitions.matrix_distance, lagged.cross, lagged.cross_given_own, hazards.log_hazard, causal.strength,
    tails.beyond, tails.together, tails.rare_categories, partial(subgroups.profile, "sex = f"),
)  # fmt: skip
"""Distances of two cohorts."""
OWN = {
    f"fidelity.{name}"
    for name in ("causal", "conditional", "dependence", "detection", "estimands", "functional", "hazards", "lagged", "marginals",
                 "missingness", "ranking", "subgroups", "survival", "tails", "trajectories", "transitions", "utility")
}  # fmt: skip
"""The modules of the checks of records."""


@pytest.fixture(scope="module")
def pbc() -> dict[str, View]:
    dictionary = cohorts.pbc()
    both = simulate(dictionary, 400, np.random.default_rng(3))
    train, second = both.of(both.ids[:200]), both.of(both.ids[200:])
    floor = independent(train, dictionary, np.random.default_rng(1))
    return {n: View.of(c, dictionary) for n, c in (("train", train), ("second", second), ("floor", floor))}


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: getattr(m, "__name__", "profile"))
def test_the_same_cohort_is_at_no_distance(measure: Any, pbc: dict[str, View]) -> None:
    assert measure(pbc["train"], pbc["train"]) == pytest.approx(0, abs=1e-12)
    assert measure(pbc["train"], pbc["second"]) > 0


@pytest.mark.parametrize(
    "measure",
    [dependence.visit_categories, conditional.visit_partial,
     functional.covariance, transitions.matrix_distance, lagged.cross, lagged.cross_given_own,
     hazards.log_hazard, causal.strength, tails.together],
)  # fmt: skip
def test_independent_columns_are_further_off_than_a_second_sample(measure: Any, pbc: dict[str, View]) -> None:
    assert measure(pbc["train"], pbc["floor"]) > 1.3 * measure(pbc["train"], pbc["second"])


def test_correlations_agree_with_pandas_where_values_are_missing() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal([0, 1e6, 0, 0], size=(80, 4))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, 3] = 7
    expected = pd.DataFrame(values).corr().fillna(0).to_numpy(copy=True)
    np.testing.assert_allclose(correlation.correlations(values, values)[:3, :3], expected[:3, :3], atol=1e-9)
    assert (correlation.correlations(values, values)[3] == 0).all()


def test_partial_correlations_are_those_of_residuals() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=500)
    x, y = z + rng.normal(size=500), z + rng.normal(size=500)
    r = np.corrcoef([x, y, z])
    residual = [v - np.polyval(np.polyfit(z, v, 1), z) for v in (x, y)]
    assert correlation.partial(r, 0)[0, 1] == pytest.approx(np.corrcoef(residual)[0, 1])
    assert abs(correlation.partial(r, 0)[0, 1]) < 0.1 < r[0, 1]


def test_transitions_by_hand() -> None:
    """a: no -> yes; b: no -> no; c: yes -> yes."""
    assert transitions.counts(view(), "sign").tolist() == [[1, 1], [0, 1]]
    gone = view(visits=VISITS.assign(sign="no"))
    assert transitions.counts(gone, "sign").tolist() == [[3, 0], [0, 0]]
    # from no (2 of 3): (1.5, 1.5)/3 against (3.5, .5)/4; from yes (1 of 3): (.5, 1.5)/2 against (.5, .5)/1
    expected = 2 / 3 * (3.5 / 4 - 0.5) + 1 / 3 * (0.5 - 0.25)
    assert transitions.matrix_distance(view(), gone) == pytest.approx(expected)


def test_lags_pair_a_visit_with_the_same_patients_next() -> None:
    rng = np.random.default_rng(2)
    dictionary = cohorts.two_labs()
    rows = [(f"p{i}", d, *rng.normal(100, 9, 2)) for i in range(30) for d in (0, 10, 20)]
    visits = pd.DataFrame(rows, columns=["patient_id", "day", "ferritin", "haemoglobin"]).sort_values(
        ["patient_id", "day"]
    )
    patients = pd.DataFrame({"age": 1.0}, index=visits["patient_id"].unique())
    before = visits.groupby("patient_id").shift(1)[["ferritin", "haemoglobin"]].dropna()
    now = visits.loc[before.index]
    table, _ = lagged._lags(View(dictionary, patients, visits.reset_index(drop=True)))
    assert table[0, 1] == pytest.approx(spearmanr(before["ferritin"], now["haemoglobin"]).statistic, abs=0.02)
    assert table[1, 0] == pytest.approx(spearmanr(before["haemoglobin"], now["ferritin"]).statistic, abs=0.02)


def test_functional_components_find_the_covariance_of_time_cells() -> None:
    """Patients differ by a level alone: one component of constant loading, whose size is the level's variance."""
    rng = np.random.default_rng(3)
    level = rng.normal(10, 1.5, 300)
    rows = [(i, day, level[i]) for i in range(300) for day in (0, 100, 200)]
    visits = pd.DataFrame(rows, columns=["patient_id", "day", "haemoglobin"])
    made = View(cohorts.two_labs(), pd.DataFrame({"age": 1.0}, index=range(300)), visits.assign(ferritin=1.0))
    mean, covariance, spread = functional.components(made, "haemoglobin", (50.0, 150.0))
    assert mean == pytest.approx([level.mean()] * 3)
    assert covariance == pytest.approx(np.full((3, 3), level.var()))
    assert spread == pytest.approx(level.std())


def test_all_univariate_hazards_at_once_are_those_of_cox() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(120, 3))
    time, event = rng.exponential(np.exp(-0.7 * x[:, 0])), rng.random(120) < 0.6
    x[rng.random(120) < 0.2, 2] = np.nan
    beta, error = hazards.univariate(x, time, event)
    for j in range(3):
        known = ~np.isnan(x[:, j])
        fit = cox(x[known, j : j + 1], time[known], event[known])
        assert beta[j] == pytest.approx(fit.coefficients[0], abs=1e-5)
        assert error[j] == pytest.approx(fit.covariance[0, 0] ** 0.5, rel=1e-4)


def test_a_covariate_that_never_varies_has_no_hazard() -> None:
    beta, error = hazards.univariate(np.ones((5, 1)), np.arange(5.0), np.ones(5, bool))
    assert (beta[0], error[0]) == (0, np.inf)


def test_martingale_residuals_by_hand() -> None:
    """Times 400 dead, 800, 1200 dead, 1200: hazards 1/4 at 400, 1/2 at 1200; a tie of an event and a leaver is at risk."""
    assert causal.residuals(view()).tolist() == pytest.approx([1 - 0.25, -0.25, 1 - 0.75, -0.75])


def test_fisher_z_finds_an_edge_and_its_absence_given_the_common_cause() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(size=400)
    nodes = pd.DataFrame({"x": z + rng.normal(size=400), "y": z + rng.normal(size=400), "z": z})
    found = [causal._test(nodes, causal.Statement("x", "y", given, False)) for given in ((), ("z",))]
    assert causal.decisions(*np.array(found).T).tolist() == [1, 0]
    assert found[1][1] == pytest.approx(1 / np.sqrt(400 - 1 - 3))


def test_fisher_z_keeps_its_level() -> None:
    rng = np.random.default_rng(6)
    said = []
    for _ in range(600):
        nodes = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("xyz")).rank()
        said.append(causal._test(nodes, causal.Statement("x", "y", ("z",), False)))
    assert 0.03 <= np.abs(causal.decisions(*np.array(said).T)).mean() <= 0.075


def test_an_edge_is_tested_given_the_other_causes() -> None:
    of = {s.name: s for s in causal.statements(cohorts.pbc().graph)}
    assert of["albumin -> status"].given == ("age", "bilirubin", "prothrombin_time", "edema")
    assert of["treatment and bilirubin"].given == ()


def test_groups_of_words_and_of_cut_points() -> None:
    dictionary = cohorts.pbc().model_copy(update={"subgroups": {"sex": (), "age": (40.0, 60.0)}})
    assert subgroups.names(dictionary) == ["sex = f", "sex = m", "age < 40", "40 <= age < 60", "60 <= age"]
    patients = pd.DataFrame({"age": [39.9, 40, 60, np.nan], "sex": [0.0, 1, np.nan, 0]})
    found = subgroups.members(View(dictionary, patients, None))
    assert [m.tolist() for m in found.values()] == [
        [True, False, False, True], [False, True, False, False], [True, False, False, False],
        [False, True, False, False], [False, False, True, False],
    ]  # fmt: skip


def test_a_fault_in_one_small_group_shows_there(pbc: dict[str, View]) -> None:
    """Men's bilirubin is multiplied by ten: one in ten patients, and the group says so."""
    train = pbc["train"]
    men = train.patients.index[train.patients["sex"] == 1]
    assert train.visits is not None
    wrong = train.visits["bilirubin"].where(~train.visits["patient_id"].isin(men), train.visits["bilirubin"] * 10)
    broken = View(train.dictionary, train.patients, train.visits.assign(bilirubin=wrong.clip(upper=80)))
    assert subgroups.profile("sex = f", train, broken) == 0
    assert subgroups.profile("sex = m", train, broken) > 0.1
    assert subgroups.worst(("sex = f", "sex = m"), train, broken) == subgroups.profile("sex = m", train, broken)


def test_tails_and_rare_words_by_hand() -> None:
    lab = np.arange(1, 101.0)
    a = pd.DataFrame({"patient_id": "a", "day": range(100), "lab": lab, "sign": 0.0})
    patients = pd.DataFrame({"sex": [0.0], "followup": [100.0], "status": [0.0]}, index=["a"])
    real = View(view().dictionary, patients, a.assign(sign=[1.0] * 4 + [0.0] * 96))
    squeezed = View(view().dictionary, patients, a.assign(lab=lab.clip(10, 90)))
    assert tails.beyond(real, squeezed) == pytest.approx(
        (0 + 0 + 1 + 1) / 4
    )  # follow-up unchanged, both of lab's tails gone
    assert tails.rare_categories(real, squeezed) == 1  # the 4% with a sign are never drawn


def test_a_summary_is_worked_out_once() -> None:
    seen = []

    @once
    def summary(of: View, name: str) -> int:
        seen.append(name)
        return len(of.patients)

    one = view()
    assert [summary(one, "x"), summary(one, "x"), summary(one, "y"), summary(view(), "x")] == [4] * 4
    assert seen == ["x", "y", "x"]


def test_too_few_patients_to_tell_is_inconclusive() -> None:
    assert verdict(0.1, 0.05, 0.1, 0.3, "lower", apart=0.15) == "inconclusive"
    assert verdict(0.1, 0.05, 0.1, 0.3, "lower", apart=0.05) == "pass"


def test_all_that_is_compared_is_cut_to_one_size() -> None:
    def of(count: int) -> View:
        return View(view().dictionary, pd.DataFrame({"sex": np.zeros(count)}, index=range(count)), None)

    cut = Compared(of(50), of(20), of(90), of(50)).alike()
    assert [len(v.patients) for v in (cut.train, cut.holdout, cut.synthetic, cut.floor)] == [50, 20, 20, 20]

    def size(_: View, other: View) -> float:
        return float(len(other.patients))

    (found,) = judged("x", "m", "In words", size, Compared(of(50), of(20), of(90), of(50)), "lower")
    assert (found.value, found.n) == (20, 20)
    assert found.high > 1  # a distance may be larger than 1


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"subgroups": {"sex": [3]}}, "subgroups.sex"),
        ({"subgroups": {"age": []}}, "subgroups.age"),
        ({"graph": {"edges": [{"cause": "age", "effect": "weight"}]}}, "weight is no column"),
        ({"graph": {"edges": [{"cause": "a", "effect": "b"}, {"cause": "b", "effect": "a"}]}}, "circle through a, b"),
        ({"estimands": [{"name": "x", "kind": "mean_difference", "exposure": "age"}]}, "response"),
        ({"estimands": [{"name": "x", "kind": "hazard_ratio", "exposure": "age", "event": ["alive"]}]}, "no event"),
        ({"tasks": [{"name": "x", "kind": "regression", "target": "edema", "horizon_days": 9}]}, "target needs to be a number"),
        ({"tasks": [{"name": "x", "horizon_days": 9}]}, "needs event"),
        ({"tasks": [{"name": "x", "event": ["dead"], "horizon_days": 9, "landmark_days": 9}]}, "landmark_days needs to lie"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_is_refused(part: dict[str, Any], said: str) -> None:
    content = cohorts.pbc().model_dump(mode="json") | part
    with pytest.raises(ConfigError, match=said):
        parse(Dictionary, content, "here")


def test_every_new_check_speaks_or_keeps_silent() -> None:
    """On a dictionary that declares nothing, with visits and an outcome, and on one without an outcome."""
    several = (conditional.Conditional(), functional.FunctionalComponents(), transitions.Transitions(), lagged.Lagged(),
              hazards.Hazards(), causal.Causal(), subgroups.Subgroups(), tails.Tails())  # fmt: skip
    silent = {"two_labs": {"transitions", "causal", "subgroups"}, "no_outcome": {"hazards", "causal", "subgroups"}}
    for name, expected in silent.items():
        dictionary = cohorts.DICTIONARIES[name]()
        both = cohorts.simulated(dictionary, 60)
        train, holdout = both.of(both.ids[:30]), both.of(both.ids[30:])
        floor = independent(train, dictionary, np.random.default_rng(0))
        evidence = Evidence(
            dictionary, train, holdout, replace(holdout, origin="synthetic"), floor, np.random.default_rng(0)
        )
        found = {check.name: check.run(evidence) for check in several}
        assert {n for n, f in found.items() if not f} == expected
        for finding in (f for several in found.values() for f in several):
            assert finding.as_json()


@pytest.mark.slow
@pytest.mark.parametrize("name", cohorts.DICTIONARIES)
@pytest.mark.parametrize("patients", [4, 30])
def test_few_patients_are_no_error(name: str, patients: int) -> None:
    """Whatever is declared and however few there are: findings that can be written down, and no warning."""
    dictionary = cohorts.DICTIONARIES[name]()
    both = cohorts.simulated(dictionary, patients, patients)
    train, holdout = both.of(both.ids[: patients // 2]), both.of(both.ids[patients // 2 :])
    floor = independent(train, dictionary, np.random.default_rng(0))
    made = replace(holdout, origin="synthetic")
    evidence = Evidence(dictionary, train, holdout, made, floor, np.random.default_rng(0), made, (made,))
    for check in (c for c in checks() if type(c).__module__ in OWN):
        for finding in check.run(evidence):
            assert finding.as_json()
            assert patients > 4 or finding.check in ("estimands", "utility") or finding.verdict != "fail"
