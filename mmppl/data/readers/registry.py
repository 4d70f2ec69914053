"""Readers by name. Each one says which sources it accepts, and reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...base.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from ...modalities.modality import Modality
    from ..examine.finding import Finding


@dataclass(frozen=True)
class Request:
    """What the caller of `mmppl.read` asks for.

    Args:
        ignored: the names of arrays that will be left out; a reader need not read their contents.
        schema: the modalities of a run, or None.
        root: the folder with the files that a recipe needs, or None.
        download: whether files may be downloaded into `root`.
        as_: name → what the user says about an array, as text.
        missing: name → the values that stand for "missing" there.
        target: the names of the labels, or None.

    Example:
        >>> import mmppl
        >>> request = mmppl.Request(ignored=frozenset({"notes"}))
        >>> [name for name in ("age", "notes") if name not in request.ignored]
        ['age']
    """

    ignored: frozenset[str] = frozenset()
    schema: Sequence[Modality] | None = None
    root: Path | None = None
    download: bool = False
    as_: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    target: Sequence[str] | None = None

    @property
    def annotations(self) -> frozenset[str]:
        """The names of arrays that the user keeps as annotations or as the group; a reader leaves their texts."""
        return frozenset(name for name, how in self.as_.items() if how in ("annotation", "group"))


@dataclass(frozen=True)
class Arrays:
    """The contents of a source, as a reader returns them.

    Args:
        arrays: name → (N, *shape) numbers or strings; `id`, `split` and `mask_<name>` have a meaning of their own.
        name: the name of the data set.
        features: name → the names of its columns, which become the names of its features.
        annotations: the names of arrays (N,) that no program sees (`Dataset.annotations`), unless the user takes them
            for something else.
        notes: lines about what was left out.
        as_: what the source itself says about its arrays, as in `mmppl.read`, whose overrides take their place.
        levels: name → the classes of an ordered column in their order; classes of others are sorted.
        told: findings about what was understood.
        table: whether the arrays of one column are the columns of a table that names no modalities, so that many of
            numbers may become one modality, and names be changed that no modality can have.

    Example:
        >>> import mmppl, numpy as np
        >>> found = mmppl.Arrays({"gene": np.zeros((3, 2))}, "mine", {"gene": ("BRCA1", "TP53")})
        >>> found.features["gene"]
        ('BRCA1', 'TP53')
    """

    arrays: Mapping[str, np.ndarray]
    name: str
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    annotations: Collection[str] = ()
    notes: Sequence[str] = ()
    as_: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    told: Sequence[Finding] = ()
    table: bool = False


class Reader(Protocol):
    """A reader of one format."""

    def accepts(self, source: Any) -> bool:
        """Say whether a source has this format, by its type, its suffix or its first bytes.

        This is asked of every source, so it must import nothing heavy.

        Args:
            source: what was given to `mmppl.read`.

        Returns:
            True if this reader takes it.
        """

    def read(self, source: Any, request: Request) -> Any:
        """Read a source.

        Args:
            source: what `accepts` accepted.
            request: what the caller of `mmppl.read` asks for.

        Returns:
            `Arrays` or a `Dataset`, or anything that another reader takes, such as arrays by name or a DataFrame,
            which is then read in turn.
        """


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
    """Say whether a function can be called with so many positional arguments."""
    if not inspect.isfunction(method):
        return False
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError:
        return False
    return True


READERS: Registry[type[Reader]] = Registry(
    "reader",
    __package__,
    folders=("arrays", "arrow", "omics", "speech", "tables"),
    aside=(
        "blocks",
        "cells",
        "choice",
        "column",
        "columns",
        "corpus",
        "encoded",
        "files",
        "flat",
        "kinds",
        "library",
        "lists",
        "matrix",
        "mfcc",
        "observations",
        "of_run",
        "ordered",
        "refusal",
        "registry",
        "row_names",
        "table",
        "wav",
    ),  # fmt: skip
    lacks=_lacks,
)


def reader(name: str) -> Callable[[type[Reader]], type[Reader]]:
    """Register a class as a reader, so that `mmppl.read` and everything that calls it can read its format.

    The reader that was registered last is asked first, and the readers of the library are asked last. A user's reader
    can therefore also replace a built-in one.

    Args:
        name: what messages call the reader.

    Returns:
        A class decorator.

    Raises:
        UsageError: the name is taken, or a required part is missing.

    Example:
        >>> import csv, io
        >>> import mmppl
        >>> from mmppl.data.readers.registry import READERS
        >>> @mmppl.reader("csv-text")
        ... class CsvText:
        ...     def accepts(self, source):
        ...         return isinstance(source, io.StringIO)
        ...     def read(self, source, request):
        ...         rows = list(csv.DictReader(source))
        ...         return {name: [float(row[name]) for row in rows] for name in rows[0]}
        >>> len(mmppl.read(io.StringIO("age,height\\n30,1.7\\n40,1.8\\n50,1.6\\n")))
        3
        >>> READERS.forget("csv-text")
    """
    return READERS.register(name)


def reader_of(source: Any) -> tuple[str, Reader] | None:
    """Find the reader of a source.

    Args:
        source: what was given to `mmppl.read`.

    Returns:
        The name of the reader and the reader, or None if no reader accepts the source.
    """
    for name in reversed(list(READERS)):
        found = READERS[name]()
        if found.accepts(source):
            return name, found
    return None
