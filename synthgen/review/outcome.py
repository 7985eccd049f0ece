"""What a review came to: for the people who run it, for the release, and for whoever reads the bundle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthgen.flags import Flag
from synthgen.review import reviews
from synthgen.review.agreement import Agreement, agreement
from synthgen.review.triage import REASONS, conflicts, conflicts_in

if TYPE_CHECKING:
    import sqlalchemy as sa

    from synthgen.review.reviews import Review


@dataclass(frozen=True)
class Outcome:
    """Counts over the patients of one review; planted ones stand apart. `seconds` is the median time of a look, `marked` how many
    looks were taken by people who had seen flags that read real patients."""

    patients: int
    settled: int
    accepted: int
    rejected: int
    conflicts: int
    looks: int
    people: int
    seconds: float | None
    planted: int
    planted_looks: int
    planted_caught: int
    reasons: dict[str, int]
    agreement: Agreement
    marked: int


def outcome(connection: sa.Connection, review: Review, free: bool = False) -> Outcome:
    """What has been decided so far.

    Args:
        free: count only looks free of the mark of real-data flags, and only verdicts that rest on such looks alone: what a
            release may state. `marked` says how many looks that leaves out.
    """
    all_items = reviews.items(connection, review.id)
    planted = {item.id for item in all_items if item.planted}
    answered = [k for k in reviews.looks(connection, review.id) if k.answer]
    marked = [k for k in answered if k.saw_real_data]
    touched = {k.item_id for k in marked} if free else set()
    items = [item for item in all_items if not item.planted]
    answered = [k for k in answered if not (free and k.saw_real_data)]
    blind = [k for k in answered if not k.adjudicates]
    of_patients = [k for k in blind if k.item_id not in planted]
    of_planted = [k for k in blind if k.item_id in planted and not k.imported_from]  # elsewhere it was not spoiled
    times = sorted(k.seconds for k in blind if k.seconds is not None)
    verdicts = Counter(item.verdict for item in items if item.id not in touched)
    said: dict[int, list[str]] = {}
    for k in of_patients:
        said.setdefault(k.item_id, []).append(k.answer)
    return Outcome(
        patients=len(items),
        settled=verdicts["accept"] + verdicts["reject"],
        accepted=verdicts["accept"],
        rejected=verdicts["reject"],
        conflicts=len(conflicts_in(items, answered)),
        looks=len(blind),
        people=len({k.person_id for k in answered}),
        seconds=times[len(times) // 2] if times else None,
        planted=len(planted),
        planted_looks=len(of_planted),
        planted_caught=sum(k.answer == "reject" for k in of_planted),
        reasons=dict(Counter(k.reason for k in of_patients if k.answer == "reject" and k.reason)),
        agreement=agreement(list(said.values())),
        marked=len(marked),
    )


def rejected(connection: sa.Connection, run: str) -> list[Flag]:
    """A severe flag for each patient that the reviews of a run rejected: a release leaves those patients out.

    A rejection by somebody who saw real-data evidence carries that mark, and so blocks the release instead: removing on such
    evidence would void the guarantee. So does an acceptance that overruled a rejection without the mark: keeping is choosing too.
    """
    flags: dict[tuple[str, bool], Flag] = {}
    for review in reviews.of_run(connection, run):
        given: dict[int, list[Any]] = defaultdict(list)
        for k in reviews.looks(connection, review.id):
            if k.answer:
                given[k.item_id].append(k)
        for item in reviews.items(connection, review.id, settled=True):
            if flag := _flag(item, given[item.id], review.real_data):
                flags.setdefault((item.patient_id, flag.reads_real_data), flag)
    return list(flags.values())


def _flag(item: Any, given: Sequence[Any], real_data: bool) -> Flag | None:
    """What a patient's looks come to for a release, if anything."""
    marked = real_data or any(k.saw_real_data for k in given)
    if item.verdict == "reject":
        reason = next(
            (REASONS[k.reason] for k in reversed(given) if k.answer == "reject" and k.reason), "no reason given"
        )
        return Flag(item.patient_id, "rejected", "severe", f"Specialists rejected this patient: {reason}.", marked)
    if item.verdict == "accept" and marked and any(k.answer == "reject" and not k.saw_real_data for k in given):
        text = "Somebody who had seen flags that read real patients kept this patient against another's rejection."
        return Flag(item.patient_id, "kept", "severe", text, True)
    return None


def unsettled(connection: sa.Connection, run: str) -> list[str]:
    """One sentence for each open review of a run, and for conflicts that nobody settled, in that review or in another."""
    found, said = reviews.of_run(connection, run), []
    for review in found:
        if review.closed_at is None:
            said.append(f"review {review.id} of this run is still open: a scientist can close it")
        elif left := conflicts(connection, review):
            decided = {item.patient_id for r in found for item in reviews.items(connection, r.id, settled=True)}
            if open_ := [item for item in left if item.patient_id not in decided]:
                said.append(
                    f"review {review.id} was closed with {len(open_)} conflicts unsettled: open another review for them"
                )
    return said
