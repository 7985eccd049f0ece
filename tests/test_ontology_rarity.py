"""Rare combinations of phenotype terms: who has them, and that the audit attacks them as a group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tiny_hpo as tiny
from test_audit import audited, renamed

from synthgen.auditing.subgroups import groups
from synthgen.cohort import Cohort
from synthgen.findings import Evidence
from synthgen.ontology_rarity import pairs_alone, rarest

RNG = np.random.default_rng(0)


def patients(terms: dict[str, str], excluded: tuple[tuple[str, str], ...] = ()) -> Cohort:
    rows = [(p, t, "observed") for p, ts in terms.items() for t in ts] + [(p, t, "excluded") for p, t in excluded]
    table = pd.DataFrame(rows, columns=["patient_id", "term", "status"])
    return Cohort(pd.DataFrame({"patient_id": list(terms)}), phenotypes=table, origin="real")


def test_a_pair_is_a_patient_s_own_when_nobody_else_has_both():
    train = patients({"1": "ABC", "2": "AB", "3": "D"}, (("2", "C"),))
    holdout = patients({"4": "AD", "5": ""})
    assert pairs_alone([train, holdout]) == {"1": 2, "2": 0, "3": 0, "4": 1, "5": 0}
    assert rarest([train, holdout], 0.2) == {"1"}
    assert rarest([train, holdout], 0.5) == {"1", "4"}
    assert rarest([patients({"1": "A", "2": "A"})]) == frozenset()


def test_it_plays_no_part_who_was_trained_on():
    everyone = tiny.cohort(tiny.dictionary())
    ids = list(everyone.ids)
    one, two = ([everyone.of(ids[a:b]), everyone.of(ids[:a] + ids[b:])] for a, b in ((0, 150), (70, 220)))
    assert rarest(one) == rarest(two)
    assert 0.1 < len(rarest(one)) / len(ids) < 0.35


@pytest.mark.slow
def test_those_with_rare_combinations_are_attacked_as_a_group():
    """Only they are copied, among strangers with terms of their own."""
    dictionary = tiny.dictionary()
    everyone = tiny.cohort(dictionary)
    ids = np.array(everyone.ids, dtype=object)[np.random.default_rng(1).permutation(len(everyone))]
    train, holdout = everyone.of(ids[:130]), everyone.of(ids[130:260])
    inside = {n: i for n, _, i in groups(Evidence(dictionary, train, holdout, train, train, RNG))}["phenotypes"]
    rare = inside(train)
    assert 15 < rare.sum() < 60
    copied = np.concatenate([np.array(train.ids, dtype=object)[rare], ids[260:]])
    findings, _ = audited(dictionary, train, holdout, renamed(everyone, copied))
    (worst,) = [f for f in findings if f.check == "subgroups"]
    assert (worst.column, worst.verdict) == ("phenotypes", "fail")
    assert "pairs of phenotype terms" in worst.text
    findings, _ = audited(dictionary, train, holdout, renamed(everyone, ids[260:]))
    assert not [f for f in findings if f.check == "subgroups" and f.verdict == "fail"]
