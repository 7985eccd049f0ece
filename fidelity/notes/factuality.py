"""Factuality: does what the notes claim stand in their patient's record?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from fidelity.notes.corpus import FEWEST
from privacy.rates import Rate, wilson
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag, Severity
from synthgen.notes.claims import STOPPED
from synthgen.notes.lexicon import Concept, Lexicon
from synthgen.notes.support import Checked, as_table, check_notes, text_column

if TYPE_CHECKING:
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

SHORT = 0.05
"""A share of supported claims this much below the real notes' is tolerated."""
SILENT, TERSE = 0.5, 0.75
"""Claims a note, as shares of a real note's: below the first the notes say too little to be called factual."""
SEVERE = ("sex", "drug", "dose", "outcome")
"""Kinds of claims that must not be contradicted."""
MOST = 3
"""Contradictions of one kind of severity of one patient that a flag lists."""


class Factuality:
    """Claims (age, sex, diagnosis, stage, measurements with unit, drugs with dose, signs present or denied, outcome, days) are
    extracted from each note by the dictionary's words and compared with the patient's record at the note's day. `supported`:
    share of claims that the record supports, beside the holdout's (ceiling) and that of synthetic notes read beside another
    patient's record (floor). `contradicted`, `unsupported` (nothing recorded there): the rest. `severe`: share of notes with a
    contradicted sex, drug, dose or outcome. `claims_per_note`: a note that says nothing contradicts nothing. Flags every patient
    with a contradicted claim, with the place in the note; flags read synthetic patients alone. Nothing without notes."""

    name = "note-factuality"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        dictionary = evidence.dictionary
        if not _enough(evidence.synthetic, dictionary) or not _enough(evidence.holdout, dictionary):
            return []
        synthetic = check_notes(evidence.synthetic, dictionary)
        real = check_notes(evidence.holdout, dictionary)
        if not synthetic or not real:
            return []
        permuted = check_notes(evidence.synthetic, dictionary, strangers(evidence.synthetic, evidence.rng))
        prior = [] if evidence.prior is None else check_notes(evidence.prior, dictionary)
        tables = [as_table(claims) for claims in (synthetic, real, permuted, prior)]
        return [
            _supported(*tables),
            *(_share(verdict, *tables) for verdict in ("contradicted", "unsupported")),
            _severe(_notes(synthetic, dictionary), _notes(real, dictionary), _notes(permuted, dictionary)),
            _said(tables[0], tables[1], evidence),
        ]

    def flags(self, evidence: Evidence) -> Sequence[Flag]:
        """At most one flag a patient and severity; the synthetic cohort and the dictionary are all that is read."""
        checked = check_notes(evidence.synthetic, evidence.dictionary)
        return flags_of(checked, evidence.dictionary)


def strangers(cohort: Cohort, rng: np.random.Generator) -> dict[str, str]:
    """Patient -> another patient: a random cycle through the cohort."""
    ids = [str(patient) for patient in rng.permutation(cohort.ids.to_numpy())]
    return dict(zip(ids, ids[1:] + ids[:1], strict=True))


def share(table: pd.DataFrame, verdict: str) -> Rate:
    """Share of claims with a verdict, by Wilson's interval on as many independent claims as the patients' claims are worth
    (Kish's design effect: claims of one patient stand and fall together)."""
    hit = (table["verdict"] == verdict).astype("float64")
    value = float(hit.mean())
    patients = pd.DataFrame({"hits": hit, "claims": 1.0}).groupby(table["patient_id"].to_numpy()).sum()
    number = len(patients)
    spread = float(((patients["hits"] - value * patients["claims"]) ** 2).sum()) * number / max(1, number - 1)
    variance = spread / len(hit) ** 2
    worth = value * (1 - value) / variance if variance > 0 else float(number)
    worth = int(np.clip(round(worth), min(number, len(hit)), len(hit)))
    found = wilson(round(value * worth), worth)
    return Rate(value, min(found.low, value), max(found.high, value), len(hit))


def flags_of(checked: Sequence[Checked], dictionary: Dictionary) -> list[Flag]:
    """Flags of contradicted claims, by patient and severity."""
    lexicon = Lexicon(dictionary)
    groups: dict[tuple[str, Severity], list[Checked]] = {}
    for claim in checked:
        if claim.support.verdict == "contradicted":
            groups.setdefault((claim.patient_id, _severity(claim, lexicon)), []).append(claim)
    return [_flag(patient, severity, claims, dictionary) for (patient, severity), claims in groups.items()]


def _flag(patient: str, severity: Severity, claims: list[Checked], dictionary: Dictionary) -> Flag:
    sentences = [sentence(c, dictionary) for c in claims[:MOST]]
    more = f" {len(claims) - MOST} more claims are contradicted." if len(claims) > MOST else ""
    first = claims[0]
    return Flag(
        patient_id=patient,
        reason="note_contradicts_record",
        severity=severity,
        text=" ".join(sentences) + more,
        reads_real_data=False,
        evidence={
            "note": first.note,
            "start": first.claim.start,
            "end": first.claim.end,
            "spans": [{"note": c.note, "start": c.claim.start, "end": c.claim.end} for c in claims],
        },
        score=1 - 1 / (1 + len(claims)),
    )


def sentence(checked: Checked, dictionary: Dictionary) -> str:
    """What the note says and what the record says, for a clinician."""
    when = f"on day {checked.day}" if checked.day is not None else "of this patient"
    named = _named(checked, dictionary)
    recorded = checked.support.recorded or "nothing"
    return f"The note {when} says {named} {_value(checked)}; the record says {recorded}."


