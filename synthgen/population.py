"""What a population of patients may be like, from public knowledge alone (epsilon 0).

`draw` turns a dictionary into one population's parameters: what the dictionary states is jittered by a plausible
uncertainty, what it does not state is drawn from broad generic hyperpriors that look at bounds, scale, categories and
reference range only. Nothing here knows a disease. Spreads, trends and loadings are on the column's own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from synthgen.dictionary import Column, Dictionary, EventRate, Knowledge, Schedule
from synthgen.values import scale_bounds, to_scale

DAYS_PER_YEAR = 365.25
FACTORS = 3
"""Hidden traits beside severity that columns share, with loadings drawn anew for each population."""


@dataclass(frozen=True)
class Numeric:
    """A number that moves: centre + between (severity, shared traits, own) + trend t + within."""

    centre: float
    between: float
    within: float
    trend: float
    trend_spread: float
    severity: float
    traits: NDArray[np.float64]
    trend_severity: float
    shared: NDArray[np.float64]
    """Loadings of the deviations at one visit on what all columns share at that visit."""
    memory_years: float
    """How long a deviation lasts."""
    momentary: float
    """Share of the within variance that is gone at the next visit."""
    volatility: float
    """Standard deviation between patients of the log of `within`."""


@dataclass(frozen=True)
class Discrete:
    """A category: thresholds on a hidden number of unit variance at the first visit, which moves."""

    frequencies: NDArray[np.float64]
    number: Numeric
    carried: float = 0.0
    """Chance that a visit repeats the category of the visit before instead of looking anew."""


@dataclass(frozen=True)
class Missing:
    """Logit of the chance that a value is not recorded."""

    logit: float
    first: float
    """Added at the first visit."""
    patient: float
    """Standard deviation between patients."""
    severity: float
    """For one more of severity on that day."""
    late: float
    """Added from the first visit to the horizon, evenly over time: protocols change, and tests go out of use."""


@dataclass(frozen=True)
class Rate:
    """A hazard per year: of an event that ends follow-up, or of a recurrent code."""

    per_year: float
    severity: float
    shape: float
    """Weibull shape: above 1 the hazard rises."""
    traits: tuple[float, ...] = (0.0,) * FACTORS
    """Log hazard ratios of the hidden traits."""
    overdispersion: float = 0.0
    prevalent: float = 0.0
    """Share of patients who have the code at the first visit."""
    duration_years: float | None = None
    dose: float | None = None
    """On the dose column's scale."""
    dose_spread: float = 0.0


@dataclass(frozen=True)
class Visits:
    """When patients are seen, in days."""

    planned: NDArray[np.float64]
    jitter: float
    missed: float
    stop: float
    """Chance at each visit that the patient comes no more although follow-up goes on."""
    follow_up: tuple[float, float]


@dataclass(frozen=True)
class Population:
    static: dict[str, Numeric | Discrete]
    measured: dict[str, Numeric | Discrete]
    missing: dict[str, Missing]
    causes: dict[str, Rate]
    codes: dict[str, Rate]
    visits: Visits
    drift: tuple[float, float]
    """Mean and standard deviation of the change of severity over the horizon."""
    hastening: float
    """Correlation of that change with severity at the first visit."""
    decline: tuple[float, float]
    """Severity that is added on the day of an event that ends follow-up, and the years before it in which a third is there."""
    horizon_years: float


def horizon_days(dictionary: Dictionary) -> float:
    """The public length of follow-up: the schedule's, else the upper bound of the days."""
    if dictionary.knowledge.schedule:
        return dictionary.knowledge.schedule.follow_up[1]
    bounds = []
    if dictionary.outcome:
        bounds.append(dictionary.tables["patients"].columns[dictionary.outcome.time].bounds)
    bounds += [dictionary.tables[t].columns["day"].bounds for t in ("visits", "events") if t in dictionary.tables]
    return max([b[1] for b in bounds if b], default=3652.5)


def draw(dictionary: Dictionary, rng: np.random.Generator) -> Population:
    """One population's parameters. Raises nothing: every dictionary implies some population, if a vague one."""
    visits = _visits(dictionary, rng)
    horizon = visits.follow_up[1] / DAYS_PER_YEAR
    columns = dictionary.static | dictionary.measurements
    shared = {name: _marginal(column, horizon, rng) for name, column in columns.items()}
    return Population(
        static={name: shared[name] for name in dictionary.static},
        measured={name: shared[name] for name in dictionary.measurements},
        missing={name: _missing(column, rng) for name, column in columns.items() if column.missing},
        causes=_causes(dictionary, horizon, rng),
        codes=_codes(dictionary, horizon, rng),
        visits=visits,
        drift=(rng.normal(0.4, 0.4), 0.7 * np.exp(rng.normal(0, 0.5))),
        hastening=float(np.clip(rng.normal(0.2, 0.2), -0.3, 0.7)),
        decline=(abs(rng.normal(0, 0.9)), float(np.exp(rng.normal(0, 0.5)))),
        horizon_years=horizon,
    )


