"""Attacks on single patients, in a privacy officer's words: singling out, linkability and attribute inference (the three risks
of the EU's Article 29 Working Party, opinion 05/2014), the worst subgroup, and the k-map of the quasi-identifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthgen.findings import Evidence, Finding, Verdict
from synthgen.summaries import first_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.attacks.risk import Risk
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.summaries import Records

    Floats = NDArray[np.float64]

TOLERATED = 0.10
"""An attack surely this much better on training patients than on holdout patients is a fail."""
PLANTED = 0.5
"""`No risk found` may be concluded where the same attack would have convicted a cohort made of this share of the training
patients."""
DESCRIBED = 8
"""Columns of a description that is to single somebody out: fewer fit strangers, too, and hide what copies give away."""
SIDE = "one_column"
"""Few synthetic patients are alone with one value: this attack may convict, but what it cannot tell is left to its neighbour of
several columns."""
FEWEST = 10
"""A subgroup needs so many training and so many holdout patients."""
RARE = 11
"""A combination of quasi-identifiers that fewer real patients have is rare, as a small cell is."""
CELLS = 20
"""Numbers that are quasi-identifiers are compared in so many cells of their public range."""


def audit_risks(evidence: Evidence, error: float) -> list[Finding]:
    """All of them; `error` is the chance that an honest cohort is convicted by any, shared out evenly."""
    cohorts = [evidence.train, evidence.holdout, evidence.synthetic]
    records = first_records(cohorts, evidence.dictionary)
    if len(records.names) < 2:
        return []
    attacks = _attacks(evidence, records)
    train, _, synthetic = records.tables
    planted = train[evidence.rng.permutation(len(train))[: round(PLANTED * len(train))]]
    findings = [
        _finding(name, attack(synthetic), attack(planted), error / len(attacks)) for name, attack in attacks.items()
    ]
    return [*findings, *_k_map(evidence.dictionary, records)]


def _attacks(evidence: Evidence, records: Records) -> dict[str, Callable[[Floats], Risk]]:
    """Name -> the attack by way of a synthetic cohort's records ([patients, columns]), with the same numbers drawn every time."""
    from privacy.attacks.attribute_inference import attribute_inference
    from privacy.attacks.linkability import linkability
    from privacy.attacks.singling_out import singling_out

    seed = int(evidence.rng.integers(2**31))
    train, holdout, _ = records.tables
    discrete = records.discrete
    first = np.array([name in evidence.dictionary.tables["patients"].columns for name in records.names])
    if first.all() or not first.any():
        first = np.arange(len(discrete)) % 2 == 0

    def rng() -> np.random.Generator:
        return np.random.default_rng(seed)

    def secret(name: str) -> Callable[[Floats], Risk]:
        return lambda made: attribute_inference(train, holdout, made, discrete, records.names.index(name), rng())

    return {
        "singling_out/one_column": lambda made: singling_out(train, holdout, made, discrete, rng(), 1),
        "singling_out/several_columns": lambda made: singling_out(train, holdout, made, discrete, rng(), DESCRIBED),
        "linkability/halves": lambda made: linkability(train, holdout, made, discrete, first, rng()),
        **{f"attribute_inference/{name}": secret(name) for name in _secrets(evidence.dictionary, records.names)},
    }


def _secrets(dictionary: Dictionary, names: Sequence[str]) -> list[str]:
    """Columns the dictionary calls sensitive; where it calls none so, the outcome's status."""
    columns = {
        n: c for t in ("patients", "visits") if t in dictionary.tables for n, c in dictionary.tables[t].columns.items()
    }
    found = [n for n in names if columns[n].sensitive]
    return found or ([dictionary.outcome.status] if dictionary.outcome else [])


WORDS = {
    "singling_out": "descriptions that fit exactly one synthetic patient fit exactly one training patient in {} of tries, one "
    "holdout patient in {}; of synthetic patients whose columns were shuffled, in {}",
    "linkability": "two halves of a record are put together rightly for {} of training patients, {} of holdout patients, by "
    "guessing for {}",
    "attribute_inference": "of what guessing leaves open of this secret, whoever knows the rest of a record is told {} for "
    "training patients, {} for holdout patients (that far the disease itself tells), and {} by random synthetic patients",
}


