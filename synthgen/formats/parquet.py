"""Apache Parquet, with a mark in the file's metadata that says whether its patients are real or synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from synthgen.errors import DataError

if TYPE_CHECKING:
    from synthgen.cohort import Origin

_MARK = b"synthgen.origin"


def read(path: Path) -> pd.DataFrame:
    """Typed columns; whole numbers stay whole beside missing ones. Raises DataError naming the file when it is damaged."""
    try:
        table = pq.ParquetFile(path).read()
        if len(set(table.column_names)) < table.num_columns:
            raise DataError(f"{path.name}: two columns have one name; rename one.")
        if nested := [field.name for field in table.schema if not _is_plain(field.type)]:
            raise DataError(f"{path.name}: column {nested[0]} holds lists, records or bytes; write one value a cell.")
        frame = table.to_pandas(ignore_metadata=True, types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    except OSError as error:
        if error.errno is None:  # pyarrow raises a bare OSError for damaged pages
            raise _damaged(path) from None
        raise DataError(
            f"{path.name}: cannot be read ({error.strerror}); check that it is a file you may read."
        ) from None
    except (pa.ArrowException, ValueError):
        raise _damaged(path) from None
    assert isinstance(frame, pd.DataFrame)
    return frame


def write(path: Path, frame: pd.DataFrame, origin: Origin) -> None:
    """One Parquet file that carries `synthgen.origin`."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    marked = table.replace_schema_metadata({**(table.schema.metadata or {}), _MARK: origin.encode()})
    pq.write_table(marked, path)


def origin(path: Path) -> str | None:
    """What `write` marked the file as; None for a file of another program."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException, ValueError):
        raise _damaged(path) from None
    mark = metadata.get(_MARK)
    return mark.decode() if mark else None


def _is_plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _damaged(path: Path) -> DataError:
    return DataError(f"{path.name}: the file is no Parquet file or is damaged; export it again.")
