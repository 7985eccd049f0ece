"""The ranked queue of flags: what a specialist with half an hour should look at first."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from synthgen.flags import RANK, Flag

TWINS = "near_duplicates"
"""Key in a flag's evidence: patients that look the same and carry the same flag, so are shown once, with this one."""


def ranked(flags: Iterable[Flag]) -> list[Flag]:
    """Severe first; within a severity those that never looked at real data, then by score."""
    return sorted(flags, key=lambda f: (RANK[f.severity], f.reads_real_data, -f.score, f.patient_id, f.reason))


def for_release(flags: Iterable[Flag]) -> list[Flag]:
    """The queue for people whose decisions shape a release: no flag that read real data, so no decision inherits its mark."""
    return ranked(f for f in flags if not f.reads_real_data)


def shown_once(flags: Iterable[Flag], twin_of: Mapping[str, str]) -> list[Flag]:
    """The same flags, those of near-duplicate patients told once, by the patient with the smallest id.

    Only flags of one reason, severity and mark are joined: none is hidden behind a milder one, and what the queue without
    real-data flags looks like never depends on them.

    Args:
        twin_of: patient -> the patient that stands for the group (`flagging.near_duplicates`); others stand for themselves.
    """
    groups: dict[tuple[str, str, str, bool], list[Flag]] = {}
    for flag in flags:
        group = twin_of.get(flag.patient_id, flag.patient_id)
        groups.setdefault((group, flag.reason, flag.severity, flag.reads_real_data), []).append(flag)
    return [flag for group in groups.values() for flag in _told_by_one(group)]


def patients_of(flag: Flag) -> tuple[str, ...]:
    """Every patient a flag speaks of."""
    return (flag.patient_id, *flag.evidence.get(TWINS, ()))


def among(flags: Iterable[Flag], patients: Container[str]) -> list[Flag]:
    """The flags that speak of at least one of these patients, and of these alone."""
    kept = [(flag, [p for p in patients_of(flag) if p in patients]) for flag in flags]
    return [
        replace(flag, patient_id=left[0], evidence=_with_twins(flag.evidence, left[1:])) for flag, left in kept if left
    ]


def _told_by_one(group: list[Flag]) -> list[Flag]:
    patients = sorted({patient for flag in group for patient in patients_of(flag)})
    told = [flag for flag in group if flag.patient_id == patients[0]]
    return [replace(flag, evidence=_with_twins(flag.evidence, patients[1:])) for flag in told]


def _with_twins(evidence: Mapping[str, Any], twins: Sequence[str]) -> dict[str, Any]:
    rest = {key: value for key, value in evidence.items() if key != TWINS}
    return rest | ({TWINS: list(twins)} if twins else {})
