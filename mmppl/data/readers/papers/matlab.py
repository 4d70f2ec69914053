"""Numbers from MATLAB's .mat files of version 5 (`save -v6` and `-v7`), compressed or not.

Source: MathWorks, "MAT-File Format". This replaces `scipy.io.loadmat`, which a damaged file can crash (scipy 1.17.1).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ....base.memory import check_room
from ....errors import DataError, obeyed
from ..parts.archive import RATIO
from ..parts.files import contents

STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
COMPLEX = 0x800
HEADER = 128
LONGEST, DIMENSIONS = 63, 32  # letters of a name in MATLAB; axes of an array


class _Damaged(Exception):
    """The file is damaged; the message says how, in a few words."""


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some of the arrays of a .mat file.

    Args:
        path: the path of the file.
        names: the names of the arrays.

    Returns:
        The arrays by name, with the types and shapes that MATLAB gave them (the first axis varies fastest).

    Raises:
        DataError: this is no such file, it is truncated or corrupt, or a name is missing or holds no real numbers.
    """
    content = memoryview(contents(path))
    if b"\x89HDF\r\n\x1a\n" in (bytes(content[:8]), bytes(content[512:520])):
        raise DataError(f"{path}: MATLAB's version 7.3 (HDF5); save it again with -v7.")
    order = {b"\0\1IM": "<", b"\1\0MI": ">"}.get(bytes(content[124:HEADER]))
    if order is None:
        raise DataError(f"{path}: not a .mat file of version 5 (it begins {bytes(content[:8])!r}); fetch it again.")
    found: dict[str, np.ndarray] = {}
    others = []
    try:
        for kind, part in _elements(content[HEADER:], order):
            if kind == COMPRESSED:
                kind, part = _unpacked(part, order, path)
            if kind != MATRIX:
                continue
            name, array = _matrix(part, order, names)
            if array is not None:
                found[name] = array
            elif name in names:
                raise DataError(f"{path}: {name} holds no real numbers; fetch the file again.")
            else:
                others.append(name)
    except (_Damaged, zlib.error) as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again.") from None
    for name in names:
        if name not in found:
            there = ", ".join([*found, *others]) or "nothing"
            raise DataError(f"{path}: has no {name}, but {there}; truncated, or another file.")
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (type, data) of elements that follow each other."""
    at = 0
    while at < len(content):
        if len(content) - at < 8:
            raise _Damaged("it ends within a tag")
        kind, size = (int(number) for number in np.frombuffer(content[at : at + 8], f"{order}u4"))
        start = at + 8
        if kind >> 16:  # a small element has its size beside its type, and its data in the tag
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise _Damaged(f"a small element of {size} bytes")
        if start + size > len(content):
            raise _Damaged(f"it ends {start + size - len(content):,} bytes before an element does")
        yield kind, content[start : start + size]
        length = start + size - at
        at = min(at + (length if kind == COMPRESSED else -(-length // 8) * 8), len(content))  # others are padded


def _unpacked(part: memoryview, order: str, path: Path) -> tuple[int, memoryview]:
    """Return (type, data) of the element inside a compressed one; no more is unpacked than its tag says."""
    packed = zlib.decompressobj()
    tag = packed.decompress(part, 8)
    if len(tag) < 8:
        raise _Damaged("an empty element")
    kind, size = (int(number) for number in np.frombuffer(tag, f"{order}u4"))
    if size > RATIO * len(part):
        raise _Damaged(f"{len(part):,} bytes that cannot unpack to {size:,}")
    check_room(size, f"{path}: what is packed in it")
    data = packed.decompress(packed.unconsumed_tail, size) if size else b""
    if len(data) < size:
        raise _Damaged(f"an element of {len(data):,} instead of {size:,} bytes")
    packed.decompress(packed.unconsumed_tail, 8)  # zlib compares the checksum only when it reads past the data
    if not packed.eof:
        raise _Damaged("an element that is longer than it says")
    return kind, memoryview(data)


def _matrix(part: memoryview, order: str, names: Sequence[str]) -> tuple[str, np.ndarray | None]:
    """Return name and array; None in place of an array that is not asked for or does not hold real numbers."""
    pieces = []
    for piece in _elements(part, order):
        pieces.append(piece)
        if len(pieces) == 4:
            break
    if len(pieces) < 3 or len(pieces[0][1]) < 4:
        raise _Damaged("a matrix without its head")
    (flags,) = np.frombuffer(pieces[0][1][:4], f"{order}u4").tolist()
    name = bytes(pieces[2][1]).decode("latin-1")
    if obeyed(name) or len(name) > LONGEST:
        raise _Damaged(f"an array called {name[:LONGEST]!r}")
    wanted, kind = CLASSES.get(flags & 0xFF), STORED.get(pieces[3][0]) if len(pieces) > 3 else None
    if name not in names or wanted is None or flags & COMPLEX:
        return name, None
    if kind is None or kind[0] == "f" != wanted[0]:
        raise _Damaged(f"{name} has no numbers of its type")
    data, sizes = pieces[3][1], pieces[1][1]
    shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], f"{order}i4").tolist()
    number = 1
    for size in shape:
        number *= size
    if min(shape, default=-1) < 0 or len(shape) > DIMENSIONS or number * int(kind[1]) != len(data):
        raise _Damaged(f"{name} of shape {tuple(shape)} in {len(data):,} bytes")
    array = np.frombuffer(data, f"{order}{kind}").reshape(shape, order="F")
    return name, array.astype(wanted, copy=False)
