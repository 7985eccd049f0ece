"""The seven C's: each as bad as its worst finding, with its evidence; what of it may leave; subgroups and calibration drawn."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from finished_run import context

from synthgen.claim import claim
from synthgen.findings import Finding
from synthgen.report.calibration_chart import calibration
from synthgen.report.finding_charts import forest, scale
from synthgen.report.page import as_dict, as_html
from synthgen.report.scorecard import QUESTIONS, WITHIN, Criterion, scorecard
from synthgen.report.subgroup_chart import subgroups

FINDINGS = (
    Finding("dependence", "m", 0.1, "pass", "Pairs agree.", better="lower"),
    Finding("causal", "m", 0.1, "fail", "The graph does not hold.", better="lower"),
    Finding("hazards", "m", 0.1, "information", "Told for information.", better="target", column="age"),
    Finding("subgroups", "worst", 0.3, "inconclusive", "Men are too few."),
    Finding("trajectories", "m", 0.9, "pass", "Visits agree."),
    Finding("missingness", "m", 0.1, "pass", "As much is missing.", better="lower"),
    Finding("utility", "tstr_x_logistic", 0.81234, "fail", "A model does not work.", "utility"),
    Finding("membership", "auc", 0.51, "pass", "No member is found.", "audit", better="lower"),
)


def by_name(findings: tuple[Finding, ...] = FINDINGS) -> dict[str, Criterion]:
    return {c.name: c for c in scorecard(replace(context(), findings=findings), "internal")}


def test_all_seven_in_their_order() -> None:
    assert [c.name for c in scorecard(context(), "internal")] == list(QUESTIONS)
    assert len(QUESTIONS) == 7
    assert all(name.startswith("Co") for name in QUESTIONS)


def test_a_criterion_is_as_bad_as_its_worst_finding_and_shows_it_first() -> None:
    found = by_name()
    assert {n: c.verdict for n, c in found.items()} == {
        "Congruence": "fail", "Coverage": "inconclusive", "Constraint": None, "Completeness": "fail", "Compliance": "pass",
        "Comprehension": "pass", "Consistency": "pass",
    }  # fmt: skip
    assert found["Congruence"].counts == {"fail": 1, "inconclusive": 0, "pass": 1, "information": 1}
    assert found["Congruence"].evidence[0].endswith("The graph does not hold.")
    assert not any("for information" in sentence for sentence in found["Congruence"].evidence)
    assert found["Constraint"].evidence == ("Nothing was measured that would say.",)


def test_long_evidence_is_cut_and_counted() -> None:
    many = tuple(Finding("dependence", f"m{i}", 0.1, "pass", f"Sentence {i}.") for i in range(9))
    found = by_name(many)["Congruence"]
    assert (len(found.evidence), found.more) == (3, 6)


def test_without_a_guarantee_it_does_not_comply() -> None:
    made = replace(context(), claim=claim((), None, context().dictionary), findings=())
    assert {c.name: c.verdict for c in scorecard(made, "internal")}["Compliance"] == "fail"


def test_a_dictionary_that_explains_little_is_for_a_person_to_judge() -> None:
    tables = context().dictionary.tables
    patients = tables["patients"]
    bare = {n: c.model_copy(update={"label": None}) for n, c in patients.columns.items()}
    about = context().dictionary.model_copy(
        update={"tables": {**tables, "patients": patients.model_copy(update={"columns": bare})}}
    )
    assert {c.name: c.verdict for c in scorecard(replace(context(), dictionary=about), "internal")}[
        "Comprehension"
    ] == "inconclusive"


def test_the_release_holds_no_sentence_and_no_number_from_inside() -> None:
    made = replace(context(), findings=(*FINDINGS, *context().findings))
    inside, shown = scorecard(made, "internal"), scorecard(made.for_release(), "release")
    assert {c.name: c.verdict for c in shown if c.verdict} == {
        "Constraint": "pass", "Compliance": "pass", "Comprehension": "pass",
    }  # fmt: skip
    said = " ".join(sentence for c in shown for sentence in c.evidence)
    assert "No hard rule is broken." in said
    assert sum(WITHIN in c.evidence for c in shown) == 5
    page = as_html(made.for_release(), "release")
    for finding in FINDINGS:
        assert finding.text not in page
    assert "0.812" in as_html(made, "internal")
    assert "0.812" not in page
    assert "scorecard" not in as_dict(made.for_release(), "release")
    assert [c["name"] for c in as_dict(made, "internal")["scorecard"]] == [c.name for c in inside]


GROUPS = [
    Finding("subgroups", "profile", 0.2, "information", "x", low=0.1, high=0.3, ceiling=0.1, floor=0.4, column="sex = m"),
    Finding("utility", "tstr_death_logistic", 0.8, "fail", "x", "utility", low=0.7, high=0.9, ceiling=0.9, column="sex = m"),
    Finding("utility", "tstr_other_logistic", 0.8, "information", "x", "utility", low=0.7, high=0.9, column="sex = f"),
]  # fmt: skip


def test_subgroups_are_drawn_once_each_and_of_one_task() -> None:
    drawn = subgroups(GROUPS)
    assert drawn.count("sex = m") == 1
    assert "sex = f" not in drawn
    assert "death logistic: concordance" in drawn
    assert "distance from real patients" in drawn
    assert "distance" not in subgroups(GROUPS[1:])
    assert subgroups([]) == ""


def test_a_group_too_small_to_tell_is_not_drawn() -> None:
    few = Finding("subgroups", "profile", 0.0, "inconclusive", "Too few.", better="lower", column="sex = m")
    assert subgroups([few]) == ""


def test_calibration_draws_one_panel_a_model() -> None:
    groups = [
        Finding("utility", f"calibration_death_{model}", 0.1 * i, "information", "x", "utility", low=0.0, high=0.5, n=20,
                bound=0.12 * i, better="target", column=f"risk group {i} of 4")
        for model in ("logistic", "boosting") for i in range(1, 5)
    ]  # fmt: skip
    slope = Finding("utility", "calibration_slope_death_logistic", 0.9, "information", "x", "utility", bound=1.0)
    drawn = calibration([*groups, slope])
    assert re.findall(r">(death \w+)<", drawn) == ["death logistic", "death boosting"]
    assert "slope" not in drawn
    assert calibration([slope]) == ""


@pytest.mark.parametrize(("floor", "drawn"), [(0.05, False), (0.4, True)])
def test_a_measure_whose_floor_beats_its_ceiling_has_no_place_on_the_scale(floor: float, drawn: bool) -> None:
    odd = Finding(
        "tails", "beyond", 0.6, "inconclusive", "x", low=0.5, high=0.7, ceiling=0.2, floor=floor, better="lower"
    )
    assert bool(scale([odd])) == drawn


def test_a_forest_by_column_against_the_real_patients() -> None:
    one = Finding(
        "hazards", "log_hazard_ratio", 0.5, "information", "x", low=0.2, high=0.8, bound=0.6, column="albumin"
    )
    drawn = forest([one], "log hazard ratio", "real patients", 0.0, "bound", True)
    assert ">albumin<" in drawn
    assert ">real patients<" in drawn
    assert "hazards" not in forest([one], "log hazard ratio", by_column=True)
