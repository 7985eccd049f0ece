"""Made-up patients for the one-run audit (Steinke, Nasr & Jagielski 2023): each takes part in a rehearsal by a coin of its own.

A canary is a whole patient: a record pushed to the ends of its ranges, a picture unlike any other, findings of many diseases,
and a note whose last words nobody would write (an in-distribution beginning and an improbable end, as in Meeus et al. 2025).
What it adds to a model is looked for in every modality, and in all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Column, Dictionary

Floats = NDArray[np.float64]
BLOCKS = 4
"""A canary's picture is a chequerboard of so many squares a side, each black or white by a coin."""
WORDS = 12
"""Words at the end of a canary's note."""
TERMS = 20
"""Findings of a canary."""


def with_canaries(train: Cohort, dictionary: Dictionary, canaries: int, rng: np.random.Generator) -> Cohort:
    """The training patients and, after them, the canaries, with every table that the training patients have."""
    from synthgen.cohort import concatenate

    made = _made_up(dictionary, canaries, rng)
    tables: dict[str, Any] = {name: table for name, table in made.tables.items() if name in train.tables}
    if made.visits is not None and train.visits is not None:
        tables["visits"] = _pushed(made.visits, dictionary, made.ids, rng)
    if train.images is not None:
        tables["images"] = _pictures(made, dictionary, rng)
    if train.notes is not None:
        tables["notes"] = _notes(made, dictionary, rng)
    if train.phenotypes is not None:
        tables["phenotypes"] = _findings(made, train.phenotypes, dictionary, rng)
    return concatenate([train, replace(made, **tables)])


def _made_up(dictionary: Dictionary, canaries: int, rng: np.random.Generator) -> Cohort:
    """Simulated patients under ids that no other patient has, in the part of real ones."""
    from synthgen.simulation import simulate

    made = simulate(dictionary, canaries, rng)
    tables: dict[str, Any] = {n: t.assign(patient_id="CANARY-" + t["patient_id"]) for n, t in made.tables.items()}
    return replace(made, origin="real", **tables)


def together(scores: Mapping[str, Floats]) -> Floats:
    """[canaries] one score for all modalities: the sum of each modality's, in units of its spread (median absolute deviation)."""
    total: Floats = np.zeros(len(next(iter(scores.values()))))
    for values in scores.values():
        centred = values - np.median(values)
        total = total + centred / max(1e-12, float(np.median(np.abs(centred))))
    return total


def _pushed(visits: pd.DataFrame, dictionary: Dictionary, ids: pd.Index[Any], rng: np.random.Generator) -> pd.DataFrame:
    """Every number half way to the end of its range that a coin of the patient's chose."""
    import pandas as pd

    from synthgen.values import from_scale, scale_bounds, to_scale

    where = ids.get_indexer(pd.Index(visits["patient_id"]))
    pushed = visits.copy()
    for name, column in dictionary.measurements.items():
        if column.type == "continuous":
            ends = np.array(scale_bounds(column))[rng.integers(2, size=len(ids))][where]
            values = to_scale(column, visits[name].to_numpy(dtype=np.float64))
            pushed[name] = from_scale(column, (values + ends) / 2)
    return pushed


def _pictures(made: Cohort, dictionary: Dictionary, rng: np.random.Generator) -> pd.DataFrame:
    """One picture a canary, on the first day."""
    columns = dictionary.tables["images"].columns
    values: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        if column.type == "image":
            values[name] = np.empty(len(made), dtype=object)
            values[name][:] = [_chequered(column, rng) for _ in range(len(made))]
    return rows_of(made, columns, values, rng)


def _chequered(column: Column, rng: np.random.Generator) -> NDArray[np.uint8]:
    assert column.size is not None
    squares = rng.integers(0, 2, (BLOCKS, BLOCKS, column.channels), dtype=np.uint8) * 255
    side = -(-column.size // BLOCKS)
    grown = squares.repeat(side, axis=0).repeat(side, axis=1)[: column.size, : column.size]
    return grown[:, :, 0] if column.channels == 1 else grown


def beginnings(
    dictionary: Dictionary, canaries: int, rng: np.random.Generator
) -> tuple[Cohort, list[tuple[str, ...]], list[str]]:
    """Made-up patients, the first words of a rendered note of each (no two alike), and the words of all of their notes."""
    from synthgen.notes.rendering import render

    made = _made_up(dictionary, canaries, rng)
    notes = render(made, dictionary, rng, "public")["text"].tolist() or ["Seen today."]
    firsts = [tuple(f"{notes[k % len(notes)].splitlines()[0]} ({k + 1})".split()) for k in range(canaries)]
    return made, firsts, sorted({word for note in notes for word in note.split()})


def _notes(made: Cohort, dictionary: Dictionary, rng: np.random.Generator) -> pd.DataFrame:
    """One note a canary, on the first day: a rendered beginning, then words in an order that says nothing."""
    columns = dictionary.tables["notes"].columns
    text = next(name for name, column in columns.items() if column.type == "text")
    _, firsts, words = beginnings(dictionary, len(made), rng)
    notes = np.empty(len(made), dtype=object)
    notes[:] = [f"{' '.join(first)} {' '.join(rng.choice(words, WORDS))}." for first in firsts]
    return rows_of(made, columns, {text: notes}, rng)


def _findings(made: Cohort, seen: pd.DataFrame, dictionary: Dictionary, rng: np.random.Generator) -> pd.DataFrame:
    """`TERMS` terms a canary, of all that stand in the cohort, each observed or excluded by a coin: findings of many diseases."""
    from synthgen.values import table

    columns = dictionary.tables["phenotypes"].columns
    known = np.unique(seen["term"].dropna().to_numpy(dtype=object).astype(str)).astype(object)
    count = min(TERMS, len(known))
    terms = [rng.choice(known, count, replace=False) for _ in range(len(made))]
    values: dict[str, NDArray[Any]] = {
        "patient_id": made.ids.to_numpy().repeat(count),
        "term": np.concatenate([*terms, known[:0]]),
        "status": rng.integers(0, len(columns["status"].categories or ()), len(made) * count),
    }
    return table(columns, values, len(made) * count)


def rows_of(
    made: Cohort, columns: Mapping[str, Column], values: dict[str, NDArray[Any]], rng: np.random.Generator
) -> pd.DataFrame:
    """One row a canary: its id, day 0, any category, and the given content."""
    from synthgen.values import table

    for name, column in columns.items():
        if column.type == "id":
            values[name] = made.ids.to_numpy()
        elif column.discrete:
            values[name] = rng.integers(0, len(column.categories or ()), len(made))
        elif column.numeric:
            values[name] = np.zeros(len(made))
    return table(columns, values, len(made))
