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

HARD_TO_SEE = {"a sign that flickers", "contradiction of two measurements", "halves of two patients"}
"""Moderate kinds of which the benchmark misses more than one in five."""


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


def test_real_patients_are_copied_only_where_they_are_given() -> None:
    """An exact copy is a given patient under a synthetic id; a near one strays by .003 of the public range at most."""
    by_name = {k.name: k for k in kinds() if k.by == "real patients"}
    wanted = [by_name["copied real patient"], by_name["nearly copied real patient"]]
    good, real = simulated(pbc(), 40, seed=1), simulated(pbc(), 40, seed=2)
    made, faults = plant(good, pbc(), wanted, np.random.default_rng(0))
    assert faults == []
    made, faults = plant(good, pbc(), wanted, np.random.default_rng(0), real=real)
    assert {f.patients[0] for f in faults} <= set(good.ids)
    assert real.visits is not None
    assert made.visits is not None
    for fault, reach in zip(faults, (0.0, 0.003), strict=True):
        copy = made.visits[made.visits["patient_id"] == fault.patients[0]]["albumin"].to_numpy(dtype=float)
        albumin = [v["albumin"].to_numpy(dtype=float) for _, v in real.visits.groupby("patient_id")]
        away = [np.abs(a - copy).max() for a in albumin if len(a) == len(copy)]
        assert min(away) <= reach * (10 - 0.5) + 0.005 + 1e-9
        assert (min(away) == 0) == (reach == 0)
