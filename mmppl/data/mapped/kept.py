"""The files that a large source is converted to, once: one .npy file an array, in a folder of the cache.

A folder is used only if it is whole: it gets its name after everything is in it. Its name is a hash of the path, the
size and the time of the source, so that a source that has changed is converted anew. Nothing in it is executed: headers
of .npy files and one page of JSON are all that is interpreted.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...base.disk.maps import no_room, open_map
from ...base.disk.parts import part_in, remove, sweep
from ...base.files import check_regular, read_regular
from ...base.parsing import size as size_in
from ...errors import DataError
from ...kernels.codegen.cache import cache_folder, distrusted
from ..readers.parts.archive import Damaged
from ..readers.parts.npy import read_header
from .blocks import Contents, OtherType, Source
from .unused import CONTENTS, forget_unused, hold

FORMAT = 2  # of the folder; another one is not read
log = logging.getLogger("mmppl")


def kept_arrays(path: Path, source: Source, options: list[Any]) -> tuple[dict[str, np.ndarray], Contents]:
    """Map the arrays of a large source, which is converted if it was not before.

    Args:
        path: the path of the source.
        source: the source.
        options: what else than the file decides what is read from it, ready for JSON.

    Returns:
        Its arrays by name, and its contents.

    Raises:
        DataError: the source cannot be read, changes meanwhile, or the disk has no room for the arrays.
    """
    place = Path(os.path.abspath(path))
    version = _version(place)
    key = hashlib.sha256(json.dumps([FORMAT, str(place), version, options]).encode()).hexdigest()[:32]
    folder = cache_folder() / "data"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (found := _opened(folder / key)) is not None:
            return found
        with _alone(folder / f"{key}.lock"):
            if (found := _opened(folder / key)) is None:  # another process may have made it meanwhile
                sweep(folder)
                _convert(source, folder / key, str(place), version)
                _forget_older(folder, str(place), version)
                found = _opened(folder / key)
                if limit := os.environ.get("MMPPL_CACHE_LIMIT"):
                    forget_unused(folder, size_in("$MMPPL_CACHE_LIMIT", limit))
    except OSError as error:
        raise no_room(folder, source.contents().size, error) from None
    if _version(place) != version:
        remove(folder / key)
        raise DataError(f"{path}: it changed while it was read; give it again once it is whole.")
    if found is None:
        raise DataError(f"{folder}: what was written there is not whole; name another folder (--cache DIR).")
    return found


def _version(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None
    return [status.st_size, status.st_mtime_ns]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait for other processes that convert the same source. The lock dies with its process."""
    from filelock import lock_descriptor  # only a conversion waits for its import

    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        lock_descriptor(descriptor, blocking=True)
        yield
    finally:
        os.close(descriptor)


def _convert(source: Source, folder: Path, place: str, version: list[int]) -> None:
    """Write the arrays of a source into a folder, which gets its name when it is whole."""
    part = part_in(folder.parent)
    try:
        while True:
            remove(part)
            part.mkdir(mode=0o700)
            contents = source.contents()
            if shutil.disk_usage(part).free < contents.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                _write(source, contents, part)
                break
            except OtherType:
                continue
        about = {"format": FORMAT, "source": place, "version": version, "arrays": list(contents.columns)}
        about |= {"features": {key: list(names) for key, names in contents.features.items()}}
        about |= {"notes": list(contents.notes)}
        (part / CONTENTS).write_text(json.dumps(about), encoding="utf-8")
        remove(folder)  # a damaged one
        os.rename(part, folder)
        log.info("%s: converted, %s bytes in %s.", place, f"{contents.size:,}", folder)
    finally:
        remove(part)


def _write(source: Source, contents: Contents, folder: Path) -> None:
    """Write every array, block after block."""
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        left = {}
        for number, (name, column) in enumerate(contents.columns.items()):
            files[name] = stack.enter_context(open(folder / f"{number}.npy", "xb"))
            header = {"descr": column.dtype.str, "fortran_order": False, "shape": column.shape}
            np.lib.format.write_array_header_2_0(files[name], header)
            left[name] = column.shape[0]
        for block in source.blocks(contents):
            for name, rows in block.items():
                column = contents.columns[name]
                files[name].write(np.ascontiguousarray(rows, column.dtype).data)
                left[name] -= len(rows)
        for name, file in files.items():
            file.flush()
            os.fsync(file.fileno())
            if left[name]:
                raise DataError(f"{name!r}: {abs(left[name]):,} rows too {'few' if left[name] > 0 else 'many'}.")


def _opened(folder: Path) -> tuple[dict[str, np.ndarray], Contents] | None:
    """Map what is in a folder; None if it is not there, not whole, or not the user's own."""
    try:
        for part in (folder.parent, folder):
            if problem := distrusted(part.lstat()):
                log.warning("%s %s: it is not used.", part, problem)
                return None
        about = json.loads(read_regular(folder / CONTENTS, 2**26))
        if about["format"] != FORMAT:
            return None
        hold(folder)
        arrays = {str(name): _map(folder / f"{i}.npy") for i, name in enumerate(about["arrays"])}
        features = {str(key): tuple(map(str, names)) for key, names in about["features"].items()}
        return arrays, Contents({}, features, tuple(map(str, about["notes"])))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, Damaged, DataError):
        return None


def _map(path: Path) -> np.ndarray:
    """Map a .npy file. Its header is believed only if the file is as long as it says."""
    size = check_regular(path)
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Damaged("no file")
        shape, fortran, dtype, offset = read_header(file, size, path.name)
        return open_map(file, offset, shape, dtype, fortran=fortran)


def _forget_older(folder: Path, place: str, version: list[int]) -> None:
    """Remove what the same source was converted to before it changed."""
    for other in folder.iterdir():
        try:
            about: Mapping[str, Any] = json.loads(read_regular(other / CONTENTS, 2**26))
            if about["source"] == place and about["version"] != version:
                remove(other)
        except (OSError, ValueError, KeyError, TypeError):
            continue
