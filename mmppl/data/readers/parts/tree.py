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
DEEPEST = 16  # folders in each other


@contextmanager
def open_files(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Open a folder or a .zip file.

    Hidden files, and those that macOS puts into zip files, are left out. Links to folders are not followed, and links
    to files only where they stay in the folder.

    Args:
        path: the folder or .zip.

    Yields:
        The names of the files relative to it, in order, and a function that returns the bytes of a file by its name.

    Raises:
        DataError: it is missing or damaged, has too many files, or a file in it cannot be read or does not fit into
            memory.
    """
    if os.path.isdir(path):
        yield sorted(files_below(path)), lambda name: _within(path, name)
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


def files_below(path: Path) -> Iterator[str]:
    """Go through a folder. Hidden files are left out, and links to folders are not followed.

    Args:
        path: the folder.

    Yields:
        The name of each file relative to it, whatever kind of file it is.

    Raises:
        DataError: it has too many files and folders or folders too deep in each other, or one cannot be listed.
    """
    seen = 0

    def refuse(error: OSError) -> None:
        raise unreadable(error.filename, error)

    for place, folders, files in os.walk(path, onerror=refuse):
        seen += len(folders) + len(files)
        inside = Path(place).relative_to(path)
        if seen > MOST or len(inside.parts) > DEEPEST:
            what = f"more than {MOST:,} files" if seen > MOST else f"folders more than {DEEPEST} deep"
            raise DataError(f"{path}: {what} in it; give the folder of the recordings.")
        folders[:] = _visible(folders)
        yield from ((inside / name).as_posix() for name in _visible(files))


def _within(path: Path, name: str) -> bytes:
    """Read a file of a folder, also through a link that stays in it."""
    if not os.path.realpath(path / name).startswith(os.path.join(os.path.realpath(path), "")):
        raise DataError(f"{path}/{name}: a link out of the folder; put the file itself there.")
    return contents(path / name)


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(part.startswith((".", "__")) for part in name.split("/"))]
