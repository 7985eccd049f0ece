"""A first `cohort.yaml` from a folder of tables, for a person to finish: whatever was read from the data is marked so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from privacy.files import write_durably
from synthgen.conformance import numbers, words
from synthgen.dictionary import LINKED, TABLES, Dictionary
from synthgen.errors import ConfigError
from synthgen.formats import csv, parquet

READ_FROM_DATA = "read from the data"
"""The mark. A job refuses a dictionary that holds it."""

_IDS = (
    "patient_id", "patientid", "patient", "subject_id", "subjectid", "subject", "usubjid", "participant_id", "record_id",
    "pid", "mrn", "id",
)  # fmt: skip
_TIMES = (
    "day", "days", "visit_day", "study_day", "start", "start_day", "week", "weeks", "month", "months", "year", "years",
    "time", "date", "visit_date", "start_date",
)  # fmt: skip
_ENDS = (
    "followup_days", "follow_up", "followup", "futime", "survival_time", "time_to_event", "end_day", "days", "weeks",
    "months", "years", "time",
)  # fmt: skip
_STATUSES = ("status", "outcome", "event", "vital_status", "fustat", "death", "dead", "died")
_CENSORED = ("censored", "alive", "lost", "0", "no", "false", "none")
_END_WORDS = re.compile(r"follow_?up|futime|surviv|time_to_|last_(?:seen|contact|visit)")
"""A column of `patients` named so, of more than two numbers, holds days as well."""
_ROLES = (
    (re.compile(r"(?:stop|end|finish)(?:_?(?:day|week|month|year)s?)?|(?:day|week|month|year)s?_(?:stop|end)"), "stop"),
    (re.compile(r"code|drug"), "code"),
    (re.compile(r"(?:\w+_)?dos(?:e|age)(?:_\w+)?"), "dose"),
)
"""Which names in `events` mean which role."""
_DAYS_IN = {"week": 7.0, "month": 30.4375, "year": 365.25}

_SIDE = 64
"""Pixels to which a draft brings pictures."""
_MOST_CATEGORIES = 20
_MOST_STEPS = 6
"""A whole number with at most this many values is proposed as ordinal."""
_MOST_DECIMALS = 6

_HEADER = """\
# A draft by `synthgen init`. A job refuses it until a person has made it public knowledge:
#  1. Every column marked `unreviewed` holds bounds or categories that were read from the patients. Replace them by what is known
#     without looking: limits of the assay or of physiology, the codes of the case report form. Then remove the mark.
#  2. declared_patients was read from the data as well (and rounded). Write the size that the protocol or a paper states:
#     a claim publishes it.
#  3. Add units, reference ranges, codes (LOINC, HPO, ORPHA), labels, clinical rules, and `knowledge` with its source.
#  4. `synthgen validate` checks the tables against the result.
"""


@dataclass(frozen=True)
class Draft:
    """A proposed dictionary, and per table what a person should know about the proposal."""

    content: dict[str, Any]
    remarks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The YAML, with its comments."""
        head = {key: value for key, value in self.content.items() if key != "tables"}
        lines = [_HEADER, *_comments(self.remarks.get("", []), 0), *_yaml(head, 0), "", "tables:"]
        for name, table in self.content["tables"].items():
            lines += [f"  {name}:", *_comments(self.remarks.get(name, []), 4), *_yaml(table, 4)]
        return "\n".join(lines) + "\n"


_JOB = """\
# A job drafted by `synthgen init`. All its keys: docs/configuration.md
name: {name}
cohort: cohort.yaml
privacy:
  epsilon: 3        # all that may be learnt of a patient, over every generator; lower promises more and learns less
generators:
{generators}
holdout: 0.5        # this share of the patients is kept from training, to compare and attack with: half are left to learn from
seed: 1             # for everything but the noise
# patients: 1000    # how many synthetic patients; default: the declared size of the training set
# audit: standard   # how deep the attacks go: quick (default), standard or deep
# knowledge: vague  # leave out the dictionary's public knowledge
"""


