"""Readers by name: each says which sources it takes and reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...base.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from ...modalities.modality import Modality


@dataclass(frozen=True)
class Request:
    """What the caller of `mmppl.read` asked for.

    Args:
        ignored: names of the arrays that will be left out; a reader may spare itself their contents.
        schema: the modalities of a run, or None.
        root: folder of the files that a recipe needs, or None.
        download: whether files may be fetched into `root`.
    """

    ignored: frozenset[str] = frozenset()
    schema: Sequence[Modality] | None = None
    root: Path | None = None
    download: bool = False


@dataclass(frozen=True)
class Arrays:
    """What was in a source.

    Args:
        arrays: name → (N, *shape) of numbers or strings; `id`, `split` and `mask_<name>` are special.
        name: name of the data set.
        features: names of the columns of an array, which become the names of its features.
    """

    arrays: Mapping[str, np.ndarray]
    name: str
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Reader(Protocol):
    """One format.

    `accepts(source)` says whether a source is of this format, by its type, its suffix or its first bytes, and imports
    nothing heavy. `read(source, request)` returns `Arrays` or a `Dataset`, or anything that another reader takes, such
    as arrays by name or a DataFrame, which is then read in turn.
    """

    def accepts(self, source: Any) -> bool: ...

    def read(self, source: Any, request: Request) -> Any: ...


def _lacks(thing: Any) -> list[str]:
    if not inspect.isclass(thing):
        return ["a class with the methods accepts(self, source) and read(self, source, request)"]
    wanted = {"accepts": ("source",), "read": ("source", "request")}
    return [
        f"a method {name}(self, {', '.join(arguments)})"
        for name, arguments in wanted.items()
        if not _takes(getattr(thing, name, None), 1 + len(arguments))
    ]


def _takes(method: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments by position."""
    if not inspect.isfunction(method):
        return False
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True


READERS: Registry[type[Reader]] = Registry("reader", __package__, aside=("registry", "cells", "mfcc", "refusal", "wav"),
                                           lacks=_lacks)  # fmt: skip


def reader(name: str) -> Callable[[type[Reader]], type[Reader]]:
    """Class decorator that lets `mmppl.read`, and all that calls it, read a format.

    The reader that was registered last is asked first, and those that come with the library after all others; so a
    user's reader may also take over a format that is known.

    Args:
        name: what messages call it.
    Raises:
        UsageError: the name is taken, or a required part is missing.
    """
    return READERS.register(name)


def reader_of(source: Any) -> tuple[str, Reader] | None:
    """Name and reader of the format of a source, or None if no reader takes it."""
    for name in reversed(list(READERS)):
        found = READERS[name]()
        if found.accepts(source):
            return name, found
    return None
