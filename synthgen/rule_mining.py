"""Candidates for clinical rules, mined from patients who may be looked at freely: a public cohort, simulated patients, or a
synthetic cohort whose making was charged. Never from the hospital's own real patients: a mined limit is something learnt.

A candidate holds in nearly all of the source's rows; it says on how many patients it rests and how many broke it, with an upper
bound (Clopper & Pearson 1934). A clinician decides which of them say something of the disease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from privacy.rates import clopper_pearson
from synthgen.dictionary import Rule
from synthgen.rules import broken
from synthgen.screening.words import label

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

FEWEST = 30
"""Patients that a candidate must rest on."""
TOLERATED = 0.01
"""Share of patients who may break it: a source has faults of its own."""
OUTER = 0.002
"""Share of values beyond a mined limit."""
WORTH = 0.7
"""An implied limit is worth saying when it is tighter than the limit of all patients by this factor of the range."""


@dataclass(frozen=True)
class Candidate:
    """A rule that the source keeps to."""

    rule: Rule
    patients: int
    broken: int
    at_most: float
    """Upper 95% bound of the share of patients who break it."""


def mine(cohort: Cohort, dictionary: Dictionary) -> list[Candidate]:
    """Candidates that the cohort's patients keep to, the best supported first; none that the dictionary has already."""
    known = {rule.expression for rule in dictionary.rules}
    found = [
        _judged(rule, cohort, dictionary) for rule in _proposed(cohort, dictionary) if rule.expression not in known
    ]
    kept = [c for c in found if c is not None]
    return sorted(kept, key=lambda c: (c.at_most, c.rule.name))


def _judged(rule: Rule, cohort: Cohort, dictionary: Dictionary) -> Candidate | None:
    rows = broken(rule, cohort.tables, dictionary)
    if rows is None or rows["patient_id"].nunique() < FEWEST:
        return None
    patients, bad = int(rows["patient_id"].nunique()), int(rows.loc[rows["broken"], "patient_id"].nunique())
    if bad > TOLERATED * patients:
        return None
    return Candidate(rule, patients, bad, clopper_pearson(bad, patients, 0.9).high)


def _proposed(cohort: Cohort, dictionary: Dictionary) -> Iterator[Rule]:
    if cohort.visits is None:
        return
    numeric = {n: c for n, c in dictionary.measurements.items() if c.numeric}
    yield from _changes(cohort, numeric)
    yield from _regressions(dictionary)
    yield from _orders(numeric)
    yield from _implications(cohort, dictionary, numeric)


def _changes(cohort: Cohort, numeric: dict[str, Column]) -> Iterator[Rule]:
    """Limits of the change from one visit to the next."""
    assert cohort.visits is not None
    patients = cohort.visits["patient_id"]
    for name, column in numeric.items():
        values = cohort.visits[name].astype("float64")
        before = values.groupby(patients, sort=False).shift()
        if column.scale == "log":
            ratio = (values / before).dropna().to_numpy()
            if len(ratio) >= FEWEST:
                most = _round_up(float(np.quantile(ratio, 1 - OUTER)))
                yield _rule(f"{name}_rise", f"{name} < {most:g} * previous({name})",
                            f"{label(name, column)} does not rise {most:g}-fold between two visits.")  # fmt: skip
        else:
            step = (values - before).abs().dropna().to_numpy()
            if len(step) >= FEWEST:
                most = _round_up(float(np.quantile(step, 1 - OUTER)))
                yield _rule(f"{name}_change", f"abs({name} - previous({name})) < {most:g}",
                            f"{label(name, column)} does not change by {most:g} between two visits.")  # fmt: skip


def _regressions(dictionary: Dictionary) -> Iterator[Rule]:
    """A stage at its end does not go back to its beginning."""
    for name, column in dictionary.measurements.items():
        words = column.categories or ()
        if column.type == "ordinal" and len(words) > 2:
            yield _rule(f"{name}_does_not_vanish", f'implies(previous({name}) == "{words[-1]}", {name} != "{words[0]}")',
                        f"{label(name, column)} is not {words[0]} at the visit after {words[-1]}.")  # fmt: skip


def _orders(numeric: dict[str, Column]) -> Iterator[Rule]:
    """Of two measurements in one unit, one may always be the smaller: a part of the other."""
    for a, b in permutations(numeric, 2):
        if numeric[a].unit and numeric[a].unit == numeric[b].unit:
            yield _rule(
                f"{a}_at_most_{b}", f"{a} <= {b}", f"{label(a, numeric[a])} is no more than {label(b, numeric[b])}."
            )


def _implications(cohort: Cohort, dictionary: Dictionary, numeric: dict[str, Column]) -> Iterator[Rule]:
    """What a sign says of a measurement: a limit tighter than that of everybody."""
    assert cohort.visits is not None
    for sign, about in dictionary.measurements.items():
        for word in about.categories or ():
            rows = (cohort.visits[sign] == word).to_numpy()
            for name, column in numeric.items():
                values = cohort.visits[name].astype("float64").to_numpy()
                inside, everybody = values[rows & ~np.isnan(values)], values[~np.isnan(values)]
                if len(inside) < FEWEST or len(inside) > 0.8 * len(everybody):
                    continue
                low, high = np.quantile(everybody, [OUTER, 1 - OUTER])
                mine = np.quantile(inside, [OUTER, 1 - OUTER])
                said = f"{label(name, column)} with {label(sign, about)} {word}"
                if mine[1] < low + WORTH * (high - low):
                    yield _rule(f"{name}_with_{sign}_{word}", f'implies({sign} == "{word}", {name} < {_round_up(mine[1]):g})',
                                f"{said} lies below {_round_up(mine[1]):g}.")  # fmt: skip
                if mine[0] > high - WORTH * (high - low):
                    yield _rule(f"{name}_with_{sign}_{word}", f'implies({sign} == "{word}", {name} > {_round_down(mine[0]):g})',
                                f"{said} lies above {_round_down(mine[0]):g}.")  # fmt: skip


def _rule(name: str, expression: str, text: str) -> Rule:
    return Rule(
        name=name, expression=expression, text=text, severity="mild", source="mined; to be confirmed by a clinician"
    )


def _round_up(value: float) -> float:
    """To two digits, away from zero by a fifth: a limit is no quantile."""
    wide = value * (1.2 if value > 0 else 0.8)
    power = 10.0 ** (np.floor(np.log10(abs(wide))) - 1) if wide else 1.0
    return float(np.ceil(wide / power) * power)


def _round_down(value: float) -> float:
    wide = value * (0.8 if value > 0 else 1.2)
    power = 10.0 ** (np.floor(np.log10(abs(wide))) - 1) if wide else 1.0
    return float(np.floor(wide / power) * power)
