"""Files of HDF5 that anybody may have made: nothing is followed out of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....base.memory import check_room
from ....errors import DataError

# What h5py raises, and what reading on raises where a file is cut off, overwritten, or made by something else.
DAMAGED = (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError, OverflowError)
TEXT = 64  # bytes that a text of any length takes in memory, or more
LONGEST = 2**20  # values of an attribute


def attribute(member: Any, name: str, default: Any = None) -> Any:
    """Return an attribute of a member, unless it has more values than any has: they would all be made at once.

    Args:
        member: a group or dataset of h5py.
        name: the name of the attribute.
        default: what stands for one that is not there.

    Returns:
        Its value.

    Raises:
        ValueError: it has too many values.
    """
    if name not in member.attrs:
        return default
    if math.prod(member.attrs.get_id(name).shape or ()) > LONGEST:
        raise ValueError(f"an attribute {name} of {member.attrs.get_id(name).shape} values")
    return member.attrs[name]


def own(group: Any, name: str, path: Path) -> Any:
    """Return what is in the file itself: links to other files are not followed, and data in others not read.

    Args:
        group: a group of h5py.
        name: the name of a member.
        path: the file, for messages.

    Returns:
        The member.

    Raises:
        DataError: it leads out of the file.
        KeyError: there is none of that name.
    """
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        if name not in group and group.get(name, getlink=True) is None:
            raise KeyError(name)
        raise DataError(f"{path}: {name[:60]!r} is a link to elsewhere, which is not followed.")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise DataError(f"{path}: {name[:60]!r} lies in other files, which are not opened.")
    return found


def whole(group: Any, name: str, path: Path) -> Any:
    """Return a member of a group with all that is in it, once it is known to lie in the file and to fit into memory.

    Args:
        group: a group of h5py.
        name: the name of a member.
        path: the file, for messages.

    Returns:
        The member.

    Raises:
        DataError: something in it leads out of the file, or it does not fit into memory.
        KeyError: there is none of that name.
    """
    found = own(group, name, path)
    check_room(sum(_sizes(found, path)), f"{path}: {name[:60]!r}")
    return found


def _sizes(found: Any, path: Path, depth: int = 8) -> Iterator[int]:
    """The bytes of every dataset in a member, which may contain itself."""
    if hasattr(found, "dtype"):
        yield found.size * (TEXT if found.dtype.kind == "O" else found.dtype.itemsize)
    elif depth:
        for name in found:
            yield from _sizes(own(found, name, path), path, depth - 1)
