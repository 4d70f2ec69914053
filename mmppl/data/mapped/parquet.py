"""Parquet files, read in blocks of rows.

Columns `modality:feature` are one array, a column of lists of one length is an array, any other column stands for
itself. A null is a missing row: NaN among floats, and a mask beside whole numbers, bools and strings.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..readers.cells import plain_array
from ..readers.tables.ordered import one_order, order_in
from .blocks import BLOCK, Column, Contents, OtherType

BUFFER = 2**16  # bytes of each column of the file that are held at once


class ParquetSource:
    """A Parquet file.

    Args:
        path: its path.
        ignored: the names of arrays that are left out.
    """

    def __init__(self, path: Path, ignored: Collection[str] = ()) -> None:
        self.path, self.ignored = path, frozenset(ignored)
        self._floats: set[str] = set()  # lists of whole numbers of which a row has some and lacks others
        self._cells: set[str] = set()  # groups of which a row has some columns and lacks others, no floats
        self.levels: dict[str, tuple[str | int, ...]] = {}  # column → its classes in their order, once there are any

    def contents(self) -> Contents:
        """Say what is in it, from its schema and, of strings, from their lengths.

        Raises:
            DataError: it is no Parquet file, or columns repeat, clash, or have other types than numbers and strings.
        """
        with self._opened() as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
            self._parts = self._groups(schema.names, _index(schema))
            widths = self._widths(file)
            columns: dict[str, Column] = {}
            for name, parts in self._parts.items():
                types = [schema.field(part).type for part in parts]
                width = None if name in self._features else self._length(file, parts[0], types[0])
                dtypes = [self._dtype(part, kind, widths.get(part, 0)) for part, kind in zip(parts, types)]
                if len({dtype.kind == "U" for dtype in dtypes}) > 1:
                    raise DataError(
                        f"{self.path}: the columns of {name!r} mix numbers and strings; group only columns of one kind."
                    )
                dtype = np.result_type(*dtypes, np.float64) if name in self._floats else np.result_type(*dtypes)
                shape = (len(parts),) if name in self._features else () if width is None else (width,)
                columns[name] = Column((rows, *shape), dtype)
                if dtype.kind != "f" and any(self._has_gaps(file, part) for part in parts):
                    columns.setdefault(f"mask_{name}", Column((rows,), np.dtype(bool)))
            for name in self._cells:
                columns[f"mask_{name}"] = Column((rows, len(self._parts[name])), np.dtype(bool))
        return Contents(columns, dict(self._features))

    def blocks(self, contents: Contents) -> Iterator[Mapping[str, np.ndarray]]:
        """Go through the rows.

        Yields:
            name → (n, *shape), of all arrays.

        Raises:
            DataError: a list has another length.
            OtherType: a list of whole numbers lacks some, for which they have to be floats, or a row of a group lacks
                some columns, for which its mask has to be one of cells.
        """
        wanted = [part for parts in self._parts.values() for part in parts]
        step = max(1, BLOCK // max(1, sum(np.prod(c.shape[1:], dtype=int) for c in contents.columns.values())))
        start = 0
        with self._opened() as file:
            for batch in file.iter_batches(batch_size=step, columns=wanted, use_threads=False):
                yield self._block(batch, contents, start)
                start += batch.num_rows

    def _block(self, batch: Any, contents: Contents, start: int) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        gaps: dict[str, np.ndarray] = {}
        for name, parts in self._parts.items():
            column = contents.columns[name]
            values = np.empty((batch.num_rows, *column.shape[1:]), column.dtype)
            missing = np.zeros((batch.num_rows, len(parts)), bool)
            for place, part in enumerate(parts):
                into = values[:, place] if name in self._features else values
                missing[:, place] = self._fill(into, batch.column(part), part, start)
            gap = missing.all(1)
            partly = missing.any(1) & ~gap
            if name in self._cells:
                gap = missing
            elif partly.any() and column.dtype.kind != "f":
                self._cells.add(name)
                raise OtherType
            found[name] = plain_array(name, values)
            gaps[name] = np.asarray(gap)
        for name, gap in gaps.items():
            if f"mask_{name}" in contents.columns:
                own = found.get(f"mask_{name}")
                if own is not None and own.ndim < gap.ndim:
                    own = own[:, None]
                found[f"mask_{name}"] = np.asarray(~gap if own is None else np.where(gap, False, own))
        return found

    def _fill(self, into: np.ndarray, cells: Any, name: str, start: int) -> np.ndarray:
        """Put the cells of a column in their place, and return which of them are missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        missing = np.asarray(cells.is_null())
        if _is_list(cells.type):
            lengths = np.asarray(pc.list_value_length(cells).fill_null(into.shape[1]))
            if (lengths != into.shape[1]).any():
                row = int((lengths != into.shape[1]).argmax())
                raise DataError(
                    f"{self.path}: {name!r}, row {start + row} has {lengths[row]} numbers, and rows before it "
                    f"{into.shape[1]}; give every row as many."
                )
            inside = cells.filter(pc.is_valid(cells)).flatten() if missing.any() else cells.flatten()
            if inside.null_count and into.dtype.kind != "f":
                self._floats.add(name)
                raise OtherType
            into[~missing] = _numbers(inside).reshape(-1, into.shape[1])
            into[missing] = np.nan if into.dtype.kind == "f" else 0
        elif into.dtype.kind == "U":
            texts = cells.cast(pa.large_string()) if pa.types.is_dictionary(cells.type) else cells
            into[...] = texts.fill_null("").to_numpy(zero_copy_only=False)
        else:
            into[...] = _numbers(cells, into.dtype.kind == "f")
        return missing

    def _groups(self, names: list[str], index: str | None) -> dict[str, list[str]]:
        """Return name → its columns in the file, and note the names of features."""
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{self.path}: column {repeated!r} occurs more than once; rename it.")
        found: dict[str, list[str]] = {}
        self._features: dict[str, tuple[str, ...]] = {}
        for column in names:
            name, colon, feature = column.partition(":")
            if column == index and "id" not in names:
                name, colon = "id", ""
            if name in self.ignored:
                continue
            if name in found and not (colon and name in self._features):
                raise DataError(f"{self.path}: {name!r} is a column and also a group {name}:…; rename one of them.")
            if colon:
                self._features[name] = (*self._features.get(name, ()), feature)
            found.setdefault(name, []).append(column)
        return found

    def _dtype(self, name: str, kind: Any, width: int) -> np.dtype:
        """Return NumPy's type for the numbers or strings of a column."""
        import pyarrow as pa

        if _is_list(kind):
            kind = kind.value_type
        if _is_text(kind):
            return np.dtype(f"U{max(1, width)}")
        if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            return np.dtype(kind.to_pandas_dtype())
        if pa.types.is_null(kind):
            return np.dtype(np.float64)
        raise DataError(
            f"{self.path}: column {name!r} is {str(kind)[:60]}; store numbers, bools, strings or lists of numbers, or "
            f"leave it out (--as {name.partition(':')[0]}=ignore)."
        )

    def _widths(self, file: Any) -> dict[str, int]:
        """Return the length of the longest string of each column of strings, for which they are read once more, and
        note the order of their classes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        schema = file.schema_arrow
        texts = [part for parts in self._parts.values() for part in parts if _is_text(schema.field(part).type)]
        found = dict.fromkeys(texts, 1)
        orders: dict[str, dict[tuple[str | int, ...], None]] = {}
        for batch in file.iter_batches(batch_size=2**16, columns=texts, use_threads=False) if texts else ():
            for name in texts:
                cells = batch.column(name)
                if name in self._parts and (order := order_in(cells)) is not None:
                    orders.setdefault(name, {})[order] = None
                cells = cells.cast(pa.large_string()) if pa.types.is_dictionary(cells.type) else cells
                found[name] = max(found[name], pc.max(pc.utf8_length(cells)).as_py() or 0)
        self.levels = {name: order for name, of in orders.items() if (order := one_order([*of])) is not None}
        return found

    def _length(self, file: Any, name: str, kind: Any) -> int | None:
        """Return how many numbers each row of a column of lists has, as its first row says; None for other columns."""
        if not _is_list(kind):
            return None
        for batch in file.iter_batches(batch_size=2**10, columns=[name], use_threads=False):
            for cell in batch.column(0):
                if cell.is_valid:
                    return len(cell)
        raise DataError(f"{self.path}: {name!r} is empty in every row; leave it out (--as {name}=ignore).")

    @staticmethod
    def _has_gaps(file: Any, name: str) -> bool:
        """Say whether a column may have nulls; a file that does not count them may."""
        place = file.schema_arrow.names.index(name)
        if file.metadata.num_columns != len(file.schema_arrow.names):
            return True  # places of columns and of what they consist of differ
        groups = (file.metadata.row_group(i).column(place).statistics for i in range(file.metadata.num_row_groups))
        return any(of is None or not of.has_null_count or of.null_count for of in groups)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise DataError(f"{self.path}: Parquet files need pyarrow: pip install 'mmppl[table]'.") from None
        try:
            with pq.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{self.path}: not a whole Parquet file ({reason}); write it again.") from None


def _index(schema: Any) -> str | None:
    """Return the column that was the index of a DataFrame of pandas."""
    about = (schema.metadata or {}).get(b"pandas")
    try:
        found = [] if about is None else json.loads(about).get("index_columns", [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 and isinstance(found[0], str) and found[0] in schema.names else None


def _numbers(cells: Any, floats: bool = False) -> np.ndarray:
    """Return numbers or bools, with NaN (else 0) where they are missing."""
    import pyarrow as pa

    if pa.types.is_null(cells.type):
        return np.full(len(cells), np.nan)
    empty: Any = np.nan if pa.types.is_floating(cells.type) else False if pa.types.is_boolean(cells.type) else 0
    found = (
        cells.fill_null(pa.scalar(empty, cells.type)).to_numpy(zero_copy_only=False)
        if cells.null_count
        else (cells.to_numpy(zero_copy_only=False))
    )
    if floats and cells.null_count and found.dtype.kind != "f":
        return np.where(np.asarray(cells.is_null()), np.nan, found)
    return np.asarray(found)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
