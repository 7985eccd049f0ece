"""Transitions: do ordinal and categorical measurements move from state to state as in real patients?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.findings import Evidence, Finding

SMOOTHING = 0.5
"""Added to every cell (Jeffreys): a transition that a few patients never made is rare, not impossible."""


class Transitions:
    """`matrix`: how far the probabilities of the next recorded state, given the present one, are off: total variation for each
    present state, weighted by how often real patients are in it, mean over ordinal and categorical measurements. 0 is the
    same."""

    name = "transitions"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        text = "How far transitions between states are off"
        return judged(self.name, "matrix", text, matrix_distance, Views.of(evidence), "lower")


def matrix_distance(real: View, other: View) -> float:
    """0 is the same. NaN without visits or categories."""
    names = [n for n, c in real.dictionary.measurements.items() if c.discrete]
    if real.visits is None or other.visits is None or not names:
        return float("nan")
    found = []
    for name in names:
        ours, theirs = counts(real, name), counts(other, name)
        a, b = ((c + SMOOTHING) / (c + SMOOTHING).sum(axis=1, keepdims=True) for c in (ours, theirs))
        weight = ours.sum(axis=1) / max(ours.sum(), 1)
        found.append(float(weight @ (0.5 * np.abs(a - b).sum(axis=1))))
    return float(np.mean(found))


@once
def counts(view: View, name: str) -> NDArray[np.float64]:
    """[states, states] how often a recorded state was followed by each state at the patient's next visit that recorded one."""
    assert view.visits is not None
    states = len(view.dictionary.measurements[name].categories or ())
    recorded = view.visits[["patient_id", name]].dropna()
    before = recorded[name].groupby(recorded["patient_id"], sort=False).shift(1)
    moved = before.notna().to_numpy()
    flat = before.to_numpy()[moved] * states + recorded[name].to_numpy()[moved]
    return np.bincount(flat.astype(int), minlength=states**2).reshape(states, states).astype(np.float64)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Transitions()
