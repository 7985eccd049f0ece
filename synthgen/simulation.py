"""Simulated patients from public knowledge alone (epsilon 0): what a generator may be pretrained on, and the home of test
cohorts. No row here was ever a person's; everything made of it is called simulated.

A patient is a hidden severity that drifts, a few hidden traits, and what follows from them: static columns, visits on a
schedule, labs with an own intercept, slope and fading deviations, signs by thresholds that are now and then carried forward, a
piecewise hazard that ends follow-up, a decline before such an end, and recurrent coded events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from synthgen.dictionary import Dictionary
from synthgen.population import (
    DAYS_PER_YEAR,
    FACTORS,
    Discrete,
    Missing,
    Numeric,
    Population,
    Rate,
    code_column,
    dose_column,
    draw,
    stop_column,
)
from synthgen.values import from_scale, table

if TYPE_CHECKING:
    from synthgen.cohort import Cohort

Floats = NDArray[np.float64]
GRID = 64
"""Steps of the piecewise hazards over the horizon."""


@dataclass(frozen=True)
class Hidden:
    """What is hidden in each patient."""

    severity: Floats  # [patients] at the first visit
    drift: Floats  # [patients] change of severity over the horizon
    traits: Floats  # [patients, FACTORS]
    event: Floats | None = None
    """[patients] years to the event that ends follow-up and that they decline before, else infinity."""

    def __len__(self) -> int:
        return len(self.severity)

    def at(self, share: Floats) -> Floats:
        """[patients, times] severity when `share` [patients, times] of the horizon has passed."""
        return self.severity[:, None] + self.drift[:, None] * share

    def approach(self, years: Floats, before: float) -> Floats:
        """[patients, times] 1 on the day of the event that they decline before, a third `before` years ahead of it."""
        if self.event is None:
            return np.zeros_like(years)
        return np.exp(-np.maximum(self.event[:, None] - years, 0.0) / before)


def simulate(dictionary: Dictionary, patients: int, rng: np.random.Generator, populations: int | None = None) -> Cohort:
    """Simulated patients.

    Args:
        patients: how many, in all populations together.
        populations: from how many populations, one after the other and of equal size (give or take one); None for one.

    Returns:
        a cohort with ids SIM-000001... and origin `synthetic`, as `Cohort` describes it.
    """
    from synthgen.cohort import Cohort, concatenate

    count = max(1, min(populations or 1, patients))
    sizes = [len(part) for part in np.array_split(np.arange(patients), count)]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    parts = [
        Cohort(**_tables(dictionary, draw(dictionary, rng), size, int(start), rng), origin="synthetic")
        for size, start in zip(sizes, starts, strict=True)
    ]
    return concatenate(parts)


def simulate_population(
    dictionary: Dictionary, population: Population, patients: int, rng: np.random.Generator
) -> Cohort:
    """Simulated patients of one population whose parameters are given."""
    from synthgen.cohort import Cohort

    return Cohort(**_tables(dictionary, population, patients, 0, rng), origin="synthetic")


def _tables(
    dictionary: Dictionary, population: Population, patients: int, start: int, rng: np.random.Generator
) -> dict[str, Any]:
    mean, spread = population.drift
    severity, pace = rng.normal(size=(2, patients))
    pace = population.hastening * severity + np.sqrt(1 - population.hastening**2) * pace
    hidden = Hidden(severity, mean + spread * pace, rng.normal(size=(patients, FACTORS)))
    ids = np.array([f"SIM-{i:06d}" for i in range(start + 1, start + patients + 1)], dtype=object)
    end, status = _end(dictionary, population, hidden, rng)
    hidden = replace(hidden, event=_event(dictionary, population, end, status))
    tables = {"patients": _patients(dictionary, population, hidden, ids, end, status, rng)}
    if "visits" in dictionary.tables:
        tables["visits"] = _visits(dictionary, population, hidden, ids, end, rng)
    if code_column(dictionary):
        tables["events"] = _events(dictionary, population, hidden, ids, end, rng)
    return tables


def _end(
    dictionary: Dictionary, population: Population, hidden: Hidden, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64]]:
    """Day on which follow-up ends, and the category of the outcome's status (0 without an outcome)."""
    end = np.maximum(1.0, np.round(rng.uniform(*population.visits.follow_up, len(hidden))))
    if dictionary.outcome is None:
        return end, np.zeros(len(hidden), dtype=np.int64)
    column = dictionary.tables["patients"].columns[dictionary.outcome.status]
    categories = list(column.categories or ())
    status = np.full(len(hidden), categories.index(dictionary.outcome.censored))
    for cause, rate in population.causes.items():
        day = np.maximum(1.0, np.round(_first_event(rate, hidden, population.horizon_years, rng) * DAYS_PER_YEAR))
        status = np.where(day <= end, categories.index(cause), status)
        end = np.minimum(end, day)
    limit = (dictionary.tables["patients"].columns[dictionary.outcome.time].bounds or (0.0, np.inf))[1]
    return np.minimum(end, np.floor(limit)), status


