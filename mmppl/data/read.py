"""`read`: recipe, file, folder, mapping, DataFrame or Dataset → one checked Dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..modalities.modality import Modality
from .dataset import Dataset
from .readers.frame import read_frame
from .readers.mapping import read_mapping
from .readers.npz import joined_parts, read_npz
from .schema.ingest import from_arrays, with_schema


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
            wav files (see `mmppl.utterances`), a mapping of name → array, a DataFrame (columns `modality:feature` are
            grouped), or a `Dataset`.
        root: folder of the files that a recipe needs; default $MMPPL_DATA.
        as_: name → "likelihood[:key=value,…]" with keys scale (number, learned, predicted), role (modality, label) and
            transform (none, standardise, log1p, image), or "ignore" to leave an array out.
        schema: the modalities of a run; then scaling and classes are theirs, and arrays that differ are named. A
            modality that the data lack is missing in every row. Of `as_` only "ignore" counts then.
        seed: of the split, where the data bring none. A recipe has a seed of its own, as an option.
        hide, hide_seed: take the means and standard deviations by which numbers are scaled from what `Dataset.hide`
            of this rate and seed would leave. Nothing is hidden yet; the units of a recipe or a Dataset stay.
        download: let a recipe fetch its files into `root`.
    Raises:
        UsageError: unknown recipe, option, likelihood or name.
        DataError: a file or array that is missing, corrupt or inconsistent.
    """
    if isinstance(data, Dataset):
        return with_schema(data, as_=as_, schema=schema)
    ignored = {name for name, how in as_.items() if how == "ignore"}
    how: dict[str, Any] = dict(as_=as_, schema=schema, seed=seed, hide=hide, hide_seed=hide_seed)
    if isinstance(data, Mapping):
        arrays = read_mapping(data, ignored)
        return from_arrays(arrays, name="arrays", **how)
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        arrays, features = read_frame(data, ignored)
        return from_arrays(arrays, features=features, name="arrays", **how)
    if not isinstance(data, (str, os.PathLike)):
        raise UsageError(
            f"read: cannot read a {type(data).__name__}; give a recipe, an .npz file, arrays by name or a DataFrame."
        )
    path = Path(data)
    if path.suffix.lower() == ".zip" or (path.is_dir() and on_disk(data)):
        from .readers.recordings import features_for, read_utterances

        arrays = read_utterances(path, features_for(schema))
        return from_arrays(arrays, name=path.resolve().name, **how)
    if isinstance(data, os.PathLike) or path.suffix == ".npz" or path.is_file():
        arrays = joined_parts(read_npz(path, ignored))
        return from_arrays(arrays, name=path.name, **how)
    from .recipes.registry import make

    if "/" in data.partition(":")[0]:
        raise DataError(f"{data}: no such file; give the path of an .npz file, or of a folder or .zip of wav files.")
    return with_schema(make(data, root=root, download=download), as_=as_, schema=schema)


def on_disk(data: str | os.PathLike[str]) -> bool:
    """Whether this names a file or folder that is there. No folder is meant by a recipe's name, nor by an empty one."""
    from .recipes.registry import TABLE

    path = Path(data)
    return path.is_file() or (path.is_dir() and not (isinstance(data, str) and (data in TABLE or not data)))
