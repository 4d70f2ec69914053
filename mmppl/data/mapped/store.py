"""Where data are kept while they are used: in memory, or in files that are mapped into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ...base.choices import STORES, Store, choice
from ...base.memory import available

SHARE = 0.25  # of the memory that is free, above which data are kept on disk

_chosen: ContextVar[str | None] = ContextVar("store", default=None)


@contextmanager
def kept_in(store: Store | str | None) -> Iterator[None]:
    """Choose where data that are read inside a `with` block are kept.

    Args:
        store: "memory"; "disk"; "auto", which takes the disk for what is larger than a quarter of the free memory; None
            leaves it to $MMPPL_STORE, or else to "auto".

    Raises:
        UsageError: it is something else.

    Example:
        >>> with kept_in("disk"):
        ...     on_disk(10)
        True
    """
    token = _chosen.set(_chosen.get() if store is None else choice("store", store, STORES))
    try:
        yield
    finally:
        _chosen.reset(token)


def on_disk(size: int) -> bool:
    """Say whether data are kept on disk.

    Args:
        size: the bytes that they take.

    Returns:
        True if they are.

    Raises:
        UsageError: $MMPPL_STORE is something else than a store.
    """
    chosen = _chosen.get() or choice("$MMPPL_STORE", os.environ.get("MMPPL_STORE") or "auto", STORES)
    return chosen == "disk" or (chosen == "auto" and size > SHARE * available())
