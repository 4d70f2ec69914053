"""pyarrow is imported here, where it is needed, because it is optional; and its errors become one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....errors import DataError


def pyarrow_for(path: Path | str) -> Any:
    """Import pyarrow.

    Args:
        path: the file that is read with it, for the message.

    Returns:
        The module.

    Raises:
        DataError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise DataError(f"{path}: reading it takes pyarrow; install it with pip install 'mmppl[table]'.") from None
    return pyarrow


@contextmanager
def in_one_line(path: Path | str) -> Iterator[None]:
    """Turn what pyarrow raises about a file into one line.

    Args:
        path: the file.

    Yields:
        Nothing.

    Raises:
        DataError: pyarrow has raised something.
    """
    pyarrow = pyarrow_for(path)
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise DataError(f"{path}: cannot be read ({said}); write it again, or fetch it again.") from None
