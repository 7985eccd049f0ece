"""The audit on cohorts: what it convicts, what it lets pass, what it says it cannot tell, and the command."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cohorts import DICTIONARIES, pbc, simulated
from conftest import ROOT
from liars import bootstrap, renamed
from yardstick import at_most

from privacy.attacks.membership import Membership
from privacy.attacks.risk import risk
from privacy.rates import Rate
from synthgen.auditing.cohorts import audit, membership_verdict
from synthgen.auditing.risks import risk_verdict
from synthgen.auditing.subgroups import groups
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.findings import Evidence, Finding
from synthgen.flags import Flag
from synthgen.storage import read_cohort, write_cohort
from synthgen.summaries import first_records, standardised, summaries

RNG = np.random.default_rng(0)


@cache
def halves() -> tuple[Cohort, Cohort]:
    """Real PBC patients, split at random."""
    real = read_cohort(ROOT / "configs" / "pbc", pbc())
    ids = np.random.default_rng(0).permutation(np.array(real.ids, dtype=object))
    return real.of(ids[:156]), real.of(ids[156:])


def audited(
    dictionary: Dictionary, train: Cohort, holdout: Cohort, synthetic: Cohort, depth: str = "quick", seed: int = 0
) -> tuple[list[Finding], list[Flag]]:
    evidence = Evidence(dictionary, train, holdout, synthetic, train, np.random.default_rng(seed))
    return audit(evidence, 3.0, depth)  # type: ignore[arg-type]


def failed(findings: list[Finding]) -> list[str]:
    return [f.name for f in findings if f.verdict == "fail"]


# Conviction and acquittal -------------------------------------------------------------------------------------------------
ATTACKS = {
    "membership/auc_distance", "membership/auc_density_ratio", "membership/auc_classifier", "subgroups/worst_auc",
    "copies/copied", "copies/nearest_is_trained", "singling_out/one_column", "singling_out/several_columns",
    "linkability/halves", "attribute_inference/status", "attribute_inference/ascites",
}  # fmt: skip
"""All that judge on PBC; k-map and the rates of true positives are for information."""


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {f"{f.check}/{f.metric}": f.verdict for f in findings}


def test_a_bootstrap_copy_is_red_all_over_and_every_patient_is_flagged():
    """Also by ascites, which a tenth of 156 patients have."""
    train, holdout = halves()
    copy = bootstrap(train, 156, np.random.default_rng(1))
    with at_most(500):
        findings, flags = audited(pbc(), train, holdout, copy, depth="standard")
    found = verdicts(findings)
    assert found.keys() >= ATTACKS
    assert {found[name] for name in ATTACKS} == {"fail"}
    assert {f.patient_id for f in flags} == set(copy.ids)
    assert {(f.reason, f.severity, f.reads_real_data) for f in flags} == {
        ("copy", "severe", True), ("attack-exposed", "moderate", True),
    }  # fmt: skip


def test_half_the_holdout_against_the_other_half_is_green():
    train, holdout = halves()
    ids = np.random.default_rng(2).permutation(np.array(holdout.ids, dtype=object))
    findings, flags = audited(pbc(), train, holdout.of(ids[:78]), renamed(holdout, ids[78:]), depth="standard")
    found = verdicts(findings)
    assert {found[name] for name in ATTACKS - {"subgroups/worst_auc"}} == {"pass"}
    assert found["subgroups/worst_auc"] == "information"  # it convicts or says nothing
    assert set(found.values()) == {"pass", "information"}
    assert flags == []


def test_where_a_planted_leak_would_not_convict_either_the_report_says_that_this_n_cannot_tell():
    """Of twelve training patients two have ascites: neither a copy nor a stranger can be told by it."""
    everyone = simulated(pbc(), 400, 5)
    has = everyone.visits.groupby("patient_id")["ascites"].first().reindex(everyone.ids).eq("yes").to_numpy()
    yes, no = (np.array(everyone.ids, dtype=object)[who] for who in (has, ~has))
    train, holdout = (everyone.of([*yes[k : k + 2], *no[k : k + 10]]) for k in (0, 20))
    for made in (bootstrap(train, 12, np.random.default_rng(0)), renamed(everyone, no[50:70])):
        findings, _ = audited(pbc(), train, holdout, made)
        (ascites,) = [f for f in findings if f.name == "attribute_inference/ascites"]
        assert ascites.verdict == "inconclusive"
        assert "not even that would have failed: this n cannot tell" in ascites.text
        assert ascites.ceiling is not None


@pytest.mark.slow
def test_independent_samples_are_convicted_no_more_often_than_is_said():
    """Twenty fresh simulated cohorts: at a family-wise error of 1%, more than 2 are convicted once in a thousand times."""
    everyone = simulated(pbc(), 20 * 120, seed=9)
    convicted = 0
    for i in range(20):
        ids = np.array(everyone.ids[120 * i : 120 * (i + 1)], dtype=object)
        parts = everyone.of(ids[:40]), everyone.of(ids[40:80]), renamed(everyone.of(ids[80:]), ids[80:])
        convicted += bool(failed(audited(pbc(), *parts, depth="quick", seed=i)[0]))
    assert convicted <= 2


@pytest.mark.parametrize("name", DICTIONARIES)
def test_any_dictionary_can_be_audited_and_a_copy_fails(name: str):
    dictionary = DICTIONARIES[name]()
    everyone = simulated(dictionary, 180, 3)
    ids = np.array(everyone.ids, dtype=object)
    train, holdout, fresh = everyone.of(ids[:60]), everyone.of(ids[60:120]), renamed(everyone, ids[120:])
    assert not failed(audited(dictionary, train, holdout, fresh)[0])
    findings, _ = audited(dictionary, train, holdout, bootstrap(train, 60, np.random.default_rng(0)), depth="standard")
    assert {"copies/copied", "copies/nearest_is_trained"} <= set(failed(findings))


def test_a_handful_of_copies_among_strangers_is_found_and_named():
    everyone = simulated(pbc(), 180, 4)
    ids = np.array(everyone.ids, dtype=object)
    synthetic = renamed(everyone, np.concatenate([ids[:2], ids[120:178]]))
    findings, flags = audited(pbc(), everyone.of(ids[:60]), everyone.of(ids[60:120]), synthetic)
    assert "copies/copied" in failed(findings)
    assert {f.patient_id for f in flags} == {"SYN-000000", "SYN-000001"}
    assert {f.reason for f in flags} == {"copy", "attack-exposed"}


def test_too_few_patients_are_not_audited_and_that_is_said():
    everyone = simulated(pbc(), 30, 0)
    ids = np.array(everyone.ids, dtype=object)
    findings, flags = audited(pbc(), everyone.of(ids[:20]), everyone.of(ids[20:25]), renamed(everyone, ids[25:]))
    assert [(f.verdict, f.check) for f in findings] == [("inconclusive", "audit")]
    assert flags == []


def test_those_with_a_rare_combination_are_attacked_as_a_group():
    """Only they are copied, among strangers: nobody else is exposed, and the mean hides it."""
    everyone = simulated(pbc(), 360, 6)
    ids = np.array(everyone.ids, dtype=object)
    train, holdout = everyone.of(ids[:150]), everyone.of(ids[150:300])
    words, inside = {n: (w, i) for n, w, i in groups(Evidence(pbc(), train, holdout, train, train, RNG))}["rare"]
    assert "age, sex" in words
    rare = inside(train)
    keys = Counter(zip(*_age_and_sex(everyone.of(ids[:300])), strict=True))
    assert rare.tolist() == [keys[key] < 11 for key in zip(*_age_and_sex(train), strict=True)]
    assert 10 < rare.sum() < 75
    made = renamed(everyone, np.concatenate([np.array(train.ids, dtype=object)[rare], ids[300:]]))
    findings, _ = audited(pbc(), train, holdout, made)
    (worst,) = [f for f in findings if f.check == "subgroups"]
    assert (worst.column, worst.verdict) == ("rare", "fail")
    assert "fewer than 11" in worst.text


def _age_and_sex(cohort: Cohort) -> tuple[list[float], list[str]]:
    low, high = pbc().tables["patients"].columns["age"].bounds or (0, 0)
    cell = np.floor(20 * ((cohort.patients["age"].to_numpy(dtype=float) - low) / (high - low)))
    return cell.tolist(), cohort.patients["sex"].astype(str).tolist()


# Verdicts -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "half", "corrected", "verdict"),
    [
        (0.75, 0.06, 0.66, "fail"),
        (0.51, 0.06, 0.42, "pass"),
        (0.51, 0.15, 0.33, "inconclusive"),  # .6 could hide
        (0.58, 0.06, 0.505, "inconclusive"),  # more than chance, not surely more than tolerated
        (0.40, 0.06, 0.32, "pass"),
    ],
)
def test_the_verdict_on_membership(value: float, half: float, corrected: float, verdict: str):
    area = Rate(value, value - half, value + half, 312)
    assert membership_verdict(Membership("x", area, corrected, area, area, 0.01, 3.0)) == verdict


def test_the_verdict_on_a_risk():
    seen, unseen = risk((55, 100), (5, 100), (5, 100)), risk((4, 8), (0, 8), (0, 8))
    assert risk_verdict(risk((60, 100), (20, 100), (10, 100)), seen, 0.001) == "fail"
    assert risk_verdict(risk((22, 100), (20, 100), (10, 100)), seen, 0.001) == "pass"
    assert risk_verdict(risk((12, 100), (0, 100), (0, 100)), seen, 0.001) == "inconclusive"  # surely more, not by .10
    assert (
        risk_verdict(risk((22, 100), (20, 100), (10, 100)), unseen, 0.001) == "inconclusive"
    )  # nor would a leak be seen
    assert risk_verdict(risk((80, 100), (20, 100), (10, 100)), unseen, 0.001) == "fail"


def test_findings_are_for_inside_and_hold_no_value_of_a_patient():
    train, holdout = halves()
    findings, _ = audited(pbc(), train, holdout, bootstrap(train, 156, np.random.default_rng(1)))
    assert {f.section for f in findings} == {"audit"}
    assert {f.audience for f in findings} == {"internal"}
    for f in findings:
        json.loads(f.as_json())
        assert not any(f" {patient} " in f.text for patient in train.ids if not str(patient).isdigit())
    assert sum("auc" in f.metric for f in findings) >= 3  # the report's chart


# Features -----------------------------------------------------------------------------------------------------------------
def test_summaries_have_no_gaps_and_depend_on_nobody_else():
    everyone = simulated(pbc(), 40, 0)
    ids = list(everyone.ids)
    whole, half = summaries([everyone, everyone.of(ids[::2])], pbc())
    assert not whole.isna().any().any()
    assert np.allclose(whole.loc[ids[::2]].to_numpy(), half.to_numpy())
    scaled, _ = standardised([whole, half], [whole])
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-9)
    assert np.allclose(scaled.std(axis=0)[whole.std(ddof=0) > 1e-6], 1)


def test_first_records_are_read_off_the_first_visit():
    cohort = simulated(pbc(), 20, 1)
    records = first_records([cohort], pbc())
    (table,) = records.tables
    age = pbc().tables["patients"].columns["age"].bounds
    assert age is not None
    expected = (cohort.patients["age"].to_numpy() - age[0]) / (age[1] - age[0])
    assert np.allclose(table[:, records.names.index("age")], expected)
    assert records.discrete[records.names.index("sex")]
    assert set(table[:, records.names.index("sex")]) <= {0.0, 1.0}


# The command --------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("audit")
    everyone = replace(simulated(pbc(), 180, 3), origin="real")  # as far as the files tell
    ids = np.array(everyone.ids, dtype=object)
    made = {
        "real": everyone.of(ids[:60]),
        "holdout": everyone.of(ids[60:120]),
        "fresh": renamed(everyone, ids[120:]),
        "copy": bootstrap(everyone.of(ids[:60]), 60, np.random.default_rng(0)),
    }
    for name, cohort in made.items():
        write_cohort(cohort, base / name, ("csv",))
    return {name: base / name for name in made}


@pytest.mark.parametrize("drafted", [False, True])
def test_anybodys_cohort_is_audited_from_its_folders(cli, folders: dict[str, Path], tmp_path: Path, drafted: bool):
    from synthgen.storage import as_written

    known = tmp_path / "cohort.yaml"
    known.write_text(json.dumps(as_written(pbc()).model_dump(mode="json", exclude_none=True)))
    words = [] if drafted else ["--dictionary", known]
    base = ["audit", "--real", folders["real"], "--holdout", folders["holdout"], "--depth", "quick", *words]
    code, out, _ = cli(*base, "--synthetic", folders["copy"], "--json", "--report", tmp_path / "report")
    answer = json.loads(out)
    assert code == 1, out
    assert "copies/copied" in [f["name"] for f in answer["findings"] if f["verdict"] == "fail"]
    assert len([f for f in answer["flags"] if f["reason"] == "copy"]) == 60
    page = (tmp_path / "report" / "report.html").read_text()
    assert "INTERNAL" in page
    assert "made elsewhere" in page
    code, out, _ = cli(*base, "--synthetic", folders["fresh"])
    assert code == 0
    assert "no finite epsilon stands in its place" in out
    assert "Accepting or refusing the cohort because of this audit is outside epsilon too" in out


def test_a_cohort_that_breaks_its_dictionary_is_audited_all_the_same(cli, folders: dict[str, Path], tmp_path: Path):
    odd = tmp_path / "odd"
    odd.mkdir()
    for path in folders["fresh"].glob("*.csv"):
        lines = path.read_text().splitlines()
        head = lines[0].split(",")
        if "age" in head:
            lines[1:] = [
                ",".join("999" if h == "age" else c for h, c in zip(head, r.split(","), strict=True)) for r in lines[1:]
            ]
        (odd / path.name).write_text("\n".join(lines) + "\n")
    code, out, _ = cli(
        "audit",
        "--real",
        folders["real"],
        "--holdout",
        folders["holdout"],
        "--synthetic",
        odd,
        "--depth",
        "quick",
        "--json",
    )
    assert code in (0, 1)
    answer = json.loads(out)
    assert any("age" in breach for breach in answer["breaches"])
    assert not any("999" in breach for breach in answer["breaches"])


def test_a_control_that_was_trained_on_is_refused(cli, folders: dict[str, Path]):
    code, _, err = cli(
        "audit", "--real", folders["real"], "--holdout", folders["real"], "--synthetic", folders["fresh"]
    )
    assert code == 2
    assert "60 ids stand in --real too" in err


def test_a_folder_without_patients_is_refused(cli, folders: dict[str, Path], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    code, _, err = cli(
        "audit", "--real", folders["real"], "--holdout", folders["holdout"], "--synthetic", tmp_path / "empty"
    )
    assert code == 2
    assert "patients" in err


# The trade-off ------------------------------------------------------------------------------------------------------------
def test_claim_and_attacks_stand_on_one_curve():
    from privacy.charges import Charge
    from synthgen.report.tradeoff_chart import tradeoff

    train, holdout = halves()
    findings, _ = audited(pbc(), train, holdout, bootstrap(train, 156, np.random.default_rng(1)))
    drawn = tradeoff([Charge("a", 1.0)], findings)
    assert "2 attacks" in drawn
    assert "the most that the claim allows anybody" in drawn
    assert tradeoff([], findings) == ""
    assert tradeoff([Charge("a", 1.0)], [f for f in findings if "tpr" not in f.metric]) == ""
