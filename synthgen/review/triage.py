"""Looking at one synthetic patient after the other. A look is a lease until it is answered, and a decision after.

Each change is one transaction together with its entry in the log; answering twice changes nothing (a double click, a second
tab, a browser that repeats a request after the server died).
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from synthgen.errors import ConfigError, WorkspaceError
from synthgen.review import reviews
from synthgen.review.tables import ITEMS, LOOKS, PEOPLE, REVIEWS

if TYPE_CHECKING:
    from synthgen.review.database import Write
    from synthgen.review.people import Person
    from synthgen.review.reviews import Review

Answer = Literal["accept", "reject"]
LEASE = 15 * 60.0
UNDOABLE = 10
LONGEST_NOTE = 2000
REASONS = {
    "values": "values do not fit each other",
    "course": "course over time",
    "disease": "does not fit the disease",
    "events": "treatment or events",
    "impossible": "impossible value",
    "outcome": "outcome does not follow",
    "copy": "copy of another patient",
    "text": "note or image",
    "other": "other",
}
"""Why a patient is rejected; the keys 1 to 9 choose one."""


def look(connection: sa.Connection, look_id: str) -> Any | None:
    """A look with what belongs to it: its item's review, patient, flags, position and whether it is planted."""
    columns = (ITEMS.c.review_id, ITEMS.c.patient_id, ITEMS.c.flags, ITEMS.c.position, ITEMS.c.planted, ITEMS.c.wanted)
    query = sa.select(LOOKS, *columns).join(ITEMS, ITEMS.c.id == LOOKS.c.item_id).where(LOOKS.c.id == look_id)
    return connection.execute(query).first()


def own_look(connection: sa.Connection, look_id: str, person: Person) -> Any:
    """The person's own look. Raises WorkspaceError for another's as for one that does not exist."""
    found = look(connection, look_id)
    if found is None or found.person_id != person.id:
        raise WorkspaceError("there is no such look of yours")
    return found


def draft(write: Write, look_id: str, person: Person, reason: str, note: str) -> None:
    """Keeps what was chosen and written so far, and the lease."""
    own = own_look(write.connection, look_id, person)
    if own.answer is None and own.undone_at is None:
        _must_be_known(reason)
        change(write, look_id, reason=reason or None, note=note[:LONGEST_NOTE], leased_until=write.now + LEASE)


def answer(write: Write, look_id: str, person: Person, said: str, reason: str, note: str) -> bool:
    """Decides. False when this look was answered or undone before, or the conflict settled otherwise: then nothing changes.

    Raises:
        ConfigError: for an unknown answer or reason, or a rejection without a reason, or a closed review.
    """
    own = own_look(write.connection, look_id, person)
    if own.answer is not None or own.undone_at is not None:
        return False
    review = reviews.find(write.connection, own.review_id)
    if review.closed_at is not None:
        raise ConfigError("this review was closed; nothing was changed")
    if own.adjudicates and own.item_id not in {item.id for item in conflicts(write.connection, review)}:
        return False
    if said not in get_args(Answer):
        raise ConfigError("the answers are accept and reject")
    _must_be_known(reason)
    if said == "reject" and not reason:
        raise ConfigError("a rejection needs a reason: press 1 to 9, then x")
    seconds = round(write.now - own.opened_at, 1)
    kept = {"answer": said, "reason": reason or None, "note": note[:LONGEST_NOTE]}
    change(write, look_id, **kept, answered_at=write.now, seconds=seconds, skipped_at=None)
    settle(write, own.item_id)
    write.log(
        "adjudication" if own.adjudicates else "decision",
        person.name,
        review=own.review_id,
        patient=own.patient_id,
        position=own.position,
        answer=said,
        reason=reason,
        seconds=seconds,
        saw_real_data=own.saw_real_data,
        look=look_id,
    )
    return True


