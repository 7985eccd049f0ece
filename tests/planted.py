"""Errors planted in a linked cohort, and which check must notice each. Shared by the tests and benchmarks/factuality.py.

A note's error is planted in the record *before* the note is rendered, so that what is wrong does not depend on what any extractor
can find: the notes tell of a mistaken record, and stand beside the true one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary
from synthgen.notes.facts import charts, is_age, is_sex
from synthgen.notes.rendering import rendered
from synthgen.population import code_column, dose_column
from synthgen.values import codes, typed

Rng = np.random.Generator
Plant = Callable[[Cohort, Cohort, Dictionary, Rng], Cohort]
"""(cohort, training cohort, dictionary, rng) -> the cohort with the error in all of its patients."""


@dataclass(frozen=True)
class Error:
    """`flagged_by`: the check that flags patients with the error; `failed_by`: the finding that gets worse."""

    plant: Plant
    flagged_by: str | None = None
    failed_by: str | None = None


def planted(
    name: str, cohort: Cohort, train: Cohort, dictionary: Dictionary, rng: Rng, share: float = 0.5
) -> tuple[Cohort, set[str]]:
    """The cohort with the error in this share of its patients, and the patients who now have it."""
    chosen = set(rng.permutation(cohort.ids.to_numpy())[: round(share * len(cohort))])
    wrong = ERRORS[name].plant(cohort.of(chosen), train, dictionary, rng)
    tables: dict[str, Any] = {}
    touched: set[str] = set()
    for table, frame in cohort.tables.items():
        mine = wrong.tables[table]
        before = frame[frame["patient_id"].isin(chosen)].reset_index(drop=True)
        touched |= _mistold(before, mine, cohort.of(chosen), dictionary) if name in TOLD else _changed(before, mine)
        mine = mine.copy()
        mine.attrs = {}
        tables[table] = pd.concat([frame[~frame["patient_id"].isin(chosen)], mine], ignore_index=True).astype(
            frame.dtypes.to_dict()
        )
    return replace(cohort, **tables), touched


def _changed(before: pd.DataFrame, after: pd.DataFrame) -> set[str]:
    """Patients who have other rows than before (none is no error); pictures are compared by their bytes."""

    def rows(frame: pd.DataFrame) -> dict[str, str]:
        plain = frame.map(lambda v: v.tobytes().hex() if isinstance(v, np.ndarray) else str(v))
        return plain.groupby("patient_id").agg("|".join).agg("|".join, axis=1).to_dict() if len(plain) else {}

    a, b = rows(before), rows(after)
    return {patient for patient in b if a.get(patient) != b[patient]}


def _mistold(before: pd.DataFrame, after: pd.DataFrame, cohort: Cohort, dictionary: Dictionary) -> set[str]:
    """Patients with a note that says, by the renderer's own account, what is no fact of their record."""
    if "text" not in after or before.equals(after):
        return set()
    wrong = set()
    facts = {chart.patient_id: chart for chart in charts(cohort, dictionary)}
    for note in after.attrs["rendered"]:
        true = {
            (f.kind, f.column, f.value, f.negated) for f in facts[note.patient_id].at(note.day, note.kind == "closing")
        }
        stopped = {("drug", c, "", True) for kind, c, _, _ in true if kind == "drug"}
        if any(
            (c.kind, c.column, c.value, c.negated) not in true | stopped for c in note.claims if c.kind not in NO_FACTS
        ):
            wrong.add(note.patient_id)
    return wrong


NO_FACTS = ("flag", "trend", "course", "day")


# Notes of a mistaken record ---------------------------------------------------------------------------------------------------
def _told_of(mistake: Callable[[Cohort, Dictionary, Rng], Cohort]) -> Plant:
    """Notes rendered from the record as the mistake makes it, beside the true one."""

    def plant(cohort: Cohort, _: Cohort, dictionary: Dictionary, rng: Rng) -> Cohort:
        told = rendered(mistake(cohort, dictionary, rng), dictionary, rng)
        columns = {name: [getattr(note, name) for note in told] for name in cohort.notes.columns}
        notes = pd.DataFrame(columns).astype(cohort.notes.dtypes.to_dict())
        notes.attrs["rendered"] = told
        return replace(cohort, notes=notes)

    return plant


