"""The audit as a whole: a generator that copies its training patients fails, another real sample passes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from cohorts import _dictionary, pbc, simulated

from synthgen.auditing.cohorts import audit
from synthgen.cohort import Cohort
from synthgen.findings import Evidence, Finding
from synthgen.flags import Flag
from synthgen.floor import independent
from synthgen.progress import Silent

PATIENTS = 150


@cache
def population() -> list[Cohort]:
    """Train, holdout, and a third sample that no generator has seen: all of one population."""
    everyone = simulated(pbc(), 3 * PATIENTS, seed=5)
    return [everyone.of(everyone.ids[i * PATIENTS : (i + 1) * PATIENTS]) for i in range(3)]


def renamed(cohort: Cohort, chosen: np.ndarray, prefix: str) -> Cohort:
    """These patients, repeats and all, each under an id of their own."""
    ids = cohort.ids[chosen]
    fresh = [f"{prefix}-{i}" for i in range(len(ids))]
    tables = {"patients": cohort.patients.iloc[chosen].assign(patient_id=fresh).reset_index(drop=True)}
    for name, table in cohort.tables.items():
        if name != "patients":
            of = table.groupby("patient_id", sort=False)
            groups = {str(key): part for key, part in of}
            parts = [groups[i].assign(patient_id=n) for i, n in zip(ids, fresh, strict=True) if i in groups]
            tables[name] = pd.concat(parts, ignore_index=True)
    return replace(cohort, **tables, origin="synthetic")


def audited(synthetic: Cohort) -> tuple[list[Finding], list[Flag]]:
    train, holdout, _ = population()
    rng = np.random.default_rng(0)
    floor = independent(train, pbc(), rng)
    return audit(Evidence(pbc(), train, holdout, synthetic, floor, rng), 3.0, "quick", Silent())


def test_a_bootstrap_copy_fails_and_its_copies_are_flagged() -> None:
    chosen = np.random.default_rng(1).integers(PATIENTS, size=PATIENTS)
    copy = renamed(population()[0], chosen, "COPY")
    findings, flags = audited(copy)
    failed = {f.name for f in findings if f.verdict == "fail"}
    assert any(name.startswith("membership/auc") for name in failed)
    assert "copies/copied" in failed
    assert {f.patient_id for f in flags} == set(copy.ids)
    assert all(f.reads_real_data for f in flags)


def test_a_few_copies_among_strangers_are_found_by_name() -> None:
    train, _, stranger = population()
    strangers = renamed(stranger, np.arange(PATIENTS - 5), "NEW")
    copies = renamed(train, np.arange(5), "COPY")
    tables = {n: pd.concat([strangers.tables[n], copies.tables[n]], ignore_index=True) for n in strangers.tables}
    findings, flags = audited(replace(strangers, **tables))
    assert "copies/copied" in {f.name for f in findings if f.verdict == "fail"}
    assert {f.patient_id for f in flags} == set(copies.ids)


def test_another_real_sample_passes() -> None:
    findings, flags = audited(renamed(population()[2], np.arange(PATIENTS), "NEW"))
    assert [f.name for f in findings if f.verdict == "fail"] == []
    assert flags == []
    assert any(f.name.startswith("membership/auc") and f.verdict == "pass" for f in findings)


def test_findings_say_what_so_few_patients_can_prove() -> None:
    findings, _ = audited(renamed(population()[2], np.arange(PATIENTS), "NEW"))
    ceiling = next(f for f in findings if f.metric == "epsilon_ceiling")
    assert (
        2.5 < ceiling.value < 4.5
    )  # a perfect attack on 150 against 150: ln(.976 / .024) = 3.7 with two-sided 95% ends
    assert all(f.section == "audit" and f.audience == "internal" for f in findings)


def test_records_that_cannot_differ_are_nobody_s_copies() -> None:
    """Patients with one column of two labels, as in a set of pictures: every record equals some real one's."""
    label = {"type": "categorical", "categories": ["normal", "ill"]}
    dictionary = _dictionary("labels", {"label": label})
    drawn = simulated(dictionary, 90)
    train, holdout, made = (drawn.of(drawn.ids[i::3]) for i in range(3))
    floor = independent(train, dictionary, np.random.default_rng(0))
    made = replace(made, origin="synthetic")
    evidence = Evidence(dictionary, train, holdout, made, floor, np.random.default_rng(0))
    findings, flags = audit(evidence, 3.0, "quick", Silent())
    assert {f.name: f.verdict for f in findings}["copies/copied"] == "information"
    assert not flags
