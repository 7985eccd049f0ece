"""A review: a queue of synthetic patients, each wanting some blind looks, with spoiled copies hidden among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from synthgen.errors import ConfigError, WorkspaceError
from synthgen.flags import Flag
from synthgen.queue import for_release, ranked
from synthgen.review.records import leaping
from synthgen.review.tables import ITEMS, LOOKS, REVIEWS

if TYPE_CHECKING:
    from synthgen.review.database import Write
    from synthgen.review.people import Person
    from synthgen.review.records import Records

AT_RANDOM = "no rule was broken; chosen at random"
MOST_PATIENTS = 2000
TRIED = 100
"""Patients, and twenty more for each spoiled copy that is wanted, among whom it is sought whom one can spoil."""


@dataclass(frozen=True)
class Wish:
    """How a review is to be made up.

    `looks` blind looks for each patient; `most` flagged patients, the worst first; `random` patients without a flag, and
    `planted` spoiled copies that look like those. With `real_data`, flags that read real patients are shown too, and every
    decision carries that mark (DESIGN.md, rule 8).
    """

    looks: int = 2
    most: int = 100
    random: int = 10
    planted: int = 5
    real_data: bool = False

    def __post_init__(self) -> None:
        if not (
            1 <= self.looks <= 5
            and 0 <= self.most <= MOST_PATIENTS
            and 0 <= self.random <= 500
            and 0 <= self.planted <= 50
        ):
            raise ConfigError(
                "a review needs 1 to 5 looks, at most 2,000 flagged and 500 random patients, and 50 planted ones"
            )


@dataclass(frozen=True)
class Review:
    """One review, as stored."""

    id: int
    run: str
    opened_by: int
    opened_at: float
    closed_at: float | None
    looks: int
    real_data: bool


def open_review(
    write: Write, run: str, flags: Sequence[Flag], records: Records, wish: Wish, by: Person, rng: np.random.Generator
) -> int:
    """Fixes the queue and returns the review's id.

    Args:
        rng: chooses who is shown at random and who is spoiled; from a fresh seed, or a reviewer could work it out.

    Raises:
        ConfigError: when there is nobody to look at, or a review of this run is open already.
    """
    if write.connection.execute(
        sa.select(REVIEWS.c.id).where(REVIEWS.c.run == run, REVIEWS.c.closed_at.is_(None))
    ).first():
        raise ConfigError("a review of this run is open already; close it first")
    queue = _queue(flags, records, wish, rng)
    if not queue:
        raise ConfigError("nobody is flagged and none was asked for at random: there is nobody to look at")
    row = {"run": run, "opened_by": by.id, "opened_at": write.now, "looks": wish.looks, "real_data": wish.real_data}
    (review,) = write.connection.execute(REVIEWS.insert().values(**row).returning(REVIEWS.c.id)).one()
    items = [
        {"review_id": review, "position": i, "patient_id": patient, "flags": json.dumps([asdict(f) for f in said]),
         "planted": planted, "wanted": wish.looks}
        for i, (patient, said, planted) in enumerate(queue, start=1)
    ]  # fmt: skip
    write.connection.execute(ITEMS.insert(), items)
    write.log("review opened", by.name, review=review, run=run, patients=len(items), **asdict(wish))
    return int(review)


def close(write: Write, review: Review, by: Person) -> None:
    """No more looks; the verdicts stand."""
    if review.closed_at is None:
        write.connection.execute(REVIEWS.update().where(REVIEWS.c.id == review.id).values(closed_at=write.now))
        write.log("review closed", by.name, review=review.id)


def find(connection: sa.Connection, review_id: int) -> Review:
    """Raises WorkspaceError."""
    row = connection.execute(sa.select(REVIEWS).where(REVIEWS.c.id == review_id)).first()
    if row is None:
        raise WorkspaceError("there is no such review")
    return Review(**row._mapping)


def of_run(connection: sa.Connection, run: str) -> list[Review]:
    """All reviews of a run, newest first."""
    rows = connection.execute(sa.select(REVIEWS).where(REVIEWS.c.run == run).order_by(REVIEWS.c.id.desc()))
    return [Review(**row._mapping) for row in rows]


def everything(connection: sa.Connection) -> list[Review]:
    """All reviews, newest first."""
    return [Review(**row._mapping) for row in connection.execute(sa.select(REVIEWS).order_by(REVIEWS.c.id.desc()))]


def items(connection: sa.Connection, review_id: int, settled: bool = False) -> list[Any]:
    """The queue's rows in order, without their flags; or only the patients with a verdict, without planted ones."""
    columns = [column for column in ITEMS.c if column is not ITEMS.c.flags]
    query = sa.select(*columns).where(ITEMS.c.review_id == review_id).order_by(ITEMS.c.position)
    return list(connection.execute(query.where(ITEMS.c.verdict.is_not(None), ~ITEMS.c.planted) if settled else query))


def looks(connection: sa.Connection, review_id: int) -> list[Any]:
    """The looks that count: none that was undone."""
    query = sa.select(LOOKS).join(ITEMS, ITEMS.c.id == LOOKS.c.item_id)
    return list(connection.execute(query.where(ITEMS.c.review_id == review_id, LOOKS.c.undone_at.is_(None))))


def _queue(
    flags: Sequence[Flag], records: Records, wish: Wish, rng: np.random.Generator
) -> list[tuple[str, list[Flag], bool]]:
    """(patient, its flags, whether it is a spoiled copy), the worst first, those without a flag spread evenly between them."""
    of_patient: dict[str, list[Flag]] = {}
    seen = ranked(flags) if wish.real_data else for_release(flags)
    for flag in seen:
        of_patient.setdefault(flag.patient_id, []).append(flag)
    flagged = [(patient, said, False) for patient, said in of_patient.items() if patient in set(records.ids)][
        : wish.most
    ]
    named = {f.patient_id for f in seen}  # who is shown at random must not depend on a flag that nobody may see
    free = [str(p) for p in rng.permutation([p for p in records.ids if p not in named])]
    leap = (p for p in free[: TRIED + 20 * wish.planted] if len(leaping(records[p], records.dictionary)) >= 2)
    spoilable = list(islice(leap, wish.planted))
    unflagged = [(p, [_at_random(p)], False) for p in [p for p in free if p not in set(spoilable)][: wish.random]]
    unflagged += [(p, [_at_random(p)], True) for p in spoilable]
    between = [unflagged[i] for i in rng.permutation(len(unflagged))]
    return _spread(flagged, between)


def _spread(first: list[Any], between: list[Any]) -> list[Any]:
    """Both lists in their order, the second spread evenly over the first."""
    keyed = [((i + 0.5) / len(first), 0, row) for i, row in enumerate(first)]
    keyed += [((i + 0.5) / len(between), 1, row) for i, row in enumerate(between)]
    return [row for _, _, row in sorted(keyed, key=lambda k: k[:2])]


def _at_random(patient: str) -> Flag:
    return Flag(patient, "random", "mild", "No rule was broken; chosen at random. Could this be a patient?", False)
