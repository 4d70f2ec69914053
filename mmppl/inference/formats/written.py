"""Files of answers that are written block after block, whatever their number."""

from __future__ import annotations

import csv
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...base.disk.parts import part_in, remove, sweep
from ...base.extras import extra
from ...errors import UsageError
from ..answer import Answer
from .columns import columns_of
from .parquet import arrow_table

GROUP = 2**27  # bytes of a row group of a Parquet file, about


class Writer(Protocol):
    """What writes the answers of blocks of rows into one file."""

    def write(self, answer: Answer) -> None:
        """Add the answers of the next rows."""

    def close(self) -> None:
        """Finish the file."""


def write_blocks(path: str | Path, blocks: Iterable[Answer]) -> Answer:
    """Write the answers of blocks of rows into one file, which is there when it is whole.

    Args:
        path: a .parquet, .csv or .npz file; the columns and keys are those of `Answer.save`.
        blocks: the answers, in the order of the rows.

    Returns:
        Whatever is small of the answers: the ids, what `Answer.summary` needs, and the warnings of all blocks.

    Raises:
        UsageError: the suffix is another one, or pyarrow is not installed.

    Example:
        >>> import tempfile, mmppl
        >>> data = mmppl.read("digits-two-view")
        >>> program = mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8)
        >>> model = mmppl.FittedModel(program, data=data)
        >>> blocks = model.query_blocks(given="rotated", want="z", draws=2)
        >>> mmppl.write_blocks(f"{tempfile.mkdtemp()}/answers.csv", blocks).n
        359
    """
    path = Path(path)
    made = _writer_of(path)
    sweep(path.parent)
    part = part_in(path.parent)
    ids, warnings, kept, last = [], [], dict[str, list[dict[str, Any]]](), None
    try:
        writer = made(part)
        for last in blocks:
            writer.write(last)
            ids.append(last.ids)
            warnings += last.warnings
            for name, parts in last.want.items():
                if "most" in parts:
                    kept.setdefault(name, []).append(parts)
        writer.close()
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None  # nobody knows the other name
    finally:
        remove(part)
    if last is None:
        raise ValueError("write_blocks: no blocks")
    want = {name: {k: _joined([of[k] for of in parts]) for k in parts[0]} for name, parts in kept.items()}
    return Answer(last.run, last.given, np.concatenate(ids), want, warnings, last.features)


def _writer_of(path: Path) -> Callable[[Path], Writer]:
    if path.suffix not in BLOCK_WRITERS:
        raise UsageError(f"{path}: answers are written as {', '.join(BLOCK_WRITERS)}.")
    return BLOCK_WRITERS[path.suffix]


def _joined(values: list[Any]) -> Any:
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else values[0]


class CsvWriter:
    """A .csv file."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "x", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file)
        self._headed = False

    def write(self, answer: Answer) -> None:
        """Add the answers of the next rows."""
        columns = columns_of(answer)
        if not self._headed:
            self._writer.writerow(columns)
            self._headed = True
        self._writer.writerows(zip(*(column.tolist() for column in columns.values())))

    def close(self) -> None:
        """Finish the file."""
        _synced(self._file)


class ParquetWriter:
    """A Parquet file. Its row groups are large, since all that is known of each column of each stays in memory."""

    def __init__(self, path: Path) -> None:
        with extra("table", "a Parquet file of answers"):
            import pyarrow.parquet  # noqa: F401
        self._file = open(path, "xb")  # noqa: SIM115
        self._writer: Any = None
        self._waiting: list[Any] = []

    def write(self, answer: Answer) -> None:
        """Add the answers of the next rows."""
        self._waiting.append(arrow_table(answer))
        if sum(table.nbytes for table in self._waiting) > GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table, self._waiting = pa.concat_tables(self._waiting), []
        if self._writer is None:
            texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
            self._writer = pq.ParquetWriter(self._file, table.schema, use_dictionary=texts, write_statistics=False)
        self._writer.write_table(table, row_group_size=len(table))

    def close(self) -> None:
        """Finish the file."""
        if self._waiting:
            self._write_group()
        if self._writer is not None:
            self._writer.close()
        _synced(self._file)


class NpzWriter:
    """A .npz file: each array is written beside it first, since a zip file takes one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=".mmppl-")
        self._files: dict[str, Any] = {}
        self._types: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}
        self._rows = 0

    def write(self, answer: Answer) -> None:
        """Add the answers of the next rows."""
        self._rows += answer.n
        for number, (key, value) in enumerate(answer.arrays().items()):
            if key not in self._files:
                self._files[key] = open(Path(self._folder.name) / f"{number}.npy", "xb")  # noqa: SIM115
                self._types[key] = value.dtype, value.shape
                self._head(key, len(value))
            elif _of_names(key):
                continue
            self._files[key].write(np.ascontiguousarray(value).data)

    def _head(self, key: str, rows: int) -> None:
        """Write the header of an array, which has room for any number of rows, at the beginning of its file."""
        dtype, shape = self._types[key]
        header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, *shape[1:])}
        self._files[key].seek(0)
        np.lib.format.write_array_header_1_0(self._files[key], header)

    def close(self) -> None:
        """Finish the file."""
        with open(self._path, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
                for key, written in self._files.items():
                    if not _of_names(key):
                        self._head(key, self._rows)
                    written.close()
                    archive.write(written.name, f"{key}.npy")
            file.flush()
            os.fsync(file.fileno())
        self._folder.cleanup()


def _of_names(key: str) -> bool:
    """Whether an array of `Answer.arrays` has an entry per class or modality, and none per row."""
    return key.endswith((".classes", ".modalities"))


def _synced(file: Any) -> None:
    if not file.closed:
        file.flush()
        os.fsync(file.fileno())
        file.close()


BLOCK_WRITERS: dict[str, Callable[[Path], Writer]] = {".parquet": ParquetWriter, ".csv": CsvWriter, ".npz": NpzWriter}
