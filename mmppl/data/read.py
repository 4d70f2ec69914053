"""`read`, the one entrance for data: a reader finds what is there, and `ingest` makes a `Dataset` of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..modalities.modality import Modality
from .dataset import Dataset
from .readers.refusal import refusal
from .readers.registry import Arrays, Request, reader_of
from .schema.ingest import from_arrays, with_mask, with_schema


def read(
    data: Any,
    *,
    root: str | Path | None = None,
    as_: Mapping[str, str] = {},
    schema: Sequence[Modality] | None = None,
    seed: int = 0,
    hide: float = 0.0,
    hide_seed: int = 0,
    download: bool = False,
) -> Dataset:
    """Read a data set from wherever it is: a recipe, a file, a folder, arrays or a DataFrame.

    Args:
        data: a recipe with options ("digits-two-view:rotate=fresh"), the path of an .npz file or of a folder or .zip of
            wav files (see `readers.recordings`), a mapping of name → array, a DataFrame (columns `modality:feature` are
            grouped), a `Dataset`, or whatever a reader of your own takes (see `mmppl.reader`).
        root: folder of the files that a recipe needs; default $MMPPL_DATA.
        as_: name → "likelihood[:key=value,…]" with keys scale (number, learned, predicted), role (modality, label) and
            transform (none, standardise, log1p, image), or "ignore" to leave an array out.
        schema: the modalities of a run; then scaling and classes are theirs, and arrays that differ are named. A
            modality that the data lack is missing in every row. Of `as_` only "ignore" counts then.
        seed: of the split, where the data bring none. A recipe has a seed of its own, as an option.
        hide: the share of the modalities that are masked at random, as by `Dataset.mask_at_random`. What is masked has
            no say in the scaling, unless the units are those of a recipe, a `Dataset` or `schema`. The rows as they
            were are in `whole`.
        hide_seed: of what is masked.
        download: let a recipe fetch its files into `root`.
    Returns:
        The data in model units, with a split and a schema.
    Raises:
        UsageError: unknown recipe, option, likelihood or name.
        DataError: a file or array that is missing, corrupt or inconsistent.
    """
    ignored = frozenset(name for name, how in as_.items() if how == "ignore")
    found = _gathered(data, Request(ignored, schema, Path(root) if root else None, download))
    if isinstance(found, Arrays):
        return from_arrays(
            found.arrays, name=found.name, features=found.features, as_=as_, schema=schema, seed=seed, hide=hide,
            hide_seed=hide_seed,
        )  # fmt: skip
    return with_mask(with_schema(found, as_=as_, schema=schema), hide, hide_seed)


def _gathered(source: Any, request: Request) -> Arrays | Dataset:
    """What the readers make of a source; what a reader returns may be read in turn, once."""
    chosen = reader_of(source)
    if chosen is None:
        raise refusal(source)
    name, reader = chosen
    found = reader.read(source, request)
    if isinstance(found, (Arrays, Dataset)):
        return found
    again = None if isinstance(found, (str, os.PathLike)) else reader_of(found)
    read_again = again and again[1].read(found, request)
    if isinstance(read_again, Dataset):
        return read_again
    if isinstance(read_again, Arrays):
        named = str(source) if name == "recipe" else Path(source).name if isinstance(source, (str, os.PathLike)) else ""
        return Arrays(read_again.arrays, named or read_again.name, read_again.features)
    raise UsageError(f"reader {name!r} returned a {type(found).__name__}; return arrays by name, or a DataFrame.")
