"""A simulated cohort with all three modalities: records from the dictionary, pictures that follow a stage, notes rendered from
the records. No linked rare-disease cohort can be shipped, so this one stands in; it is called simulated wherever it appears.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthgen.errors import ConfigError
from synthgen.notes.rendering import render
from synthgen.phantoms import phantom
from synthgen.simulation import simulate
from synthgen.values import codes, table

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

IMAGED, MORE_WITH_STAGE, AGAIN = 0.65, 0.3, 0.25
"""Share of patients of the first stage who have a picture, how much larger it is in the last, and share of those who have a
second one, at their last visit."""
VARIES = 0.06
"""Standard deviation of what a picture shows around its patient's stage, which runs from 0 to 1."""


def simulate_linked(dictionary: Dictionary, patients: int, rng: np.random.Generator) -> Cohort:
    """Simulated patients with every table of the dictionary, ids SIM-000001...

    Pictures follow the first ordinal column of `patients` (its categories in order are stages of one disease).

    Raises:
        ConfigError: for images in a dictionary without such a column, or a table that cannot be simulated.
    """
    cohort = simulate(dictionary, patients, rng)
    if "images" in dictionary.tables:
        cohort = replace(cohort, images=_images(cohort, dictionary, rng))
    if "notes" in dictionary.tables:
        cohort = replace(cohort, notes=render(cohort, dictionary, rng))
    if missing := [name for name in dictionary.tables if name not in cohort.tables]:
        raise ConfigError(
            f"{', '.join(missing)}: there is no simulation of this table yet; take it out of the dictionary"
        )
    return cohort


def _images(cohort: Cohort, dictionary: Dictionary, rng: np.random.Generator) -> pd.DataFrame:
    columns = dictionary.tables["images"].columns
    column = next(c for c in columns.values() if c.type == "image")
    stage = _stage(cohort, dictionary)
    first = np.flatnonzero(rng.random(len(cohort)) < IMAGED + MORE_WITH_STAGE * stage)
    owner = np.sort(np.concatenate([first, first[rng.random(len(first)) < AGAIN]]))
    shown = np.clip(stage[owner] + VARIES * rng.normal(size=len(owner)), 0, 1)
    values = {name: _values(c, cohort, owner, rng) for name, c in columns.items() if c.type != "image"}
    pictures = np.empty(len(owner), dtype=object)
    for row, share in enumerate(shown):
        pictures[row] = phantom(float(share), column.size or 0, rng, column.channels)
    return table(columns, values | {n: pictures for n, c in columns.items() if c.type == "image"}, len(owner))


def _stage(cohort: Cohort, dictionary: Dictionary) -> NDArray[np.float64]:
    """[patients] how far each one's disease is, 0 to 1."""
    columns = dictionary.tables["patients"].columns
    name = next((n for n, c in columns.items() if c.type == "ordinal"), None)
    if name is None:
        raise ConfigError(
            "images: simulated pictures follow an ordinal column of patients, such as a stage; declare one"
        )
    return np.maximum(codes(columns[name], cohort.patients[name]), 0) / (len(columns[name].categories or ()) - 1)


def _values(column: Column, cohort: Cohort, owner: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.generic]:
    """A column of the images table that is no picture: whose it is, when it was taken, any declared category."""
    if column.type == "id":
        return cohort.ids.to_numpy()[owner]
    if column.discrete:
        return rng.integers(0, len(column.categories or ()), len(owner))
    again = np.concatenate([[False], owner[1:] == owner[:-1]])
    if cohort.visits is None:
        return again.astype(np.float64)
    last = cohort.visits.groupby("patient_id")["day"].max().reindex(cohort.ids).to_numpy(dtype=np.float64)
    days: NDArray[np.float64] = np.where(again, last[owner], 0.0)
    return days
