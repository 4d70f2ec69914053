"""The reader of .npy files, each of which is one modality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ....base.memory import check_room
from ....errors import DataError
from ..cells import plain_array
from ..npz import no_such_file
from ..parts.archive import Damaged
from ..parts.files import opened, size_of
from ..parts.npy import NoArray, read_npy
from ..registry import Arrays, Request, reader


@reader("npy")
class NpyReader:
    """Files that `numpy.save` has written."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a path with their suffix."""
        return isinstance(source, (str, os.PathLike)) and Path(source).suffix == ".npy" and not os.path.isdir(source)

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the array, named as the file is without its suffix.

        Raises:
            DataError: there is no such file, it is damaged, holds no numbers or strings, or does not fit into memory.
        """
        path = Path(source)
        if path.parent.is_dir() and not os.path.lexists(path):
            raise no_such_file(path)
        with opened(path) as file:
            size = size_of(file)
            check_room(size, f"{path}: the file")
            try:
                array = read_npy(file, size, path.stem)
            except NoArray:
                raise DataError(f"{path}: not a whole .npy file; write it with numpy.save.") from None
            except Damaged as error:
                raise DataError(f"{path}: cannot be read ({error}); write it again with numpy.save.") from None
        return Arrays({path.stem: plain_array(path.stem, array)}, path.name)
