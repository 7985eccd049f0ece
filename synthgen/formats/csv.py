"""Comma-separated text: UTF-8, one header line, quoted as in RFC 4180. Every cell is read as text, an empty one as missing."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from synthgen.errors import DataError

if TYPE_CHECKING:
    from synthgen.cohort import Origin

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""What a spreadsheet would run as a formula (OWASP: CSV injection), and the same with our apostrophe before it."""


def read(path: Path) -> pd.DataFrame:
    """All cells as str, None where empty. Raises DataError naming file and line when it is no such text."""
    text = _text(path)
    escaped = "'" in text
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = _header(path, next(reader, []))
        body = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path.name}: line {reader.line_num} has {len(row)} cells, the header has {len(header)}; "
                    "put cells that hold a comma in quotation marks."
                )
            cells = map(_plain, row) if escaped else row
            body.append([cell or None for cell in cells])
    except csv.Error:
        raise DataError(
            f"{path.name}: line {reader.line_num}: a quotation mark does not close, or text follows it; "
            'write a quotation mark inside a cell as "".'
        ) from None
    return pd.DataFrame(body, columns=header, dtype=object)


def write(path: Path, frame: pd.DataFrame, _origin: Origin) -> None:
    """UTF-8 with a header; text that a spreadsheet would run is led by an apostrophe, which `read` takes off again.

    CSV has no place for a mark: the origin stands in the file's name.
    """
    text = {str(key): column.map(_harmless, na_action="ignore") for key, column in frame.items() if _is_text(column)}
    frame.assign(**text).rename(columns=_harmless).to_csv(path, index=False, encoding="utf-8", lineterminator="\r\n")


def _text(path: Path) -> str:
    """The file as text, without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be read ({error.strerror}); check that it is a file you may read."
        ) from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path.name}: line 1: the text is UTF-16; save it as CSV UTF-8.")
    if (nul := data.find(b"\0")) >= 0:
        raise DataError(f"{path.name}: line {_line(data, nul)} holds a NUL byte; this is no text, export it again.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name}: line {_line(data, error.start)} is not UTF-8 (perhaps Latin-1 or Windows-1252); save it as CSV UTF-8."
        ) from None


def _line(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _header(path: Path, cells: list[str]) -> list[str]:
    """Column names; told by position when they are at fault, for the first line may be no header."""
    names = [_plain(cell.strip()) for cell in cells]
    if not any(names):
        raise DataError(f"{path.name}: line 1 holds no column names; the file is empty or starts with a blank line.")
    for delimiter, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if len(names) == 1 and delimiter in names[0]:
            raise DataError(f"{path.name}: line 1: cells are separated by {called}; save it with commas.")
    for position, name in enumerate(names):
        if not name:
            raise DataError(f"{path.name}: line 1: column number {position + 1} has no name; name it or remove it.")
        if name in names[:position]:
            raise DataError(
                f"{path.name}: line 1: columns number {names.index(name) + 1} and {position + 1} have one name; rename one."
            )
    return names


def _is_text(column: pd.Series[str]) -> bool:
    return column.dtype == object or isinstance(column.dtype, pd.CategoricalDtype)


def _harmless(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
