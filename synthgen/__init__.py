"""Synthetic rare-disease cohorts with a true differential-privacy guarantee.

    import synthgen as sg

    job = sg.load_job("configs/pbc.yaml")
    print(sg.explain(sg.plan(job, job.dictionary)))
    run = sg.run(job)
    run.report, run.synthetic, run.findings

Names are imported when they are first used, so that importing this package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Budget": "privacy.budget",
    "Charge": "privacy.charges",
    "Cohort": "synthgen.cohort",
    "Dictionary": "synthgen.dictionary",
    "Finding": "synthgen.findings",
    "Flag": "synthgen.flags",
    "Job": "synthgen.config",
    "Plan": "synthgen.planning",
    "Run": "synthgen.workspace",
    "SynthgenError": "privacy.errors",
    "Workspace": "synthgen.workspace",
    "explain": "synthgen.planning",
    "load_job": "synthgen.config",
    "plan": "synthgen.planning",
    "read_cohort": "synthgen.storage",
    "read_dictionary": "synthgen.dictionary",
    "resume": "synthgen.pipeline",
    "run": "synthgen.pipeline",
    "draw": "synthgen.pipeline",
    "simulate": "synthgen.simulation",
}
"""Every public name and the module it lives in."""

__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module synthgen has no attribute {name}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
