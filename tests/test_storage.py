"""Files in, files out: what is written is what is read, whole or not at all, and no spreadsheet runs it."""

from __future__ import annotations

import csv as stdlib_csv
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_cohort import bytes_of, make

from synthgen.cohort import Cohort
from synthgen.dictionary import Dictionary, read_dictionary
from synthgen.errors import DataError, WorkspaceError
from synthgen.formats import csv, parquet
from synthgen.storage import as_written, fingerprint, read_cohort, read_synthetic, write_cohort


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "cohort")


@pytest.fixture
def dictionary(folder: Path) -> Dictionary:
    return read_dictionary(folder / "cohort.yaml")


@pytest.fixture
def cohort(folder: Path, dictionary: Dictionary) -> Cohort:
    return read_cohort(folder, dictionary)


def test_columns_are_renamed_recoded_and_converted(cohort: Cohort):
    """By hand: 0.5 years are 182.625 days, 1 year is 365.25, 2 years are 730.5 (half to even)."""
    assert cohort.patients["age"].tolist() == [34.5, 61.2, 47.2, 29.9]
    assert cohort.patients["sex"].tolist() == ["f", "m", "f", "f"]
    assert cohort.visits is not None
    assert cohort.visits["day"].tolist() == [0, 365, 730, 0, 183, 0, 0]
    assert cohort.visits["ascites"].astype(object).where(cohort.visits["ascites"].notna(), None).tolist() == [
        "no", None, "no", "yes", None, "yes", "no",
    ]  # fmt: skip
    assert cohort.events is not None
    assert "ward" not in cohort.events
    assert cohort.notes is not None
    assert cohort.notes["text"].iloc[0] == 'Tired, itching.\nNo "red flags".'


def test_reading_touches_nothing(folder: Path, dictionary: Dictionary):
    before = bytes_of(folder)
    read_cohort(folder, dictionary)
    assert bytes_of(folder) == before


def test_a_byte_order_mark_and_blank_lines_are_harmless(folder: Path, dictionary: Dictionary, cohort: Cohort):
    text = (folder / "visits.csv").read_text()
    (folder / "visits.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert fingerprint(read_cohort(folder, dictionary)) == fingerprint(cohort)


def test_patients_are_taken_from_a_longer_file(folder: Path, cohort: Cohort):
    text = (folder / "cohort.yaml").read_text()
    for table in ("patients", "visits"):
        text = text.replace(f"  {table}:\n", f"  {table}:\n    file: all\n")
    (folder / "cohort.yaml").write_text(text)
    both = pd.read_csv(folder / "visits.csv", dtype=str).merge(pd.read_csv(folder / "patients.csv", dtype=str))
    both.loc[0, "sex"] = None  # a constant that is written at the second visit only
    both.to_csv(folder / "all.csv", index=False)
    for name in ("patients.csv", "visits.csv"):
        (folder / name).unlink()
    shared = read_cohort(folder, read_dictionary(folder / "cohort.yaml"))
    assert shared.ids.tolist() == ["QB28", "QA17", "QC39", "QD40"]
    by_id = shared.patients.set_index("patient_id").loc[cohort.ids]
    pd.testing.assert_frame_equal(by_id, cohort.patients.set_index("patient_id"), check_names=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("origin", ["real", "synthetic"])
def test_what_is_written_is_what_is_read(
    kind: str, origin: str, cohort: Cohort, dictionary: Dictionary, tmp_path: Path
):
    cohort = dataclasses.replace(cohort, origin=origin)
    write_cohort(cohort, tmp_path / "out", (kind,))
    if origin == "synthetic":
        again = read_synthetic(tmp_path / "out", dictionary)
    else:
        again = read_cohort(tmp_path / "out", as_written(dictionary))
    assert fingerprint(again) == fingerprint(cohort)
    for name, frame in cohort.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], frame)


def test_synthetic_files_say_so_and_nothing_else_is_left(cohort: Cohort, tmp_path: Path):
    paths = write_cohort(dataclasses.replace(cohort, origin="synthetic"), tmp_path / "out")
    names = {f"synthetic_{table}.{kind}" for table in cohort.tables for kind in ("csv", "parquet")}
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "out").iterdir()} == names
    assert pq.read_schema(tmp_path / "out" / "synthetic_visits.parquet").metadata[b"synthgen.origin"] == b"synthetic"
    assert parquet.origin(tmp_path / "out" / "synthetic_visits.parquet") == "synthetic"


def test_a_real_parquet_file_is_not_marked_synthetic(cohort: Cohort, tmp_path: Path):
    write_cohort(cohort, tmp_path / "out", ("parquet",))
    assert parquet.origin(tmp_path / "out" / "visits.parquet") == "real"
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    assert parquet.origin(tmp_path / "other.parquet") is None