def _sex(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    return _static(cohort, dictionary, is_sex, lambda c, v: typed(c, 1 - codes(c, v)))


def _age(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    return _static(cohort, dictionary, is_age, lambda c, v: (v + 15).where(v + 15 <= c.bounds[1], v - 15))


def _labs(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    """Every measurement half as much again, within its bounds; where that lies outside, half."""
    return _visits(cohort, dictionary, lambda _, c: c.numeric, _half_as_much_again)


def _half_as_much_again(column: Any, values: pd.Series) -> pd.Series:
    up = values.astype("float64") * 1.5
    changed = up.where(up <= column.bounds[1], values.astype("float64") * 0.5)
    return changed.round().astype("Int64") if column.type == "integer" else changed


def _signs(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    return _visits(cohort, dictionary, lambda _, c: len(c.categories or ()) == 2, lambda c, v: _shifted(c, v))


def _stage(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    cohort = _visits(cohort, dictionary, lambda n, c: "stage" in n and c.discrete, lambda c, v: _shifted(c, v))
    return _static(cohort, dictionary, lambda n, c: "stage" in n and c.discrete, lambda c, v: _shifted(c, v))


def _outcome(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    status = dictionary.outcome.status
    return _static(cohort, dictionary, lambda n, _: n == status, lambda c, v: _shifted(c, v))


def _shifted(column: Any, values: pd.Series) -> pd.Series:
    """The next category, the first after the last; missing stays missing."""
    code = codes(column, values)
    return typed(column, np.where(code < 0, -1, (code + 1) % len(column.categories)))


def _drug(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    """Every event is another code's."""
    name = code_column(dictionary)
    column = dictionary.tables["events"].columns[name]
    return replace(cohort, events=cohort.events.assign(**{name: _shifted(column, cohort.events[name]).to_numpy()}))


def _dose(cohort: Cohort, dictionary: Dictionary, _: Rng) -> Cohort:
    name = dose_column(dictionary)
    column = dictionary.tables["events"].columns[name]
    return replace(
        cohort, events=cohort.events.assign(**{name: _half_as_much_again(column, cohort.events[name]).to_numpy()})
    )


def _static(cohort: Cohort, dictionary: Dictionary, which: Callable[..., bool], change: Callable[..., Any]) -> Cohort:
    columns = {n: c for n, c in dictionary.tables["patients"].columns.items() if which(n, c)}
    changed = {n: pd.Series(change(c, cohort.patients[n])).to_numpy() for n, c in columns.items()}
    return replace(cohort, patients=cohort.patients.assign(**changed))


def _visits(cohort: Cohort, dictionary: Dictionary, which: Callable[..., bool], change: Callable[..., Any]) -> Cohort:
    columns = {n: c for n, c in dictionary.measurements.items() if which(n, c)}
    changed = {n: pd.Series(change(c, cohort.visits[n])).set_axis(cohort.visits.index) for n, c in columns.items()}
    return replace(cohort, visits=cohort.visits.assign(**changed))


# Other errors of notes ----------------------------------------------------------------------------------------------------------
def _retold(text_of: Callable[[str, Rng], str]) -> Plant:
    def plant(cohort: Cohort, _: Cohort, __: Dictionary, rng: Rng) -> Cohort:
        return replace(cohort, notes=cohort.notes.assign(text=[text_of(text, rng) for text in cohort.notes["text"]]))

    return plant


def _unit(cohort: Cohort, _: Cohort, dictionary: Dictionary, __: Rng) -> Cohort:
    """Another unit behind every number."""
    texts = cohort.notes["text"]
    for unit in {c.unit for c in dictionary.measurements.values() if c.numeric and c.unit}:
        other = "mmol/L" if unit != "mmol/L" else "mg/dL"
        texts = texts.str.replace(rf"(?<=\d) {unit}".replace("*", r"\*"), f" {other}", regex=True)
    return replace(cohort, notes=cohort.notes.assign(text=texts))


def _strangers(cohort: Cohort, _: Cohort, __: Dictionary, ___: Rng) -> Cohort:
    """Every note of a patient is another patient's, days and all."""
    ids = list(cohort.ids)
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    notes = cohort.notes.assign(patient_id=cohort.notes["patient_id"].map(other))
    return replace(cohort, notes=_in_order(notes, ids))


def _shuffled(text: str, rng: Rng) -> str:
    return " ".join(rng.permutation(text.split()))


def _one_note(cohort: Cohort, _: Cohort, __: Dictionary, ___: Rng) -> Cohort:
    return replace(cohort, notes=cohort.notes.assign(text=cohort.notes["text"].iloc[0]))


def _copied(cohort: Cohort, train: Cohort, _: Dictionary, rng: Rng) -> Cohort:
    """Every note is a training patient's, word for word."""
    drawn = rng.integers(len(train.notes), size=len(cohort.notes))
    return replace(cohort, notes=cohort.notes.assign(text=train.notes["text"].to_numpy()[drawn]))


def _identified(text: str, rng: Rng) -> str:
    return f"{text}\nSigned: Dr. Jane Miller, tel. 020 7946 0{rng.integers(100, 999)}"


# Days and pictures --------------------------------------------------------------------------------------------------------------
def _after_the_end(table: str) -> Plant:
    def plant(cohort: Cohort, _: Cohort, dictionary: Dictionary, __: Rng) -> Cohort:
        frame = cohort.tables[table]
        end = frame["patient_id"].map(cohort.patients.set_index("patient_id")[dictionary.outcome.time])
        changed: Any = {table: frame.assign(day=(end.astype("Int64") + 30))}
        return replace(cohort, **changed)

    return plant


def _pictures(change: Callable[[np.ndarray, Rng], np.ndarray]) -> Plant:
    """Every picture as `change`, given all of them [pictures, ...], makes it."""

    def plant(cohort: Cohort, _: Cohort, dictionary: Dictionary, rng: Rng) -> Cohort:
        key = next(n for n, c in dictionary.tables["images"].columns.items() if c.type == "image")
        changed = change(np.stack(cohort.images[key].to_list()), rng)
        column = np.empty(len(changed), dtype=object)
        column[:] = list(changed)
        return replace(cohort, images=cohort.images.assign(**{key: column}))

    return plant


def _in_order(frame: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
    place = {patient: i for i, patient in enumerate(ids)}
    keys = frame["patient_id"].map(place)
    return frame.assign(_p=keys).sort_values(["_p", "day"], kind="stable").drop(columns="_p").reset_index(drop=True)


def _record(cohort: Cohort, _: Cohort, dictionary: Dictionary, rng: Rng) -> Cohort:
    """The stage of the record is another patient's; picture and note are not touched."""
    name = next(n for n in dictionary.static if "stage" in n)
    return replace(
        cohort,
        patients=cohort.patients.assign(**{name: cohort.patients[name].iloc[rng.permutation(len(cohort))].to_numpy()}),
    )


FACTS = "note-factuality"
ERRORS: Mapping[str, Error] = {
    "note: another sex": Error(_told_of(_sex), FACTS, f"{FACTS}/severe"),
    "note: another age": Error(_told_of(_age), FACTS, f"{FACTS}/supported"),
    "note: measurements off by half": Error(_told_of(_labs), FACTS, f"{FACTS}/supported"),
    "note: other units": Error(_unit, FACTS, f"{FACTS}/supported"),
    "note: signs the other way": Error(_told_of(_signs), FACTS),
    "note: another stage": Error(_told_of(_stage), FACTS),
    "note: another drug": Error(_told_of(_drug), FACTS, f"{FACTS}/severe"),
    "note: another dose": Error(_told_of(_dose), FACTS, f"{FACTS}/severe"),
    "note: another outcome": Error(_told_of(_outcome), FACTS, f"{FACTS}/severe"),
    "note: another patient's": Error(_strangers, FACTS, f"{FACTS}/supported"),
    "note: words shuffled": Error(_retold(_shuffled), None, "note-text/mauve"),
    "note: one for all": Error(_one_note, FACTS, "note-text/mauve"),
    "note: copied from training": Error(_copied, "notes", "notes/verbatim"),
    "note: a name and a telephone number": Error(_retold(_identified), "notes", "notes/identifiers"),
    "note: dated after the end": Error(_after_the_end("notes"), "cross-modal", "cross-modal/order"),
    "picture: dated after the end": Error(_after_the_end("images"), "cross-modal", "cross-modal/order"),
    "picture: another patient's": Error(
        _pictures(lambda all_, rng: all_[rng.permutation(len(all_))]), None, "image-agreement/agreement"
    ),
    "picture: noise": Error(
        _pictures(lambda all_, rng: rng.integers(256, size=all_.shape, dtype=np.uint8)),
        None,
        "image-agreement/agreement",
    ),
    "record: another patient's stage": Error(_record, FACTS, "image-agreement/agreement"),
}
TOLD = frozenset(name for name, error in ERRORS.items() if error.plant.__qualname__.startswith("_told_of"))
"""Errors of notes that were rendered from a mistaken record."""
