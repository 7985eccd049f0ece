"""Cohorts on disk: one file a table, CSV or Parquet. Reading leaves inputs untouched; writing is all or nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from privacy.files import PARTIAL
from synthgen.cohort import Cohort
from synthgen.conformance import conform, numbers, place, rows, undeclared, words
from synthgen.dictionary import TABLES
from synthgen.errors import DataError, WorkspaceError
from synthgen.formats import csv, medmnist, parquet, phenopackets

if TYPE_CHECKING:
    from synthgen.cohort import Origin
    from synthgen.dictionary import Column, Dictionary, Table

Format = Literal["parquet", "csv"]

_READ = {"parquet": parquet.read, "csv": csv.read}
_WRITE = {"parquet": parquet.write, "csv": csv.write}
_ONE_FILE = {".zip": phenopackets.read, ".npz": medmnist.read}
"""Formats that hold a whole cohort in one file."""
_NOT_RECORDED = "NA"
"""What R, and so much of medicine, writes for a missing value."""


def read_cohort(folder: str | Path, dictionary: Dictionary) -> Cohort:
    """The real cohort in a folder that holds `<table or its file>.parquet` or `.csv` for each table of the dictionary,
    or the one in a zip of phenopackets (`data: cohort.zip`) or in MedMNIST's format (`data: cohort.npz`).

    Columns are renamed, recoded and multiplied as the dictionary says. Where `patients` shares a file with another table,
    each patient's first recorded value is taken.

    Raises:
        DataError: every breach of every table at once, or the first file that cannot be read.
    """
    folder = Path(folder)
    read = _ONE_FILE.get(folder.suffix)
    return _read_folder(folder, dictionary, "real") if read is None else _declared(read(folder), dictionary)


def _declared(tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> Cohort:
    """The real cohort in one file of its own format, with the columns that the dictionary declares."""
    declared = {}
    for name, table in dictionary.tables.items():
        if name in tables:
            frame = tables[name].reindex(columns=list(table.columns))
            declared[name] = frame.assign(
                **{k: (_fitted if c.type == "image" else _read_as)(frame[k], c) for k, c in table.columns.items()}
            )
    return Cohort.checked(declared, dictionary, "real")


def _fitted(pictures: pd.Series[Any], column: Column) -> pd.Series[Any]:
    from synthgen.pictures import fitted

    assert column.size is not None
    cells = [fitted(p, column.size, column.channels) if isinstance(p, np.ndarray) else None for p in pictures]
    return pd.Series(cells, index=pictures.index, dtype=object)


def read_synthetic(folder: Path, dictionary: Dictionary) -> Cohort:
    """The synthetic cohort that `write_cohort` wrote; of a table in both formats, the Parquet file. Raises DataError."""
    return _read_folder(folder, as_written(dictionary, "synthetic"), "synthetic")


def read_foreign(folder: Path, dictionary: Dictionary) -> tuple[Cohort, list[str]]:
    """A synthetic cohort that somebody else made, as it is, with its breaches: what cannot be read is missing, and tables and
    columns may lack. For audits. The files are called as the real ones, or `synthetic_<table>`.

    Raises:
        DataError: where no patient can be told from another.
    """
    ours = any(folder.glob("synthetic_patients.*"))
    conformed, breaches = _conformed(folder, as_written(dictionary, "synthetic") if ours else dictionary, "synthetic")
    for name, frame in conformed.items():
        for key, column in dictionary.tables[name].columns.items():
            if key not in frame:
                frame[key] = pd.Categorical([None] * len(frame), column.categories) if column.discrete else np.nan
    ids = conformed.get("patients", pd.DataFrame()).get("patient_id")
    if ids is None or ids.isna().any() or ids.duplicated().any():
        raise DataError([f"{folder}: patients needs an id for every row, and each once.", *breaches])
    return Cohort(**conformed, origin="synthetic"), breaches


def _read_folder(folder: Path, dictionary: Dictionary, origin: Origin) -> Cohort:
    conformed, breaches = _conformed(folder, dictionary, origin)
    if breaches:
        raise DataError(breaches)
    return Cohort(**conformed, origin=origin)


def _conformed(folder: Path, dictionary: Dictionary, origin: Origin) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The tables of a folder in the dictionary's types, and every breach."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name the folder that holds the cohort's tables.")
    paths, breaches = _locate(folder, dictionary, origin)
    files = {path: _read(path, origin) for path in dict.fromkeys(paths.values())}
    readers = {path: [dictionary.tables[name] for name in paths if paths[name] == path] for path in files}
    for path, frame in files.items():
        breaches += _undeclared(path, frame, readers[path])
    tables: dict[str, pd.DataFrame] = {}
    for name, path in paths.items():
        tables[name] = _in_dictionary_names(files[path], dictionary.tables[name])
        if name == "patients" and len(readers[path]) > 1:
            breaches += _inconstant(tables[name], dictionary.tables[name])
            tables[name] = _one_row_each(tables[name])
        tables[name], faults = _with_pictures(folder, name, tables[name], dictionary.tables[name])
        breaches += faults
    declared = dictionary.model_copy(update={"tables": {name: dictionary.tables[name] for name in paths}})
    conformed, found = conform(tables, declared, origin)
    return conformed, breaches + found + _broken_links(folder, conformed, dictionary)


def write_cohort(cohort: Cohort, folder: Path, formats: Sequence[Format] = ("parquet", "csv")) -> list[Path]:
    """Writes each table in each format and returns the paths; a synthetic table is called `synthetic_<table>`.

    Pictures become PNG files, marked as what they are, in a folder called as their table, and their cells the paths. Every file
    is complete on the disk before the first one takes its name.

    Raises:
        WorkspaceError: when the disk is full or the folder cannot be written; nothing is left behind then.
    """
    prefix = _prefix(cohort.origin)
    pending: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = {name: _drawn(frame, folder, name, cohort.origin, pending) for name, frame in cohort.tables.items()}
        for kind in formats:
            for name, frame in tables.items():
                pending[folder / f"{prefix}{name}.{kind}"] = temporary = _temporary(folder, kind)
                _WRITE[kind](temporary, frame, cohort.origin)
        for temporary in pending.values():
            _flush(temporary)
        for path, written in pending.items():
            path.parent.mkdir(exist_ok=True)
            written.chmod(0o640)
            written.replace(path)
        _flush(folder)
    except OSError as error:
        raise WorkspaceError(
            f"{folder}: the cohort cannot be written ({os.strerror(error.errno or errno.EIO)}); "
            "free space or name another folder. Nothing was written."
        ) from None
    finally:
        for written in pending.values():
            written.unlink(missing_ok=True)
    return list(pending)


def _drawn(frame: pd.DataFrame, folder: Path, name: str, origin: Origin, pending: dict[Path, Path]) -> pd.DataFrame:
    """The table with paths for pictures; each picture's file, still under a temporary name, joins `pending`."""
    from synthgen.pictures import write_picture

    mark = {"synthetic": "yes", "generator": "synthgen"} if origin == "synthetic" else {}
    for key in [str(k) for k, column in frame.items() if any(isinstance(cell, np.ndarray) for cell in column)]:
        paths: list[str | None] = [None] * len(frame)
        number = frame.groupby("patient_id").cumcount()
        for row, (patient, k, picture) in enumerate(zip(frame["patient_id"], number, frame[key], strict=True)):
            if isinstance(picture, np.ndarray):
                paths[row] = f"{_prefix(origin)}{name}/{_file_name(patient)}-{k + 1}.png"
                pending[folder / str(paths[row])] = temporary = _temporary(folder, "png")
                write_picture(temporary, picture, mark)
        frame = frame.assign(**{key: pd.Series(paths, index=frame.index, dtype=object)})
    return frame