def skip(write: Write, look_id: str, person: Person) -> None:
    """Puts a patient at the end of the person's own queue, and lets others look."""
    own = own_look(write.connection, look_id, person)
    if own.answer is None and own.undone_at is None:
        change(write, look_id, skipped_at=write.now, leased_until=0.0)


def second_opinion(write: Write, look_id: str, person: Person) -> None:
    """Asks that one more person looks at this patient; once a look, and not after the review was closed: its verdicts stand."""
    own = own_look(write.connection, look_id, person)
    if reviews.find(write.connection, own.review_id).closed_at is not None:
        raise ConfigError("this review was closed; nothing was changed")
    if not own.opinion and own.undone_at is None and own.wanted < 6:
        change(write, look_id, opinion=True)
        write.connection.execute(ITEMS.update().where(ITEMS.c.id == own.item_id).values(wanted=ITEMS.c.wanted + 1))
        settle(write, own.item_id)
        write.log("second opinion asked", person.name, review=own.review_id, patient=own.patient_id)


def undo(write: Write, review: Review, person: Person) -> bool:
    """Takes back the person's last decision, if it is among their last ten, and opens that patient again. False otherwise."""
    query = (
        sa.select(LOOKS)
        .join(ITEMS, ITEMS.c.id == LOOKS.c.item_id)
        .where(ITEMS.c.review_id == review.id, LOOKS.c.person_id == person.id, LOOKS.c.answer.is_not(None))
        .where(LOOKS.c.imported_from.is_(None), ~LOOKS.c.adjudicates)
        .order_by(LOOKS.c.answered_at.desc())
        .limit(UNDOABLE)
    )
    last = next((row for row in write.connection.execute(query) if row.undone_at is None), None)
    if last is None or review.closed_at is not None:
        return False
    change(write, last.id, undone_at=write.now)
    fresh = begin(write, review, last.item_id, person)
    change(write, fresh.id, reason=last.reason, note=last.note)
    settle(write, last.item_id)
    write.log("decision undone", person.name, review=review.id, patient=fresh.patient_id, look=last.id)
    return True


def adjudicate(write: Write, review: Review, position: int, person: Person) -> Any:
    """A look that settles a conflict. Raises ConfigError when there is none, or when the person may not."""
    item = next((i for i in conflicts(write.connection, review) if i.position == position), None)
    if item is None or review.closed_at is not None:
        raise ConfigError("there is no conflict to settle about this patient")
    if not may_adjudicate(write.connection, item.id, person):
        raise ConfigError("whoever looked at a patient does not settle the conflict while another specialist can")
    query = sa.select(LOOKS.c.id).where(LOOKS.c.item_id == item.id, LOOKS.c.person_id == person.id)
    own = write.connection.execute(query.where(LOOKS.c.adjudicates, LOOKS.c.undone_at.is_(None))).first()
    if own:
        return look(write.connection, own.id)
    shown = any(a.saw_real_data for a in answers_about(write.connection, item.id))
    return begin(write, review, item.id, person, adjudicates=True, saw=shown)


def may_adjudicate(connection: sa.Connection, item_id: int, person: Person) -> bool:
    """A specialist who did not look; where every specialist did, any of them."""
    looked = set(
        connection.execute(
            sa.select(LOOKS.c.person_id).where(
                LOOKS.c.item_id == item_id,
                LOOKS.c.undone_at.is_(None),
                LOOKS.c.answer.is_not(None),
                ~LOOKS.c.adjudicates,
            )
        ).scalars()
    )
    query = sa.select(PEOPLE.c.id).where(PEOPLE.c.role == "specialist", PEOPLE.c.active)
    specialists = set(connection.execute(query).scalars())
    return person.id not in looked or specialists <= looked


def conflicts(connection: sa.Connection, review: Review) -> list[Any]:
    """Patients that have all their looks, which disagree. (What is said of planted ones is nobody's to settle.)"""
    return conflicts_in(reviews.items(connection, review.id), reviews.looks(connection, review.id))


