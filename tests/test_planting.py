"""Planted faults: the planter does what it says, and what it plants is found and named (the whole measurement is
benchmarks/planted.py)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cohorts import pbc, registry, simulated

from synthgen.flagging import flag
from synthgen.planting import kinds, plant
from synthgen.queue import for_release, patients_of
from synthgen.triage import Triage

HARD_TO_SEE = {"runaway drift", "a sign that flickers", "contradiction of two measurements", "halves of two patients"}
"""Moderate kinds that the benchmark finds in no more than two of three patients."""


def test_there_are_forty_kinds_and_a_third_has_neither_rule_nor_breach() -> None:
    every = kinds()
    assert len(every) >= 40
    assert len({k.name for k in every}) == len(every)
    assert sum(k.by == "evidence" for k in every) >= len(every) / 3


@pytest.fixture(scope="module", params=[pbc, registry], ids=["pbc", "registry"])
def spoiled(request):
    """A simulated cohort with two faults of each kind that has a place in it, and its flags."""
    dictionary = request.param()
    good = simulated(dictionary, 900, seed=11)
    made, faults = plant(good, dictionary, [*kinds(), *kinds()], np.random.default_rng(3))
    return dictionary, good, made, faults, for_release(flag(made, dictionary))


def test_the_good_patients_stay_as_they_were(spoiled) -> None:
    dictionary, good, made, faults, _ = spoiled
    touched = {p for f in faults for p in f.patients}
    for name, before in good.tables.items():
        after = made.tables[name]
        kept = before[~before["patient_id"].isin(touched)].reset_index(drop=True)
        same = after[after["patient_id"].isin(kept["patient_id"])].reset_index(drop=True)
        assert len(same) == len(kept)
        for column in dictionary.tables[name].columns:
            left, right = kept[column], same[column]
            if pd.api.types.is_numeric_dtype(left):
                np.testing.assert_array_equal(left.astype("float64"), right.astype("float64"))
            else:
                assert (
                    left.astype(object).where(left.notna(), None).tolist() == right.where(right.notna(), None).tolist()
                )


def test_what_is_planted_is_named(spoiled) -> None:
    _, _, _, faults, flags = spoiled
    said: dict[str, list[str]] = {}
    for raised in flags:
        for patient in patients_of(raised):
            said.setdefault(patient, []).append(raised.text)
    missed = [
        f.kind.name
        for f in faults
        if f.kind.name not in HARD_TO_SEE
        and not any(word in text for p in f.patients for text in said.get(p, ()) for word in f.kind.words)
    ]
    looked_for = [f for f in faults if f.kind.name not in HARD_TO_SEE]
    assert len(missed) <= 0.07 * len(looked_for), missed


def test_the_first_places_of_the_queue_are_faults(spoiled) -> None:
    _, _, made, faults, flags = spoiled
    bad = {p for f in faults for p in f.patients}
    queue = Triage([str(p) for p in made.ids.unique()], flags, np.random.default_rng(0), control=0)
    first = []
    for _ in range(40):
        patient = queue.next()
        assert patient is not None
        queue.decided[patient] = False
        first.append(patient)
    assert np.mean([p in bad for p in first]) >= 0.8


def test_nothing_is_planted_where_there_is_no_place() -> None:
    """No events in PBC, no drug, no sex-bound event."""
    by_name = {k.name: k for k in kinds()}
    wanted = [by_name[n] for n in ("event told twice", "dose off by a hundred", "sex flip")]
    cohort = simulated(pbc(), 30)
    made, faults = plant(cohort, pbc(), wanted, np.random.default_rng(0))
    assert faults == []
    assert len(made) == 30