def write_job(folder: Path, dictionary: Dictionary) -> Path:
    """Writes a first `job.yaml` beside the draft, unless there is one; its path."""
    path = folder / "job.yaml"
    if not path.exists():
        record = "phenotypes" if "phenotypes" in dictionary.tables else "ehr"
        names = [record, *(table for table in LINKED if table in dictionary.tables)]
        lines = "\n".join(f"  {name}: {{}}" for name in names) + "  # registered generators and their settings"
        write_durably(path, _JOB.format(name=dictionary.name, generators=lines).encode())
    return path


def write_draft(folder: Path) -> Path:
    """Writes the draft as `cohort.yaml` into the folder. Raises ConfigError rather than replace one."""
    path = folder / "cohort.yaml"
    if path.exists():
        raise ConfigError(f"{path}: exists already; move it away to draft another one.")
    write_durably(path, draft(folder).text.encode())
    return path


def draft(folder: Path) -> Draft:
    """Infers tables, types, days, categories and bounds (rounded outward) from every CSV and Parquet file of a folder.

    A single file with many rows a patient is read twice: what never differs within a patient is proposed for `patients`,
    the rest for `visits`. Dates cannot be used: a date is only named in a remark, a date that would be the day is kept
    and marked.

    Raises:
        ConfigError: when the folder holds no table, or a table no column that could be the patient's id.
        DataError: when a file cannot be read.
    """
    frames = _frames(folder)
    placed, remarks = _placed(frames)
    tables: dict[str, Any] = {}
    for name, path in placed.items():
        proposal = _Proposal(name, frames[path], path, shared=list(placed.values()).count(path) > 1)
        tables[name] = proposal.table
        remarks[name] = proposal.remarks
    content = {
        "name": re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_") or "cohort",
        "title": f"Draft of {folder.resolve().name}",
        "declared_patients": max(2, round(frames[placed["patients"]].iloc[:, 0].nunique(), -1)),
    }
    content |= {"outcome": found} if (found := _outcome(tables["patients"]["columns"])) else {}
    if not found:
        remarks[""] = [
            *remarks.get("", []),
            "No outcome was found. For time to event, add `outcome: {time: ..., status: ..., censored: ...}`.",
        ]
    return Draft(content | {"tables": tables}, remarks)


