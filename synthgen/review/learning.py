"""What the decisions of a review teach: whom to show next, and what its release may say of its quality.

Only answers of this review count, and none about a spoiled copy; and of a patient's looks only those without the mark of
real-data flags, where there are any. So in a review without such flags neither the order nor what the release states depends on
somebody who was shown one (rule 8 of the design); how many looks were left out for that is stated with it.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from synthgen.flags import Flag
from synthgen.quality import learn
from synthgen.queue import for_release
from synthgen.review.tables import ITEMS, LOOKS
from synthgen.triage import Decision, Estimate, estimated

if TYPE_CHECKING:
    from synthgen.review.reviews import Review

LEAST = 20
"""Decisions, of both kinds, before the order is changed by what was learnt."""
RANDOM = "random"
"""The reason of flags that only say that a patient was chosen at random."""


def decisions(connection: sa.Connection, review: Review) -> list[Decision]:
    """One for each patient with an answer: the verdict where there is one, else what most said (a tie rejects). Where some looks
    at a patient carry the mark of real-data flags and others do not, only the others count."""
    query = (
        sa.select(ITEMS.c.patient_id, ITEMS.c.verdict, LOOKS.c.answer, LOOKS.c.saw_real_data)
        .join(LOOKS, LOOKS.c.item_id == ITEMS.c.id)
        .where(ITEMS.c.review_id == review.id, ~ITEMS.c.planted)
        .where(LOOKS.c.answer.is_not(None), LOOKS.c.undone_at.is_(None))
        .order_by(LOOKS.c.answered_at)
    )
    said: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        said.setdefault(row.patient_id, []).append(row)
    return [_decision(patient, rows) for patient, rows in said.items()]


def in_order(connection: sa.Connection, review: Review, board: Sequence[Any]) -> list[Any]:
    """The items of a board, those first that are now more likely wrong. Patients shown at random keep their places, and so does
    everybody until there are `LEAST` decisions of both kinds."""
    taught = [d for d in decisions(connection, review) if review.real_data or not d.saw_real_data]
    if len(taught) < LEAST or len({d.wrong for d in taught}) < 2:
        return list(board)
    query = sa.select(ITEMS.c.id, ITEMS.c.patient_id, ITEMS.c.flags).where(ITEMS.c.review_id == review.id)
    flags: dict[int, Sequence[Flag]] = {}
    of_patient: dict[str, Sequence[Flag]] = {}
    for row in connection.execute(query):
        flags[row.id] = _flags(row.flags)
        of_patient.setdefault(row.patient_id, flags[row.id])
    judged = learn([(_reasons(of_patient[d.patient_id]), d.wrong) for d in taught])
    at_random = [not _reasons(flags[item.id]) for item in board]
    flagged = iter(
        sorted(
            (item for item, r in zip(board, at_random, strict=True) if not r), key=lambda item: -judged(flags[item.id])
        )
    )
    return [item if r else next(flagged) for item, r in zip(board, at_random, strict=True)]


def estimate(connection: sa.Connection, review: Review, patients: Sequence[str], flags: Sequence[Flag]) -> Estimate:
    """The rate of wrong patients among those of a run that this review did not reject. Patients without a flag are judged by
    those shown at random; flagged ones count as they were answered, and may be anything as long as nobody looked. Where there
    is any look without the mark of real-data flags, those with it are no looks here.

    Args:
        patients: every synthetic patient of the run.
        flags: the run's flags.
    """
    everything = decisions(connection, review)
    found = [d for d in everything if not d.saw_real_data] or everything
    decided = {d.patient_id: d.wrong for d in found}
    named = {f.patient_id for f in (flags if review.real_data else for_release(flags))}
    strata = [p for p in patients if p in named], [p for p in patients if p not in named]
    at_random = [p for p in strata[1] if p in decided]
    known = {p: wrong for p, wrong in decided.items() if p in set(patients)}
    return estimated([(strata[0], []), (strata[1], at_random)], known, any(d.saw_real_data for d in found))


@functools.lru_cache(maxsize=8192)
def _flags(text: str) -> tuple[Flag, ...]:
    """As they stand in the queue; read again with every look, so kept."""
    return tuple(Flag(**f) for f in json.loads(text))


def _reasons(flags: Sequence[Flag]) -> list[Flag]:
    return [f for f in flags if f.reason != RANDOM]


def _decision(patient: str, rows: Sequence[Any]) -> Decision:
    free = [r for r in rows if not r.saw_real_data]
    if rows[0].verdict and len(free) in (0, len(rows)):
        return Decision(patient, rows[0].verdict == "reject", not free)
    answers = Counter(r.answer for r in free or rows)
    return Decision(patient, answers["reject"] >= answers["accept"], not free)
