"""The files of a folder or a .zip by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ....errors import DataError
from .archive import Damaged, open_archive
from .files import contents, unreadable

MOST = 200_000  # files in a folder or .zip


@contextmanager
def open_files(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Open a folder or a .zip file.

    Hidden files, and those that macOS puts into zip files, are left out. Links to folders are not followed.

    Args:
        path: the folder or .zip.

    Yields:
        The names of the files relative to it, in order, and a function that returns the bytes of a file by its name.

    Raises:
        DataError: it is missing or damaged, has too many files, or a file in it cannot be read or does not fit into
            memory.
    """
    if os.path.isdir(path):
        yield sorted(_below(path)), lambda name: contents(path / name)
        return
    if not os.path.lexists(path) and len(path.name) < 256:
        raise DataError(f"{path}: no such file; give a folder or .zip of recordings.")
    try:
        with open_archive(path, MOST) as archive:

            def of_archive(name: str) -> bytes:
                try:
                    return archive.read(name)
                except Damaged as error:
                    raise DataError(f"{path}/{name}: cannot be unpacked ({error}); fetch the .zip again.") from None

            yield sorted(_visible(archive.names)), of_archive
    except Damaged as error:
        raise DataError(f"{path}: not a whole .zip file ({error}); fetch it again.") from None


def _below(path: Path) -> list[str]:
    """Return the names of all files below a folder, whatever kind of file they are."""
    found: list[str] = []

    def refuse(error: OSError) -> None:
        raise unreadable(error.filename, error)

    for place, folders, files in os.walk(path, onerror=refuse):
        folders[:] = _visible(folders)
        inside = Path(place).relative_to(path)
        found += ((inside / name).as_posix() for name in _visible(files))
        if len(found) > MOST:
            raise DataError(f"{path}: more than {MOST:,} files in it; give the folder of the recordings.")
    return found


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(part.startswith((".", "__")) for part in name.split("/"))]
