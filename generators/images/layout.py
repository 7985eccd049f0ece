"""Which pictures are learnt and what they depend on, from the dictionary alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthgen.dictionary import Column, Dictionary
from synthgen.errors import ConfigError
from synthgen.values import codes, scale_bounds, to_scale

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
TABLE = "images"
SIDES = (28, 256)


class Layout:
    """The image column and the condition columns of a dictionary.

    Args:
        condition: names of columns of `images` or `patients`; None takes every category and number of both.

    Raises:
        ConfigError: when there is no image to learn, or a condition names no such column.
    """

    def __init__(self, dictionary: Dictionary, condition: tuple[str, ...] | None = None) -> None:
        if TABLE not in dictionary.tables:
            raise ConfigError(
                "generators.images: the dictionary declares no table images; add it with a column of type: image"
            )
        columns = dictionary.tables[TABLE].columns
        pictures = [name for name, column in columns.items() if column.type == "image"]
        if len(pictures) != 1:
            raise ConfigError(
                f"generators.images: needs one column of type: image in images; there are {len(pictures)}"
            )
        self.picture = pictures[0]
        self.side, self.channels = int(columns[self.picture].size or 0), int(columns[self.picture].channels)
        if not SIDES[0] <= self.side <= SIDES[1]:
            raise ConfigError(f"images.{self.picture}: size needs to be {SIDES[0]} to {SIDES[1]} for this generator")
        of_image = {n: c for n, c in columns.items() if (c.numeric or c.discrete) and n != "day"}
        known = {n: (TABLE, c) for n, c in of_image.items()}
        known |= {n: ("patients", c) for n, c in dictionary.static.items() if n not in known}
        names = tuple(known) if condition is None else condition
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(
                f"generators.images.condition: {unknown[0]} is no category or number of images or patients; there are "
                f"{', '.join(known) or 'none'}"
            )
        self.condition: dict[str, tuple[str, Column]] = {name: known[name] for name in names}

    @property
    def width(self) -> int:
        """Numbers of a condition vector: 1 (told at all), then each column's."""
        return 1 + sum(_width(column) for _, column in self.condition.values())

    @property
    def longest(self) -> float:
        """Norm of the longest condition vector there can be, without its first number."""
        return float(np.sqrt(sum(1 if column.discrete else 2 for _, column in self.condition.values())))

    def conditions(self, rows: pd.DataFrame, patients: pd.DataFrame) -> Floats:
        """[rows, width] of rows of `images`: categories one-hot, numbers from -1 to 1 over their public bounds and a 1 where
        known; what is missing is zero."""
        owner = patients.set_index("patient_id").reindex(rows["patient_id"]).reset_index()
        parts = [np.ones((len(rows), 1))]
        for name, (table, column) in self.condition.items():
            parts.append(_numbers(column, (rows if table == TABLE else owner)[name]))
        return np.concatenate(parts, axis=1)

    def any_conditions(self, count: int, stream: torch.Generator) -> Tensor:
        """[count, width] conditions drawn evenly over the categories and public bounds: every one is to be learnt."""
        parts = [torch.ones(count, 1)]
        for _, column in self.condition.values():
            if column.discrete:
                drawn = torch.randint(0, _width(column), (count,), generator=stream)
                parts.append(torch.nn.functional.one_hot(drawn, _width(column)).float())
            else:
                share = 2 * torch.rand(count, 1, generator=stream) - 1
                parts.append(torch.cat([share, torch.ones(count, 1)], dim=1))
        return torch.cat(parts, dim=1)

    def each_category(self) -> dict[str, tuple[slice, Tensor]]:
        """Category of the first discrete condition -> its place in a condition vector, and the numbers that stand there."""
        start = 1
        for _, column in self.condition.values():
            if column.discrete:
                place = slice(start, start + _width(column))
                return {word: (place, torch.eye(_width(column))[k]) for k, word in enumerate(column.categories or ())}
            start += _width(column)
        return {}


def _width(column: Column) -> int:
    return len(column.categories or ()) if column.discrete else 2


def _numbers(column: Column, series: pd.Series[Any]) -> Floats:
    if column.discrete:
        found = codes(column, series.reset_index(drop=True))
        return np.asarray(found[:, None] == np.arange(_width(column)), dtype=np.float64)
    low, high = scale_bounds(column)
    share = (to_scale(column, series.to_numpy(dtype=np.float64, na_value=np.nan)) - low) / (high - low)
    return np.stack([np.nan_to_num(2 * share - 1), (~np.isnan(share)).astype(np.float64)], axis=1)
