"""Files of Arrow's formats: their columns, the number of their rows, and their rows in batches.

A file is opened anew for each pass, and a batch takes a few tens of megabytes, however large the file is. Nothing that
a file says is believed before pyarrow has validated it: offsets that lead elsewhere would read foreign memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ....base.memory import check_room
from ....errors import DataError
from ..parts.files import opened, size_of
from .library import in_one_line, pyarrow_for

PARQUET, IPC, FEATHER_1 = b"PAR1", b"ARROW1", b"FEA1"  # the first bytes of the files
STREAM = b"\xff\xff\xff\xff"  # of an IPC stream
BATCH = 2**25  # bytes of a batch, about
ROWS = 2**16  # rows of a batch at most


@dataclasses.dataclass(frozen=True)
class TableFile:
    """A file of one table.

    Args:
        path: its path.
        schema: the schema of Arrow: names and types of the columns, and metadata.
        rows: the number of its rows.
        batches: yields record batches that have the named columns, perhaps beside others.
    """

    path: Path
    schema: Any
    rows: int
    batches: Callable[[Sequence[str]], Iterator[Any]]


def open_table(path: Path) -> TableFile:
    """Open a Parquet file, or an Arrow IPC file or stream (Feather version 2), whatever its suffix.

    Args:
        path: the path of the file.

    Returns:
        The opened file.

    Raises:
        DataError: it is missing, damaged, of another format, or pyarrow is not installed.
    """
    with opened(path) as file:
        first, size = file.read(8), size_of(file)
    if not size:
        raise DataError(f"{path}: an empty file; write it again.")
    if first.startswith(PARQUET):
        return _parquet(path)
    if first.startswith((IPC, STREAM)):
        return _ipc(path, stream=first.startswith(STREAM))
    if first.startswith(FEATHER_1):
        raise DataError(f"{path}: Feather version 1, which is out of use; write it again as version 2.")
    raise DataError(f"{path}: neither a Parquet nor an Arrow file, it begins {first!r}; check what it is.")


def _parquet(path: Path) -> TableFile:
    pyarrow_for(path)
    import pyarrow.parquet as parquet

    def batches(columns: Sequence[str]) -> Iterator[Any]:
        with in_one_line(path), parquet.ParquetFile(path, page_checksum_verification=True) as file:
            groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
            unpacked = max((group.total_byte_size for group in groups), default=0)
            check_room(unpacked, f"{path}: its largest row group")
            whole = None if len(columns) == len(file.schema_arrow.names) else list(columns)
            for at, group in enumerate(groups):  # one by one: a reader keeps what it has read of all of its groups
                wide = max(group.total_byte_size // max(group.num_rows, 1), 1)
                size = min(max(BATCH // wide, 1), ROWS)
                yield from _validated(file.iter_batches(size, row_groups=[at], columns=whole))

    with in_one_line(path), parquet.ParquetFile(path) as file:
        return TableFile(path, _legible(file.schema_arrow), file.metadata.num_rows, batches)


def _ipc(path: Path, *, stream: bool) -> TableFile:
    pyarrow = pyarrow_for(path)
    import pyarrow.ipc as ipc

    def all_batches(source: Any) -> Iterator[Any]:
        if stream:
            yield from ipc.open_stream(source)
        else:
            reader = ipc.open_file(source)
            yield from (reader.get_batch(at) for at in range(reader.num_record_batches))

    def batches(columns: Sequence[str]) -> Iterator[Any]:
        with in_one_line(path), pyarrow.memory_map(str(path)) as source:
            for batch in _validated(all_batches(source)):
                step = min(max(BATCH * batch.num_rows // max(batch.nbytes, 1), 1), ROWS)
                yield from (batch.slice(at, step) for at in range(0, batch.num_rows, step))

    with in_one_line(path), pyarrow.memory_map(str(path)) as source:
        schema = (ipc.open_stream if stream else ipc.open_file)(source).schema
        source.seek(0)
        return TableFile(path, _legible(schema), sum(batch.num_rows for batch in all_batches(source)), batches)


def _legible(schema: Any) -> Any:
    """Return a schema whose names are texts; a damaged one raises here and not at the first use of a name."""
    import pyarrow

    for field in schema:
        records = pyarrow.types.is_struct(field.type)
        _ = (field.name, [inner.name for inner in field.type] if records else [])  # decodes the names
    return schema


def _validated(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        batch.validate(full=True)
        yield batch
