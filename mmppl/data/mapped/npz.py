"""Files of NumPy that are larger than memory: an .npy file is mapped as it is, an .npz file unpacked in blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...base.disk.maps import open_map
from ...errors import DataError
from ..readers.cells import plain_array
from ..readers.npz import MOST, not_whole
from ..readers.parts.archive import Archive, Damaged, open_archive
from ..readers.parts.files import opened
from ..readers.parts.npy import NoArray, read_header
from .blocks import BLOCK, Column, Contents


class NpzSource:
    """An .npz file.

    Args:
        path: its path.
        ignored: the names of arrays that are left out.
    """

    def __init__(self, path: Path, ignored: Collection[str] = ()) -> None:
        self.path, self.ignored = path, frozenset(ignored)
        self.left_out: set[str] = set()  # the names that are ignored and that it has; known after `contents`

    def contents(self) -> Contents:
        """Say what is in it, from the headers of its arrays.

        Raises:
            DataError: it is no .npz file, damaged, or holds Python objects.
        """
        columns = {}
        with self._archive() as archive:
            for name in self._names(archive):
                with self._blaming(name), archive.open(f"{name}.npy") as member:
                    shape, _, dtype, _ = read_header(member, archive.size(f"{name}.npy"), name)
                text = np.dtype(f"U{dtype.itemsize}") if dtype.kind == "S" else dtype.newbyteorder("=")
                columns[name] = Column(shape, text)
        return Contents(columns)

    def blocks(self, contents: Contents) -> Iterator[Mapping[str, np.ndarray]]:
        """Go through the rows of one array after the other.

        Yields:
            name → (n, *shape), of a single array.

        Raises:
            DataError: an array is damaged, or a string in it no Unicode.
        """
        with self._archive() as archive:
            for name in self._names(archive):
                with self._blaming(name), archive.open(f"{name}.npy") as member:
                    shape, fortran, dtype, _ = read_header(member, archive.size(f"{name}.npy"), name)
                    if fortran and math.prod(shape[1:]) > 1:
                        raise DataError(
                            f"{self.path}: {name!r} lies in the file column by column, and cannot be read row by row; "
                            "save np.ascontiguousarray of it."
                        )
                    rows, width = (*shape, 1)[0], math.prod(shape[1:])
                    step = max(1, BLOCK // max(1, width))
                    for start in range(0, rows, step):
                        part = np.empty((min(step, rows - start), *shape[1:]), dtype)
                        _fill(member, part)
                        yield {name: plain_array(name, part).astype(contents.columns[name].dtype, copy=False)}
                    if member.read(1):
                        raise Damaged("it goes on where its array ends")

    def _names(self, archive: Archive) -> list[str]:
        if foreign := [name for name in archive.names if not name.endswith(".npy")]:
            raise DataError(
                f"{self.path}: a zip file, but {foreign[0]!r} in it is no array; write it with numpy.savez."
            )
        names = [name.removesuffix(".npy") for name in archive.names]
        self.left_out.update(name for name in names if name in self.ignored)
        return [name for name in names if name not in self.ignored]

    @contextmanager
    def _archive(self) -> Iterator[Archive]:
        try:
            with open_archive(self.path, MOST) as archive:
                yield archive
        except Damaged as error:
            raise not_whole(self.path, str(error)) from None

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        try:
            yield
        except NoArray:
            raise DataError(f"{self.path}: {name!r} in it is no array; write it with numpy.savez.") from None
        except Damaged as error:
            raise DataError(f"{self.path}: {name!r} cannot be read ({error}); write it with numpy.savez.") from None


def _fill(member: object, part: np.ndarray) -> None:
    """Read the bytes of some rows."""
    view = part.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(view):
        found = member.readinto(view[at:])  # type: ignore[attr-defined]
        if not found:
            raise Damaged(f"it ends {len(view) - at:,} bytes before its array does")
        at += found
    if part.dtype.kind == "b" and part.size and part.view(np.uint8).max() > 1:
        raise Damaged("a bool in it is neither 0 nor 1")


def map_npy(path: Path) -> np.ndarray:
    """Map an .npy file as it is.

    Args:
        path: its path.

    Returns:
        Its array. What is written into it does not get into the file.

    Raises:
        DataError: it is no .npy file, damaged, or holds neither numbers nor strings.
    """
    with opened(path) as file:
        try:
            shape, fortran, dtype, offset = read_header(file, path.stat().st_size, path.stem)
        except Damaged as error:
            raise DataError(f"{path}: no .npy file ({error}); write it with numpy.save.") from None
        if dtype.kind == "S" or not dtype.isnative:
            return plain_array(path.stem, np.array(open_map(file, offset, shape, dtype, fortran=fortran)))
        return open_map(file, offset, shape, dtype, fortran=fortran)
