"""Which synthetic patients a membership attack leaned on: those that training patients lie nearer to than strangers lie to any.

The distance attack (GAN-leaks; Chen et al. 2020) calls a patient a member who lies near a synthetic one. So its evidence against
a member is one synthetic patient, the nearest. A synthetic patient is *exposed* when it is the evidence against a member
whom the attack names at a cut-off that hardly any control reaches. The controls are the holdout, who were not trained on.

By chance the attack names a few training patients too. So all that it leaned on are flagged where it names surely more (a
beta-binomial tail: the cut-off is itself an order statistic of few controls), and otherwise only those that a training patient
lies nearer to than half of what the nearest control does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthgen.flags import Flag, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FALSE_ALARMS = 0.01
"""Share of controls that the attack may name wrongly; of fewer than 100 controls, none."""
ALONE = 0.5
"""Share of the nearest control's distance below which one training patient alone gives a synthetic patient away."""
REASON = "attack-exposed"


def exposed(train: Floats, holdout: Floats, synthetic: Floats, ids: Sequence[str], error: float) -> list[Flag]:
    """One flag for each synthetic patient that names a training patient; they read real patients, and hold no number of theirs.

    Args:
        train, holdout, synthetic: [patients, features], standardised alike.
        ids: [synthetic]
        error: chance at which an honest cohort's flags are called more than chance.
    """
    from scipy.stats import betabinom

    from privacy.attacks.distance import nearest

    near, leaned_on = nearest(train, synthetic)
    controls = np.sort(nearest(holdout, synthetic)[0])
    allowed = int(FALSE_ALARMS * len(controls))
    named = np.flatnonzero(near < controls[allowed])
    by_chance = betabinom(
        len(near), allowed + 1, len(controls) - allowed
    )  # how many of as many strangers lie below the cut-off
    surely = len(named) > 0 and float(by_chance.sf(len(named) - 1)) <= error
    if not surely:
        named = named[near[named] < ALONE * controls[0]]
    reached: dict[int, float] = {}
    for member in named[np.argsort(near[named])]:
        p = (1 + float(np.searchsorted(controls, near[member], "left"))) / (1 + len(controls))
        reached.setdefault(int(leaned_on[member]), p)
    return [_flag(ids[row], p, "moderate" if surely else "mild") for row, p in sorted(reached.items())]


def _flag(patient: str, p: float, severity: Severity) -> Flag:
    text = (
        "A membership attack leans on this patient: it gives a training patient away, who lies nearer to it than "
        + (
            "hardly any patient who was not trained on lies to a synthetic one. So many are given away that it is no chance."
            if severity == "moderate"
            else "half of what any patient who was not trained on lies from a synthetic one. So few may be chance."
        )
    )
    evidence = {"attack": "distance", "chance": float(f"{p:.2g}")}
    return Flag(
        patient, REASON, severity, text, reads_real_data=True, evidence=evidence, score=float(np.round(1 - p, 4))
    )
