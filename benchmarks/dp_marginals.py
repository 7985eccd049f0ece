"""The floor under privacy: every column's histogram by the Gaussian mechanism, columns drawn independently of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privacy.accounting import calibrate
from privacy.budget import Budget
from privacy.charges import Charge
from privacy.noise import Noise
from privacy.session import Session
from synthgen.cohort import Cohort
from synthgen.dictionary import Column, Dictionary
from synthgen.values import codes, from_scale, scale_bounds, table, to_scale

Floats = NDArray[np.float64]
BINS = 16
"""Of a number's public bounds, on its scale; of the days between visits, on the log scale."""
MOST = 32
"""Visits of a patient that are counted."""


def dp_marginals(
    train: Cohort, dictionary: Dictionary, budget: Budget, declared: int, patients: int, noise: Noise, seed: int
) -> Cohort:
    """One noisy sum of all histograms (each patient's visits share a weight of 1), and a cohort drawn from them."""
    sizes = _sizes(dictionary)
    vectors = _vectors(train, dictionary, sizes)  # [patients, numbers], norm at most sqrt(columns)
    charges = calibrate([Charge("histograms", 1.0)], budget)
    session = Session({"shares": torch.from_numpy(vectors)}, charges, declared, noise)
    mean = session.mean(lambda rows: rows["shares"], float(np.sqrt(len(sizes))), "histograms").numpy()
    found = {}
    for name, part in zip(sizes, np.split(mean, np.cumsum(list(sizes.values()))[:-1]), strict=True):
        share = np.clip(part, 0, None)
        found[name] = share / share.sum() if share.sum() > 0 else np.full(len(part), 1 / len(part))
    return _drawn(found, dictionary, patients, np.random.default_rng(seed))


def _columns(dictionary: Dictionary) -> dict[tuple[str, str], Column]:
    """Everything that has a histogram; the last bin of each is `missing`."""
    patients = {("patients", n): c for n, c in dictionary.tables["patients"].columns.items() if c.numeric or c.discrete}
    return patients | {("visits", n): c for n, c in dictionary.measurements.items()}


def _sizes(dictionary: Dictionary) -> dict[tuple[str, str], int]:
    sizes = {k: (BINS if c.numeric else len(c.categories or ())) + 1 for k, c in _columns(dictionary).items()}
    return sizes | {("visits", "count"): MOST, ("visits", "gap"): BINS}


def _vectors(cohort: Cohort, dictionary: Dictionary, sizes: dict[tuple[str, str], int]) -> Floats:
    assert cohort.visits is not None
    ids = list(cohort.ids)
    owner = cohort.visits["patient_id"].map({p: i for i, p in enumerate(ids)}).to_numpy()
    count = np.bincount(owner, minlength=len(ids))
    parts = []
    for (place, name), column in _columns(dictionary).items():
        rows = np.arange(len(ids)) if place == "patients" else owner
        frame = cohort.patients if place == "patients" else cohort.visits
        parts.append(_shares(rows, _bins(column, frame[name]), sizes[place, name], len(ids)))
    parts.append(np.eye(MOST)[np.clip(count, 1, MOST) - 1])
    gap = cohort.visits.groupby("patient_id", sort=False)["day"].diff().to_numpy(dtype=np.float64)
    later = ~np.isnan(gap)
    parts.append(_shares(owner[later], _place(np.log(gap[later]), *_gap_bounds(dictionary)), BINS, len(ids)))
    return np.concatenate(parts, axis=1)


def _shares(rows: NDArray[Any], bins: NDArray[Any], size: int, patients: int) -> Floats:
    """[patients, size] share of each patient's rows in each bin."""
    out = np.zeros((patients, size))
    np.add.at(out, (rows, bins), 1.0)
    return np.asarray(out / np.maximum(out.sum(axis=1, keepdims=True), 1))


def _bins(column: Column, values: Any) -> NDArray[np.int64]:
    if column.discrete:
        code = codes(column, values)
        return np.where(code < 0, len(column.categories or ()), code)
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    scaled = np.where(np.isnan(numbers), scale_bounds(column)[0], to_scale(column, numbers))
    return np.where(np.isnan(numbers), BINS, _place(scaled, *scale_bounds(column)))


def _place(values: Floats, low: float, high: float) -> NDArray[np.int64]:
    return np.clip(np.floor((values - low) / (high - low) * BINS), 0, BINS - 1).astype(np.int64)


def _gap_bounds(dictionary: Dictionary) -> tuple[float, float]:
    bounds = dictionary.tables["visits"].columns["day"].bounds
    assert bounds is not None
    return 0.0, float(np.log(bounds[1]))


def _drawn(
    shares: dict[tuple[str, str], Floats], dictionary: Dictionary, patients: int, rng: np.random.Generator
) -> Cohort:
    ids = np.array([f"SYN-{i:06d}" for i in range(1, patients + 1)], dtype=object)
    count = rng.choice(MOST, patients, p=shares["visits", "count"]) + 1
    owner = np.repeat(np.arange(patients), count)
    low, high = _gap_bounds(dictionary)
    gap = np.exp(_within(rng.choice(BINS, len(owner), p=shares["visits", "gap"]), low, high, rng)).round().clip(1)
    total = np.cumsum(gap)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    limit = (dictionary.tables["visits"].columns["day"].bounds or (0, np.inf))[1]
    day = np.minimum(total - total[first][owner], limit)
    values: dict[str, dict[str, Any]] = {
        "patients": {"patient_id": ids},
        "visits": {"patient_id": ids[owner], "day": day},
    }
    for (place, name), column in _columns(dictionary).items():
        share = shares[place, name]
        if not column.missing:
            share = (
                share[:-1] / share[:-1].sum() if share[:-1].sum() > 0 else np.full(len(share) - 1, 1 / (len(share) - 1))
            )
        drawn = rng.choice(len(share), patients if place == "patients" else len(owner), p=share)
        missing = drawn == (BINS if column.numeric else len(column.categories or ()))
        if column.numeric:
            number = from_scale(column, _within(np.minimum(drawn, BINS - 1), *scale_bounds(column), rng))
            values[place][name] = np.where(missing, np.nan, number)
        else:
            values[place][name] = np.where(missing, -1, drawn)
    tables = {
        "patients": table(dictionary.tables["patients"].columns, values["patients"], patients),
        "visits": table(dictionary.tables["visits"].columns, values["visits"], len(owner)),
    }
    return Cohort(**tables, origin="synthetic")


def _within(bins: NDArray[Any], low: float, high: float, rng: np.random.Generator) -> Floats:
    return np.asarray(low + (bins + rng.random(len(bins))) / BINS * (high - low))