def _finding(name: str, result: Risk, planted: Risk, error: float) -> Finding:
    check, metric = name.split("/")
    gap = result.difference
    verdict = risk_verdict(result, planted, error)
    if verdict == "inconclusive" and metric == SIDE:
        verdict = "information"
    shares = (_percent(r.value) for r in (result.attack, result.control, result.baseline))
    text = (
        f"{_plain(check).capitalize()} ({_plain(metric)}): {WORDS[check].format(*shares)}. The difference between training and "
        f"holdout patients is {_points(gap.value)} (95% interval {_whole(gap.low)} to {_whole(gap.high)}). "
        f"{_outcome(verdict, result, error)} {_power(planted, error)}"
    )
    return Finding(
        check, metric, gap.value, verdict, text, "audit", gap.low, gap.high, gap.n, floor=0.0, bound=TOLERATED, better="lower",
        ceiling=planted.difference.value,
    )  # fmt: skip


def _outcome(verdict: Verdict, result: Risk, error: float) -> str:
    if verdict == "fail":
        return "Training patients are surely more exposed than strangers. Suspect memorised records."
    if result.p_value <= error:
        return "Training patients are more exposed than strangers, yet not surely by more than is tolerated."
    return "Training patients are not seen to be more exposed than strangers."


def _power(planted: Risk, error: float) -> str:
    """What the same attack would have made of a leak that is known: the power of so many patients."""
    seen = f"Had {PLANTED:.0%} of the training patients themselves stood in the cohort, it would have been"
    if _convicts(planted, error):
        return f"{seen} {_points(planted.difference.value)}, which convicts."
    return f"{seen} {_points(planted.difference.value)} and no conviction either: this n cannot tell."


def risk_verdict(result: Risk, planted: Risk, error: float) -> Verdict:
    """Fail: more than chance, at this error, and surely more than tolerated. Pass: no more than chance, where a planted leak
    would have failed. Else inconclusive."""
    if _convicts(result, error):
        return "fail"
    return "pass" if result.p_value > error and _convicts(planted, error) else "inconclusive"


def _convicts(result: Risk, error: float) -> bool:
    return result.p_value <= error and result.difference.low > TOLERATED


def subgroups(evidence: Evidence, members: Floats, controls: Floats, error: float) -> list[Finding]:
    """The group of patients, by one declared category, in which the distance attack works best. The mean over all hides it.

    Args:
        members: [train] scores of the attack; controls: [holdout].
    """
    from privacy.rates import auc_interval

    found = []
    for name, words, inside in _groups(evidence):
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


def _groups(evidence: Evidence) -> Iterator[tuple[str, str, Callable[[Cohort], NDArray[np.bool_]]]]:
    """(column, words, cohort -> [patients] whether in the group) for every category of every column of `patients`, and for
    those whose combination of quasi-identifiers few have."""
    yield from _rare(evidence)
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
    where, discrete = _quasi_identifiers(evidence.dictionary, records)
    if not where:
        return
    combinations = [tuple(row) for table in records.tables for row in _cells(table[:, where], discrete).tolist()]
    of = dict(zip([i for cohort in real for i in cohort.ids], combinations, strict=True))
    count = Counter(combinations)
    names = ", ".join(records.names[i] for i in where)

    def inside(cohort: Cohort) -> NDArray[np.bool_]:
        return np.array([count[of[i]] < RARE for i in cohort.ids], dtype=bool)

    yield "rare", f"a combination of {names} that fewer than {RARE} real patients have", inside


def _quasi_identifiers(dictionary: Dictionary, records: Records) -> tuple[list[int], NDArray[np.bool_]]:
    """Which columns of the records, and which of these are discrete."""
    columns = dictionary.tables["patients"].columns
    where = [i for i, n in enumerate(records.names) if n in columns and columns[n].quasi_identifier]
    return where, records.discrete[where]


def _cells(values: Floats, discrete: NDArray[np.bool_]) -> Floats:
    """[patients, columns] category numbers, and cells of numbers; -1 where missing."""
    return np.nan_to_num(np.where(discrete, values, np.floor(values * CELLS)), nan=-1)


def _k_map(dictionary: Dictionary, records: Records) -> list[Finding]:
    from privacy.attacks.k_map import k_map

    where, discrete = _quasi_identifiers(dictionary, records)
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


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _points(share: float) -> str:
    return f"{_whole(share)} point{'' if abs(_whole(share)) == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{_whole(share)}%"


def _whole(share: float) -> int:
    return round(100 * share)
