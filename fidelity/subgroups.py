"""Subgroups: are the patients of each declared group right, or only the average over all?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fidelity.verdict import Views, judged
from fidelity.view import View, once
from synthgen.conformance import SMALL_CELL
from synthgen.findings import Evidence, Finding
from synthgen.values import to_scale

if TYPE_CHECKING:
    from synthgen.dictionary import Dictionary

Floats = NDArray[np.float64]


class Subgroups:
    """For each group of the dictionary's `subgroups`, one line for information, `profile`: how far the group's means at the
    first visit and its share of each end of follow-up are off, in real standard deviations, mean over columns. `worst` carries
    the verdict: the profile of the worst group that has at least 11 training, holdout and synthetic patients. 0 is the same."""

    name = "subgroups"
    section: Literal["fidelity"] = "fidelity"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        views = Views.of(evidence)
        groups = names(evidence.dictionary)
        large = [g for g in groups if min(_sizes(views, g)) >= SMALL_CELL]
        found = [
            Finding(
                self.name,
                "profile",
                0.0,
                "inconclusive",
                f"Too few patients to tell whether {group} is right ({SMALL_CELL} real and synthetic ones are needed).",
                better="lower",
                column=group,
            )
            for group in groups
            if group not in large
        ]
        alone = replace(views, prior=None)  # one measure of what patients added is enough: that of `worst`
        for group in large:
            text = f"How far patients with {group} are off at the first visit and in how follow-up ends"
            one = judged(self.name, "profile", text, partial(profile, group), alone, "lower", column=group)
            found += [replace(f, verdict="information", n=_sizes(views, group)[2]) for f in one]
        if large:
            text = f"How far the worst of {len(large)} declared groups is off"
            found += judged(self.name, "worst", text, partial(worst, tuple(large)), views, "lower")
        return found


def names(dictionary: Dictionary) -> list[str]:
    """`sex = f`, `age < 50`, `50 <= age`: the groups that are declared."""
    found = []
    for column, cuts in dictionary.subgroups.items():
        found += [f"{column} = {word}" for word in dictionary.static[column].categories or ()]
        if cuts:
            found += [
                f"{column} < {cuts[0]:g}",
                *(f"{a:g} <= {column} < {b:g}" for a, b in pairwise(cuts)),
            ]
            found += [f"{cuts[-1]:g} <= {column}"]
    return found


@once
def members(view: View) -> dict[str, NDArray[np.bool_]]:
    """Group -> [patients] who belongs to it; who has no value belongs to none."""
    masks: list[NDArray[np.bool_]] = []
    for column, cuts in view.dictionary.subgroups.items():
        values = view.patients[column].to_numpy(dtype=np.float64)
        place = np.digitize(values, cuts) if cuts else values
        groups = len(cuts) + 1 if cuts else len(view.dictionary.static[column].categories or ())
        masks += [(place == i) & ~np.isnan(values) for i in range(groups)]
    return dict(zip(names(view.dictionary), masks, strict=True))


def profile(group: str, real: View, other: View) -> float:
    """0 is the same. NaN where one side has nobody in the group."""
    ours, theirs = means(real, group), means(other, group)
    both = ~np.isnan(ours) & ~np.isnan(theirs)
    return float((np.abs(ours - theirs) / _spread(real))[both].mean()) if both.any() else float("nan")


def worst(groups: tuple[str, ...], real: View, other: View) -> float:
    """The profile of the group that is furthest off."""
    found = [profile(group, real, other) for group in groups]
    return float(np.nanmax(found)) if np.isfinite(found).any() else float("nan")


@once
def means(view: View, group: str) -> Floats:
    """[columns] means in a group at the first visit, NaN where nobody has a value."""
    values = _values(view)[members(view)[group]]
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


@once
def _values(view: View) -> Floats:
    """[patients, columns] numbers on their declared scale, ordinals by place, other categories as one column a word; the column
    that makes the groups is right by definition, and costs nothing."""
    rows = view.ordered(view.baseline)
    columns = [
        to_scale(view.columns[n], rows[n].to_numpy(dtype=np.float64))
        if n in view.columns and view.columns[n].numeric
        else rows[n].to_numpy(dtype=np.float64)
        for n in rows
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))


@once
def _spread(view: View) -> Floats:
    found = np.nanstd(_values(view), axis=0)
    return np.where(found > 1e-9, found, 1.0)


def _sizes(views: Views, group: str) -> tuple[int, int, int]:
    """Training, holdout and synthetic patients in a group."""
    train, holdout, synthetic = (int(members(v)[group].sum()) for v in (views.train, views.holdout, views.synthetic))
    return train, holdout, synthetic


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = Subgroups()
