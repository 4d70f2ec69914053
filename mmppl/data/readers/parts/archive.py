"""Zip files that may lie about what is in them: nothing takes more memory than there is, and nothing is read twice.

Members are plain or deflated, which is what `numpy.savez` and all common tools write: deflated data are at least a
1,032nd of what they become, whereas a few bytes of bzip2 or LZMA become as many as their writer likes.
"""

from __future__ import annotations

import copy
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from ....base.memory import check_room
from ....errors import obeyed
from .files import opened, unreadable

RATIO = 1032  # deflated data become at most so many times as long
PLAIN = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: RATIO}
METHODS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "LZMA", 9: "Deflate64", 93: "Zstandard", 99: "encryption"}
ENTRY, ENTRY_SIZE, LOCAL_SIZE = b"PK\1\2", 160, 30  # of the directory: signature, usual size; size of a local header

# What zipfile raises for a file that is damaged or of an unknown version.
CORRUPT = (
    zipfile.BadZipFile, ValueError, KeyError, EOFError, MemoryError, RuntimeError, OverflowError, struct.error,
    zlib.error,
)  # fmt: skip


class Damaged(Exception):
    """A member or the directory is not what it should be; the message says in what, in a few words."""


class Archive:
    """An open zip file.

    Args:
        path: its path, for messages.
        names: the names of its members, in the order of its directory.
    """

    def __init__(self, path: Path, opened_zip: zipfile.ZipFile) -> None:
        self.path = path
        self._zip = opened_zip
        self._members = {info.filename: info for info in opened_zip.infolist() if not info.is_dir()}
        self.names = list(self._members)

    def size(self, name: str) -> int:
        """Return how long a member is when it is unpacked.

        Raises:
            Damaged: it cannot be so long, is encrypted, or is compressed in another way than deflated.
        """
        info = self._members[name]
        if info.flag_bits & 1:
            raise Damaged("it is encrypted")
        if info.compress_type not in PLAIN:
            method = METHODS.get(info.compress_type, f"method {info.compress_type}")
            raise Damaged(f"compressed by {method}, not deflated")
        if info.file_size > PLAIN[info.compress_type] * max(info.compress_size, 1):
            raise Damaged(f"{info.compress_size:,} bytes cannot unpack to {info.file_size:,}")
        return info.file_size

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member. No more than a byte beyond the size that it declares is ever unpacked; reading that byte means
        that it is longer than it says, and its checksum is compared where it ends.

        Yields:
            The opened member.

        Raises:
            Damaged: it is damaged, or as for `size`.
        """
        info = copy.copy(self._members[name])
        info.file_size = self.size(name) + 1
        try:
            with self._zip.open(info) as member:
                yield member
        except CORRUPT as error:
            raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None

    def read(self, name: str) -> bytes:
        """Unpack a member.

        Raises:
            Damaged: it is longer or shorter than it says, or as for `size`.
            DataError: it does not fit into memory.
        """
        size = self.size(name)
        check_room(size, f"{self.path}/{name}: what is packed in it")
        with self.open(name) as member:
            data = member.read(size + 1)
        if len(data) != size:
            raise Damaged(f"{'more' if len(data) > size else 'less'} than the {size:,} bytes that it says")
        return data


@contextmanager
def open_archive(path: Path, most: int) -> Iterator[Archive]:
    """Open a zip file.

    Args:
        path: its path.
        most: how many members it may have.

    Yields:
        The archive.

    Raises:
        Damaged: it is no zip file or a damaged one, has more members, or two of the same name or in the same place.
        DataError: it cannot be opened.
    """
    with opened(path) as file:
        try:
            found = zipfile.ZipFile(_Limited(file, most))
            _check_directory(found)
        except OSError as error:
            raise unreadable(path, error) from None
        except CORRUPT as error:
            raise Damaged(" ".join(str(error).split()) or type(error).__name__) from None
        with found:
            yield Archive(path, found)


class _Limited(io.RawIOBase):
    """A file of which no more is read at once than the directory of so many members has."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most

    def read(self, size: int = -1) -> bytes:
        longest = max(self._most * ENTRY_SIZE, 2**20)
        data = self._file.read(size if 0 <= size <= longest else longest + 1)
        if len(data) > longest or data.count(ENTRY) > self._most:
            raise zipfile.BadZipFile(f"more than {self._most:,} files in it")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _check_directory(found: zipfile.ZipFile) -> None:
    """Raise BadZipFile where names repeat or cannot be printed, or where members lie in each other or the directory."""
    members = sorted(found.infolist(), key=lambda info: info.header_offset)
    names: set[str] = set()
    ends = [info.header_offset for info in members[1:]] + [found.start_dir]
    for info, end in zip(members, ends):
        if obeyed(info.filename):
            raise zipfile.BadZipFile(f"the name {info.filename[:60]!r} has control characters")
        if info.filename in names:
            raise zipfile.BadZipFile(f"two files in it are called {info.filename[:60]!r}")
        if info.header_offset < 0 or info.header_offset + LOCAL_SIZE + info.compress_size > end:
            raise zipfile.BadZipFile(f"{info.filename[:60]!r} overlaps what follows it")
        names.add(info.filename)
