"""A run that could be released: simulated patients of the PBC dictionary stand for the real and for the synthetic ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from conftest import ROOT

from privacy.accounting import calibrate, epsilon
from privacy.budget import Budget
from privacy.charges import Charge
from synthgen.claim import claim
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Finding
from synthgen.flags import Flag
from synthgen.report import ReportContext, Spending, StageTime, write_report
from synthgen.simulation import simulate
from synthgen.storage import write_cohort

BUDGET = Budget(3.0, 1e-4)
PLANTED = {
    "bilirubin": [1.738113 + 0.213771 * i for i in range(10)],
    "cholesterol": [251.739411 + 7.313773 * i for i in range(10)],
    "albumin": [3.017393 + 0.071737 * i for i in range(10)],
}
"""Values that stand nowhere but in the training cohort, ten a column."""
REAL_IDS = [f"MRN-77{i:04d}" for i in range(156)]


@cache
def dictionary() -> Dictionary:
    return read_dictionary(ROOT / "configs" / "pbc" / "cohort.yaml")


def named(cohort: Cohort, ids: list[str], origin: str) -> Cohort:
    """The same patients under other ids."""
    names = dict(zip(cohort.ids, ids, strict=True))
    tables = {name: t.assign(patient_id=t["patient_id"].map(names)) for name, t in cohort.tables.items()}
    return replace(cohort, **tables, origin=origin)


def planted(train: Cohort) -> Cohort:
    """The training cohort with the planted values at its first visits, which the charts lean on most."""
    assert train.visits is not None
    visits = train.visits.copy()
    first = visits.index[visits["day"] == 0]
    for name, values in PLANTED.items():
        visits.loc[first[: len(values)], name] = values
    return replace(train, visits=visits)


@cache
def context() -> ReportContext:
    """Everything passes, nothing is flagged, the budget is kept."""
    about = dictionary()
    rng = np.random.default_rng(7)
    train = planted(named(simulate(about, 156, rng), REAL_IDS, "real"))
    holdout = named(simulate(about, 156, rng), [f"MRN-88{i:04d}" for i in range(156)], "real")
    synthetic = named(simulate(about, 156, rng), [f"SYN-{i:06d}" for i in range(156)], "synthetic")
    charges = calibrate([Charge("ehr/location", 2.5), Charge("ehr/steps", 8.0, 1.0, 30)], BUDGET)
    spent = epsilon(charges, BUDGET.delta)
    return ReportContext(
        run="20300101-000000-pbc-ab12",
        job="pbc",
        dictionary=about,
        claim=claim(charges, BUDGET, about),
        synthetic=synthetic,
        spending=Spending(3.0, spent, spent, 10.0, BUDGET.delta),
        findings=(
            Finding(
                "marginals", "shape", 0.934172, "pass", "Single columns agree.", "fidelity", 0.91, 0.95, 156, 0.945, 0.8
            ),
            Finding(
                "tstr",
                "auc",
                0.881733,
                "pass",
                "Trained on synthetic 0.88, on real 0.91.",
                "utility",
                0.82,
                0.93,
                156,
                0.91,
            ),
            Finding(
                "membership",
                "auc",
                0.511379,
                "pass",
                "No better than guessing.",
                "audit",
                0.45,
                0.57,
                156,
                better="lower",
            ),
            Finding("rules", "hard", 0.0, "pass", "No hard rule is broken.", "rules", audience="release"),
        ),
        flags=(Flag("SYN-000003", "frozen", "mild", "Nothing moves.", False, {"albumin": 3.4}, 0.4),),
        train=train,
        holdout=holdout,
        stages=(StageTime("train", 130.3, 1250.0), StageTime("report", 6.0, 700.0)),
        versions={"synthgen": "0.1.0"},
    )


def make_run(folder: Path, **changes: object) -> ReportContext:
    """A run's folder with its report; the context it was made of, changed as asked."""
    made = replace(context(), **changes)
    for part in ("models/ehr", "answers/ehr"):
        (folder / part).mkdir(parents=True)
        (folder / part / "000000.safetensors").write_bytes(b"weights")
    (folder / "plan.json").write_text("{}")
    (folder / "findings.jsonl").write_text("".join(f.as_json() + "\n" for f in made.findings))
    (folder / "flags.jsonl").write_text("".join(f.as_json() + "\n" for f in made.flags))
    write_cohort(made.synthetic, folder / "synthetic", ("parquet",))
    write_report(folder, made)
    return made
