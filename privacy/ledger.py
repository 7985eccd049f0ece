"""The ledger: what was done to which patients, so that all of it together stays within a cap.

Charges are kept, never costs: what they cost is worked out by composing them, at the smallest delta that was ever declared
for the cohort. (Epsilons at different deltas do not add up; charges compose at any delta.)

A cohort is known by its name *and* by keyed hashes of its patients' ids. A patient has given what every run took that
touched them, under any name; and all runs under one name compose as if they had touched the same patients. A cohort's cost
is that of its worst-off patient, and no reservation may lift it, or that of any cohort it shares a patient with, above the
cohort's cap. So renaming a file, or correcting it, gives nothing back.

A reservation is never released: a crash can over-count, never under-count.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from privacy.accounting import epsilon
from privacy.budget import Budget
from privacy.chain import Chain, Entry, Verification
from privacy.charges import Charge
from privacy.errors import BudgetExceeded, ConfigError, PrivacyError, WorkspaceError
from privacy.identity import spelled

TAG_BYTES = 16
KEY_BYTES = 32


@dataclass(frozen=True)
class Spent:
    """What a cohort's worst-off patient has given, over all runs on any of its patients, released or not.

    `delta` is None, and `epsilon` 0, for a cohort the ledger has never heard of.
    """

    dataset: str
    epsilon: float
    delta: float | None
    cap: Budget | None
    charges: tuple[Charge, ...]
    runs: tuple[str, ...]

    @property
    def micro_epsilon(self) -> int:
        """Epsilon in millionths, rounded up: for display."""
        return math.ceil(self.epsilon * 1e6)


@dataclass(frozen=True)
class Reservation:
    """What one run may do to whom. `patients` are keyed hashes; `delta` is what the run's own claim is made at."""

    run_id: str
    dataset: str
    patients: frozenset[bytes]
    charges: tuple[Charge, ...]
    delta: float

    @property
    def content(self) -> dict[str, Any]:
        """As an entry. Patients are sorted, so that their order in the file is not told."""
        return {
            "kind": "reserve",
            "run_id": self.run_id,
            "dataset": self.dataset,
            "patients": b"".join(sorted(self.patients)).hex(),
            "charges": [
                {
                    "name": c.name,
                    "noise_multiplier": float(c.noise_multiplier),
                    "sampling_rate": float(c.sampling_rate),
                    "steps": int(c.steps),
                }
                for c in self.charges
            ],
            "delta": self.delta,
        }

    @classmethod
    def of(cls, content: Any) -> Self:
        joined = bytes.fromhex(content["patients"])
        patients = frozenset(joined[i : i + TAG_BYTES] for i in range(0, len(joined), TAG_BYTES))
        charges = tuple(Charge(**c) for c in content["charges"])
        return cls(content["run_id"], content["dataset"], patients, charges, content["delta"])


