"""Plain arrays <-> typed columns: the column's own scale, its public bounds, its categories.

Whoever makes patients (a simulation, a generator) makes arrays; here they become columns that keep to the dictionary by
construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synthgen.dictionary import Column

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def to_scale(column: Column, values: Floats) -> Floats:
    """Values -> the column's own scale (natural log where declared). NaN stays NaN; the rest lies within the bounds."""
    assert column.bounds is not None
    inside = np.clip(values, *column.bounds)
    return np.log(inside) if column.scale == "log" else inside


def scale_bounds(column: Column) -> tuple[float, float]:
    """The public bounds on the column's own scale."""
    assert column.bounds is not None
    low, high = to_scale(column, np.array(column.bounds, dtype=np.float64))
    return float(low), float(high)


def from_scale(column: Column, scaled: Floats) -> Floats:
    """The column's own scale -> values: folded at the bounds (no heap of values on a bound), then rounded as declared."""
    low, high = scale_bounds(column)
    values = fold(scaled, low, high)
    if column.scale == "log":
        values = np.exp(values)
    decimals = 0 if column.type == "integer" else column.decimals
    if decimals is not None:
        values = np.round(values, decimals)
    assert column.bounds is not None
    low, high = column.bounds
    if column.type == "integer":
        low, high = np.ceil(low), np.floor(high)
    return np.clip(values, low, high)


def fold(values: Floats, low: float, high: float) -> Floats:
    """Reflects values at both bounds until they lie between them."""
    width = high - low
    offset = np.mod(values - low, 2 * width)
    return low + np.minimum(offset, 2 * width - offset)


def codes(column: Column, series: pd.Series[Any]) -> NDArray[np.int64]:
    """Category numbers in the dictionary's order, -1 where missing."""
    return np.asarray(series.cat.set_categories(list(column.categories or ())).cat.codes, dtype=np.int64)


def typed(column: Column, values: NDArray[Any]) -> pd.Series[Any]:
    """One column as `Cohort` holds it, from numbers (NaN missing), category numbers (-1 missing) or words."""
    import pandas as pd

    if column.type == "integer":
        return pd.Series(values, dtype="float64").round().astype("Int64")
    if column.type == "continuous":
        return pd.Series(values, dtype="float64")
    if column.discrete:
        kind = pd.CategoricalDtype(list(column.categories or ()), ordered=column.type == "ordinal")
        return pd.Series(pd.Categorical.from_codes(np.asarray(values, dtype=np.int64).tolist(), dtype=kind))
    return pd.Series(values, dtype=object)


def table(columns: Mapping[str, Column], values: Mapping[str, NDArray[Any]], rows: int) -> pd.DataFrame:
    """A table in the dictionary's order of columns; a column without values (free text, a file) is empty."""
    import pandas as pd

    empty = np.full(rows, None, dtype=object)
    return pd.DataFrame({name: typed(column, values.get(name, empty)) for name, column in columns.items()})
