"""Made-up patients of the one-run audit: whole, unlike anybody, and scored over all modalities at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from privacy.attacks.one_run import one_run
from synthgen.auditing.canary_patients import BLOCKS, together, with_canaries
from synthgen.cohort import Cohort
from synthgen.conformance import conform
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.linked_simulation import simulate_linked


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return read_dictionary(ROOT / "configs" / "linked" / "cohort.yaml")


@pytest.fixture(scope="module")
def train(dictionary: Dictionary) -> Cohort:
    cohort = simulate_linked(dictionary, 30, np.random.default_rng(0))
    names = {old: f"R-{k}" for k, old in enumerate(cohort.ids)}
    tables = {n: t.assign(patient_id=t["patient_id"].map(names)) for n, t in cohort.tables.items()}
    return replace(cohort, **tables, origin="real")


def test_a_canary_is_a_whole_patient_behind_those_trained_on(dictionary: Dictionary, train: Cohort):
    pool = with_canaries(train, dictionary, 20, np.random.default_rng(1))
    assert list(pool.ids[:30]) == list(train.ids)
    canaries = pool.of(pool.ids[30:])
    assert len(canaries) == 20
    assert set(canaries.tables) == set(train.tables)
    for table in ("images", "notes"):
        assert canaries.tables[table]["patient_id"].tolist() == canaries.ids.tolist()
    assert conform(pool.tables, dictionary, "real")[1] == []


def test_no_two_canaries_share_a_picture_or_a_note(dictionary: Dictionary, train: Cohort):
    pool = with_canaries(train, dictionary, 20, np.random.default_rng(1))
    canaries = pool.of(pool.ids[30:])
    assert canaries.images is not None
    assert canaries.notes is not None
    pictures = canaries.images["image"].tolist()
    assert len({p.tobytes() for p in pictures}) == 20
    assert set(np.unique(pictures[0])) == {0, 255}
    assert len(np.unique(np.stack([p[:: 32 // BLOCKS, :: 32 // BLOCKS] for p in pictures]), axis=0)) == 20
    assert canaries.notes["text"].nunique() == 20


def test_canaries_of_a_cohort_without_pictures_have_none(dictionary: Dictionary, train: Cohort):
    records = replace(train, images=None, notes=None)
    pool = with_canaries(records, dictionary.without(["images", "notes"]), 5, np.random.default_rng(1))
    assert set(pool.tables) == {"patients", "visits", "events"}


def test_a_leak_split_over_modalities_is_found_when_they_are_taken_together():
    """Each modality gives away a little; neither alone proves what both together prove."""
    rng = np.random.default_rng(4)
    coins = rng.random(300) < 0.5
    scores = {name: 10.0**k * (2.2 * coins + rng.normal(size=300)) for k, name in enumerate(("ehr", "images", "notes"))}
    alone = [one_run(values, coins, 1e-5).epsilon_low for values in scores.values()]
    assert one_run(together(scores), coins, 1e-5).epsilon_low > max(alone) + 0.3


def test_one_modality_is_scored_as_it_is():
    values = np.random.default_rng(0).normal(size=50)
    assert np.array_equal(np.argsort(together({"ehr": values})), np.argsort(values))
