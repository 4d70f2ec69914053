"""The reader of rows that are dicts: of a list of them, or of a torch data set whose items are."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ....errors import DataError
from ..manifest.images import pixels_of
from ..mapping import read_mapping
from ..parts.rows import Rows
from ..registry import Arrays, Request, reader

REMEDY = 'let every item be a dict such as {"image": x, "label": y}, with None for what is missing'
SCALARS = (str, bool, int, float, np.generic)


@reader("items")
class ItemsReader:
    """Lists of dicts, and map-style data sets of torch."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is such a list, or a `torch.utils.data.Dataset`."""
        if isinstance(source, (list, tuple)):
            return bool(source) and isinstance(source[0], Mapping)
        torch_data = sys.modules.get("torch.utils.data")  # without it nobody has made one
        return torch_data is not None and isinstance(source, torch_data.Dataset)

    def read(self, source: Any, request: Request) -> Arrays:
        """Return the items as arrays by name: each item is read once, in order. A name that an item lacks, or for which
        it has None, is missing in that row. Named tuples and dataclasses are taken for dicts.

        Raises:
            DataError: the data set has no length, an item cannot be made or is no dict, or items do not fit together.
        """
        if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
            raise DataError(f"a {type(source).__name__} has no length; give its items as a list: list(dataset).")
        try:
            number = len(source)
        except TypeError:
            raise DataError(f"a {type(source).__name__} has no length; give its items as a list.") from None
        if not number:
            raise DataError(f"a {type(source).__name__} without items; give at least two.")
        place = "arrays" if isinstance(source, (list, tuple)) else type(source).__name__
        columns: dict[str, np.ndarray] = {}
        rows: dict[str, Rows] = {}
        for at, item in enumerate(_items(source, number, place)):
            for key, value in item.items():
                name = str(key)
                columns.setdefault(name, np.full(number, None))
                if name not in request.ignored and value is not None:
                    value = _plain(value, f"{place}: {name!r}, item {at}")
                    if isinstance(value, np.ndarray):
                        rows.setdefault(name, Rows(name, place, number)).put(at, value)
                    else:
                        columns[name][at] = value
        for name, stacked in rows.items():
            single = [at for at, value in enumerate(columns[name]) if value is not None]
            if single:
                raise DataError(
                    f"{place}: {name!r} is a single value in item {single[0]}, and an array in item {stacked.first}; "
                    "give all of one form."
                )
        arrays: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            found = rows[name].arrays() if name in rows else {name: column}
            clash = next((key for key in found if key != name and key in columns), None)
            if clash is not None:
                raise DataError(f"{place}: items have {clash!r}, and not all have {name!r}; give None in its place.")
            arrays |= found
        return Arrays(read_mapping(arrays, request.ignored), place)


def _items(source: Any, number: int, place: str) -> Iterator[Mapping[Any, Any]]:
    for at in range(number):
        try:
            item = source[at]
        except Exception as error:  # whatever the code of the user's data set raises
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise DataError(
                f"{place}: item {at} raises {type(error).__name__} ({said}); correct the data set."
            ) from error
        if hasattr(item, "_asdict"):
            item = item._asdict()
        elif dataclasses.is_dataclass(item) and not isinstance(item, type):
            item = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        if not isinstance(item, Mapping):
            raise DataError(f"{place}: item {at} is a {type(item).__name__}; {REMEDY}.")
        yield item


def _plain(value: Any, place: str) -> Any:
    """Return a value as an array, or as a single number or text."""
    if hasattr(value, "mode") and hasattr(value, "convert"):  # an image of Pillow
        return pixels_of(value, place)
    if isinstance(value, SCALARS):
        return value
    found = read_mapping({place: value}).get(place)
    if found is None:
        raise DataError(f"{place} is a {type(value).__name__}; give numbers, a text, a tensor or an array.")
    return found.item() if found.ndim == 0 else found