def conflicts_in(items: Sequence[Any], looks: Sequence[Any]) -> list[Any]:
    """Those of the items whose blind looks are all in, and disagree."""
    answers: dict[int, list[str]] = defaultdict(list)
    for k in looks:
        if k.answer and not k.adjudicates:
            answers[k.item_id].append(k.answer)
    return [
        item
        for item in items
        if item.verdict is None
        and not item.planted
        and len(answers[item.id]) >= item.wanted
        and len(set(answers[item.id])) > 1
    ]


def answers_about(connection: sa.Connection, item_id: int) -> list[Any]:
    """The blind answers a patient got, for whoever settles a conflict: without names. Who reads one that carries the mark of
    real-data flags carries it too."""
    query = sa.select(LOOKS.c.answer, LOOKS.c.reason, LOOKS.c.note, LOOKS.c.saw_real_data).where(
        LOOKS.c.item_id == item_id, LOOKS.c.undone_at.is_(None), LOOKS.c.answer.is_not(None), ~LOOKS.c.adjudicates
    )
    return list(connection.execute(query.order_by(LOOKS.c.id)))


def saw_real_data(connection: sa.Connection, review: Review, person: Person) -> bool:
    """Whether the person sees, or ever saw, flags of this run that read real patients: decisions inherit that (rule 8)."""
    if review.real_data:
        return True
    query = (
        sa.select(LOOKS.c.id)
        .join(ITEMS, ITEMS.c.id == LOOKS.c.item_id)
        .join(REVIEWS, REVIEWS.c.id == ITEMS.c.review_id)
    )
    earlier = query.where(REVIEWS.c.run == review.run, LOOKS.c.person_id == person.id, LOOKS.c.saw_real_data)
    return connection.execute(earlier.limit(1)).first() is not None


def settle(write: Write, item_id: int) -> None:
    """A verdict stands once all wanted looks agree, or a conflict was adjudicated."""
    item = write.connection.execute(sa.select(ITEMS).where(ITEMS.c.id == item_id)).one()
    given = write.connection.execute(
        sa.select(LOOKS.c.answer, LOOKS.c.adjudicates)
        .where(LOOKS.c.item_id == item_id, LOOKS.c.undone_at.is_(None), LOOKS.c.answer.is_not(None))
        .order_by(LOOKS.c.answered_at)
    ).all()
    settled = [k.answer for k in given if k.adjudicates]
    blind = {k.answer for k in given if not k.adjudicates}
    enough = sum(not k.adjudicates for k in given) >= item.wanted
    verdict = settled[-1] if settled else blind.pop() if enough and len(blind) == 1 else None
    write.connection.execute(ITEMS.update().where(ITEMS.c.id == item_id).values(verdict=verdict))


def begin(
    write: Write, review: Review, item_id: int, person: Person, adjudicates: bool = False, saw: bool = False
) -> Any:
    """A new look, leased. It carries the mark of real-data flags when `saw`, or when the person carries it for this run."""
    row = {
        "id": secrets.token_hex(12),
        "item_id": item_id,
        "person_id": person.id,
        "opened_at": write.now,
        "opinion": False,
    }
    row |= {
        "leased_until": write.now + LEASE,
        "adjudicates": adjudicates,
        "saw_real_data": saw or saw_real_data(write.connection, review, person),
        "note": "",
    }
    write.connection.execute(LOOKS.insert().values(**row))
    begun = look(write.connection, str(row["id"]))
    assert begun is not None
    if review.real_data:  # what is on the screen then is evidence from inside
        write.log("real-data flags viewed", person.name, review=review.id, patient=begun.patient_id, look=begun.id)
    return begun


def change(write: Write, look_id: str, **values: Any) -> None:
    """Changes a look."""
    write.connection.execute(LOOKS.update().where(LOOKS.c.id == look_id).values(**values))


def _must_be_known(reason: str) -> None:
    if reason and reason not in REASONS:
        raise ConfigError(f"the reasons are {', '.join(REASONS)}")