def _temporary(folder: Path, kind: str) -> Path:
    handle, path = tempfile.mkstemp(dir=folder, prefix=".", suffix=f"{PARTIAL}.{kind}")
    os.close(handle)
    return Path(path)


def _file_name(patient: str) -> str:
    """A patient's id as part of a file's name: an id may hold what a path may not."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in patient)
    return plain if plain == patient else f"{plain}-{hashlib.sha256(patient.encode()).hexdigest()[:8]}"


def as_written(dictionary: Dictionary, origin: Origin = "real") -> Dictionary:
    """The dictionary of the files that `write_cohort` writes: same columns, nothing to rename, recode or convert."""
    return dictionary.model_copy(
        update={
            "ignore": (),
            "tables": {
                name: table.model_copy(
                    update={
                        "file": f"{_prefix(origin)}{name}",
                        "ignore": (),
                        "columns": {
                            key: column.model_copy(update={"source": None, "recode": None, "multiply": None})
                            for key, column in table.columns.items()
                        },
                    }
                )
                for name, table in dictionary.tables.items()
            },
        }
    )


def fingerprint(cohort: Cohort) -> str:
    """SHA-256 (hex) of every value, in order: two cohorts share it only when they are equal."""
    digest = hashlib.sha256(cohort.origin.encode())
    for name, frame in cohort.tables.items():
        for key, column in frame.items():
            digest.update(json.dumps([name, key, len(column)]).encode())
            digest.update(_bytes(column))
    return digest.hexdigest()


def _bytes(column: pd.Series[Any]) -> bytes:
    if column.dtype == np.float64:
        return column.to_numpy("<f8").tobytes()
    if column.dtype == pd.Int64Dtype():
        return column.isna().to_numpy().tobytes() + column.to_numpy("<i8", na_value=0).tobytes()
    if any(isinstance(cell, np.ndarray) for cell in column):
        return b"".join(
            repr(cell.shape).encode() + cell.tobytes() if isinstance(cell, np.ndarray) else b"-" for cell in column
        )
    return json.dumps([None if gone else cell for cell, gone in zip(column, column.isna(), strict=True)]).encode()


def _prefix(origin: Origin) -> str:
    return "synthetic_" if origin == "synthetic" else ""


def _locate(folder: Path, dictionary: Dictionary, origin: Origin) -> tuple[dict[str, Path], list[str]]:
    """Each table's file, and breaches for tables without one, with two, or undeclared."""
    found: dict[str, Path] = {}
    breaches = []
    for name, table in dictionary.tables.items():
        stem = table.file or name
        paths = [path for kind in _READ if (path := folder / f"{stem}.{kind}").is_file()]
        if not paths:
            breaches.append(
                f"{name}: neither {stem}.parquet nor {stem}.csv is in the folder; add it, or take {name} out."
            )
        elif len(paths) > 1 and origin == "real":
            breaches.append(
                f"{name}: both {stem}.parquet and {stem}.csv are in the folder; keep the one that is right."
            )
        else:
            found[name] = paths[0]
    for name in (t for t in TABLES if t not in dictionary.ignore):
        for kind in _READ:
            path = folder / f"{_prefix(origin)}{name}.{kind}"
            if name not in dictionary.tables and path.is_file() and path not in found.values():
                breaches.append(
                    f"{name}: the dictionary does not declare {path.name}; declare the table, or move the file."
                )
    return found, breaches


