"""Packages that the library does without, until something is asked for that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MMPPLError, UsageError


@contextmanager
def extra(name: str, what: str, error: type[MMPPLError] = UsageError) -> Iterator[None]:
    """Say how to install what an import in this block lacks.

    Args:
        name: the extra of the library that brings the package, as in `mmppl[table]`; of a package that no extra
            brings, the name of the package.
        what: what takes it, as the beginning of the message.
        error: the class of the error.

    Raises:
        MMPPLError: a package cannot be imported; of the class `error`.

    Example:
        >>> with extra("table", "answers.parquet: writing it"):
        ...     import no_such_package
        Traceback (most recent call last):
        mmppl.errors.UsageError: answers.parquet: writing it takes no_such_package; pip install 'mmppl[table]'.
    """
    try:
        yield
    except ImportError as missing:
        package = (missing.name or name).partition(".")[0]
        wanted = package if package == name else f"'mmppl[{name}]'"
        raise error(f"{what} takes {package}; pip install {wanted}.") from None
