"""Model ranking: would someone who only has the synthetic cohort choose the same model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fidelity.scoring import DRAWS, pairs
from fidelity.tasks import enough, problem
from fidelity.verdict import Views
from synthgen.findings import Evidence, Finding, Verdict

if TYPE_CHECKING:
    from synthgen.dictionary import Task

Floats = NDArray[np.float64]
FOLDS = 3
TOLERATED = 0.05
"""AUC that may be lost by choosing on synthetic patients."""


class ModelRanking:
    """For each task about an event, six kinds of model are ranked by cross-validated AUC on the synthetic cohort, and by their
    AUC on the holdout once trained on real patients. `kendall_tau`: rank correlation of the two rankings, for information (models
    are often as good as each other, and then any order is right); `ceiling`: when the ranking is cross-validated on the training
    patients, `floor`: on independent columns. `regret`: the AUC lost by the model that the synthetic cohort chooses; more than
    .05 beyond chance fails. Intervals: bootstrap over patients."""

    name = "model-ranking"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        tasks = [task for task in evidence.dictionary.tasks if task.kind == "event"]
        if not tasks:
            return []
        views = Views.of(evidence)
        return [finding for task in tasks for finding in _findings(task, views, evidence.rng)]


def candidates() -> dict[str, Any]:
    """The models that are ranked."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    models = {
        "logistic, strong penalty": LogisticRegression(C=0.01, max_iter=5000),
        "logistic, weak penalty": LogisticRegression(C=10.0, max_iter=5000),
        "naive Bayes": GaussianNB(var_smoothing=1e-2),
        "nearest neighbours": KNeighborsClassifier(15),
        "one tree": DecisionTreeClassifier(max_depth=3, min_samples_leaf=5, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=50, subsample=0.7, random_state=0),
    }
    filled = {"strategy": "median", "keep_empty_features": True}
    return {n: make_pipeline(SimpleImputer(**filled), StandardScaler(), m) for n, m in models.items()}


def kendall(a: Floats, b: Floats) -> Floats:
    """[draws] Kendall's tau-a of two rankings [draws, models]; a tie is neither for nor against."""
    i, j = np.triu_indices(a.shape[1], 1)
    return np.asarray((np.sign(a[:, i] - a[:, j]) * np.sign(b[:, i] - b[:, j])).mean(axis=1), dtype=np.float64)


def _findings(task: Task, views: Views, rng: np.random.Generator) -> list[Finding]:
    x, truth = problem(task, views.holdout)
    cohorts = {"synthetic": views.synthetic, "real": views.train, "floor": views.floor}
    problems = {name: problem(task, view) for name, view in cohorts.items()}
    if not enough(task, truth) or not all(enough(task, t) for _, t in problems.values()):
        return []
    tested = _aucs(
        task,
        truth,
        [m.fit(*_arrays(problems["real"])).predict_proba(_numbers(x))[:, 1] for m in candidates().values()],
        rng,
    )
    chosen_by = {name: _aucs(task, t, _out_of_fold(r, t), rng) for name, (r, t) in problems.items()}
    taus = {name: kendall(scores, tested) for name, scores in chosen_by.items()}
    regrets = {name: _regret(scores, tested) for name, scores in chosen_by.items()}
    what = task.name.replace("_", " ")
    names = list(candidates())
    pick = names[int(chosen_by["synthetic"][0].argmax())]
    low, high = (float(v) for v in np.nanquantile(taus["synthetic"][1:], [0.025, 0.975]))
    tau = Finding(
        "model-ranking", f"kendall_tau_{task.name}", float(taus["synthetic"][0]), "information",
        f"{len(names)} kinds of model for {what}, ranked on synthetic and on real patients: Kendall's tau "
        f"{taus['synthetic'][0]:.2f} ({taus['real'][0]:.2f} when ranked on the training patients).",
        "utility", low=low, high=high, n=len(truth),
        ceiling=float(taus["real"][0]), floor=float(taus["floor"][0]),
    )  # fmt: skip
    lost = regrets["synthetic"]
    low, high = (float(v) for v in np.nanquantile(lost[1:], [0.025, 0.975]))
    said: Verdict = "pass" if lost[0] <= TOLERATED else "fail" if low > TOLERATED else "inconclusive"
    return [
        tau,
        Finding(
            "model-ranking", f"regret_{task.name}", float(lost[0]), said,
            f"Someone who chooses on synthetic patients takes {pick} for {what}, and loses {lost[0]:.3f} of AUC on real patients "
            f"beside the best of {len(names)} kinds of model.", "utility", low=low, high=high, n=len(truth),
            ceiling=float(regrets["real"][0]), floor=float(np.mean(tested[0].max() - tested[0])), bound=TOLERATED, better="lower",
        ),
    ]  # fmt: skip


def _regret(scores: Floats, tested: Floats) -> Floats:
    """[draws] AUC of the best model less that of the one that `scores` choose."""
    chosen = np.take_along_axis(tested, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(tested.max(axis=1) - chosen, dtype=np.float64)


def _aucs(task: Task, truth: pd.DataFrame, predictions: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """[1 + draws, models] AUC, first as it is, then of resampled patients (the same ones for every model)."""
    n = len(truth)
    draws = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), DRAWS)])
    return np.stack([pairs(task, truth, p)[0].of_draws(draws) for p in predictions], axis=1)


def _out_of_fold(rows: pd.DataFrame, truth: pd.DataFrame) -> list[Floats]:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    x, y = _arrays((rows, truth))
    return [cross_val_predict(m, x, y, cv=folds, method="predict_proba")[:, 1] for m in candidates().values()]


def _arrays(of: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[Floats, NDArray[np.bool_]]:
    return _numbers(of[0]), of[1]["event"].to_numpy(dtype=bool)


def _numbers(rows: pd.DataFrame) -> Floats:
    return rows.to_numpy(dtype=np.float64)


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = ModelRanking()
