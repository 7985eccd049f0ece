"""What the benchmarks of health records measure: the checks' own measures, on one synthetic cohort, as plain numbers.

Agrees with the scorer behind the peers' table (tests/test_scorer.py). Shapes and correlations stand against the training patients
and, with `_holdout`, against patients that no generator saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from fidelity import dependence, detection, marginals, trajectories, utility
from fidelity.view import View
from privacy.attacks.distance import distance_scores
from privacy.rates import auc
from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.summaries import standardised, summaries

AGAINST: dict[str, Callable[[View, View], float]] = {
    "visit_shape": marginals.visit_shape,
    "visit_correlation": dependence.visit_correlation,
    "visit_count": trajectories.visit_count,
    "visit_gap": trajectories.visit_gap,
    "lag_1_within": trajectories.lag_1_within,
    "slope": trajectories.slope,
    "baseline_shape": marginals.baseline_shape,
    "baseline_correlation": dependence.baseline_correlation,
}
HIGHER = ("shape", "count", "gap", "slope", "tstr")
"""Parts of the names of measures of which more is better."""


def measures(
    dictionary: Dictionary, train: View, holdout: View, made: View, labs: Sequence[str] | None = None, slow: bool = True
) -> dict[str, float]:
    """Every measure that this dictionary has something for.

    Args:
        labs: measurements that the peers' scorer looks at, for `_peers` rows beside those over all measurements.
        slow: also those that train classifiers (detection and prediction).
    """
    found = {"rule_breaks": rule_breaks(made)}
    for name, measure in AGAINST.items():
        found |= {name: measure(train, made), f"{name}_holdout": measure(holdout, made)}
    if labs:
        found["lag_1_within_peers"] = trajectories.lag_1_within(train, made, labs)
        found["slope_peers"] = trajectories.slope(train, made, labs)
    if slow:
        found |= _classified(dictionary, holdout, made)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _classified(dictionary: Dictionary, holdout: View, made: View) -> dict[str, float]:
    found = {"detection_baseline": detection.auc(holdout, made, "baseline")}
    if made.visits is not None:
        found["detection_patient"] = detection.auc(holdout, made, "patient")
    for task in (t for t in dictionary.tasks if t.kind == "event"):
        for model in utility.MODELS:
            scored = utility.tstr(task, model, made, holdout)
            scores, event = scored if scored else (np.zeros(2), np.array([False, True]))
            found[f"tstr_{task.name}_{model}"] = auc(scores[event], scores[~event])
    return found


def membership(dictionary: Dictionary, train: Cohort, holdout: Cohort, made: Cohort) -> float:
    """AUC of the distance to the nearest synthetic patient."""
    tables = summaries([train, holdout, made], dictionary)
    a, b, c = standardised(tables, tables[:2])
    return auc(distance_scores(a, c), distance_scores(b, c))


def rule_breaks(view: View) -> float:
    """Share of visits on days out of order, not starting at 0 or after the end of follow-up, or of values out of bounds."""
    if view.visits is None:
        return float("nan")
    visits = view.visits
    before = visits.groupby("patient_id")["day"].shift(1)
    broken = np.where(before.isna(), visits["day"] != 0, visits["day"] <= before)
    if view.dictionary.outcome:
        end = view.patients[view.dictionary.outcome.time].reindex(visits["patient_id"]).to_numpy()
        broken |= visits["day"].to_numpy() > end
    for name, column in view.dictionary.measurements.items():
        if column.bounds is not None:
            broken |= ((visits[name] < column.bounds[0]) | (visits[name] > column.bounds[1])).to_numpy()
    return float(np.mean(broken))


def summarised(values: Mapping[tuple[int, int], float]) -> dict[str, Any]:
    """Mean over splits, with Student's 95% interval over them; seeds of one split are averaged first.

    Args:
        values: by (split, seed).
    """
    splits = sorted({split for split, _ in values})
    means = np.array([np.mean([v for (s, _), v in values.items() if s == split]) for split in splits])
    half = student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else None
    value = float(means.mean())
    return {
        "value": value,
        "low": None if half is None else float(value - half),
        "high": None if half is None else float(value + half),
        "n": len(splits),
        "seeds": sorted({seed for _, seed in values}),
    }
