"""Groups of patients, by what is declared of them: the one whom a membership attack finds best, which the mean over all hides,
and those who are alone with their quasi-identifiers (k-map)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from synthgen.findings import Evidence, Finding, Verdict
from synthgen.summaries import first_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.summaries import Records

    Floats = NDArray[np.float64]

TOLERATED = 0.10
"""A group is exposed when the attack's AUC is surely this far above guessing."""
FEWEST = 10
"""A subgroup needs so many training and so many holdout patients."""
RARE = 11
"""A combination of quasi-identifiers that fewer real patients have is rare, as a small cell is."""
CELLS = 20
"""Numbers that are quasi-identifiers are compared in so many cells of their public range."""


def subgroups(evidence: Evidence, members: Floats, controls: Floats, error: float) -> list[Finding]:
    """The group of patients, by one declared category, in which the distance attack works best. The mean over all hides it.

    Args:
        members: [train] scores of the attack; controls: [holdout].
    """
    from privacy.rates import auc_interval

    found = []
    for name, words, inside in groups(evidence):
        mine, others = members[inside(evidence.train)], controls[inside(evidence.holdout)]
        if min(len(mine), len(others)) >= FEWEST:
            found.append((name, words, mine, others))
    if not found:
        return []
    level = 1 - 2 * error / len(found)
    name, words, corrected, mine, others = max(
        ((n, w, auc_interval(m, o, evidence.rng, level), m, o) for n, w, m, o in found), key=lambda row: row[2].low
    )
    area = auc_interval(mine, others, evidence.rng)
    verdict: Verdict = "fail" if corrected.low > 0.5 + TOLERATED else "information"
    text = (
        f"Of {len(found)} groups of patients, {words} is the most surely exposed: the distance attack names "
        f"the training patient of a pair {_percent(area.value)} of the time (95% interval {_percent(area.low)} to "
        f"{_percent(area.high)}, before correcting for the choice among {len(found)}; guessing is 50%)."
        + (" That is surely more than chance and more than is tolerated." if verdict == "fail" else "")
    )
    return [
        Finding(
            "subgroups", "worst_auc", area.value, verdict, text, "audit", area.low, area.high, area.n, bound=0.5 + TOLERATED,
            better="lower", column=name,
        )
    ]  # fmt: skip


def groups(evidence: Evidence) -> Iterator[tuple[str, str, Callable[[Cohort], NDArray[np.bool_]]]]:
    """(column, words, cohort -> [patients] whether in the group) for every category of every column of `patients`, and for
    those whose combination of quasi-identifiers few have, or whose phenotype terms few have together."""
    yield from _rare(evidence)
    yield from _rare_terms(evidence)
    for name, column in evidence.dictionary.tables["patients"].columns.items():
        for word in column.categories or ():

            def inside(cohort: Cohort, name: str = name, word: str = word) -> NDArray[np.bool_]:
                return np.asarray(cohort.patients[name] == word, dtype=bool)

            yield name, f"{name} = {word}", inside


def _rare(evidence: Evidence) -> Iterator[tuple[str, str, Callable[[Cohort], NDArray[np.bool_]]]]:
    """Patients whose combination of quasi-identifiers fewer than `RARE` of all real patients have; who was trained on plays no
    part."""
    real = [evidence.train, evidence.holdout]
    records = first_records(real, evidence.dictionary)
    where, discrete = _quasi(evidence.dictionary, records)
    if not where:
        return
    combinations = [tuple(row) for table in records.tables for row in _cells(table[:, where], discrete).tolist()]
    of = dict(zip([i for cohort in real for i in cohort.ids], combinations, strict=True))
    count = Counter(combinations)
    names = ", ".join(records.names[i] for i in where)

    def inside(cohort: Cohort) -> NDArray[np.bool_]:
        return np.array([count[of[i]] < RARE for i in cohort.ids], dtype=bool)

    yield "rare", f"a combination of {names} that fewer than {RARE} real patients have", inside


def _rare_terms(evidence: Evidence) -> Iterator[tuple[str, str, Callable[[Cohort], NDArray[np.bool_]]]]:
    """The quarter of all real patients with the most pairs of phenotype terms of their own."""
    from synthgen.ontology_rarity import rarest

    if found := rarest([evidence.train, evidence.holdout]):
        yield (
            "phenotypes",
            "the quarter with the most pairs of phenotype terms that nobody else has",
            lambda cohort: np.array([str(i) in found for i in cohort.ids], dtype=bool),
        )


def _quasi(dictionary: Dictionary, records: Records) -> tuple[list[int], NDArray[np.bool_]]:
    """Which columns of the records, and which of these are discrete."""
    columns = dictionary.tables["patients"].columns
    where = [i for i, n in enumerate(records.names) if n in columns and columns[n].quasi_identifier]
    return where, records.discrete[where]


def _cells(values: Floats, discrete: NDArray[np.bool_]) -> Floats:
    """[patients, columns] category numbers, and cells of numbers; -1 where missing."""
    return np.nan_to_num(np.where(discrete, values, np.floor(values * CELLS)), nan=-1)


def unique_combinations(dictionary: Dictionary, records: Records) -> list[Finding]:
    """Of the patients who are alone with their quasi-identifiers, how many a synthetic patient meets (k-map). For information."""
    from privacy.attacks.k_map import k_map

    where, discrete = _quasi(dictionary, records)
    if not where:
        return []
    names = [records.names[i] for i in where]
    train, holdout, synthetic = (np.where(discrete, t[:, where], np.floor(t[:, where] * CELLS)) for t in records.tables)
    result = k_map(train, holdout, synthetic)
    text = (
        f"Quasi-identifiers ({', '.join(names)}): {result.attack.n} training patients are alone with their combination in the "
        f"cohort; a synthetic patient has the same in {_percent(result.attack.value)} of these cases, against "
        f"{_percent(result.control.value)} for holdout patients, whom the generator never saw."
    )
    rate = result.attack
    return [
        Finding(
            "k_map", "alone_and_met", rate.value, "information", text, "audit", rate.low, rate.high, rate.n,
            floor=result.control.value, better="lower",
        )
    ]  # fmt: skip


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
