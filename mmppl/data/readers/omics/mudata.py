"""The reader of AnnData and MuData in memory; their libraries are not imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import DataError
from ..registry import Arrays, Request, reader
from ..tables.column import cells_of, levels_of
from .blocks import Block, Blocks, arrays_of
from .choice import Choice
from .h5mu import PATH
from .table import Column


@reader("mudata")
class MudataReader:
    """An AnnData, whose modality is called X; a MuData; a mapping of AnnData by the names of their modalities; or a
    pair of one of these and options: (mdata, "layer=counts")."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is one, by the names of its classes."""
        if isinstance(source, tuple) and len(source) == 2 and isinstance(source[1], str):
            source = source[0]
        if isinstance(source, Mapping):
            return bool(source) and all(_is("AnnData", value) for value in source.values())
        return _is("AnnData", source) or _is("MuData", source)

    def read(self, source: Any, request: Request) -> Arrays:
        """Return one array for each modality, over all rows that any of them has.

        Raises:
            DataError: see `arrays_of`.
            UsageError: an option is wrong.
        """
        data, options = source if isinstance(source, tuple) else (source, "")
        choice, blocks, notes = Choice.parse(options, "read"), list[Block](), list[str]()
        kind = "MuData" if _is("MuData", data) else "AnnData"
        of = {choice.name: data} if _is("AnnData", data) else data if isinstance(data, Mapping) else data.mod
        for name, adata in of.items():
            block, more = _block(adata, str(name), choice)
            blocks.append(block)
            notes += more
        found = Blocks(kind, kind, np.zeros(0, str), blocks, notes=notes)
        if kind == "MuData":
            shared, _ = choice.matrices("", None, {}, data.obsm, None)
            found = replace(found, ids=_names(data.obs), obs=_columns(data), matrices=shared)
        choice.check_met("read")
        return arrays_of(found, request)


def _is(name: str, source: Any) -> bool:
    """Say whether an object is of a class of that name, or one derived from it, of the library of that name."""
    return any(c.__name__ == name and c.__module__.split(".")[0] == name.lower() for c in type(source).__mro__)


def _block(adata: Any, name: str, choice: Choice) -> tuple[Block, list[str]]:
    matrices, notes = choice.matrices(name, adata.X, adata.layers, adata.obsm, _names(adata.var).tolist())
    if name not in matrices:
        notes.append(f"{name}: has no X; name a layer (layer=NAME)")
    return Block(name, _names(adata.obs), _columns(adata), matrices), notes


def _names(table: Any) -> np.ndarray:
    return np.array([str(name) for name in table.index], dtype=str)


def _columns(adata: Any) -> dict[str, Column | None]:
    return {str(name): _column(str(name), adata.obs[name]) for name in adata.obs.columns}


def _column(name: str, series: Any) -> Column | None:
    try:
        return Column(*cells_of(name, series), levels_of(series))
    except DataError:  # dates, objects and the like
        return None


def with_options_of(spec: str | None, source: Any) -> Any:
    """Give data the options of those that a model was fitted on, so that the same layers are read of both.

    Args:
        spec: the data of the fit, as a text; None of what was in memory.
        source: what `mmppl.read` takes.

    Returns:
        The source, with these options where it is of this kind and has none ("new.h5mu:" has some, which are empty).

    Example:
        >>> with_options_of("/data/cells.h5mu:layer=counts", "new.h5mu")
        'new.h5mu:layer=counts'
        >>> with_options_of("/data/cells.h5mu:layer=counts", "new.h5mu:layer=raw")
        'new.h5mu:layer=raw'
    """
    fitted = PATH.fullmatch(spec or "")
    if not fitted or not fitted[2]:
        return source
    if isinstance(source, (str, os.PathLike)):
        own = PATH.fullmatch(os.fspath(source))
        return f"{os.fspath(source)}:{fitted[2]}" if own and own[2] is None else source
    return (source, fitted[2]) if MudataReader().accepts(source) and not isinstance(source, tuple) else source
