"""Blocks of rows that are known by name: what AnnData and MuData hold, and how it becomes arrays over all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....errors import DataError, obeyed
from ..cells import NOTHING
from ..registry import Arrays, Request
from .matrix import spread
from .observations import Observations, columns_of, plain_name
from .table import Column


@dataclass(frozen=True)
class Block:
    """The rows of one AnnData.

    Args:
        name: the name of the modality.
        ids: (m,) the names of its rows.
        obs: the columns of its `obs`, as in `Observations`.
        matrices: name of the modality → (m, F) matrix, as `spread` takes it, and the names of its features, if any.
    """

    name: str
    ids: np.ndarray
    obs: Mapping[str, Column | None]
    matrices: Mapping[str, tuple[Any, Sequence[str] | None]]


@dataclass(frozen=True)
class Blocks:
    """What an AnnData or MuData holds.

    Args:
        place: the file, or what it is, for messages.
        name: the name of the data set.
        ids: the names of all rows in their order, as MuData has them; rows that only blocks name follow.
        blocks: the blocks in their order.
        obs: the columns of MuData's own `obs`, of the rows `ids`.
        matrices: as of a block, but of the rows `ids`.
        notes: lines about what was chosen or left out.
    """

    place: str
    name: str
    ids: np.ndarray
    blocks: Sequence[Block]
    obs: Mapping[str, Column | None] = field(default_factory=dict)
    matrices: Mapping[str, tuple[Any, Sequence[str] | None]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def arrays_of(source: Blocks, request: Request) -> Arrays:
    """Bring all blocks to the same rows.

    Args:
        source: what was read.
        request: what the caller of `mmppl.read` asks for; ignored matrices are not read.

    Returns:
        One array for each matrix, with `mask_<name>` where it lacks rows; ids; and the columns of `obs`, which are
        annotations unless the user takes them for something else.

    Raises:
        DataError: rows or features have no names of their own, there is nothing to read, or a matrix is refused.
    """
    own = Block("", source.ids, source.obs, source.matrices)
    everything = [own, *source.blocks]
    for block in everything:
        _check_distinct(block, source.place)
    ids = list(dict.fromkeys(name for block in everything for name in block.ids.tolist()))
    if not ids:
        raise DataError(f"{source.place}: there are no rows in it; write some.")
    place = {name: row for row, name in enumerate(ids)}
    arrays: dict[str, np.ndarray] = {}
    features: dict[str, tuple[str, ...]] = {}
    notes = list(source.notes)
    places = [np.array([place[name] for name in block.ids.tolist()], np.int64) for block in everything]
    observations = [Observations(block.name, at, block.obs) for block, at in zip(everything, places)]
    for block, at in [*zip(source.blocks, places[1:]), (own, places[0])]:
        for original, (matrix, columns) in block.matrices.items():
            name = plain_name(original)
            if name != original:
                notes.append(f"{original!r} is called {name} here")
            if name in arrays:
                raise DataError(f"{source.place}: two modalities are called {name!r}; rename one of them.")
            if name in request.ignored:
                arrays[name] = NOTHING
                continue
            arrays[name] = spread(matrix, at, len(ids), f"{source.place}: {original!r}")
            if len(at) < len(ids):
                arrays[f"mask_{name}"] = np.isin(np.arange(len(ids)), at)
            if columns is not None:
                features[name] = _features(name, columns, arrays[name].shape[1], source.place, notes)
    if not arrays:
        raise DataError(f"{source.place}: nothing in it has a matrix X; write one, or name a layer (FILE:layer=NAME).")
    beside, names, told, levels = columns_of(observations, len(ids), list(arrays), source.place)
    text = np.array(ids)
    return Arrays(
        arrays | {"id": text} | beside, source.name, features, annotations=names, notes=[*notes, *told], levels=levels
    )


def _check_distinct(block: Block, place: str) -> None:
    distinct, first, counts = np.unique(block.ids, return_index=True, return_counts=True)
    if len(distinct) == len(block.ids):
        return
    at = int(first[counts > 1].min())
    rows = np.flatnonzero(block.ids == block.ids[at])
    of = f" of {block.name}" if block.name else ""
    raise DataError(
        f"{place}: rows {rows[0]} and {rows[1]}{of} are both called {str(block.ids[at])!r}; give each row its own name "
        "(adata.obs_names_make_unique())."
    )


def _features(name: str, columns: Sequence[str], width: int, place: str, notes: list[str]) -> tuple[str, ...]:
    """Return the names of features, each once: a name that was there before gets -1, -2 and so on behind it."""
    if len(columns) != width:
        raise DataError(f"{place}: {name!r} has {width:,} columns and {len(columns):,} names of them; write it again.")
    for column in columns:
        if obeyed(column):
            raise DataError(
                f"{place}: a feature of {name!r} is called {column[:60]!r}, with control characters; rename it."
            )
    if len(set(columns)) == len(columns):
        return tuple(columns)
    there, found, number = set(columns), list[str](), Counter[str]()
    for column in columns:
        number[column] += 1
        called = column
        while called in there and number[column] > 1:
            called = f"{column}-{number[column] - 1}"
            number[column] += called in there
        there.add(called)
        found.append(called)
    again = sum(called != column for called, column in zip(found, columns))
    notes.append(f"{name}: {again:,} features have the name of another; they are called NAME-1 and so on here")
    return tuple(found)