def _marginal(column: Column, horizon: float, rng: np.random.Generator) -> Numeric | Discrete:
    knowledge = column.knowledge or Knowledge(source="none")
    if column.numeric:
        return _number(knowledge, *_place(column, knowledge, rng), horizon, rng)
    categories = len(column.categories or ())
    if knowledge.frequencies:
        stated = np.array([knowledge.frequencies[c] for c in column.categories or ()]) + 0.005
        frequencies = rng.dirichlet(60 * stated / stated.sum())
    else:
        frequencies = rng.dirichlet(np.full(categories, 1.5))
    frequencies = 0.98 * frequencies + 0.02 / categories
    if knowledge.change_per_year is not None:
        knowledge = knowledge.model_copy(
            update={"change_per_year": _latent_trend(knowledge.change_per_year, frequencies), "change_spread": None}
        )
    return Discrete(frequencies, _number(knowledge, 0.0, 1.0, horizon, rng), carried=float(rng.beta(1.0, 1.5)))


def _latent_trend(steps_per_year: float, frequencies: NDArray[np.float64]) -> float:
    """Steps between categories per year -> change of the hidden number whose thresholds cut those frequencies."""
    thresholds = ndtri(np.clip(np.cumsum(frequencies)[:-1], 1e-3, 1 - 1e-3))
    density = np.exp(-(thresholds**2) / 2).sum() / np.sqrt(2 * np.pi)
    return float(np.clip(steps_per_year / density, -0.5, 0.5))


def _place(column: Column, knowledge: Knowledge, rng: np.random.Generator) -> tuple[float, float]:
    """(centre, standard deviation between patients) on the column's scale."""
    low, high = scale_bounds(column)
    width = high - low
    centre, between = low + width * rng.beta(2, 2), width * 0.13 * np.exp(rng.normal(0, 0.4))
    if column.reference is not None:
        normal = to_scale(column, np.array(column.reference, dtype=np.float64))
        usual = max(float(normal[1] - normal[0]), 0.02 * width)
        centre = normal.mean() + 0.8 * usual * rng.normal()
        between = min(0.45 * usual * np.exp(rng.normal(0, 0.5)), width / 4)
    if knowledge.spread is not None:
        between = knowledge.spread * np.exp(rng.normal(0, 0.15))
    if knowledge.typical is not None:
        centre = float(to_scale(column, np.array([knowledge.typical]))[0]) + 0.25 * between * rng.normal()
    return float(np.clip(centre, low + 0.05 * width, high - 0.05 * width)), float(between)


def _number(knowledge: Knowledge, centre: float, between: float, horizon: float, rng: np.random.Generator) -> Numeric:
    within = between * np.exp(rng.normal(-0.5, 0.35))
    if knowledge.within is not None:
        within = knowledge.within * np.exp(rng.normal(0, 0.2))
    spread = between * np.exp(rng.normal(-0.1, 0.5)) / horizon
    if knowledge.change_spread is not None:
        spread = knowledge.change_spread * np.exp(rng.normal(0, 0.25))
    trend = 0.6 * between * rng.normal() / horizon
    if knowledge.change_per_year is not None:
        trend = knowledge.change_per_year + 0.3 * spread * rng.normal()
    severity = rng.normal(0, 0.4) if knowledge.severity is None else knowledge.severity + 0.12 * rng.normal()
    severity = float(np.clip(severity, -0.9, 0.9))
    traits = rng.normal(0, 0.35, FACTORS)
    traits *= min(1.0, np.sqrt((1 - severity**2) * 0.8 / (traits**2).sum()))
    shared = rng.normal(0, 0.35, FACTORS)
    shared *= min(1.0, np.sqrt(0.8 / (shared**2).sum()))
    return Numeric(
        centre=centre,
        between=between,
        within=within,
        trend=trend,
        trend_spread=spread,
        severity=severity,
        traits=traits,
        trend_severity=float(np.clip(severity + 0.3 * rng.normal(), -0.9, 0.9)),
        shared=shared,
        memory_years=float(np.exp(rng.normal(0, 0.6))),
        momentary=float(rng.beta(2, 3)),
        volatility=0.35 * np.exp(rng.normal(0, 0.3)),
    )


def _missing(column: Column, rng: np.random.Generator) -> Missing:
    stated = column.knowledge.missing if column.knowledge else None
    share = rng.beta(1, 6) if stated is None else stated
    share = float(np.clip(share, 0.002, 0.98))
    return Missing(
        logit=np.log(share / (1 - share)) + rng.normal(0, 0.3),
        first=rng.normal(-0.5, 1.0),
        patient=0.7 * np.exp(rng.normal(0, 0.4)),
        severity=rng.normal(0, 0.3),
        late=rng.normal(0, 1.2),
    )


