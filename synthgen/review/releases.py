"""Four eyes on a release: a scientist proposes; an officer, somebody else, approves with a signature, refuses, or withdraws."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from privacy.chain import canonical
from privacy.files import write_durably
from synthgen.errors import ConfigError, NotReleasable, WorkspaceError
from synthgen.gate import by_name, to_drop
from synthgen.release import BUNDLE, release
from synthgen.review import learning, log, outcome, passwords, reviews
from synthgen.review.approval import statement_of, to_sign
from synthgen.review.dossier import blockers, context_with, left_out
from synthgen.review.people import names
from synthgen.review.tables import ACCEPTANCES, PEOPLE, RELEASES

if TYPE_CHECKING:
    from synthgen.report.context import ReportContext
    from synthgen.review.database import Database, Write
    from synthgen.review.people import Person
    from synthgen.workspace import Run

DAY = 86400.0
LONGEST = 5 * 365
"""Days an approval may last."""


@dataclass(frozen=True)
class Release:
    """A proposal and what became of it: proposed, approved, refused or withdrawn."""

    id: int
    run: str
    state: str
    proposed_by: int
    proposed_at: float
    purpose: str
    decided_by: int | None
    decided_at: float | None
    reason: str | None
    expires_at: float | None
    approval: str | None

    def state_at(self, now: float) -> str:
        """The state; an approval that is over reads `expired`."""
        return "expired" if self.state == "approved" and now > (self.expires_at or now) else self.state


def propose(write: Write, run: Run, purpose: str, by: Person) -> int:
    """Asks for a release and returns its number.

    Raises:
        ConfigError: without a purpose, or when this run is proposed or approved already.
    """
    _must_say(purpose, "say what the data are for")
    if any(r.run == run.id and r.state in ("proposed", "approved") for r in everything(write.connection)):
        raise ConfigError("this run is proposed or approved already")
    row = {
        "run": run.id,
        "state": "proposed",
        "proposed_by": by.id,
        "proposed_at": write.now,
        "purpose": purpose.strip(),
    }
    (number,) = write.connection.execute(RELEASES.insert().values(**row).returning(RELEASES.c.id)).one()
    write.log("release proposed", by.name, release=number, run=run.id, purpose=purpose.strip())
    return int(number)


def accept(write: Write, run: Run, found: Release, finding: str, reason: str, by: Person) -> None:
    """An officer accepts one inconclusive finding by its name, or all of one check (`membership/*`): each is written down and
    logged by its own name. Raises ConfigError."""
    _must_be(found, "proposed")
    _must_say(reason, "say why the finding is accepted")
    names = by_name(run.findings, {finding: by.name})
    if not set(names) <= {f.name for f in run.findings if f.verdict == "inconclusive"}:
        raise ConfigError("no inconclusive finding of this run has that name")
    for name in sorted(names.keys() - accepted(write.connection, found.id).keys()):
        row = {
            "release_id": found.id,
            "finding": name[:200],
            "person_id": by.id,
            "reason": reason.strip(),
            "at": write.now,
        }
        write.connection.execute(ACCEPTANCES.insert().values(**row))
        write.log("finding accepted", by.name, release=found.id, finding=name, reason=reason.strip())


def refuse(write: Write, found: Release, reason: str, by: Person) -> None:
    """No, with the reason. Raises ConfigError."""
    _must_be(found, "proposed")
    _decide(write, found, "refused", reason, by)


def withdraw(write: Write, found: Release, run: Run, reason: str, by: Person) -> None:
    """Takes an approval back; copies that have left cannot be called back. Raises ConfigError."""
    _must_be(found, "approved")
    _decide(write, found, "withdrawn", reason, by)
    _set_aside(run.folder / BUNDLE)


def approve(
    database: Database, run: Run, found: Release, reason: str, days: int, by: Person, password: str, seen: str = ""
) -> dict[str, Any]:
    """Writes the bundle, signs it with the officer's key, and records both. The officer was re-authenticated before.

    Args:
        seen: `shown` of what the officer looked at; when it is something else by now, nothing is signed.

    Raises:
        NotReleasable: with everything in the way.
        ConfigError: for one's own proposal, a proposal that is decided or changed, no reason, or a term of no sense.
    """
    _must_be(found, "proposed")
    _must_say(reason, "say why this may leave")
    if found.proposed_by == by.id:
        raise ConfigError("whoever proposes a release does not approve it")
    if not 1 <= days <= LONGEST:
        raise ConfigError(f"an approval lasts 1 to {LONGEST} days")
    with run.locked():
        with database.read() as connection:
            _must_be(find(connection, found.id), "proposed")
            context, taken, unsettled = _evidence(connection, run, found)
            review = _summary(connection, run, context)
            everyone = names(connection)
            sealed = connection.execute(sa.select(PEOPLE.c.sealed_key).where(PEOPLE.c.id == by.id)).scalar_one()
        if seen and seen != shown(context, taken):
            raise ConfigError("what would leave has changed since you looked; load the page again")
        if reasons := [b.reason for b in blockers(context, taken, unsettled)]:
            raise NotReleasable(reasons)
        _set_aside(run.folder / BUNDLE)  # what a killed approval may have left: nobody signed it
        bundle = release(run.folder, context, by.name, taken, _unfinished(run))
        with database.write() as write:
            _must_be(find(write.connection, found.id), "proposed")
            log.take_over(write)
            said = _statement(write.now, run, context, found, reason, days, by, everyone)
            statement = statement_of(bundle, said | {"accepted": taken, "review": review})
            approval = {"statement": statement, "signature": passwords.sign(to_sign(statement), sealed, password)}
            _decide(write, found, "approved", reason, by, approval)
        write_durably(run.path("approvals") / f"{found.id}.json", (json.dumps(approval, indent=1) + "\n").encode())
    return approval


def find(connection: sa.Connection, number: int) -> Release:
    """Raises WorkspaceError."""
    row = connection.execute(sa.select(RELEASES).where(RELEASES.c.id == number)).first()
    if row is None:
        raise WorkspaceError("there is no such release")
    return Release(**row._mapping)


def everything(connection: sa.Connection) -> list[Release]:
    """All proposals, newest first."""
    return [Release(**row._mapping) for row in connection.execute(sa.select(RELEASES).order_by(RELEASES.c.id.desc()))]


def accepted(connection: sa.Connection, number: int) -> dict[str, str]:
    """Finding -> who accepted it, for one proposal."""
    query = sa.select(ACCEPTANCES.c.finding, PEOPLE.c.name).join(PEOPLE, PEOPLE.c.id == ACCEPTANCES.c.person_id)
    return {row.finding: row.name for row in connection.execute(query.where(ACCEPTANCES.c.release_id == number))}


def previous(connection: sa.Connection, found: Release, cohort: str) -> dict[str, Any] | None:
    """The statement of the last release of the same cohort that was approved before this proposal."""
    for other in everything(connection):
        if other.approval and other.id != found.id and (other.decided_at or 0) < found.proposed_at:
            statement: dict[str, Any] = json.loads(other.approval)["statement"]
            if statement["cohort"] == cohort:
                return statement
    return None


def facts(context: ReportContext, dropped: int) -> dict[str, Any]:
    """What a statement says of the data, and a later release is compared by."""
    guarantee = context.claim.guarantee
    return {
        "cohort": context.dictionary.name,
        "dictionary": context.dictionary.fingerprint[:16],
        "patients": len(context.synthetic) - dropped,
        "left_out": dropped,
        "tables": {name: len(rows) for name, rows in context.synthetic.tables.items()},
        "columns": {name: len(rows.columns) for name, rows in context.synthetic.tables.items()},
        "epsilon": round(guarantee.epsilon, 6) if guarantee else None,
        "delta": guarantee.delta if guarantee else None,
        "epsilon_all_runs": round(guarantee.epsilon_all_runs, 6) if guarantee else None,
        "claim": context.claim.headline,
    }


def shown(context: ReportContext, taken: Mapping[str, str]) -> str:
    """Stands for what an officer sees of a release: the data's facts, who is left out, and what was accepted by whom."""
    said = facts(context, left_out(context)) | {"without": sorted(to_drop(context)), "accepted": dict(taken)}
    return hashlib.sha256(canonical(said).encode()).hexdigest()


