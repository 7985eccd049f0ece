"""What may remove a synthetic patient from a release hangs on no real patient (DESIGN.md, rule 8): the same synthetic cohort
beside other real patients gets the same flags, but for those that say that they read real data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cohorts import DICTIONARIES, simulated
from liars import renamed

from synthgen.auditing.cohorts import audit
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.findings import Evidence
from synthgen.flagging import flag as queue
from synthgen.flags import Flag
from synthgen.linked_simulation import simulate_linked
from synthgen.plugins import checks

PATIENTS = 40
"""Made-up patients to be flagged; of real ones there are more or fewer."""


def linked() -> Dictionary:
    """Records with pictures and notes."""
    from conftest import ROOT

    return read_dictionary(ROOT / "configs" / "linked" / "cohort.yaml")


@cache
def cohort(name: str, patients: int, seed: int) -> Cohort:
    if name == "linked":
        return simulate_linked(linked(), patients, np.random.default_rng(seed))
    return simulated(DICTIONARIES[name](), patients, seed)


def flags_beside(dictionary: Dictionary, made: Cohort, real: Cohort) -> list[Flag]:
    """As the pipeline raises and ranks them."""
    ids, half = np.array(real.ids, dtype=object), len(real) // 2
    train, holdout = (replace(real.of(part), origin="real") for part in (ids[:half], ids[half:]))
    evidence = Evidence(dictionary, train, holdout, made, train, np.random.default_rng(0))
    raised = audit(evidence, 3.0)[1]
    raised += [f for check in checks() if hasattr(check, "flags") for f in check.flags(evidence)]
    return queue(made, dictionary, raised)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DICTIONARIES, "linked"])
def test_what_may_remove_a_patient_hangs_on_no_real_patient(name: str):
    dictionary = linked() if name == "linked" else DICTIONARIES[name]()
    plain = cohort(name, PATIENTS, 1)
    made = renamed(plain, np.array([*plain.ids, *plain.ids[:3]], dtype=object))  # three of them twice
    found = [flags_beside(dictionary, made, cohort(name, size, seed)) for size, seed in ((60, 2), (24, 3))]
    found.append(flags_beside(dictionary, made, made))  # each is the copy of a real patient
    free = [[f for f in flags if not f.reads_real_data] for flags in found]
    assert free[0], "nothing was flagged, so nothing was tested"
    assert free[0] == free[1] == free[2]
    assert any(f.reads_real_data for f in found[2])
