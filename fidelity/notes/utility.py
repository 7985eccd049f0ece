"""Utility of notes: does a model that learnt from synthetic notes tell real patients' outcomes from their notes?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fidelity.notes.corpus import Notes, has_notes
from fidelity.utility import FEWEST, LOSS, labels
from fidelity.view import View
from privacy.rates import auc, auc_interval
from synthgen.findings import Evidence, Finding, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary, Task

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class NoteUtility:
    """For each task of the dictionary: the AUC, on holdout patients, of a logistic model over words, pairs of words and rounded
    numbers (TF-IDF) of a patient's notes up to the landmark, trained on synthetic patients. `ceiling`: the same model trained on
    real ones; `floor`: on synthetic notes given to other patients. Nothing without notes or tasks."""

    name = "note-utility"
    section: Literal["utility"] = "utility"

    def run(self, evidence: Evidence) -> Sequence[Finding]:
        if not has_notes(evidence):
            return []
        return [f for task in evidence.dictionary.tasks if task.kind == "event" for f in _findings(task, evidence)]


Labelled = tuple[list[str], "NDArray[np.bool_]"]
"""[patients] all notes up to the landmark as one text, and whether the event came."""


def labelled(task: Task, cohort: Cohort, dictionary: Dictionary) -> Labelled:
    """The patients of a cohort whose outcome is known and who have a note up to the landmark."""
    known = labels(task, View.of(cohort, dictionary))
    frame = Notes.of(cohort, dictionary).frame
    seen = frame[frame["day"].isna() | (frame["day"] <= task.landmark_days)]
    texts = seen.groupby("patient_id", sort=False)["text"].agg("\n".join)
    both = known.index.intersection(texts.index)
    return texts.loc[both].tolist(), known.loc[both].to_numpy(dtype=bool)


def predicted(train: Labelled, test: Labelled) -> NDArray[np.float64] | None:
    """[test patients] scores; None where either side has too few events, or too few patients without."""
    if min(_fewest(train[1]), _fewest(test[1])) < FEWEST:
        return None
    model = _model().fit([rounded(text) for text in train[0]], train[1])
    return np.asarray(model.predict_proba([rounded(text) for text in test[0]])[:, 1], dtype=np.float64)


def rounded(text: str) -> str:
    """Numbers to their first digit: the words of a model should not be the digits after it."""
    return _NUMBER.sub(lambda m: f" n{float(m[0]):.0e} ".replace("+", "").replace("-", "m"), text.lower())


def _findings(task: Task, evidence: Evidence) -> list[Finding]:
    real, test, made = (
        labelled(task, cohort, evidence.dictionary) for cohort in (evidence.train, evidence.holdout, evidence.synthetic)
    )
    best = predicted(real, test)
    if best is None:
        return []
    event = test[1]
    ceiling = auc(best[event], best[~event])
    stranger = (made[0], evidence.rng.permutation(made[1]))
    by_chance, scores = predicted(stranger, test), predicted(made, test)
    floor = 0.5 if by_chance is None else max(0.5, auc(by_chance[event], by_chance[~event]))
    metric, what = f"tstr_{task.name}", task.name.replace("_", " ")
    if scores is None:
        text = f"{what} from notes: the synthetic notes have too few events to learn from ({FEWEST} are needed)."
        return [Finding("note-utility", metric, 0.5, "inconclusive", text, "utility", ceiling=ceiling, floor=floor)]
    rate = auc_interval(scores[event], scores[~event], evidence.rng)
    bound = ceiling - LOSS
    verdict: Verdict = "pass" if rate.value >= bound else "fail" if rate.high < bound else "inconclusive"
    text = (
        f"Predicting {what} from notes: a model that learnt from synthetic notes reaches an AUC of {rate.value:.2f} on "
        f"{len(event)} real patients with {int(event.sum())} events; learnt from real notes it reaches {ceiling:.2f}."
    )
    return [
        Finding(
            "note-utility", metric, rate.value, verdict, text, "utility", low=rate.low, high=rate.high, n=len(event),
            ceiling=ceiling, floor=floor, bound=bound,
        )
    ]  # fmt: skip


def _model() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    counted = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    return make_pipeline(counted, LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced"))


def _fewest(event: NDArray[np.bool_]) -> int:
    return int(min(event.sum(), (~event).sum()))


if TYPE_CHECKING:
    from synthgen.findings import Check

    _: Check = NoteUtility()