class Ledger:
    """The record of charges, in a database that several people and jobs share.

    Args:
        url: `sqlite:///path` or `postgresql://...`.
        key: the workspace's secret, from `ledger_key`.

    Raises:
        ConfigError: for a URL of another kind.
        WorkspaceError: here and in every method, for a database that is corrupt, tampered with, full or cannot be written.
    """

    def __init__(self, url: str, key: bytes) -> None:
        self._chain = Chain(url, key)

    def set_cap(self, dataset: str, cap: Budget, by: str) -> None:
        """Sets the most that may ever be spent on a cohort's patients; `by` is who answers for it. The last one counts.

        Raises:
            ConfigError: without a name.
        """
        if not by.strip():
            raise ConfigError("A cap needs the name of the person who answers for it")
        with self._chain.append() as transaction:
            transaction.append(_cap(dataset, cap, by))

    def reserve(
        self, run_id: str, dataset: str, patients: Sequence[bytes], charges: Sequence[Charge], cap: Budget
    ) -> float:
        """Charges a whole run, before it reads a patient. Reserving the same again (a resumed job) changes nothing.

        Args:
            run_id: names the run for good.
            dataset: the cohort's declared name.
            patients: `patient_tags` of everyone in the cohort's file.
            charges: the plan's, calibrated.
            cap: its delta is the one of the run's claim; its epsilon becomes the cohort's cap if none was ever set.

        Returns:
            The cohort's composed epsilon, this run included: `spent(dataset).epsilon`.

        Raises:
            BudgetExceeded: if a cap would be passed; nothing is written then.
            PrivacyError: if the run was reserved before with other charges, patients or cohort.
        """
        if not patients or any(len(tag) != TAG_BYTES for tag in patients):
            raise PrivacyError("A reservation needs its patients, as the keyed hashes that `patient_tags` makes")
        if len(set(patients)) != len(patients):
            raise PrivacyError(
                "Two rows of patients are one patient, who would be counted twice in every sum and once here"
            )
        asked = Reservation(run_id, dataset, frozenset(patients), tuple(charges), cap.delta)
        epsilon(asked.charges, cap.delta)  # loads the accountant and its caches before others have to wait for us
        with self._chain.append() as transaction:
            book = Book(transaction.entries)
            if run_id in book.reservations:
                _must_be_the_same(book.reservations[run_id], asked)
                return book.spent(dataset).epsilon
            if dataset not in book.caps:
                transaction.append(_cap(dataset, cap, by=f"run {run_id}"))
            transaction.append(asked.content | {"at": _now()})
            after = Book(transaction.entries)
            for name in after.sharing(asked):
                _must_fit(asked, after, after.spent(name))
            return after.spent(dataset).epsilon

    def close(self, run_id: str, outcome: Literal["finished", "abandoned"]) -> None:
        """Notes how a run ended. That gives nothing back: whatever was answered stays answered.

        Raises:
            WorkspaceError: for a run that was never reserved.
        """
        with self._chain.append() as transaction:
            book = Book(transaction.entries)
            if run_id not in book.reservations:
                raise WorkspaceError(f"The ledger holds no reservation of run {run_id}")
            if book.outcomes.get(run_id) != outcome:
                transaction.append({"kind": "close", "run_id": run_id, "outcome": outcome, "at": _now()})

    def spent(self, dataset: str, delta: float | None = None) -> Spent:
        """What was spent on a cohort; at another `delta` than the ledger's if one is given."""
        return Book(self._chain.read()).spent(dataset, delta)

    def reservation(self, run_id: str) -> Reservation | None:
        """What a run reserved; None for a run this ledger has never heard of."""
        return Book(self._chain.read()).reservations.get(run_id)

    def datasets(self) -> tuple[str, ...]:
        """The cohorts the ledger knows, by name."""
        return tuple(sorted(Book(self._chain.read()).caps))

    def history(self, dataset: str) -> tuple[Entry, ...]:
        """All entries about a cohort, oldest first, without its patients' hashes."""
        entries = self._chain.read()
        runs = {r.run_id for r in Book(entries).reservations.values() if r.dataset == dataset}
        return tuple(
            Entry(e.number, {k: v for k, v in e.content.items() if k != "patients"})
            for e in entries
            if e.content.get("dataset") == dataset or e.content.get("run_id") in runs
        )

    def verify(self, root: str | None = None) -> Verification:
        """Whether every entry is as it was written; with a `root` saved earlier, also whether the end was cut off or forked."""
        return self._chain.verify(root)

    @property
    def root(self) -> str:
        """`number:hash` of the last entry, to be kept outside the database."""
        return self._chain.root


