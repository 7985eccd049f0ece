"""The floor of every measure: the same patients with their columns torn apart.

What independent columns score, anything can score; a synthetic cohort that is no better has kept no relation between columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary


def independent(cohort: Cohort, dictionary: Dictionary, rng: np.random.Generator) -> Cohort:
    """Every column of `patients` permuted on its own, every measured column of the other tables permuted on its own over all
    rows; who has how many rows, and on which days, stays (a floor without visits would measure nothing)."""
    keys = {"patient_id", "day"}
    torn: dict[str, Any] = {
        name: _torn(frame, [c for c in dictionary.tables[name].columns if c not in keys and c in frame], rng)
        for name, frame in cohort.tables.items()
    }
    return replace(cohort, **torn)


def _torn(frame: pd.DataFrame, columns: list[str], rng: np.random.Generator) -> pd.DataFrame:
    permuted = {c: frame[c].iloc[rng.permutation(len(frame))].reset_index(drop=True) for c in columns}
    return frame.reset_index(drop=True).assign(**permuted)
