"""The reader of .h5ad and .h5mu files, in which AnnData and MuData are kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....base.extras import extra
from ....errors import DataError
from ..parts.files import opened
from ..parts.hdf5 import DAMAGED, attribute, own, whole
from ..registry import Arrays, Request, reader
from .blocks import Block, Blocks, arrays_of
from .choice import Choice
from .table import columns_in, index_of, table

PATH = re.compile(r"(.+\.(?:h5ad|h5mu))(?::(.*))?", re.IGNORECASE | re.DOTALL)
SHARED_ROWS = (0, -1)  # axes of MuData; of 1 its modalities share features, of -1 both


@reader("h5mu")
class H5muReader:
    """Paths of such files, with or without options: "cells.h5mu:layer=counts"."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a path with one of the suffixes."""
        return isinstance(source, (str, os.PathLike)) and PATH.fullmatch(str(os.fspath(source))) is not None

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return one array for each modality, over all rows that any of them has.

        Raises:
            DataError: h5py is not installed; the file is damaged or is none of these; see also `arrays_of`.
            UsageError: an option is wrong.
        """
        text = os.fspath(source)
        parts = None if os.path.isfile(text) else PATH.fullmatch(text)
        path, options = (Path(parts[1]), parts[2] or "") if parts else (Path(text), "")
        choice = Choice.parse(options, str(path))
        with opened(path):
            pass  # a regular file that can be read
        with extra("omics", f"{path}: reading it", DataError):
            import h5py
        try:
            with h5py.File(path, "r") as file:
                found = _mudata(file, path, choice) if "mod" in file else _anndata(file, path, choice)
                choice.check_met(str(path))
                return arrays_of(found, request)
        except DAMAGED as error:
            said = " ".join(str(error).split())[:80]
            raise DataError(f"{path}: not a whole {path.suffix} file ({said}); write or fetch it again.") from None


def _anndata(file: Any, path: Path, choice: Choice) -> Blocks:
    block, notes = _block(file, path, choice.name, choice)
    return Blocks(str(path), path.name, np.zeros(0, str), [block], notes=notes)


def _mudata(file: Any, path: Path, choice: Choice) -> Blocks:
    axis = int(attribute(file, "axis", 0))
    if axis not in SHARED_ROWS:
        raise DataError(f"{path}: its modalities share features, not rows (axis={axis}); write one with axis=0.")
    group = own(file, "mod", path)
    order = [str(name) for name in attribute(group, "mod-order", ()) if str(name) in group]
    blocks, notes = [], []
    for name in dict.fromkeys([*order, *group]):
        block, more = _block(own(group, name, path), path, name, choice)
        blocks.append(block)
        notes += more
    if not blocks:
        raise DataError(f"{path}: there is no modality in it; write some.")
    obs = table(file, "obs", path)
    shared, _ = choice.matrices("", None, {}, _Members(file, "obsm", path), None)
    return Blocks(str(path), path.name, index_of(obs, path), blocks, columns_in(obs, path), shared, notes)


def _block(group: Any, path: Path, name: str, choice: Choice) -> tuple[Block, list[str]]:
    if hasattr(group, "dtype"):
        raise DataError(f"{path}: {name!r} is an array, not a modality with obs and var; write it with MuData.")
    if "mod" in group:
        raise DataError(f"{path}: {name!r} is a MuData in a MuData; write its modalities side by side.")
    if "obs" not in group or "var" not in group:
        lacks = "obs" if "obs" not in group else "var"
        raise DataError(f"{path}: {name!r} has no {lacks}; write it with AnnData or MuData.")
    x = whole(group, "X", path) if "X" in group else None
    layers, obsm = _Members(group, "layers", path), _Members(group, "obsm", path)
    features = index_of(table(group, "var", path), path).tolist()
    matrices, notes = choice.matrices(name, x, layers, obsm, features)
    if name not in matrices:
        notes.append(f"{name}: has no X; name a layer ({path}:layer=NAME)")
    obs = table(group, "obs", path)
    return Block(name, index_of(obs, path), columns_in(obs, path), matrices), notes


class _Members(Mapping[str, Any]):
    """The members of a group of matrices. Dense ones and sparse ones are left in the file, tables are read."""

    def __init__(self, parent: Any, name: str, path: Path) -> None:
        self.group = own(parent, name, path) if name in parent else {}
        self.path = path

    def __getitem__(self, name: str) -> Any:
        found = whole(self.group, name, self.path)
        if attribute(found, "encoding-type") != "dataframe":
            return found
        columns = {key: column[0] for key, column in columns_in(found, self.path).items() if column is not None}
        return np.stack([*columns.values()], -1), list(columns)

    def __contains__(self, name: object) -> bool:
        return name in self.group  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self.group)

    def __len__(self) -> int:
        return len(self.group)