class Book:
    """The ledger's entries, as one can reckon with them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.caps: dict[str, Budget] = {}
        self.reservations: dict[str, Reservation] = {}
        self.outcomes: dict[str, str] = {}
        self._deltas: dict[str, float] = defaultdict(lambda: math.inf)
        for entry in entries:
            self._take(entry.content)

    def spent(self, dataset: str, delta: float | None = None) -> Spent:
        """The dearest set of runs that some patient of the cohort took part in, together with all runs under its name."""
        if dataset not in self._deltas:
            return Spent(dataset, 0.0, delta, None, (), ())
        delta = self._deltas[dataset] if delta is None else delta
        dearest, runs = max(
            ((epsilon(_all_charges(runs), delta), runs) for runs in self._run_sets(dataset)), key=lambda pair: pair[0]
        )
        return Spent(dataset, dearest, delta, self.caps.get(dataset), _all_charges(runs), tuple(r.run_id for r in runs))

    def sharing(self, asked: Reservation) -> list[str]:
        """The names of all cohorts with a patient in this reservation, its own first."""
        others = {
            r.dataset for r in self.reservations.values() if r.dataset != asked.dataset and r.patients & asked.patients
        }
        return [asked.dataset, *sorted(others)]

    def _run_sets(self, dataset: str) -> list[list[Reservation]]:
        """Patients grouped by the runs that touched them, as sets of runs; sets within another set are left out."""
        runs = list(self.reservations.values())
        own = sum(1 << i for i, r in enumerate(runs) if r.dataset == dataset)
        touched: dict[bytes, int] = {tag: own for r in runs if r.dataset == dataset for tag in r.patients}
        for i, run in enumerate(runs):
            for tag in run.patients & touched.keys():
                touched[tag] |= 1 << i
        sets = set(touched.values()) or {0}
        largest = [s for s in sets if not any(s != other and s & other == s for other in sets)]
        return [[r for i, r in enumerate(runs) if s >> i & 1] for s in sorted(largest)]

    def _take(self, content: Any) -> None:
        kind = content["kind"]
        if kind == "cap":
            self.caps[content["dataset"]] = Budget(content["epsilon"], content["delta"])
        elif kind == "reserve":
            reservation = Reservation.of(content)
            self.reservations[reservation.run_id] = reservation
        elif kind == "close":
            self.outcomes[content["run_id"]] = content["outcome"]
        elif kind != "begin":
            raise WorkspaceError(
                f"The ledger holds an entry of the unknown kind {kind}: a newer version wrote it; use that one"
            )
        if "delta" in content:
            self._deltas[content["dataset"]] = min(self._deltas[content["dataset"]], content["delta"])


def patient_tags(ids: Iterable[str], key: bytes) -> list[bytes]:
    """Keyed hashes of patient ids (HMAC-SHA256, 16 bytes), in the order of `ids`. Without the key they tell nothing.

    Case, Unicode form and surrounding spaces do not count: a re-exported file has the same patients.
    """
    return [hmac.new(key, b"patient\0" + spelled(i).encode(), hashlib.sha256).digest()[:TAG_BYTES] for i in ids]


def ledger_key(path: Path) -> bytes:
    """The ledger's key in this file (32 bytes, in hex); made with mode 0600, by one of any number of processes, if it is missing.

    Raises:
        WorkspaceError: if the file is damaged or unreadable, or is missing beside a ledger that was begun with it.
    """
    try:
        begun = path.with_suffix(".db").exists()  # asked first: the key is made before the database
        if not path.exists():
            if begun:
                raise WorkspaceError(
                    f"{path}: the ledger's key is missing, but its database is there. Restore the key from the workspace's "
                    "backup: with a new one no patient would be recognised, and what was spent would be forgotten"
                )
            _make_key(path)
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise WorkspaceError(f"{path}: the ledger's key cannot be read or made ({type(error).__name__})") from None
    if len(key) != KEY_BYTES:
        raise WorkspaceError(f"{path}: the ledger's key is damaged. Restore it from the workspace's backup")
    return key


def _make_key(path: Path) -> None:
    """Writes it whole under another name first: a link either appears complete or is there already."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _must_be_the_same(before: Reservation, asked: Reservation) -> None:
    for what in ("dataset", "charges", "patients", "delta"):
        if getattr(before, what) != getattr(asked, what):
            raise PrivacyError(
                f"Run {asked.run_id} was reserved with another {what}. What was charged is fixed before data is read: "
                "start a new run for the changed job or data"
            )


def _must_fit(asked: Reservation, book: Book, spent: Spent) -> None:
    if spent.cap is None or spent.delta is None or spent.epsilon <= spent.cap.epsilon:
        return
    earlier = [book.reservations[run] for run in spent.runs if run != asked.run_id]
    before, alone = (epsilon(charges, spent.delta) for charges in (_all_charges(earlier), asked.charges))
    others = any(r.dataset != asked.dataset for r in earlier)
    elsewhere = " (some under another name)" if others else ""
    raise BudgetExceeded(
        f"{spent.dataset}: its patients have given epsilon {_up(before)}{elsewhere}, run {asked.run_id} on {asked.dataset} "
        f"asks for {_up(alone)}; together that is {_up(spent.epsilon)} at delta {spent.delta:g}, above the cap of "
        f"{spent.cap.epsilon:g}. Nothing was charged and nothing read. Ask for a smaller epsilon, or have the privacy officer "
        f"raise the cap of {spent.dataset} (`synthgen budget`)"
    )


def _cap(dataset: str, cap: Budget, by: str) -> dict[str, Any]:
    return {"kind": "cap", "dataset": dataset, "epsilon": cap.epsilon, "delta": cap.delta, "by": by, "at": _now()}


def _all_charges(runs: Iterable[Reservation]) -> tuple[Charge, ...]:
    return tuple(charge for run in runs for charge in run.charges)


def _up(value: float) -> str:
    return f"{math.ceil(value * 1e4) / 1e4:.4f}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
