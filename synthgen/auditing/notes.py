"""What synthetic notes give away: identifiers in them, and text and runs of words copied from one training patient.

Part of the audit of cohorts: copies are looked for in real notes, so its findings and their flags stay inside. Identifiers are
found by their form, without any real data.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from privacy.attacks.copied_text import PHRASE, copied_text
from privacy.attacks.identifiers import identifiers
from privacy.attacks.verbatim import spans, tokens, verbatim
from privacy.rates import Rate, clopper_pearson, wilson
from synthgen.findings import Evidence, Finding, Verdict
from synthgen.flags import Flag
from synthgen.notes.support import notes_of, text_column

if TYPE_CHECKING:
    from privacy.attacks.copied_text import CopiedText
    from privacy.attacks.verbatim import Verbatim
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary

Note = tuple[str, int, str]
"""(patient, number among their notes, text)."""
FEWEST = 10
"""Notes below which nothing is looked for."""
LONGER = 1.5
"""So many times as much as any unseen patient's notes have by chance is flagged."""
SURE = 0.995
"""Confidence of what convicts: an audit has many tests, and an honest cohort is to pass them all."""
TELLING = 0.6
"""An AUC of shared runs whose lower limit lies above this says that training notes are echoed."""


def audit_notes(evidence: Evidence) -> tuple[list[Finding], list[Flag]]:
    """Identifiers and copies in synthetic notes; nothing without notes."""
    made, train, holdout = (
        _notes(c, evidence.dictionary) for c in (evidence.synthetic, evidence.train, evidence.holdout)
    )
    if not made:
        return [], []
    known = [
        str(patient)
        for cohort in (evidence.train, evidence.holdout)
        for patient in cohort.ids
        if _telling(str(patient))
    ]
    findings, flags = _identified(made, known)
    if min(len(made), len(train), len(holdout)) >= FEWEST:
        written = [tokens(text) for _, _, text in made]
        learnt, unseen = ([(patient, tokens(text)) for patient, _, text in real] for real in (train, holdout))
        found, copied = verbatim(written, learnt, unseen, evidence.rng), copied_text(written, learnt, unseen)
        findings += [_copied(copied), _longer(found), _echoed(found)]
        flags += _copies(copied, found, made)
    return findings, flags


def _identified(notes: list[Note], known: list[str]) -> tuple[list[Finding], list[Flag]]:
    """Every note with something that looks like an identifier; a real patient's id is one whatever it looks like."""
    flags: list[Flag] = []
    kinds: Counter[str] = Counter()
    for patient, number, text in notes:
        by_form = identifiers(text)  # apart, so that no flag of the form depends on who the real patients are
        found = [*by_form, *(f for f in identifiers(text, known) if f.kind == "known")]
        kinds.update({one.kind for one in found})
        for real in (False, True):
            where = [{"note": number, "start": f.start, "end": f.end} for f in found if (f.kind == "known") == real]
            named = sorted({f.kind.replace("_", " ") for f in found if (f.kind == "known") == real})
            if where:
                words = "the id of a real patient" if real else " and ".join(named)
                flags.append(
                    Flag(
                        patient, "identifier", "severe", f"Note {number + 1} holds what looks like an identifier: {words}.",
                        reads_real_data=real, evidence={**where[0], "spans": where}, score=1 - 1 / (1 + len(where)),
                    )
                )  # fmt: skip
    touched = len({(flag.patient_id, flag.evidence["note"]) for flag in flags})
    rate = clopper_pearson(touched, len(notes))
    listed = ", ".join(f"{kind.replace('_', ' ')} ({count})" for kind, count in kinds.most_common())
    text = f"{touched} of {rate.n} synthetic notes hold what looks like an identifier" + (
        f": {listed}." if listed else "."
    )
    verdict: Verdict = "fail" if touched else "pass"
    found_ = Finding(
        "notes", "identifiers", rate.value, verdict, text, "audit", low=rate.low, high=rate.high, n=rate.n, bound=0.0,
        better="lower",
    )  # fmt: skip
    return [found_], flags


