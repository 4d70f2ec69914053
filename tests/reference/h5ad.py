"""AnnData and MuData written with h5py alone, after AnnData's documentation of its files."""

from collections.abc import Mapping, Sequence

import h5py
import numpy as np
from scipy import sparse


def write_column(group: h5py.Group, name: str, values) -> None:
    """A column: an array, a list of texts, ("categorical", categories, codes) or ("nullable", values, mask)."""
    if isinstance(values, tuple):
        kind, first, second = values
        inner = group.create_group(name)
        numbers = "boolean" if np.asarray(first).dtype.kind == "b" else "integer"
        inner.attrs["encoding-type"] = kind if kind == "categorical" else f"nullable-{numbers}"
        names = ("categories", "codes") if kind == "categorical" else ("values", "mask")
        for part, content in zip(names, (first, second)):
            write_column(inner, part, content)
        return
    values = np.asarray(values)
    text = values.dtype.kind == "U"
    stored = group.create_dataset(
        name, data=values.astype(object) if text else values, dtype=h5py.string_dtype() if text else None
    )
    stored.attrs["encoding-type"] = "string-array" if text else "array"


def write_table(parent: h5py.Group, name: str, index: Sequence[str], columns: Mapping = {}) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "_index": "_index"})
    group.attrs["column-order"] = np.array(list(columns), dtype=h5py.string_dtype())
    write_column(group, "_index", np.array(index, dtype=str))
    for column, values in columns.items():
        write_column(group, column, values)
    return group


def write_matrix(parent: h5py.Group, name: str, matrix) -> None:
    if not sparse.issparse(matrix):
        parent[name] = matrix
        parent[name].attrs["encoding-type"] = "array"
        return
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": f"{matrix.format}_matrix", "shape": matrix.shape})
    for part in ("data", "indices", "indptr"):
        group[part] = getattr(matrix, part)


def write_anndata(group: h5py.Group, matrix, rows: Sequence[str], features: Sequence[str], obs: Mapping = {}) -> None:
    group.attrs["encoding-type"] = "anndata"
    write_table(group, "obs", rows, obs)
    write_table(group, "var", features)
    write_matrix(group, "X", matrix)
    for empty in ("layers", "obsm", "uns", "obsp"):
        group.create_group(empty)


def write_mudata(file: h5py.File, blocks: Mapping[str, tuple], rows: Sequence[str], obs: Mapping = {}) -> None:
    """`blocks`: name → the arguments of `write_anndata`."""
    file.attrs.update({"encoding-type": "MuData", "axis": 0})
    mod = file.create_group("mod")
    for name, block in blocks.items():
        write_anndata(mod.create_group(name), *block)
    mod.attrs["mod-order"] = np.array(list(blocks), dtype=h5py.string_dtype())
    write_table(file, "obs", rows, obs)
    file.create_group("obsm")