def _frames(folder: Path) -> dict[Path, pd.DataFrame]:
    """Every table of the folder, its id column first."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; name the folder that holds the cohort's tables.")
    frames = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in (".csv", ".parquet"):
            frame = (csv if path.suffix == ".csv" else parquet).read(path)
            key = _first_named(frame, _IDS)
            if key is None:
                raise ConfigError(f"{path.name}: no column could be the patient's id; call it patient_id.")
            if frame.empty:
                raise ConfigError(f"{path.name}: the table has no rows; add them, or move the file away.")
            frames[path] = frame[[key, *(other for other in frame if other != key)]]
    if not frames:
        raise ConfigError(f"{folder}: holds no .csv or .parquet file; put the cohort's tables there.")
    return frames


def _placed(frames: Mapping[Path, pd.DataFrame]) -> tuple[dict[str, Path], dict[str, list[str]]]:
    """Which file is which table, by name first and then by shape; and remarks on what found no place."""
    placed = {path.stem: path for path in frames if path.stem in TABLES}
    for path, frame in frames.items():
        kind = "patients" if frame.iloc[:, 0].is_unique else "visits"
        if path not in placed.values() and kind not in placed:
            placed[kind] = path
    lost = [path.name for path in frames if path not in placed.values()]
    if "patients" not in placed:
        placed["patients"] = placed.get("visits") or next(iter(placed.values()))
    order = {name: placed[name] for name in TABLES if name in placed}
    note = f"No table was found for {', '.join(lost)}: name a file as one of {', '.join(TABLES)}."
    return order, {"": [note]} if lost else {}


class _Proposal:
    """One table's columns, proposed one after the other."""

    def __init__(self, name: str, frame: pd.DataFrame, path: Path, shared: bool) -> None:
        self.remarks: list[str] = []
        self._columns: dict[str, dict[str, Any]] = {}
        self._ignored: list[str] = []
        self._name = name
        patient = frame.iloc[:, 0]
        constant = {key: bool(frame[key].groupby(patient).nunique().max() <= 1) for key in frame}
        changing = frame[[key for key in frame if not (shared and constant[key])]]
        self._time = None if name == "patients" else _first_named(changing, _TIMES)
        self._columns["patient_id"] = {"type": "id"} | _source("patient_id", frame.columns[0])
        for key in frame.columns[1:]:
            if not shared or constant[key] == (name == "patients"):
                self._add(str(key), _cells(frame[key]))
        if name in ("visits", "events") and "day" not in self._columns:
            self._columns["day"] = {"type": "integer", "bounds": [0, 3650], "unreviewed": "not found in the file"}
            self.remarks.append("No column could be the day: add days since the patient's first visit to the file.")
        if shared and name == "patients":
            self.remarks.append(
                "From the same file as the other table: the columns that never differ within a patient."
            )
        self.table: dict[str, Any] = {} if path.stem == name else {"file": path.stem}
        self.table |= {"ignore": self._ignored} if self._ignored else {}
        self.table |= {"columns": self._columns}

    def _add(self, key: str, cells: pd.Series[Any]) -> None:
        slug = re.sub(r"\W+", "_", key.strip().lower()).strip("_") or "column"
        name = "day" if key == self._time else f"c_{slug}" if slug[0].isdigit() else slug
        if name in self._columns:
            name = f"{name}_{len(self._columns)}"
        column = self._day(key, cells) if name == "day" else self._column(key, name, cells)
        if column is None:
            self._ignored.append(key)
        else:
            self._columns[name] = column | _source(name, key)

    def _day(self, key: str, cells: pd.Series[Any]) -> dict[str, Any]:
        column: dict[str, Any] = {"type": "integer", "role": "time", "unit": "d"}
        if not _is_number(cells.dropna()):
            held = "dates, which identify patients" if _dates(cells) else "no numbers"
            self.remarks.append(
                f"{key} holds {held}: write days since the patient's first visit into the file instead."
            )
            return column | {"bounds": [0, 3650], "unreviewed": f"holds {held.partition(',')[0]}; days are needed"}
        factor = _days_in(key if re.search("day|week|month|year", key.lower()) else str(self._time))
        high = _outward(0, float(np.nanmax(numbers(cells))) * factor)[1]
        column |= {"bounds": [0, high], "unreviewed": READ_FROM_DATA}
        return column | ({"multiply": factor} if factor != 1 else {})

    def _column(self, key: str, name: str, cells: pd.Series[Any]) -> dict[str, Any] | None:
        """None for what cannot be used; the reason is a remark."""
        present = cells.dropna()
        if present.nunique() < 2:
            self.remarks.append(f"{key} is left out: it has no value, or one and the same in every row.")
            return None
        if _dates(cells):
            self.remarks.append(
                f"{key} is left out: it holds dates, which identify patients. Days since the first visit are fine."
            )
            return None
        role, missing = _role(self._name, name), {"missing": True} if cells.isna().any() else {}
        if self._name == "patients" and _is_end(name, present):
            return self._day(key, cells) | {"role": "outcome"} | missing
        if role in ("stop", "dose") and not _is_number(present):
            self.remarks.append(f"{key} holds words: write numbers into the file, and `role: {role}` here.")
            role = None
        if role == "stop":
            return self._day(key, cells) | {"role": "stop"} | missing
        column = ({"role": role} if role else {}) | _kind(self._name, present, role) | missing
        if column["type"] == "text" and self._name != "notes":
            self.remarks.append(
                f"{key} is left out: it is free text, or identifies someone. Declare it if it is neither."
            )
            return None
        return column


def _role(table: str, name: str) -> str | None:
    if table in ("patients", "visits"):
        return "static" if table == "patients" else "measurement"
    return next((role for names, role in _ROLES if table == "events" and names.fullmatch(name)), None)


def _is_end(name: str, present: pd.Series[Any]) -> bool:
    """Whether a column of `patients` says when follow-up ended."""
    named = name in _ENDS or (_END_WORDS.search(name) and present.nunique() > 2)
    return bool(named) and _is_number(present)


