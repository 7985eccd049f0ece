"""A cohort -> tensors, one row a patient, from that patient's rows and the dictionary alone.

| tensor | shape | what |
|---|---|---|
| static_x, static_c | [patients, columns] | numbers in public units (NaN missing), category numbers (-1 missing) |
| seen | [patients, visits] | 1 where there is a visit |
| time | [patients, visits] | days / horizon |
| gap | [patients, visits] | log time to the next visit; of the last visit, to the end of follow-up |
| more | [patients] | 1 where visits went beyond `max_visits` |
| x | [patients, visits, numeric] | numbers in public units, NaN missing |
| x_prev | same | index of the visit with the value before, -1 for none |
| ordered, nominal | [patients, visits, columns] | category numbers, -1 missing |
| ordered_prev, nominal_prev | same | the category number before, -1 for none |
| end, cause | [patients] | days / horizon; index in `Layout.causes` |
| event_code | [patients, events] | -1 for none |
| event_time, event_length, event_left | same | days / horizon; log time from start to stop, NaN where there is none; to the end |
| event_x, event_c | [patients, events, columns] | numbers in public units, category numbers |
| event_count | [patients, codes, bins] | events after day 0 by bin of time |
| event_undosed, event_kinds | [patients, codes, ...] | see `details` |
| event_first, event_total | [patients, codes] | 1 where there is one at day 0; how many in all |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from generators.ehr.layout import BINS, Layout, size
from synthgen.dictionary import Column
from synthgen.values import codes, scale_bounds, to_scale

if TYPE_CHECKING:
    from synthgen.cohort import Cohort

Records = dict[str, Tensor]


def to_unit(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values -> the column's scale, centred between its bounds, in eighths of their distance (public units)."""
    low, high = scale_bounds(column)
    return (to_scale(column, values) - (low + high) / 2) / ((high - low) / 8)


