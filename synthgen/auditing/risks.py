"""Attacks on single patients, in a privacy officer's words: singling out, linkability and attribute inference (the three risks
of the EU's Article 29 Working Party, opinion 05/2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthgen.auditing.subgroups import unique_combinations
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.summaries import first_records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.attacks.risk import Risk
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
    return [*findings, *unique_combinations(evidence.dictionary, records)]


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
    "singling_out": "does a description that fits exactly one synthetic patient fit exactly one real patient? Among training "
    "patients in {} of tries, among holdout patients, whom the generator never saw, in {} (with shuffled columns in {}).",
    "linkability": "can two halves of one person's record be put together through the synthetic cohort? For {} of training "
    "patients, for {} of holdout patients, whom the generator never saw (by guessing for {}).",
    "attribute_inference": "who knows the rest of a person's record and asks the synthetic patient most like it for the secret "
    "learns {} of what guessing leaves open about training patients, {} about holdout patients, whom the generator never saw: "
    "so much the disease itself tells (a random synthetic patient: {}).",
}


def _finding(name: str, result: Risk, planted: Risk, error: float) -> Finding:
    check, metric = name.split("/")
    gap = result.difference
    verdict = risk_verdict(result, planted, error)
    if verdict == "inconclusive" and metric == SIDE:
        verdict = "information"
    shares = (_percent(max(0.0, r.value)) for r in (result.attack, result.control, result.baseline))
    power = "" if verdict == "fail" else f" {_power(planted, error)}"
    text = (
        f"{_plain(check).capitalize()} ({_plain(metric)}): {WORDS[check].format(*shares)} The difference between training and "
        f"holdout patients is {_points(gap.value)} (95% interval {_whole(gap.low)} to {_whole(gap.high)}). "
        f"{_outcome(verdict, result, error)}{power}"
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
    seen = f"Had {PLANTED:.0%} of the training patients been copied, it would have been {_points(planted.difference.value)}"
    if _convicts(planted, error):
        return f"{seen}, and that would have failed: so large a leak would be seen."
    return f"{seen}, and not even that would have failed: this n cannot tell."


def risk_verdict(result: Risk, planted: Risk, error: float) -> Verdict:
    """Fail: more than chance, at this error, and surely more than tolerated. Pass: no more than chance, where a planted leak
    would have failed. Else inconclusive."""
    if _convicts(result, error):
        return "fail"
    return "pass" if result.p_value > error and _convicts(planted, error) else "inconclusive"


def _convicts(result: Risk, error: float) -> bool:
    return result.p_value <= error and result.difference.low > TOLERATED


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _points(share: float) -> str:
    return f"{_whole(share)} point{'' if abs(_whole(share)) == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{_whole(share)}%"


def _whole(share: float) -> int:
    return round(100 * share)