def _event(dictionary: Dictionary, population: Population, end: Floats, status: NDArray[np.int64]) -> Floats | None:
    """[patients] years to the event that ends follow-up, infinity where there is none that severity brings on."""
    if dictionary.outcome is None:
        return None
    categories = list(dictionary.tables["patients"].columns[dictionary.outcome.status].categories or ())
    brought_on = [categories.index(cause) for cause, rate in population.causes.items() if rate.severity > 0]
    return np.where(np.isin(status, brought_on), end / DAYS_PER_YEAR, np.inf)


def _cumulative(rate: Rate, hidden: Hidden, horizon: float, own: Floats) -> tuple[Floats, Floats]:
    """(edges [GRID + 1] in years, cumulative hazard [patients, GRID + 1])."""
    edges = np.linspace(0, horizon, GRID + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    share = middle / horizon
    baseline = rate.per_year * rate.shape * share ** (rate.shape - 1)
    own = own + hidden.traits @ np.array(rate.traits)
    log_ratio = np.clip(rate.severity * hidden.at(share[None]) + own[:, None], -4, 4)
    hazard = baseline * np.exp(log_ratio) * np.diff(edges)
    return edges, np.concatenate([np.zeros((len(hidden), 1)), np.cumsum(hazard, axis=1)], axis=1)


def _invert(edges: Floats, cumulative: Floats, wanted: Floats) -> Floats:
    """Time at which each patient's cumulative hazard reaches `wanted` [patients]; infinity where it never does."""
    step = np.minimum((cumulative <= wanted[:, None]).sum(axis=1), len(edges) - 1)
    rows = np.arange(len(wanted))
    low, high = cumulative[rows, step - 1], cumulative[rows, step]
    part = (wanted - low) / np.maximum(high - low, 1e-300)
    return np.where(wanted > cumulative[:, -1], np.inf, edges[step - 1] + part * (edges[step] - edges[step - 1]))


def _first_event(rate: Rate, hidden: Hidden, horizon: float, rng: np.random.Generator) -> Floats:
    """[patients] years to the first event."""
    edges, cumulative = _cumulative(rate, hidden, horizon, np.zeros(len(hidden)))
    return _invert(edges, cumulative, rng.exponential(size=len(hidden)))


def _patients(
    dictionary: Dictionary,
    population: Population,
    hidden: Hidden,
    ids: NDArray[Any],
    end: Floats,
    status: NDArray[np.int64],
    rng: np.random.Generator,
) -> Any:
    once = np.zeros((len(hidden), 1))
    values: dict[str, NDArray[Any]] = {"patient_id": ids}
    for name, column in dictionary.static.items():
        cells = _marginal(
            column, population.static[name], hidden, once, np.ones_like(once, dtype=bool), population, rng
        )
        values[name] = _blank(cells, population.missing.get(name), hidden, once, rng)[:, 0]
    if dictionary.outcome:
        values[dictionary.outcome.time], values[dictionary.outcome.status] = end, status
    return table(dictionary.tables["patients"].columns, values, len(hidden))


def _visits(
    dictionary: Dictionary,
    population: Population,
    hidden: Hidden,
    ids: NDArray[Any],
    end: Floats,
    rng: np.random.Generator,
) -> Any:
    limit = (dictionary.tables["visits"].columns["day"].bounds or (0.0, np.inf))[1]
    day, seen = _days(population, np.minimum(end, np.floor(limit)), rng)  # [patients, planned]
    years = day / DAYS_PER_YEAR
    shared = rng.normal(size=(*day.shape, FACTORS))
    rows = np.repeat(np.arange(len(hidden)), seen.sum(axis=1))
    values: dict[str, NDArray[Any]] = {"patient_id": ids[rows], "day": day[seen]}
    for name, column in dictionary.measurements.items():
        cells = _marginal(column, population.measured[name], hidden, years, seen, population, rng, shared)
        share = np.clip(years / population.horizon_years, 0, 1)
        values[name] = _blank(cells, population.missing.get(name), hidden, share, rng)[seen]
    return table(dictionary.tables["visits"].columns, values, len(rows))


def _days(population: Population, end: Floats, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """(days, which of them are visits), both [patients, planned]: planned, jittered, at least a day apart, some missed."""
    schedule = population.visits
    shape = (len(end), len(schedule.planned))
    wander = 0.3 * np.cumsum(rng.normal(0, schedule.jitter, shape), axis=1)
    day = np.round(schedule.planned + rng.normal(0, schedule.jitter, shape) + wander)
    day[:, 0] = 0
    for visit in range(1, shape[1]):
        day[:, visit] = np.maximum(day[:, visit], day[:, visit - 1] + 1)
    stopped = np.cumsum(rng.random(shape) < schedule.stop, axis=1) - (rng.random(shape) < schedule.stop) > 0
    seen = (rng.random(shape) >= schedule.missed) & (day <= end[:, None]) & ~stopped
    seen[:, 0] = True
    return day, np.asarray(seen, dtype=np.bool_)


def _marginal(
    column: Any,
    marginal: Numeric | Discrete,
    hidden: Hidden,
    years: Floats,
    seen: NDArray[np.bool_],
    population: Population,
    rng: np.random.Generator,
    shared: Floats | None = None,
) -> NDArray[Any]:
    """[patients, times] values, or category numbers, of one column."""
    if isinstance(marginal, Numeric):
        return from_scale(column, _moving(marginal, hidden, years, seen, population, rng, shared))
    number = _moving(marginal.number, hidden, years, seen, population, rng, shared)
    first = np.sqrt(marginal.number.between**2 + (0 if shared is None else marginal.number.within**2))
    thresholds = ndtri(np.clip(np.cumsum(marginal.frequencies)[:-1], 1e-6, 1 - 1e-6)) * first
    looked = np.searchsorted(thresholds, number)
    return looked if shared is None else _carried(looked, seen, marginal.carried, rng)


def _carried(looked: NDArray[Any], seen: NDArray[np.bool_], chance: float, rng: np.random.Generator) -> NDArray[Any]:
    """[patients, times] categories of which some repeat the one of the visit before."""
    out, repeats = looked.copy(), rng.random(looked.shape) < chance
    state = looked[:, 0]
    for visit in range(1, looked.shape[1]):
        out[:, visit] = np.where(repeats[:, visit], state, looked[:, visit])
        state = np.where(seen[:, visit], out[:, visit], state)
    return out


def _moving(
    m: Numeric,
    hidden: Hidden,
    years: Floats,
    seen: NDArray[np.bool_],
    population: Population,
    rng: np.random.Generator,
    shared: Floats | None,
) -> Floats:
    """[patients, times] centre + between + trend t + within, on the column's scale."""
    own = np.sqrt(max(1 - m.severity**2 - (m.traits**2).sum(), 0.0))
    between = m.severity * hidden.severity + hidden.traits @ m.traits + own * rng.normal(size=len(hidden))
    drift = (hidden.drift - population.drift[0]) / population.drift[1]
    slope = m.trend_severity * drift + np.sqrt(1 - m.trend_severity**2) * rng.normal(size=len(hidden))
    moving = m.centre + m.between * between[:, None] + (m.trend + m.trend_spread * slope)[:, None] * years
    if shared is None:
        return np.asarray(moving)
    decline, before = population.decline
    moving = moving + m.between * m.severity * decline * hidden.approach(years, before)
    own = np.sqrt(max(1 - (m.shared**2).sum(), 0.0))
    fresh = shared @ m.shared + own * rng.normal(size=years.shape)  # [patients, times]
    lasting = _fading(fresh, years, seen, m.memory_years)
    noise = np.sqrt(m.momentary) * rng.normal(size=years.shape) + np.sqrt(1 - m.momentary) * lasting
    volatility = np.exp(m.volatility * rng.normal(size=len(hidden)) - m.volatility**2)
    return np.asarray(moving + m.within * volatility[:, None] * noise)


def _fading(fresh: Floats, years: Floats, seen: NDArray[np.bool_], memory: float) -> Floats:
    """Ornstein-Uhlenbeck deviations of unit variance from fresh ones [patients, times]."""
    out = np.empty_like(fresh)
    state, when = fresh[:, 0], years[:, 0]
    for visit in range(fresh.shape[1]):
        keep = np.exp(-np.abs(years[:, visit] - when) / memory) if visit else np.zeros(len(fresh))
        moved = keep * state + np.sqrt(1 - keep**2) * fresh[:, visit]
        state = np.where(seen[:, visit], moved, state)
        when = np.where(seen[:, visit], years[:, visit], when)
        out[:, visit] = moved
    return out


def _blank(
    cells: NDArray[Any], missing: Missing | None, hidden: Hidden, share: Floats, rng: np.random.Generator
) -> NDArray[Any]:
    """The same cells with some not recorded: NaN for numbers, -1 for category numbers.

    Args:
        share: [patients, times] how much of the horizon has passed.
    """
    if missing is None:
        return cells
    patient = missing.patient * rng.normal(size=len(hidden))
    logit = missing.logit + patient[:, None] + missing.severity * hidden.at(share)
    logit = logit + missing.first * (share == 0) + missing.late * (share - 0.25)
    lost = rng.random(cells.shape) < expit(logit)
    return np.where(lost, np.nan if cells.dtype.kind == "f" else -1, cells)


def _events(
    dictionary: Dictionary,
    population: Population,
    hidden: Hidden,
    ids: NDArray[Any],
    end: Floats,
    rng: np.random.Generator,
) -> Any:
    columns = dictionary.tables["events"].columns
    limit = np.floor((columns["day"].bounds or (0.0, np.inf))[1])
    parts = [
        _recurrences(dictionary, code, rate, hidden, np.minimum(end, limit), population.horizon_years, rng)
        for code, rate in enumerate(population.codes.values())
    ]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    order = np.lexsort((joined["code"], joined["day"], joined["patient"]))
    joined = {key: value[order] for key, value in joined.items()}
    code = code_column(dictionary)
    values: dict[str, NDArray[Any]] = {
        "patient_id": ids[joined["patient"]],
        "day": joined["day"],
        str(code): joined["code"],
    }
    if stop := stop_column(dictionary):
        values[stop] = joined["stop"]
    if dose := dose_column(dictionary):
        values[dose] = from_scale(columns[dose], joined["dose"])
    for name, column in columns.items():
        if name not in values and column.discrete:  # a column that follows from the code, such as its kind
            kind = rng.integers(len(column.categories or ()), size=len(population.codes))
            values[name] = kind[joined["code"]]
        elif name not in values and column.numeric:
            low, high = column.bounds or (0.0, 1.0)
            values[name] = from_scale(column, rng.uniform(low, high, len(order)))
    return table(columns, values, len(order))


def _recurrences(
    dictionary: Dictionary,
    code: int,
    rate: Rate,
    hidden: Hidden,
    end: Floats,
    horizon: float,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Every occurrence of one code: patient, day, stop (NaN where it has none or goes on), dose on its scale."""
    own = rate.overdispersion * rng.normal(size=len(hidden))
    edges, cumulative = _cumulative(rate, hidden, horizon, own)
    total = np.array([np.interp(e / DAYS_PER_YEAR, edges, c) for e, c in zip(end, cumulative, strict=True)])
    counts = np.minimum(rng.poisson(np.minimum(total, 30.0)), 30)
    patient = np.repeat(np.arange(len(hidden)), counts)
    day = np.floor(_invert(edges, cumulative[patient], rng.random(len(patient)) * total[patient]) * DAYS_PER_YEAR)
    first = np.flatnonzero(rng.random(len(hidden)) < rate.prevalent)
    patient, day = np.concatenate([patient, first]), np.concatenate([day, np.zeros(len(first))])
    day = np.clip(day, 0, end[patient])
    stop = np.full(len(patient), np.nan)
    if rate.duration_years is not None:
        lasts = rate.duration_years * DAYS_PER_YEAR * np.exp(0.6 * rng.normal(size=len(patient)))
        stop = _stopped(dictionary, np.round(day + lasts), end[patient])
    elif not _ongoing_allowed(dictionary):
        stop = day.copy()
    dose = np.full(len(patient), np.nan if rate.dose is None else rate.dose)
    usual = rng.normal(size=len(hidden))[patient]
    dose = dose + rate.dose_spread * (0.8 * usual + 0.6 * rng.normal(size=len(patient)))
    if (name := dose_column(dictionary)) and not dictionary.tables["events"].columns[name].missing:
        dose = np.nan_to_num(dose, nan=float(np.mean(dictionary.tables["events"].columns[name].bounds or (0, 0))))
    return {"patient": patient, "code": np.full(len(patient), code), "day": day, "stop": stop, "dose": dose}


def _ongoing_allowed(dictionary: Dictionary) -> bool:
    stop = stop_column(dictionary)
    return stop is None or dictionary.tables["events"].columns[stop].missing


def _stopped(dictionary: Dictionary, stop: Floats, end: Floats) -> Floats:
    """The day of the stop; what outlasts follow-up has none, or ends with it where the column allows no gap."""
    late = np.nan if _ongoing_allowed(dictionary) else end
    return np.where(stop > end, late, stop)