def from_unit(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The column's scale from public units; may lie outside the bounds (`from_scale` folds it in)."""
    low, high = scale_bounds(column)
    return (low + high) / 2 + values * (high - low) / 8


def to_log_days(days: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """Lengths of time in public units: log of twelfths of the horizon, no shorter than half a day."""
    return np.log(np.maximum(np.nan_to_num(days), 0.5) * 12 / layout.horizon)


def from_log_days(values: Tensor, layout: Layout) -> Tensor:
    """Whole days."""
    return torch.round(values.double().clamp(-20, 5).exp() * layout.horizon / 12).float()


def encode(cohort: Cohort, layout: Layout) -> Records:
    """The tensors above, float32 and int64."""
    patients = cohort.patients
    arrays: dict[str, NDArray[Any]] = {
        "static_x": _stack([_unit(c, patients[n]) for n, c in layout.static_numeric.items()], (len(patients),), float),
        "static_c": _stack([codes(c, patients[n]) for n, c in layout.static_discrete.items()], (len(patients),), int),
    }
    visit_days = _padded_days(cohort, "visits", layout.max_visits)
    event_days = _padded_days(cohort, "events", layout.max_events)
    end, cause = _end(cohort, layout, visit_days, event_days)
    arrays |= {"end": end / layout.horizon, "cause": cause}
    arrays |= _visits(cohort, layout, visit_days, end)
    if layout.code:
        arrays |= _events(cohort, layout, event_days, end)
    return {
        name: torch.from_numpy(np.ascontiguousarray(a)).to(torch.int64 if a.dtype.kind == "i" else torch.float32)
        for name, a in arrays.items()
    }


def _stack(columns: list[NDArray[Any]], shape: tuple[int, ...], kind: type) -> NDArray[Any]:
    """[*shape, columns], also when there is no column."""
    return np.stack(columns, axis=-1) if columns else np.zeros((*shape, 0), dtype=kind)


def _unit(column: Column, series: pd.Series[Any]) -> NDArray[np.float64]:
    return to_unit(column, series.to_numpy(dtype=np.float64, na_value=np.nan))


def _place(cohort: Cohort, name: str, width: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(which rows are kept, patient of each kept row, position among that patient's rows)."""
    frame = cohort.tables[name]
    patient = cohort.ids.get_indexer(pd.Index(frame["patient_id"]))
    position = frame.groupby(patient, sort=False).cumcount().to_numpy()
    keep = position < width
    return keep, patient[keep], position[keep]


def _padded(cohort: Cohort, name: str, width: int, values: NDArray[Any], empty: float) -> NDArray[Any]:
    """[patients, width] one value a row of a longitudinal table."""
    keep, patient, position = _place(cohort, name, width)
    out = np.full((len(cohort), width), empty, dtype=values.dtype)
    out[patient, position] = values[keep]
    return out


def _padded_days(cohort: Cohort, name: str, width: int) -> NDArray[np.float64]:
    if name not in cohort.tables:
        return np.full((len(cohort), width), np.nan)
    days = cohort.tables[name]["day"].to_numpy(dtype=np.float64, na_value=np.nan)
    return _padded(cohort, name, width, days, np.nan)


def _end(
    cohort: Cohort, layout: Layout, visit_days: NDArray[np.float64], event_days: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(end of follow-up in days, cause): the outcome's, else the last day on which anything was recorded."""
    outcome = layout.dictionary.outcome
    if outcome is None:
        seen = np.concatenate([visit_days, event_days, np.zeros((len(cohort), 1))], axis=1)
        return np.nanmax(seen, axis=1), np.zeros(len(cohort), dtype=np.int64)
    column = layout.dictionary.tables["patients"].columns[outcome.status]
    place = {
        c: layout.causes.index(c) if c in layout.causes else len(layout.causes) - 1 for c in column.categories or ()
    }
    index = np.array([place[c] for c in column.categories or ()])
    end = cohort.patients[outcome.time].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.nan_to_num(end), index[codes(column, cohort.patients[outcome.status])]


def _visits(
    cohort: Cohort, layout: Layout, day: NDArray[np.float64], end: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    seen = ~np.isnan(day)
    shape = day.shape
    following = np.concatenate([day[:, 1:], np.full((len(day), 1), np.nan)], axis=1)
    last = seen & np.isnan(following)
    gap = np.where(last, end[:, None] - day, following - day)
    arrays: dict[str, NDArray[Any]] = {
        "seen": seen.astype(float),
        "time": np.nan_to_num(day) / layout.horizon,
        "gap": to_log_days(gap, layout),
        "more": np.zeros(len(day)),
        "x": np.zeros((*shape, 0)), "ordered": np.zeros((*shape, 0), int), "nominal": np.zeros((*shape, 0), int),
    }  # fmt: skip
    if layout.has_visits:
        frame = cohort.tables["visits"]
        width = layout.max_visits
        total = np.bincount(cohort.ids.get_indexer(pd.Index(frame["patient_id"])), minlength=len(cohort))
        arrays["more"] = (total > width).astype(float)
        numbers = [_padded(cohort, "visits", width, _unit(c, frame[n]), np.nan) for n, c in layout.numeric.items()]
        arrays["x"] = _stack(numbers, shape, float)
        for kind, columns in (("ordered", layout.ordered), ("nominal", layout.nominal)):
            cells = [_padded(cohort, "visits", width, codes(c, frame[n]), -1) for n, c in columns.items()]
            arrays[kind] = _stack(cells, shape, int)
    arrays["x_prev"] = _previous(~np.isnan(arrays["x"]))
    for kind in ("ordered", "nominal"):
        index = _previous(arrays[kind] >= 0)
        before = np.take_along_axis(arrays[kind], np.maximum(index, 0), axis=1)
        arrays[f"{kind}_prev"] = np.where(index < 0, -1, before)
    return arrays


def _previous(recorded: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[patients, visits, columns] index of the latest earlier visit at which the column was recorded, -1 for none."""
    visits = np.arange(recorded.shape[1])[None, :, None]
    latest = np.maximum.accumulate(np.where(recorded, visits, -1), axis=1)
    return np.concatenate([np.full_like(latest[:, :1], -1), latest[:, :-1]], axis=1)


def bin_of(time: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin of each time (days / horizon)."""
    return np.clip(np.floor(time * BINS), 0, BINS - 1).astype(np.int64)


def _events(
    cohort: Cohort, layout: Layout, day: NDArray[np.float64], end: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    frame = cohort.tables["events"]
    columns: Mapping[str, Column] = layout.dictionary.tables["events"].columns
    width = layout.max_events
    code = _padded(cohort, "events", width, codes(columns[str(layout.code)], frame[str(layout.code)]), -1)
    length = np.full(day.shape, np.nan)
    if layout.stop:
        stop = _padded(cohort, "events", width, frame[layout.stop].to_numpy(dtype=np.float64, na_value=np.nan), np.nan)
        length = np.where(np.isnan(stop), np.nan, to_log_days(stop - day, layout))
    numbers = [_padded(cohort, "events", width, _unit(c, frame[n]), np.nan) for n, c in layout.event_numeric.items()]
    kinds = [_padded(cohort, "events", width, codes(c, frame[n]), -1) for n, c in layout.event_discrete.items()]
    count = np.zeros((len(cohort), len(layout.codes), BINS))
    first = np.zeros((len(cohort), len(layout.codes)))
    patient, slot = np.nonzero(code >= 0)
    at, which = day[patient, slot], code[patient, slot]
    np.add.at(count, (patient[at > 0], which[at > 0], bin_of(at[at > 0] / layout.horizon)), 1.0)
    first[patient[at <= 0], which[at <= 0]] = 1.0
    return {
        "event_code": code,
        "event_time": np.nan_to_num(day) / layout.horizon,
        "event_left": to_log_days(end[:, None] - day, layout),
        "event_length": length,
        "event_x": _stack(numbers, day.shape, float),
        "event_c": _stack(kinds, day.shape, int),
        "event_count": count,
        "event_total": count.sum(axis=2) + first,
        "event_first": first,
    } | details(
        torch.from_numpy(patient), torch.from_numpy(which), torch.from_numpy(_stack(numbers, day.shape, float)[patient, slot]),
        torch.from_numpy(_stack(kinds, day.shape, int)[patient, slot]), len(cohort), layout,
    )  # fmt: skip


def details(patient: Tensor, code: Tensor, x: Tensor, c: Tensor, patients: int, layout: Layout) -> dict[str, Any]:
    """What a patient's events of each code are like, from flat events [events, ...]: `event_undosed` [patients, codes,
    numbers] share without each number (one half where there is no such event), `event_kinds` [patients, codes, categories]
    share in each further category (even where there is none)."""
    hot = [(c[:, j, None] == torch.arange(size(k))).double() for j, k in enumerate(layout.event_discrete.values())]
    even = [torch.full((size(k),), 1 / size(k)) for k in layout.event_discrete.values()]
    undosed = torch.isnan(x).double()
    place = patient * len(layout.codes) + code
    count = torch.zeros(patients * len(layout.codes), dtype=torch.float64).index_add_(
        0, place, torch.ones(len(place)).double()
    )
    out = {}
    for name, values, neutral in (
        ("event_undosed", undosed, torch.full((x.shape[1],), 0.5)),
        ("event_kinds", torch.cat([*hot, undosed[:, :0]], dim=1), torch.cat([*even, torch.zeros(0)])),
    ):
        total = torch.zeros(len(count), values.shape[1], dtype=torch.float64).index_add_(0, place, values)
        share = torch.where(count[:, None] > 0, total / count[:, None].clamp(min=1), neutral.double())
        out[name] = share.reshape(patients, len(layout.codes), values.shape[1]).float().numpy()
    return out
