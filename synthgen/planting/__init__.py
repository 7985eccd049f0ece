"""Plants known faults in a good synthetic cohort, to measure what is found. The planter knows the dictionary and nothing else:
neither the detectors' thresholds nor any real patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthgen.planting.record import Kind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from synthgen.cohort import Cohort
    from synthgen.dictionary import Dictionary
    from synthgen.planting.record import Record

OTHERS = 12
"""Patients that a fault may borrow from."""
TRIED = 150
"""Patients that are tried before a kind is given up."""


@dataclass(frozen=True)
class Fault:
    """What was planted in a patient."""

    kind: Kind
    patients: tuple[str, ...]
    """The spoiled patient first, then those that were added."""
    about: str
    """The column that was spoiled, or `rule NAME`; empty where it is no single one."""


def kinds() -> tuple[Kind, ...]:
    """Every kind of fault."""
    from synthgen.planting import of_contract, of_course, of_events, of_real, of_record

    return (*of_contract.KINDS, *of_course.KINDS, *of_record.KINDS, *of_events.KINDS, *of_real.KINDS)


def plant(
    cohort: Cohort,
    dictionary: Dictionary,
    wanted: Sequence[Kind],
    rng: np.random.Generator,
    real: Cohort | None = None,
) -> tuple[Cohort, list[Fault]]:
    """A copy of the cohort with one fault of each wanted kind, each in another patient; and what was planted.

    A kind for which no patient that is left has a place (no events, too few visits) is not planted.

    Args:
        real: patients that a generator might have handed on; without them nothing is copied.
    """
    free = [str(p) for p in rng.permutation(cohort.ids.to_numpy())]
    records = _Records(cohort, dictionary)
    others = tuple(records.of(p) for p in free[-OTHERS:])
    trained_on = () if real is None else _drawn(real, dictionary, OTHERS, rng)
    spoiled: dict[str, Record] = {}
    faults: list[Fault] = []
    del free[-OTHERS:]
    placeless: set[str] = set()
    for kind in wanted:
        if kind.name in placeless:
            continue
        for patient in free[:TRIED]:
            record = records.of(patient)
            record.others, record.real = others, trained_on
            found = kind.plant(record, rng)
            if found is not None:
                free.remove(patient)
                spoiled[patient] = found
                added = dict.fromkeys([patient, *(str(r.patient["patient_id"]) for r in found.extra)])
                faults.append(Fault(kind, tuple(added), found.about))
                break
        else:
            placeless.add(kind.name)
    return _together(cohort, spoiled), faults


def _drawn(cohort: Cohort, dictionary: Dictionary, count: int, rng: np.random.Generator) -> tuple[Record, ...]:
    """Some of a cohort's patients."""
    records = _Records(cohort, dictionary)
    return tuple(records.of(str(p)) for p in rng.permutation(cohort.ids.to_numpy())[:count])


class _Records:
    """A cohort's patients one by one, each as often as it is asked for."""

    def __init__(self, cohort: Cohort, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.tables = {name: _plain(frame) for name, frame in cohort.tables.items()}
        self.rows = {name: frame.groupby("patient_id", sort=False).indices for name, frame in cohort.tables.items()}

    def of(self, patient: str) -> Record:
        from synthgen.planting.record import Record

        tables = {
            name: frame.iloc[self.rows[name].get(patient, [])].reset_index(drop=True)
            for name, frame in self.tables.items()
        }
        [one] = tables.pop("patients").to_dict("records")
        return Record(self.dictionary, {str(k): v for k, v in one.items()}, tables)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats, the rest as objects, so that anything can be written into it."""
    import pandas as pd

    columns = {
        name: values.astype("float64") if pd.api.types.is_numeric_dtype(values) else values.astype(object)
        for name, values in frame.items()
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def _together(cohort: Cohort, spoiled: dict[str, Record]) -> Cohort:
    from dataclasses import replace

    import pandas as pd

    records = [r for record in spoiled.values() for r in (record, *record.extra)]
    tables: dict[str, pd.DataFrame] = {}
    for name, frame in cohort.tables.items():
        whole = _plain(frame[~frame["patient_id"].isin(spoiled)])
        parts = (
            [pd.DataFrame([r.patient for r in records])] if name == "patients" else [r.tables[name] for r in records]
        )
        tables[name] = pd.concat([whole, *(p for p in parts if len(p))], ignore_index=True)
    return replace(cohort, **tables)  # type: ignore[arg-type]