def _kind(table: str, present: pd.Series[Any], role: str | None) -> dict[str, Any]:
    """Type, and bounds or categories, of a column without its missing cells. A dose stays a number, however few there are."""
    marked = {"unreviewed": READ_FROM_DATA}
    distinct = sorted(present.unique())
    if _is_number(present):
        values = numbers(present)
        whole = bool((values % 1 == 0).all())
        if whole and len(distinct) <= _MOST_STEPS and role != "dose":
            kind = "ordinal" if len(distinct) > 2 else "categorical"
            return {"type": kind, "categories": sorted(distinct, key=float)} | marked
        skewed = values.min() > 0 and values.quantile(0.95) > 2.5 * values.median()
        shown = 0 if whole else int(present.str.partition(".")[2].str.len().max())
        column: dict[str, Any] = {
            "type": "integer" if whole else "continuous",
            "bounds": _outward(values.min(), values.max()),
        }
        column |= {"scale": "log"} if skewed else {}
        return column | ({"decimals": shown} if 0 < shown <= _MOST_DECIMALS else {}) | marked
    if table == "images" and present.str.contains(r"\.\w{2,5}$").all():
        return {"type": "image", "size": _SIDE}
    if table == "notes" and present.str.count(" ").max() > 1:
        return {"type": "text"}
    if 2 <= len(distinct) <= min(_MOST_CATEGORIES, max(2, len(present) // 2)):
        return {"type": "categorical", "categories": distinct} | marked
    return {"type": "text"}


def _outcome(columns: Mapping[str, dict[str, Any]]) -> dict[str, str] | None:
    time = next((name for name, column in columns.items() if column.get("role") == "outcome"), None)
    status = next((name for name in _STATUSES if "categories" in columns.get(name, {})), None)
    if time is None or status is None:
        return None
    columns[status]["role"] = "outcome"
    known = {category.lower(): category for category in reversed(columns[status]["categories"])}
    censored = next((known[word] for word in _CENSORED if word in known), columns[status]["categories"][0])
    return {"time": time, "status": status, "censored": censored}


def _cells(raw: pd.Series[Any]) -> pd.Series[Any]:
    """As text; missing where empty or NA."""
    if raw.dtype.kind == "M":
        raw = raw.dt.strftime("%Y-%m-%d")
    text = words(raw)
    return text.mask(text == "NA")


def _dates(cells: pd.Series[Any]) -> bool:
    present = cells.dropna()
    return bool(
        len(present) and present.str.fullmatch(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?\s*").mean() > 0.5
    )


def _is_number(present: pd.Series[Any]) -> bool:
    return bool(np.isfinite(numbers(present)).all())


def _outward(low: float, high: float) -> list[float]:
    """Both bounds rounded away from each other to one digit, so that no patient's own value stands in the draft."""

    def rounded(value: float, up: bool) -> float:
        if value == 0:
            return 0
        unit = 10.0 ** np.floor(np.log10(abs(value)))
        result = float(f"{(np.ceil if up else np.floor)(value / unit) * unit:.6g}")
        return int(result) if result == int(result) else result

    bounds = [rounded(low, up=False), rounded(high, up=True)]
    return bounds if bounds[0] < bounds[1] else [bounds[0], bounds[0] + 1]


def _days_in(name: str) -> float:
    return next((factor for unit, factor in _DAYS_IN.items() if unit in name.lower()), 1.0)


def _source(name: str, key: str) -> dict[str, str]:
    return {} if name == key else {"source": key}


def _first_named(frame: pd.DataFrame, names: tuple[str, ...]) -> Any:
    """The column that bears the earliest of `names`, however it is spelt."""
    spelt = {re.sub(r"\W+", "_", str(key).strip().lower()): key for key in reversed(frame.columns)}
    return next((spelt[name] for name in names if name in spelt), None)


def _yaml(content: Mapping[str, Any], indent: int) -> list[str]:
    """One line a key; lists on the line of their key."""
    lines: list[str] = []
    for key, value in content.items():
        start = f"{' ' * indent}{_scalar(key)}:"
        lines += [start, *_yaml(value, indent + 2)] if isinstance(value, Mapping) else [f"{start} {_scalar(value)}"]
    return lines


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _comments(remarks: list[str], indent: int) -> list[str]:
    return [f"{' ' * indent}# {' '.join(remark.split())}" for remark in remarks]
