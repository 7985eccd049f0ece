"""A finished run for the review house: simulated patients of the PBC dictionary, flagged; no pipeline is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import finished_run
from conftest import ROOT

from privacy.ledger import patient_tags
from privacy.tradeoff import tpr_at
from synthgen.cohort import Cohort
from synthgen.config import load_job
from synthgen.dictionary import Dictionary
from synthgen.findings import Finding
from synthgen.flags import Flag
from synthgen.planning import Plan, PlannedQuery
from synthgen.queue import ranked
from synthgen.report import ReportContext, write_report
from synthgen.report.of_run import context_of
from synthgen.storage import write_cohort
from synthgen.workspace import Run, Workspace

STAGES = ("read", "split", "charge", "train", "sample", "fidelity", "utility", "audit", "flag", "report")
INCONCLUSIVE = Finding(
    "subgroup", "worst_auc", 0.55, "inconclusive", "17 patients are too few to tell for men.", "audit", 0.4, 0.7, 17
)


def flags(count: int = 30, severity: str = "moderate") -> list[Flag]:
    """One flag for each of the first patients, none of which reads real data."""
    text = "Ascites is a complication of portal hypertension, not of stage 1 disease. It does so at 2 of 7 visits."
    return [Flag(f"SYN-{i:06d}", "ascites", severity, text, False, {}, 1 - i / 1000) for i in range(count)]  # type: ignore[arg-type]


def finished(
    place: Workspace,
    raised: Sequence[Flag] = (),
    findings: Sequence[Finding] = (),
    cohort: Cohort | None = None,
    real: ReportContext | None = None,
    dictionary: Dictionary | None = None,
) -> Run:
    """A run with every stage done, its charges in the ledger. The internal report shows the real patients of `real`."""
    context = finished_run.context()
    charges = context.claim.charges
    assert context.spending is not None
    queries = tuple(PlannedQuery("ehr", c, c.noise_multiplier / 156) for c in charges)
    plan = Plan(312, 156, finished_run.BUDGET, queries, context.spending.run, tpr_at(charges, 0.01))
    run = place.new_run(load_job(ROOT / "configs" / "pbc.yaml"), dictionary or context.dictionary, plan)
    tags = patient_tags([f"P{i}" for i in range(312)], place.key)
    place.ledger().reserve(run.id, "pbc", tags, charges, replace(finished_run.BUDGET, epsilon=10.0))
    for part in ("answers", "models"):
        (run.path(part, "ehr") / "000000.safetensors").write_bytes(b"weights")
    write_cohort(cohort or context.synthetic, run.path("synthetic"), ("parquet",))
    run.write_json("cohort.json", {"fingerprint": "none", "patients": 310})
    run.write_json("split.json", {"train": 160, "holdout": 160})
    run.write_lines("findings.jsonl", [*context.findings, *findings])
    run.write_lines("flags.jsonl", ranked(raised))
    run.write_json("stages.json", {s: {"seconds": 1.0, "peak_mb": 300} for s in STAGES})
    write_report(run.folder, context_of(run, *((real.train, real.holdout) if real else ())))
    return run
