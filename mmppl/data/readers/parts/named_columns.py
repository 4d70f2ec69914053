"""`<name>_features` beside an array are the names of its columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....errors import DataError
from .by_part import place_of

SUFFIX = "_features"


def with_named_columns(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Take the names of columns out of arrays by name.

    Args:
        arrays: name → (N, *shape). What is called `<name>_features` are names if it is text, one-dimensional, and
            there is an array `<name>`, or `<name>_train` and the like, of two dimensions; otherwise it is an array as
            any other.

    Returns:
        The other arrays, and name → the names of its columns.

    Raises:
        DataError: there are more or fewer names than columns, or two of them are the same.

    Example:
        >>> gene = {"gene": np.zeros((4, 2)), "gene_features": np.array(["BRCA1", "TP53"])}
        >>> with_named_columns(gene)[1]
        {'gene': ('BRCA1', 'TP53')}
    """
    features: dict[str, tuple[str, ...]] = {}
    taken = set()
    for key, array in arrays.items():
        name = key.removesuffix(SUFFIX)
        if name == key or array.dtype.kind != "U" or array.ndim != 1:
            continue
        named = [other for of, other in arrays.items() if name in (of, place_of(of)[0]) and other.ndim == 2]
        columns = named[0].shape[1] if named else 0
        if not named or (len(array) != columns and len(array) == len(named[0])):
            continue  # a text for each row
        if len(array) != columns:
            raise DataError(
                f"{key!r} has {len(array):,} names, and {name!r} has {columns:,} columns; give one for each."
            )
        names = tuple(array.tolist())
        if len(set(names)) < len(names):
            twice = next(one for one in names if names.count(one) > 1)
            raise DataError(f"{key!r}: two columns are called {twice!r}; give each its own name.")
        features[name] = names
        taken.add(key)
    return {key: array for key, array in arrays.items() if key not in taken}, features
