"""Warnings that are expected, and not shown."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FILTERS = threading.RLock()


@contextmanager
def without_warnings(category: type[Warning]) -> Iterator[None]:
    """Ignore warnings of one kind inside a `with` block.

    The filters are the process's: threads change them one after another, so that each finds them as they were.

    Args:
        category: the kind.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield
