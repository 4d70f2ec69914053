"""Parquet files, read in blocks of rows.

Columns `modality:feature` are one array, a column of lists is an array, with `length_<name>` where they differ in
length, any other column stands for itself. A null is a missing row: NaN among floats, and a mask beside whole numbers,
bools and strings. Without a column `id`, the index that pandas has written becomes the ids of rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..readers.arrow.columns import in_one_level
from ..readers.arrow.row_names import Index, index_of
from ..readers.cells import plain_array
from ..readers.tables.ordered import one_order, order_in
from .blocks import BLOCK, Column, Contents, OtherType
from .row_ids import ids_in, longest_id

BUFFER = 2**16  # bytes of each column of the file that are held at once


class ParquetSource:
    """A Parquet file.

    Args:
        path: its path.
        ignored: the names of arrays that are left out.
    """

    def __init__(self, path: Path, ignored: Collection[str] = ()) -> None:
        self.path, self.ignored = path, frozenset(ignored)
        self.left_out: set[str] = set()  # the names that are ignored and that it has; known after `contents`
        self._floats: set[str] = set()  # lists of whole numbers of which a row has some and lacks others
        self._cells: set[str] = set()  # groups of which a row has some columns and lacks others, no floats
        self._uneven: set[str] = set()  # lists of several lengths, 0 among them
        self._ragged: set[str] = set()  # lists of several lengths, empty ones aside
        self._index = Index()
        self._labels: tuple[str, ...] = ()  # columns of the index whose texts become the ids
        self.levels: dict[str, tuple[str | int, ...]] = {}  # column → its classes in their order, once there are any

    def contents(self) -> Contents:
        """Say what is in it, from its schema and, of strings, from their lengths.

        Raises:
            DataError: it is no Parquet file, or columns repeat, clash, or have other types than numbers and strings.
        """
        with self._opened() as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
            self._index = index_of(schema.metadata, schema.names)
            self._parts = self._groups(schema)
            widths = self._widths(file)
            columns: dict[str, Column] = {}
            notes: list[str] = []
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
                if dtype.kind != "f" and (name in self._uneven or any(self._has_gaps(file, part) for part in parts)):
                    columns.setdefault(f"mask_{name}", Column((rows,), np.dtype(bool)))
                if name in self._uneven:
                    lengths = self._lengths(file, name)
                    columns[name] = Column((rows, int(lengths.max())), dtype)
                    if len(np.unique(lengths[lengths > 0])) > 1:
                        self._ragged.add(name)
                        columns[f"length_{name}"] = Column((rows,), np.dtype(np.int64))
                    elif empty := int((lengths == 0).sum()):
                        notes.append(f"{name}: {empty:,} empty lists among those of one length are missing rows")
            for name in self._cells:
                columns[f"mask_{name}"] = Column((rows, len(self._parts[name])), np.dtype(bool))
            if self._labels:
                columns["id"] = Column((rows,), np.dtype(f"U{longest_id(self.path, file, self._labels)}"))
            elif "id" not in columns and (self._index.start, self._index.step) != (0, 1):
                columns["id"] = Column((rows,), np.dtype(np.int64))
        return Contents(columns, dict(self._features), notes)

    def blocks(self, contents: Contents) -> Iterator[Mapping[str, np.ndarray]]:
        """Go through the rows.

        Yields:
            name → (n, *shape), of all arrays.

        Raises:
            DataError: a list of texts lacks some.
            OtherType: a list of whole numbers lacks some, for which they have to be floats; lists differ in length; or
                a row of a group lacks some columns, for which its mask has to be one of cells.
        """
        wanted = [*(part for parts in self._parts.values() for part in parts), *self._labels]
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
                cells = batch.column(part)
                if _is_list(cells.type):
                    lengths = self._fill_lists(into, cells, name, start)
                    if name in self._ragged:
                        found[f"length_{name}"] = lengths
                    else:
                        missing[:, place] = lengths == 0
                else:
                    missing[:, place] = _fill(into, cells)
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
                elif own is not None:
                    gap = gap.reshape(len(gap), *gap.shape[1:], *[1] * (own.ndim - gap.ndim))
                found[f"mask_{name}"] = np.asarray(~gap if own is None else np.where(gap, False, own))
        if self._labels:
            found["id"] = np.array(ids_in(self.path, batch, self._labels)).astype(contents.columns["id"].dtype)
        elif "id" in contents.columns and "id" not in found:
            found["id"] = self._index.start + self._index.step * np.arange(start, start + batch.num_rows)
        return found

    def _fill_lists(self, into: np.ndarray, cells: Any, name: str, start: int) -> np.ndarray:
        """Put the lists of a column in their place, and return how long each is, 0 where it is missing."""
        import pyarrow.compute as pc

        lengths = np.asarray(pc.list_value_length(cells).fill_null(0)).astype(np.int64)
        there = np.asarray(cells.is_valid())
        if name not in self._uneven and (lengths[there] != into.shape[1]).any():
            self._uneven.add(name)
            raise OtherType
        inside = cells.filter(cells.is_valid()).flatten()
        if inside.null_count and into.dtype.kind == "U":
            row = start + int(np.searchsorted(np.cumsum(lengths), int(np.asarray(inside.is_null()).argmax()), "right"))
            raise DataError(
                f"{self.path}: {name!r}, row {row}: null in place of a text in it; fill it, or empty the row."
            )
        if inside.null_count and into.dtype.kind != "f":
            self._floats.add(name)
            raise OtherType
        into[...] = 0 if into.dtype.kind != "U" else ""
        into[np.arange(into.shape[1]) < lengths[:, None]] = _numbers(inside, into.dtype.kind == "f")
        if into.dtype.kind == "f" and name not in self._ragged:
            into[lengths == 0] = np.nan
        return lengths

    def _groups(self, schema: Any) -> dict[str, list[str]]:
        """Return name → its columns in the file, and note the names of features and what becomes the ids."""
        names = schema.names
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{self.path}: column {repeated!r} occurs more than once; rename it.")
        of_index = self._index.columns
        ids = of_index if "id" not in names or "id" in of_index else ()
        plain = len(ids) == 1 and _is_plain(schema.field(ids[0]).type)
        self._labels = () if plain else ids
        found: dict[str, list[str]] = {}
        self._features: dict[str, tuple[str, ...]] = {}
        for column, called in zip(names, in_one_level(schema.metadata, names)):
            name, colon, feature = called.partition(":")
            if column in of_index:
                if not plain or column not in ids:
                    continue
                name, colon = "id", ""
            elif name in self.ignored:
                self.left_out.add(name)
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

        kind = _inner(kind)
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
        parts = [part for parts in self._parts.values() for part in parts]
        texts = [part for part in parts if _is_text(_inner(schema.field(part).type))]
        found = dict.fromkeys(texts, 1)
        orders: dict[str, dict[tuple[str | int, ...], None]] = {}
        for batch in file.iter_batches(batch_size=2**16, columns=texts, use_threads=False) if texts else ():
            for name in texts:
                cells = batch.column(name)
                if name in self._parts and (order := order_in(cells)) is not None:
                    orders.setdefault(name, {})[order] = None
                cells = cells.flatten() if _is_list(cells.type) else cells
                cells = cells.cast(pa.large_string()) if pa.types.is_dictionary(cells.type) else cells
                found[name] = max(found[name], pc.max(pc.utf8_length(cells)).as_py() or 0)
        self.levels = {name: order for name, of in orders.items() if (order := one_order([*of])) is not None}
        return found

    def _length(self, file: Any, name: str, kind: Any) -> int | None:
        """Return how many numbers each row of a column of lists has, as the first row says that has any; None for other
        columns."""
        if not _is_list(kind):
            return None
        for batch in file.iter_batches(batch_size=2**10, columns=[name], use_threads=False):
            for cell in batch.column(0):
                if cell.is_valid and len(cell):
                    return len(cell)
        raise DataError(f"{self.path}: {name!r} is empty in every row; leave it out (--as {name}=ignore).")

    @staticmethod
    def _lengths(file: Any, name: str) -> np.ndarray:
        """Return (N,) how long each list of a column is, −1 where there is none, for which it is read once more."""
        import pyarrow.compute as pc

        batches = file.iter_batches(batch_size=2**16, columns=[name], use_threads=False)
        return np.concatenate([np.asarray(pc.list_value_length(b.column(0)).fill_null(-1)) for b in batches])

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


def _fill(into: np.ndarray, cells: Any) -> np.ndarray:
    """Put the cells of a column in their place, and return which of them are missing."""
    import pyarrow as pa

    if into.dtype.kind == "U":
        texts = cells.cast(pa.large_string()) if pa.types.is_dictionary(cells.type) else cells
        into[...] = texts.fill_null("").to_numpy(zero_copy_only=False)
    else:
        into[...] = _numbers(cells, into.dtype.kind == "f")
    return np.asarray(cells.is_null())


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


def _inner(kind: Any) -> Any:
    return kind.value_type if _is_list(kind) else kind


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: Any) -> bool:
    """Say whether ids are kept as a column of the index has them: whole numbers and texts."""
    import pyarrow as pa

    return _is_text(kind) or bool(pa.types.is_integer(kind))
