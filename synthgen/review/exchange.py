"""Decisions as CSV or JSON: out for statistics, in from specialists who worked elsewhere."""

from __future__ import annotations

import csv
import io
import json
import secrets
from typing import TYPE_CHECKING, Any

from synthgen.errors import ConfigError, DataError
from synthgen.review import reviews
from synthgen.review.people import names
from synthgen.review.tables import LOOKS
from synthgen.review.triage import LONGEST_NOTE, REASONS, saw_real_data, settle

if TYPE_CHECKING:
    import sqlalchemy as sa

    from synthgen.review.database import Write
    from synthgen.review.people import Person
    from synthgen.review.reviews import Review

COLUMNS = ("patient_id", "answer", "reason", "note", "person", "seconds", "adjudicates", "saw_real_data", "planted")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets run a cell that begins with one of these; it goes out behind an apostrophe and loses it on the way in."""
MOST_ROWS = 5000
NEEDED = ("patient_id", "answer")
MARK = "saw_real_data"
UNMARKED = ("", "false", "no", "0")
"""What a file says of a decision that was taken without real-data flags; anything else marks it."""


def decisions(connection: sa.Connection, review: Review, only: Person | None = None) -> list[dict[str, Any]]:
    """One row a decision, in the order of the queue; of one person only, then without what would unblind them."""
    items = {item.id: item for item in reviews.items(connection, review.id)}
    everyone = names(connection)
    rows = []
    for k in reviews.looks(connection, review.id):
        if k.answer and (only is None or k.person_id == only.id):
            row = {c: getattr(k, c) for c in ("answer", "reason", "note", "seconds", "adjudicates", "saw_real_data")}
            item = items[k.item_id]
            row |= {"patient_id": item.patient_id, "person": everyone[k.person_id], "planted": item.planted}
            rows.append((item.position, {c: row[c] for c in COLUMNS if only is None or c != "planted"}))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def as_csv(rows: list[dict[str, Any]]) -> str:
    """With a head line, and no cell that a spreadsheet would run."""
    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]) if rows else list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _harmless(v) for k, v in row.items()} for row in rows)
    return target.getvalue()


def parse(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV or JSON file with at least `patient_id` and `answer`. Raises DataError, without a value in it."""
    try:
        text = content.decode("utf-8-sig")
        rows = json.loads(text) if text.lstrip().startswith("[") else list(csv.DictReader(io.StringIO(text)))
    except (UnicodeDecodeError, ValueError, csv.Error):
        raise DataError("the file is neither CSV nor JSON in UTF-8") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("the file holds no list of rows")
    if not rows or len(rows) > MOST_ROWS:
        raise DataError(f"the file holds {'no row' if not rows else f'more than {MOST_ROWS} rows'}")
    if missing := [c for c in NEEDED if c not in rows[0]]:
        raise DataError(f"the column {missing[0]} is missing")
    return [{k: _plain(row.get(k)) for k in (*NEEDED, "reason", "note", MARK)} for row in rows]


def take_in(write: Write, review: Review, rows: list[dict[str, str]], person: Person, source: str) -> int:
    """The person's own decisions, made elsewhere: all of them, or none. Those they gave before stay; returns how many are new.

    Raises:
        ConfigError: for a closed review.
        DataError: listing every row that cannot be taken, by its number.
    """
    if review.closed_at is not None:
        raise ConfigError("this review was closed; nothing was changed")
    items = {item.patient_id: item for item in reviews.items(write.connection, review.id)}
    mine = {
        k.item_id: k
        for k in reviews.looks(write.connection, review.id)
        if k.person_id == person.id and not k.adjudicates
    }
    breaches, fresh = [], []
    for line, row in enumerate(rows, start=1):
        item = items.get(row["patient_id"])
        if fault := _fault(row, item, mine):
            breaches.append(f"row {line}: {fault}")
        elif item is not None and (item.id not in mine or mine[item.id].answer is None):
            fresh.append((item, row))
    if len({item.id for item, _ in fresh}) < len(fresh):
        breaches.append("a patient stands in it twice")
    if breaches:
        raise DataError(breaches)
    for item, row in fresh:
        _keep(write, review, item, row, person, source, mine.get(item.id))
    write.log("decisions imported", person.name, review=review.id, rows=len(rows), new=len(fresh), source=source[:80])
    return len(fresh)


def _fault(row: dict[str, str], item: Any, mine: dict[int, Any]) -> str:
    if item is None:
        return "no patient of this review has that id"
    if row["answer"] not in ("accept", "reject"):
        return "the answer is neither accept nor reject"
    if row["answer"] == "reject" and row["reason"] not in REASONS:
        return f"a rejection needs one of the reasons {', '.join(REASONS)}"
    given = mine[item.id].answer if item.id in mine else None
    return "you answered otherwise before" if given not in (None, row["answer"]) else ""


def _keep(
    write: Write, review: Review, item: Any, row: dict[str, str], person: Person, source: str, open_look: Any | None
) -> None:
    values = {
        "answer": row["answer"],
        "reason": row["reason"] if row["answer"] == "reject" else None,
        "note": row["note"][:LONGEST_NOTE],
        "answered_at": write.now,
        "imported_from": source[:80],
        "saw_real_data": row[MARK].lower() not in UNMARKED or saw_real_data(write.connection, review, person),
    }
    if open_look is not None:
        write.connection.execute(LOOKS.update().where(LOOKS.c.id == open_look.id).values(**values))
    else:
        values |= {"id": secrets.token_hex(12), "item_id": item.id, "person_id": person.id, "opened_at": write.now}
        values |= {"leased_until": 0.0, "opinion": False, "adjudicates": False}
        write.connection.execute(LOOKS.insert().values(**values))
    settle(write, item.id)


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _plain(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    text = text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text
    return text.replace("\0", "").strip()
