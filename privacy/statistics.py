"""Counts, moments and quantiles over public bounds: noisy sums with their clip norms worked out.

Each takes a function from records to a patient's values, so that what is asked stands in the generator that asks it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privacy.gradients import Records
from privacy.session import Session

Values = Callable[[Records], Tensor]
"""Records -> [patients, columns]; NaN where a patient has none."""


def counts(session: Session, codes: Values, sizes: list[int], charge: str) -> list[NDArray[np.float64]]:
    """Noisy number of patients in each category of each column.

    Args:
        codes: [patients, columns] category numbers as floats, NaN for none.
        sizes: how many categories each column has; public.

    Returns:
        one [categories] array a column. A patient adds at most 1 to one category of each column, so the clip norm is
        sqrt(columns).
    """

    def one_hot(records: Records) -> Tensor:
        code = codes(records)
        return torch.cat([(code[:, j, None] == torch.arange(k)).double() for j, k in enumerate(sizes)], dim=1)

    noisy = session.sum(one_hot, math.sqrt(len(sizes)), charge).numpy()
    return np.split(noisy, np.cumsum(sizes)[:-1])


@dataclass(frozen=True)
class Moments:
    """Noisy moments of each column, in the column's own units. All arrays are [columns]."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def moments(
    session: Session, values: Values, low: NDArray[np.float64], high: NDArray[np.float64], charge: str
) -> Moments:
    """Noisy mean and standard deviation of each column, between public bounds.

    With u in [-1, 1] the value scaled to its bounds, a patient's vector is (present, u, u^2) of each column: its norm is at
    most sqrt(3 columns). Noise can make a variance negative: it is held between 0 and what the bounds allow.
    """
    middle, half = (low + high) / 2, (high - low) / 2

    def vector(records: Records) -> Tensor:
        u = ((values(records).double() - torch.from_numpy(middle)) / torch.from_numpy(half)).clamp(-1, 1)
        present = ~torch.isnan(u)
        u = torch.nan_to_num(u, nan=0.0)
        return torch.cat([present.double(), u, u**2], dim=1)  # [patients, 3 * columns]

    columns = len(low)
    present, first, second = session.sum(vector, math.sqrt(3 * columns), charge).numpy().reshape(3, columns)
    count = np.clip(present, 1.0, session.declared_patients)
    mean = np.clip(first / count, -1, 1)
    variance = np.clip(second / count - mean**2, 0, 1 - mean**2)
    return Moments(count, middle + half * mean, half * np.sqrt(variance))


def quantiles(
    histogram: NDArray[np.float64], edges: NDArray[np.float64], levels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles from a noisy histogram over public bins: negative counts are zero, values spread evenly within a bin.

    Args:
        histogram: [bins]; edges: [bins + 1]; levels: [k] in [0, 1]. An empty histogram is taken as uniform.
    """
    mass = np.clip(histogram, 0, None)
    mass = mass / mass.sum() if mass.sum() > 0 else np.full(len(mass), 1 / len(mass))
    steps: NDArray[np.float64] = np.interp(levels, np.concatenate([[0.0], np.cumsum(mass)]), edges)
    return steps
