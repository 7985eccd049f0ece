"""What is wrong with a synthetic patient, by the patient's own record and public knowledge: no real patient is read here.

`contract` asks the dictionary, `clinical` its rules, `stillness` counts; the detectors in `courses`, `motion`, `levels`,
`schedule` and `treatments` compare with what is usual in the cohort itself, and say how often chance goes as far in simulated
patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from synthgen.flags import Flag

if TYPE_CHECKING:
    from synthgen.screening.usual import Detector, Tail, Usual
    from synthgen.screening.view import View

CERTAIN = 1e-4
"""A chance below this makes a flag moderate. None is severe: what is only improbable is for a person to judge, and a severe flag
would take the patient out of a release without one."""


def detectors() -> tuple[Detector, ...]:
    """All that compare with what is usual."""
    from synthgen.screening.courses import Break, Leap, Spike
    from synthgen.screening.levels import Combination, Level, Swapped
    from synthgen.screening.motion import Calm, Drift, Swings
    from synthgen.screening.schedule import Crowded, EmptyVisits, Flicker, NeverRecorded
    from synthgen.screening.slips import DoseSlip, Slip
    from synthgen.screening.treatments import Dose, Repeated, Twice

    return (
        Spike(), Leap(), Slip(), Swings(), Calm(), Drift(), Break(), Level(), Combination(), Swapped(),
        Crowded(), NeverRecorded(), EmptyVisits(), Flicker(), Dose(), DoseSlip(), Repeated(), Twice(),
    )  # fmt: skip


def improbable(view: View, usual: Usual, tails: dict[str, Tail]) -> Iterator[Flag]:
    """One flag for each patient and detector whose score chance hardly reaches."""
    import numpy as np

    from synthgen.screening.usual import CHANCE, TAIL
    from synthgen.screening.words import seldom

    for detector in detectors():
        found = detector.scores(view, usual)
        chance = tails[detector.reason].chance(found.value)
        if detector.reason in usual.bulk:  # what is common in this cohort is no fault of one patient
            chance = np.maximum(chance, usual.bulk[detector.reason].chance(found.value))
        rare = tails[detector.reason].share  # below TAIL where hardly any simulated patient has a score at all
        for patient in np.flatnonzero(chance <= (CHANCE if rare >= TAIL else max(CHANCE, rare))):
            text, evidence = detector.told(view, usual, int(patient), found.place[patient])
            share = float(chance[patient])
            yield Flag(
                str(view.ids[patient]),
                detector.reason,
                "moderate" if share <= CERTAIN else "mild",
                f"{text} ({seldom(share).capitalize()}.)",
                reads_real_data=False,
                evidence=evidence | {"chance": float(f"{share:.2g}")},
                score=float(np.round(1 - share / (share + CHANCE), 4)),
            )
