"""The reader of .safetensors files, whose tensors are arrays by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ....base.memory import check_room
from ....errors import DataError
from ..cells import NOTHING
from ..mapping import read_mapping
from ..npz import no_such_file
from ..parts.by_part import joined_parts
from ..parts.files import opened, size_of
from ..registry import Arrays, Request, reader

HALF = 2  # numbers of 16 bits become twice as large: NumPy lacks one kind of them


@reader("safetensors")
class SafetensorsReader:
    """Files of named tensors."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a path with their suffix."""
        return (
            isinstance(source, (str, os.PathLike))
            and Path(source).suffix == ".safetensors"
            and not os.path.isdir(source)
        )

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the tensors as arrays; bfloat16 becomes float32. `mask_<name>` and `length_<name>` have the meaning
        that they have in an .npz file.

        Raises:
            DataError: there is no such file, it is damaged, a tensor has a type that NumPy lacks, or it does not fit
                into memory.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(source)
        if path.parent.is_dir() and not os.path.lexists(path):
            raise no_such_file(path)
        with opened(path) as file:
            check_room(HALF * size_of(file), f"{path}: what is in it")
        try:
            with safe_open(str(path), "pt") as tensors:
                names = list(tensors.keys())
                found = {name: NOTHING if name in request.ignored else tensors.get_tensor(name) for name in names}
        except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise DataError(f"{path}: cannot be read ({said}); write it again with safetensors.") from None
        if not found:
            raise DataError(f"{path}: no tensors in it; write one per modality.")
        return Arrays(joined_parts(read_mapping(found, request.ignored)), path.name)