def test_a_full_disk_is_one_error_and_leaves_what_was_there(cohort: Cohort, tmp_path: Path):
    """A limit on file size, in a process of its own, stands for a full disk: the write itself fails, in the middle of a file."""
    out = tmp_path / "out"
    write_cohort(cohort, out)
    before = bytes_of(out)
    script = f"""
import dataclasses, os, resource
from pathlib import Path
from synthgen.dictionary import read_dictionary
from synthgen.errors import WorkspaceError
from synthgen.storage import read_cohort, write_cohort
folder = Path({str(tmp_path / "cohort")!r})
cohort = read_cohort(folder, read_dictionary(folder / "cohort.yaml"))
larger = dataclasses.replace(cohort, notes=cohort.notes.assign(text=os.urandom(100_000).hex()))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for kind in ("csv", "parquet"):
    try:
        write_cohort(larger, Path({str(out)!r}), (kind,))
    except WorkspaceError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("the cohort cannot be written (File too large); free space") == 2
    assert bytes_of(out) == before


@pytest.mark.parametrize("failing", range(1, 9))
def test_a_failure_at_any_file_leaves_what_was_there(
    failing: int, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    write_cohort(cohort.of(["QA17", "QB28"]), out)
    before = bytes_of(out)
    calls, flush = [0], os.fsync

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise OSError(28, "No space left on device")
        flush(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WorkspaceError, match=r"out: the cohort cannot be written \(No space left on device\); free space"
    ):
        write_cohort(cohort, out)
    assert bytes_of(out) == before


def test_a_folder_that_cannot_be_made_is_one_error(cohort: Cohort, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_cohort(cohort, tmp_path / "file" / "out")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1", '=cmd|"/c calc"!A0']


@pytest.mark.parametrize("text", FORMULAS)
def test_no_spreadsheet_runs_a_written_cell(text: str, tmp_path: Path):
    csv.write(tmp_path / "a.csv", pd.DataFrame({"note": [text], "=head": ["x"], "sign": pd.Categorical(["+"])}), "real")
    with (tmp_path / "a.csv").open(newline="") as file:
        header, row = list(stdlib_csv.reader(file))
    assert all(cell[0] not in "=+-@\t\r" for cell in header + row)
    assert csv.read(tmp_path / "a.csv").to_dict("list") == {"note": [text], "=head": ["x"], "sign": ["+"]}


def test_negative_numbers_are_no_formulas(tmp_path: Path):
    csv.write(tmp_path / "a.csv", pd.DataFrame({"change": [-1.5, np.nan]}), "real")
    assert (tmp_path / "a.csv").read_text().splitlines() == ["change", "-1.5", '""']


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1))
def test_any_text_survives_csv(tmp_path: Path, cells: list[str]):
    frame = pd.DataFrame({"patient_id": "p", "text": cells})
    csv.write(tmp_path / "a.csv", frame, "real")
    assert csv.read(tmp_path / "a.csv")["text"].tolist() == cells


def test_a_fingerprint_changes_with_any_value_and_only_then(cohort: Cohort):
    def other(table: str, column: str, value: object) -> str:
        frame = getattr(cohort, table).copy()
        frame.loc[0, column] = value
        return fingerprint(dataclasses.replace(cohort, **{table: frame}))

    changed = [
        other("patients", "age", 34.6),
        other("patients", "patient_id", "QA18"),
        other("patients", "followup_days", 801),
        other("patients", "sex", "m"),
        other("visits", "bilirubin", np.nan),
        other("events", "stop", 0),
        other("events", "stop", 301),
        other("notes", "text", None),
        other("notes", "text", ""),
        fingerprint(dataclasses.replace(cohort, origin="synthetic")),
        fingerprint(cohort.of(["QA17", "QB28", "QC39"])),
    ]
    assert len({fingerprint(cohort), *changed}) == len(changed) + 1
    assert other("patients", "age", 34.5) == fingerprint(cohort)


def test_whole_numbers_beside_missing_ones_stay_whole_in_parquet(tmp_path: Path):
    big = 2**53 + 1
    pd.DataFrame({"n": pd.array([big, None], dtype="Int64")}).to_parquet(tmp_path / "a.parquet")
    assert parquet.read(tmp_path / "a.parquet")["n"].tolist() == [big, pd.NA]


def test_synthetic_tables_are_checked_as_well(cohort: Cohort, dictionary: Dictionary, tmp_path: Path):
    assert cohort.visits is not None
    bad = cohort.visits.assign(bilirubin=1000.0)
    write_cohort(dataclasses.replace(cohort, visits=bad, origin="synthetic"), tmp_path / "out")
    with pytest.raises(DataError, match=r"visits\.bilirubin: fewer than 11 rows lie outside the bounds"):
        read_synthetic(tmp_path / "out", dictionary)
