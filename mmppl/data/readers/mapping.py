"""The reader of mappings of arrays, tensors or lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from ...base.memory import check_room
from ...errors import DataError
from .cells import NOTHING, parse_column, plain_array, with_masks
from .papers.multibench import flattened, of_words
from .parts.by_part import joined_columns, joined_parts
from .parts.joined import join_by_index
from .parts.named_columns import with_named_columns
from .parts.sparse import dense, is_sparse
from .registry import Arrays, Request, reader


@reader("mapping")
class MappingReader:
    """Arrays, tensors or lists by name."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a mapping."""
        return isinstance(source, Mapping)

    def read(self, source: Mapping[str, Any], request: Request) -> Arrays:
        """Return its arrays. DataFrames and Series among them are joined by their index.

        Raises:
            DataError: see `read_mapping`, `join_by_index`, `joined_columns` and `with_named_columns`.
        """
        source = flattened(source)
        joined = join_by_index(source, request.ignored)
        if joined is None:
            arrays = read_mapping(source, request.ignored)
            if (words := of_words(arrays, "arrays")) is not None:
                return words
            arrays, named = with_named_columns(arrays)
            return Arrays(joined_parts(arrays), "arrays", named)
        arrays, features, names = joined
        others = {name: value for name, value in source.items() if str(name) not in names}
        plain = read_mapping(others, request.ignored)
        gaps = {key[5:]: ~mask for key, mask in arrays.items() if key in plain and key[5:] in names}
        arrays = with_masks({**arrays, **plain}, gaps)
        columns = {str(name): [key for key in arrays if key.startswith(f"{name}:")] for name in source}
        parts = [part for name, of in columns.items() for part in (name, *of)]
        order = [key for part in parts for key in (part, f"mask_{part}") if key in arrays]
        arrays = {key: arrays[key] for key in dict.fromkeys([*order, *arrays])}
        if (words := of_words(arrays, "arrays")) is not None:
            return words
        arrays, named = with_named_columns(arrays)
        whole = joined_parts(arrays)
        return Arrays(whole, "arrays", {**named, **(features if whole is arrays else joined_columns(features))})


def read_mapping(data: Mapping[str, Any], ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Turn arrays, tensors or lists into NumPy arrays. Missing strings (None) and masked NumPy arrays become a mask.

    Args:
        data: name → one row per sample; a list of (steps, features) arrays of unequal length is padded, and its lengths
            become `length_<name>`.
        ignored: the names whose contents do not matter; a filler takes their place.

    Returns:
        The arrays by name, with `mask_<name>` where rows or cells are missing that no NaN can mark.

    Raises:
        DataError: rows differ in length, or objects are neither strings nor numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    gaps, masks = {}, {}
    for key, value in data.items():
        name = str(key)
        if name in arrays:
            raise DataError(f"two arrays are called {name!r}; rename one of them.")
        if name in ignored:
            arrays[name] = NOTHING
            continue
        if isinstance(value, torch.Tensor):
            value = _of_tensor(name, value)
        if is_sparse(value):
            value = dense(name, value)
        if f"length_{name}" not in data and (series := _of_unequal_length(name, value)) is not None:
            value, arrays[f"length_{name}"] = series
        if isinstance(value, np.ma.MaskedArray) and value.ndim and value.size:
            value, masks[name] = _unmasked(value)
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, OverflowError, RuntimeError):
            raise DataError(f"{name!r} is ragged: its rows differ in length; pad them to one shape.") from None
        if array.dtype == object and array.ndim == 1:
            array, gaps[name] = parse_column(name, array)
        arrays[name] = plain_array(name, array)
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # a NaN cannot mark these
    return with_masks(arrays, unseen | masks)


def _of_unequal_length(name: str, value: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a list of (steps, F) arrays as one (N, T, F) array and the (N,) lengths; None of anything else."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(row, (np.ndarray, torch.Tensor)) for row in value):
        return None
    rows = [_of_tensor(name, row) if isinstance(row, torch.Tensor) else row for row in value]
    lengths = [len(row) if row.ndim == 2 else -1 for row in rows]
    if len({row.shape[1:] for row in rows}) != 1 or -1 in lengths or len(set(lengths)) == 1:
        return None
    check_room(len(rows) * max(lengths) * rows[0].shape[1] * 8, f"{name!r}: series padded to the longest")
    padded = np.zeros((len(rows), max(lengths), rows[0].shape[1]), np.result_type(*{row.dtype for row in rows}))
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return padded, np.array(lengths)


def _of_tensor(name: str, value: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array; NumPy lacks some types of numbers."""
    value = value.detach()
    try:
        array: np.ndarray = (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()
    except (TypeError, RuntimeError, NotImplementedError):
        layout = str(value.layout).removeprefix("torch.")
        kind = f"{value.device.type} tensor of {str(value.dtype).removeprefix('torch.')}, {layout}"
        raise DataError(f"{name!r} is a {kind}; give a dense one of floats or whole numbers.") from None
    return array


def _unmasked(array: np.ma.MaskedArray) -> tuple[np.ndarray, np.ndarray]:
    """Split a masked NumPy array into its values and the rows, or cells, that are masked."""
    cells = np.ma.getmaskarray(array)
    flat = cells.reshape(len(array), -1)
    rows = flat.all(1)
    return np.asarray(array.data), rows if (flat.any(1) == rows).all() else cells