def _copied(found: CopiedText) -> Finding:
    """Text of one training patient alone that no common phrases make up."""
    text = (
        f"{found.copied.value:.1%} of {found.copied.n} synthetic notes copy more than {found.allowed} words of one training "
        f"patient alone that are neither a template nor common phrases (the longest copy has {found.longest}; numbers count as "
        f"one word, whatever they are); so do {found.control.value:.1%} of the notes of patients who were not learnt from."
    )
    return _beside("copied_text", found.copied, found.control, text)


def _longer(found: Verbatim) -> Finding:
    """Longer runs of one patient alone, of whatever phrases, than unseen patients' notes have by chance and common style."""
    rate, control = found.longer, found.longer_control
    text = (
        f"{rate.value:.1%} of {rate.n} synthetic notes share a run of more than {found.usual} words and numbers with one "
        f"training patient alone (the longest has {found.longest}); so do {control.value:.1%} of the notes of patients who were "
        f"not learnt from (longest {found.longest_control}). Runs of more than {found.allowed}: {found.copied.value:.1%} and "
        f"{found.control.value:.1%}."
    )
    return _beside("verbatim", rate, control, text)


def _beside(name: str, rate: Rate, control: Rate, text: str) -> Finding:
    """A share of synthetic notes fails where it is surely above what the share of holdout notes may be."""
    surely, at_most = _at(rate, SURE), _at(control, SURE)
    verdict: Verdict = "fail" if surely.low > at_most.high else "pass" if rate.value <= at_most.high else "inconclusive"
    return Finding(
        "notes", name, rate.value, verdict, text, "audit", low=rate.low, high=rate.high, n=rate.n, ceiling=control.value,
        bound=at_most.high, better="lower",
    )  # fmt: skip


def _at(rate: Rate, confidence: float) -> Rate:
    return wilson(round(rate.value * rate.n), rate.n, confidence)


def _echoed(found: Verbatim) -> Finding:
    rate = found.membership
    verdict: Verdict = (
        "fail" if rate.low > TELLING else "pass" if rate.high < TELLING or rate.low <= 0.5 else "inconclusive"
    )
    text = (
        f"By the longest run that a patient's notes share with synthetic ones, patients who were learnt from are told from "
        f"others with an AUC of {rate.value:.2f} (.50 is guessing)."
    )
    return Finding(
        "notes", "verbatim_membership", rate.value, verdict, text, "audit", low=rate.low, high=rate.high, n=rate.n,
        floor=0.5, bound=TELLING, better="lower",
    )  # fmt: skip


def _copies(copied: CopiedText, found: Verbatim, notes: list[Note]) -> list[Flag]:
    """Patients whose notes copy much more than chance makes of any unseen patient's notes: the most of either varies."""
    flags = []
    for index, start, end, own in copied.copies:
        if own > max(LONGER * copied.own_control, PHRASE):
            words = (
                f"copies {end - start} words of one real patient's notes, {own} of them in no phrase that others use"
            )
            flags.append(_flag(notes[index], start, end, copied.allowed, words))
    for index, start, end in found.where:
        if end - start > max(LONGER * found.longest_control, found.allowed):
            words = f"shares a run of {end - start} words and numbers with one real patient's notes alone"
            flags.append(_flag(notes[index], start, end, found.allowed, words))
    return flags


def _flag(note: Note, start: int, end: int, allowed: int, words: str) -> Flag:
    patient, number, text = note
    first, last = span_of(text, start, end)
    where = {"note": number, "start": first, "end": last}
    return Flag(
        patient, "copied_text", "severe", f"Note {number + 1} {words}.", reads_real_data=True,
        evidence={**where, "spans": [where]}, score=1 - allowed / (end - start),
    )  # fmt: skip


def span_of(text: str, start: int, end: int) -> tuple[int, int]:
    """Characters of the tokens [start, end) of a text."""
    found = spans(text)
    return found[start][0], found[end - 1][1]


def _notes(cohort: Cohort, dictionary: Dictionary) -> list[Note]:
    if text_column(dictionary) is None:
        return []
    return [(patient, number, text) for patient, number, _, text in notes_of(cohort, dictionary)]


def _telling(patient: str) -> bool:
    """Whether an id cannot be taken for a number of the text: letters and digits, or six digits and more."""
    return len(patient) >= 4 and (len(patient) >= 6 or not patient.isdigit())