def _read(path: Path, origin: Origin) -> pd.DataFrame:
    kind = path.suffix.removeprefix(".")
    if kind == "parquet" and origin == "real" and parquet.origin(path) == "synthetic":
        raise DataError(f"{path.name}: the file is marked as synthetic; a cohort of real patients is wanted here.")
    return _READ[kind](path)


def _undeclared(path: Path, frame: pd.DataFrame, tables: list[Table]) -> list[str]:
    """Breaches for columns of a file that none of the tables read from it declares."""
    sources = {column.source or key for table in tables for key, column in table.columns.items()}
    id_column = tables[0].columns["patient_id"].source or "patient_id"
    known = sources | {key for table in tables for key in table.ignore}
    return undeclared(path.name, frame, known, id_column) if sources & set(frame) else []


def _in_dictionary_names(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """The columns that the table declares, under its names."""
    found = {key: (column, column.source or key) for key, column in table.columns.items()}
    columns = {key: _read_as(frame[source], column) for key, (column, source) in found.items() if source in frame}
    return pd.DataFrame(columns, index=frame.index)


def _read_as(raw: pd.Series[Any], column: Column) -> pd.Series[Any]:
    """A file's cells in the dictionary's spelling and unit; cells that are no numbers stay as they are."""
    if column.type != "text" and _NOT_RECORDED not in (column.categories or ()) and raw.dtype == object:
        raw = raw.mask(raw == _NOT_RECORDED)
    if column.recode:
        spelt = words(raw)
        raw = spelt.map(column.recode).where(spelt.isin(column.recode), spelt)
    if column.multiply is None:
        return raw
    values = numbers(raw) * column.multiply
    values = values.round() if column.type == "integer" else values
    return values.astype(object).where(values.notna() | raw.isna(), raw)


def _one_row_each(frame: pd.DataFrame) -> pd.DataFrame:
    """Each patient's first recorded values, in order of appearance; rows without an id stay to be told."""
    known = frame["patient_id"].notna() if "patient_id" in frame else pd.Series(False, index=frame.index)
    first = frame[known].groupby("patient_id", sort=False, as_index=False).first() if known.any() else frame[known]
    return pd.concat([first, frame[~known]], ignore_index=True)[list(frame.columns)]


def _inconstant(frame: pd.DataFrame, table: Table) -> list[str]:
    """Breaches for columns of `patients` that differ between the rows of one patient."""
    if "patient_id" not in frame:
        return []
    breaches = []
    for key, column in table.columns.items():
        if key != "patient_id" and key in frame:
            differ = int((words(frame[key]).groupby(frame["patient_id"]).nunique() > 1).sum())
            if differ:
                breaches.append(
                    f"{place('patients', key, column)}: {rows(differ, 'patients')} have more than one value; "
                    "a column of patients is constant, correct it or declare it in another table."
                )
    return breaches


def _with_pictures(folder: Path, name: str, frame: pd.DataFrame, table: Table) -> tuple[pd.DataFrame, list[str]]:
    """The paths in columns of type `image` -> the pictures, each brought to its column's size, and the faults of all."""
    from synthgen.pictures import read_pictures

    breaches: list[str] = []
    for key, column in table.columns.items():
        if column.type == "image" and key in frame:
            assert column.size is not None
            found, faults = read_pictures(folder, list(frame[key]), column.size, column.channels)
            frame = frame.assign(**{key: pd.Series(found, index=frame.index, dtype=object)})
            breaches += [f"{place(name, key, column)}: {fault}" for fault in faults]
    return frame, breaches


def _broken_links(folder: Path, tables: dict[str, pd.DataFrame], dictionary: Dictionary) -> list[str]:
    """Breaches for columns of type `file` that name no file inside the folder."""
    breaches = []
    root = folder.resolve()
    for name, frame in tables.items():
        for key, column in dictionary.tables[name].columns.items():
            if column.type == "file" and key in frame:
                paths = [(root / cell).resolve() for cell in frame[key].dropna()]
                broken = sum(not (path.is_relative_to(root) and path.is_file()) for path in paths)
                if broken:
                    breaches.append(
                        f"{place(name, key, column)}: {rows(broken)} name no file inside the cohort's folder; "
                        "write paths relative to it."
                    )
    return breaches


def _flush(path: Path) -> None:
    """On the disk, not only in its cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