def _named(checked: Checked, dictionary: Dictionary) -> str:
    claim = checked.claim
    if claim.kind in ("day", "age", "sex", "outcome"):
        return claim.kind
    if claim.kind in ("drug", "event"):
        return str(claim.code).replace("_", " ")
    if claim.kind == "dose":
        return f"the dose of {str(claim.code).replace('_', ' ')} is"
    column = dictionary.tables[claim.table].columns.get(claim.column)
    return (column.label if column and column.label else claim.column.replace("_", " ")) or "the diagnosis"


def _value(checked: Checked) -> str:
    claim = checked.claim
    if claim.kind in ("drug", "event"):
        if claim.value == STOPPED:
            return "was stopped"
        return "is not there" if claim.negated else "was given" if claim.kind == "drug" else "is there"
    if claim.value is None:
        return "is denied" if claim.negated else "is present"
    value = f"{claim.value:.{claim.decimals}f}" if isinstance(claim.value, float) else claim.value.replace("_", " ")
    denied = "not " if claim.negated and claim.kind in ("outcome", "diagnosis", "static") else ""
    return f"{denied}{value} {claim.unit}" if claim.unit else f"{denied}{value}"


def _severity(checked: Checked, lexicon: Lexicon) -> Severity:
    claim = checked.claim
    if claim.kind in SEVERE:
        return "severe"
    if claim.kind == "static" and lexicon.treats(Concept("static", claim.table, claim.column)):
        return "severe"
    return "mild" if claim.kind == "flag" else "moderate"


def _supported(synthetic: pd.DataFrame, real: pd.DataFrame, permuted: pd.DataFrame, prior: pd.DataFrame) -> Finding:
    rate, ceiling, floor = share(synthetic, "supported"), share(real, "supported"), share(permuted, "supported")
    bound = ceiling.value - SHORT
    verdict: Verdict = "pass" if rate.value >= bound else "fail" if rate.high < bound else "inconclusive"
    if rate.value >= bound and floor.value >= bound:
        verdict = "information"
    text = (
        f"Of {rate.n} claims in synthetic notes the record supports {rate.value:.1%}; of real patients' {ceiling.value:.1%}; "
        f"read beside another patient's record, {floor.value:.1%}."
    )
    found = Finding(
        "note-factuality", "supported", rate.value, verdict, text, low=rate.low, high=rate.high, n=rate.n,
        ceiling=ceiling.value, floor=floor.value, bound=bound,
    )  # fmt: skip
    if prior.empty:
        return found
    before = share(prior, "supported")
    return found.beside(before.value, before.low, before.high)


def _share(
    verdict: str, synthetic: pd.DataFrame, real: pd.DataFrame, permuted: pd.DataFrame, _: pd.DataFrame
) -> Finding:
    rate, ceiling, floor = (share(table, verdict) for table in (synthetic, real, permuted))
    meaning = "contradicts" if verdict == "contradicted" else "has nothing to say on"
    kinds = synthetic.loc[synthetic["verdict"] == verdict, "kind"].value_counts()
    most = (
        f" Most often: {', '.join(f'{kind} ({count})' for kind, count in kinds.head(3).items())}." if len(kinds) else ""
    )
    text = f"The record {meaning} {rate.value:.1%} of the claims of synthetic notes, and {ceiling.value:.1%} of real ones.{most}"
    return Finding(
        "note-factuality", verdict, rate.value, "information", text, low=rate.low, high=rate.high, n=rate.n,
        ceiling=ceiling.value, floor=floor.value, better="lower",
    )  # fmt: skip


def _severe(synthetic: list[bool], real: list[bool], permuted: list[bool]) -> Finding:
    rates = [wilson(sum(notes), len(notes)) for notes in (synthetic, real, permuted)]
    rate, ceiling, floor = rates
    bound = max(SHORT, ceiling.value + SHORT)
    verdict: Verdict = "fail" if rate.low > bound else "pass" if rate.value <= bound else "inconclusive"
    text = (
        f"{sum(synthetic)} of {rate.n} synthetic notes have a sex, drug, dose or outcome that the record contradicts; "
        f"{sum(real)} of {ceiling.n} real ones. Each is flagged."
    )
    return Finding(
        "note-factuality", "severe", rate.value, verdict, text, low=rate.low, high=rate.high, n=rate.n,
        ceiling=ceiling.value, floor=floor.value, bound=bound, better="lower",
    )  # fmt: skip


def _said(synthetic: pd.DataFrame, real: pd.DataFrame, evidence: Evidence) -> Finding:
    """Claims a note: of every note, those without a claim too."""
    assert evidence.synthetic.notes is not None
    assert evidence.holdout.notes is not None
    per_note, expected = len(synthetic) / len(evidence.synthetic.notes), len(real) / len(evidence.holdout.notes)
    ratio = per_note / expected
    verdict: Verdict = "pass" if ratio >= TERSE else "fail" if ratio < SILENT else "inconclusive"
    text = f"A synthetic note makes {per_note:.1f} claims that can be checked, a real one {expected:.1f}."
    return Finding(
        "note-factuality", "claims_per_note", per_note, verdict, text, n=len(evidence.synthetic.notes), ceiling=expected,
        floor=0.0, bound=TERSE * expected,
    )  # fmt: skip


def _notes(checked: Sequence[Checked], dictionary: Dictionary) -> list[bool]:
    """[notes with a claim] whether one is contradicted severely."""
    lexicon = Lexicon(dictionary)
    found: dict[tuple[str, int], bool] = {}
    for c in checked:
        bad = c.support.verdict == "contradicted" and _severity(c, lexicon) == "severe"
        found[c.patient_id, c.note] = found.get((c.patient_id, c.note), False) or bad
    return list(found.values())


def _enough(cohort: Cohort, dictionary: Dictionary) -> bool:
    return text_column(dictionary) is not None and cohort.notes is not None and len(cohort.notes) >= FEWEST


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Factuality()