def _statement(
    now: float,
    run: Run,
    context: ReportContext,
    found: Release,
    reason: str,
    days: int,
    by: Person,
    everyone: dict[int, str],
) -> dict[str, Any]:
    return facts(context, left_out(context)) | {
        "release": found.id,
        "run": run.id,
        "purpose": found.purpose,
        "proposed_by": everyone[found.proposed_by],
        "approved_by": by.name,
        "approved_at": round(now, 3),
        "expires_at": round(now + days * DAY, 3),
        "reason": reason.strip(),
        "key": by.public_key,
    }


def _evidence(connection: sa.Connection, run: Run, found: Release) -> tuple[ReportContext, dict[str, str], list[str]]:
    context = context_with(run, outcome.rejected(connection, run.id))
    return context, accepted(connection, found.id), outcome.unsettled(connection, run.id)


def _summary(connection: sa.Connection, run: Run, context: ReportContext) -> list[dict[str, Any]]:
    """What reviews came to, for the bundle: those that showed no real-data flag, and of them the looks of people who had seen
    none elsewhere, so that no number from inside is in it. `statement` says how many looks were left out for that."""
    found = [r for r in reviews.of_run(connection, run.id) if not r.real_data]
    patients = [str(p) for p in context.synthetic.ids]
    said = []
    for r in found:
        came_to = outcome.outcome(connection, r, free=True)
        text = str(learning.estimate(connection, r, patients, run.flags))
        if came_to.marked and came_to.looks:
            text += f"; {came_to.marked} looks of people who had seen flags that read real patients are not counted"
        said.append(asdict(came_to) | {"statement": text})
    return said


def _decide(
    write: Write, found: Release, state: str, reason: str, by: Person, approval: dict[str, Any] | None = None
) -> None:
    _must_say(reason, "say why")
    values: dict[str, Any] = {"state": state, "decided_by": by.id, "decided_at": write.now, "reason": reason.strip()}
    more = {}
    if approval:
        values |= {"approval": json.dumps(approval), "expires_at": approval["statement"]["expires_at"]}
        more = {"sums": approval["statement"]["sums_sha256"], "signature": approval["signature"]}
    write.connection.execute(RELEASES.update().where(RELEASES.c.id == found.id).values(**values))
    write.log(f"release {state}", by.name, release=found.id, run=found.run, reason=reason.strip(), **more)


def _unfinished(run: Run) -> list[str]:
    from synthgen.pipeline import STAGES

    return [stage for stage in STAGES if stage not in run.stages]


def _set_aside(bundle: Path) -> None:
    """Nothing is deleted: what must not be taken for a release gets another name."""
    if bundle.exists():
        bundle.rename(bundle.with_name(f"{BUNDLE}-set-aside-{secrets.token_hex(4)}"))


def _must_be(found: Release, state: str) -> None:
    if found.state != state:
        raise ConfigError(f"this release is {found.state}; only one that is {state} can be decided like that")


def _must_say(text: str, what: str) -> None:
    if len(text.strip()) < 4:
        raise ConfigError(f"{what}, in a few words")