def _visits(dictionary: Dictionary, rng: np.random.Generator) -> Visits:
    end = horizon_days(dictionary)
    stated = dictionary.knowledge.schedule
    if stated is None:
        stated = _unstated(end, rng)
    every = stated.every * np.exp(rng.normal(0, 0.03))
    low, high = stated.follow_up
    width = high - low  # who states a narrow end of follow-up is sure of it
    high = min(high + width * rng.normal(-0.1, 0.15), end)
    low = min(max(low + width * rng.normal(0, 0.1), 1.0), high - 0.05 * width)
    first = np.asarray(stated.days, dtype=np.float64)
    later = np.arange(first[-1] + every, high, every)
    return Visits(
        planned=np.concatenate([first, later]) if first[0] == 0 else np.concatenate([[0.0], first, later]),
        jitter=stated.jitter * np.exp(rng.normal(0, 0.25)),
        missed=float(np.clip(stated.missed * np.exp(rng.normal(0, 0.3)), 0, 0.9)),
        stop=float(rng.beta(1, 15)),
        follow_up=(float(low), float(high)),
    )


def _unstated(end: float, rng: np.random.Generator) -> Schedule:
    """Some schedule: of a registry, where patients come and go, or of a trial, which sees them by plan and ends for all."""
    trial = rng.random() < 0.4
    latest = end * rng.uniform(0.35, 1.0)
    every = latest / rng.uniform(1.5, 6) if trial else latest / rng.uniform(3, 13)
    days = (0.0, every / 2) if rng.random() < (0.2 if trial else 0.5) else (0.0,)
    return Schedule(
        source="none",
        days=days,
        every=every,
        jitter=every * (np.exp(rng.uniform(-7, -2)) if trial else rng.uniform(0.04, 0.3)),
        missed=rng.uniform(0, 0.1 if trial else 0.25),
        follow_up=(latest * (rng.uniform(0.8, 0.99) if trial else rng.uniform(0.05, 0.6)), latest),
    )


def _causes(dictionary: Dictionary, horizon: float, rng: np.random.Generator) -> dict[str, Rate]:
    causes = {}
    for cause in dictionary.outcome_events:
        stated = dictionary.knowledge.outcome.get(cause)
        per_year = -np.log1p(-rng.beta(1.5, 3)) / horizon
        severity = rng.normal(0.6, 0.5)
        if stated is not None:
            per_year, severity = stated.per_year * np.exp(rng.normal(0, 0.25)), stated.severity + 0.2 * rng.normal()
        traits = tuple(rng.normal(0, 0.25, FACTORS))
        causes[cause] = Rate(per_year, severity, float(np.exp(rng.normal(0, 0.2))), traits)
    return causes


def code_column(dictionary: Dictionary) -> str | None:
    """The column of `events` that says what happened: role `code`, else the first with categories."""
    events = dictionary.tables.get("events")
    if events is None:
        return None
    roles = [name for name, c in events.columns.items() if c.role == "code" and c.discrete]
    return next(iter(roles + [name for name, c in events.columns.items() if c.discrete]), None)


def dose_column(dictionary: Dictionary) -> str | None:
    events = dictionary.tables.get("events")
    named = [] if events is None else [name for name, c in events.columns.items() if c.role == "dose" and c.numeric]
    return next(iter(named), None)


def stop_column(dictionary: Dictionary) -> str | None:
    events = dictionary.tables.get("events")
    named = [] if events is None else [name for name, c in events.columns.items() if c.role == "stop" and c.numeric]
    return next(iter(named), None)


def _codes(dictionary: Dictionary, horizon: float, rng: np.random.Generator) -> dict[str, Rate]:
    column = code_column(dictionary)
    if column is None:
        return {}
    categories = dictionary.tables["events"].columns[column].categories or ()
    return {code: _code(dictionary, dictionary.knowledge.events.get(code), horizon, rng) for code in categories}


def _code(dictionary: Dictionary, stated: EventRate | None, horizon: float, rng: np.random.Generator) -> Rate:
    per_year, severity = rng.gamma(0.8, 2.0) / horizon, rng.normal(0.3, 0.4)
    duration: float | None = horizon * np.exp(rng.normal(-2, 1)) if rng.random() < 0.6 else None
    if stated is not None:
        per_year, severity = stated.per_year * np.exp(rng.normal(0, 0.25)), stated.severity + 0.15 * rng.normal()
        duration = stated.duration_days and stated.duration_days / DAYS_PER_YEAR * np.exp(rng.normal(0, 0.2))
    dose, spread = None, 0.0
    if name := dose_column(dictionary):
        column = dictionary.tables["events"].columns[name]
        dose, spread = _place(column, Knowledge(source="none"), rng)
        if stated is not None:
            dose = (
                None
                if stated.dose is None
                else float(to_scale(column, np.array([stated.dose]))[0]) + 0.2 * spread * rng.normal()
            )
        elif duration is None:
            dose = None
    return Rate(
        per_year=per_year,
        severity=severity,
        shape=float(np.exp(rng.normal(0, 0.15))),
        overdispersion=0.5 * np.exp(rng.normal(0, 0.4)),
        prevalent=float(rng.beta(1, 5)) if duration else 0.0,
        duration_years=duration,
        dose=dose,
        dose_spread=spread,
    )
