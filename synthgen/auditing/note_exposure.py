"""Canaries in notes: does a rehearsed training make the model find texts likelier that made-up patients had in their notes?

Each canary is one made-up patient with one note: a rendered beginning and random last words. After training, its note is ranked
among others with other last words (Carlini et al. 2019; Meeus et al. 2025).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthgen.auditing.canary_patients import beginnings
from synthgen.findings import Finding, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from privacy.attacks.exposure import Canary, Tokens
    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.workspace import Run

CANARIES = {"quick": 0, "standard": 12, "deep": 40}
ALTERNATIVES = 31
"""Texts that each canary is ranked among."""
SURE = 0.001
"""Chance that canaries which were never planted convict."""


def note_exposure(run: Run, name: str, train: Cohort, canaries: int, rng: np.random.Generator) -> Finding:
    """Plants canaries in a rehearsal of the notes generator `name`, and ranks them under its model."""
    from privacy.attacks.exposure import canaries as made_up
    from privacy.attacks.exposure import exposure
    from privacy.session import Session
    from synthgen.auditing.rehearsal import Rehearsal
    from synthgen.cohort import concatenate

    hosts, prefixes, vocabulary = beginnings(run.dictionary, canaries, rng)
    planted = made_up(prefixes, vocabulary, rng, alternatives=ALTERNATIVES)
    pool = concatenate([train, _written(hosts, [c.text for c in planted], run.dictionary)])
    model, session_of = Rehearsal(run.folder, name, pool).opened()
    with torch.random.fork_rng(devices=[]):
        model.fit(Session(model.encode(pool), *session_of).rehearse(), int(rng.integers(2**31)), lambda *_: None)
    places = {canary.prefix: place for place, canary in enumerate(planted)}

    def nll(texts: Sequence[Tokens]) -> NDArray[np.float64]:
        place = next(k for prefix, k in places.items() if texts[0][: len(prefix)] == prefix)
        asked = _written(_repeated(hosts, place, len(texts)), texts, run.dictionary)
        return -np.asarray(model.log_likelihood(asked), dtype=np.float64)

    found = exposure(planted, nll, rng)
    return _finding(found, planted, name, run.plan.budget is not None)


def _finding(found: Any, planted: Sequence[Canary], name: str, private: bool) -> Finding:
    verdict: Verdict = "information"
    if found.p_value < SURE:
        verdict = "fail" if private and found.bits.low > found.ceiling / 2 else "inconclusive"
    outcome = {
        "information": "That is what chance gives.",
        "inconclusive": "That is more than chance gives: the notes of single patients leave traces in the model.",
        "fail": "The model knows them nearly by heart: suspect a missing clip, or too little noise.",
    }[verdict]
    text = (
        f"{len(planted)} made-up patients with odd last words in their note took part in a rehearsal of {name}'s training. Among "
        f"{ALTERNATIVES} other endings theirs are exposed by {found.bits.value:.2f} bits on average (95% interval "
        f"{found.bits.low:.2f} to {found.bits.high:.2f}; chance {found.chance:.2f}, at most {found.ceiling:.2f}). {outcome}"
    )
    return Finding(
        "note_canaries", "exposure_bits", found.bits.value, verdict, text, "audit", found.bits.low, found.bits.high, found.bits.n,
        ceiling=found.ceiling, floor=found.chance, better="lower", column=name,
    )  # fmt: skip


def _written(hosts: Cohort, texts: Sequence[Tokens], dictionary: Dictionary) -> Cohort:
    """The made-up patients, each with one note on the first day."""
    from synthgen.auditing.canary_patients import rows_of

    columns = dictionary.tables["notes"].columns
    column = next(key for key, c in columns.items() if c.type == "text")
    notes = np.empty(len(hosts), dtype=object)
    notes[:] = [" ".join(words) for words in texts]
    return replace(hosts, notes=rows_of(hosts, columns, {column: notes}, np.random.default_rng(0)))


def _repeated(hosts: Cohort, place: int, times: int) -> Cohort:
    """One made-up patient so many times, under ids of their own."""
    from synthgen.cohort import concatenate

    one = hosts.of([hosts.ids[place]])
    copies = []
    for k in range(times):
        tables: dict[str, Any] = {n: t.assign(patient_id=f"{one.ids[0]}-{k}") for n, t in one.tables.items()}
        copies.append(replace(one, **tables))
    return concatenate(copies)
