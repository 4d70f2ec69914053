"""Files of papers' data sets that must be refused: idx, cdb, mat, the four of MNIST, and pictures."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mmppl.data.read import read
from mmppl.data.readers.papers.cdb import HEADER, read_cdb
from mmppl.data.readers.papers.idx import read_idx
from mmppl.data.readers.papers.matlab import read_mat
from mmppl.data.recipes.parts.mnist import FILES
from mmppl.data.recipes.parts.photographs import photographs

from .bad_arrays import Case, Try


def idx(*shape: int, data: bytes | None = None, kind: int = 8, axes: int | None = None) -> bytes:
    """An idx file."""
    data = bytes(int(np.prod(shape))) if data is None else data
    return bytes([0, 0, kind, len(shape) if axes is None else axes]) + struct.pack(f">{len(shape)}I", *shape) + data


def cdb(
    records: bytes = b"\xff\3\2\0\1\1" * 4, *, count: int = 4, height: int = 1, width: int = 2, kind: int = 0
) -> bytes:
    """A file of HODA."""
    return HEADER.pack(2000, 1, 1, height, width, count, *[0] * 128, kind, b"", b"") + records


def element(kind: int, data: bytes, size: int | None = None) -> bytes:
    """An element of a .mat file."""
    return struct.pack("<II", kind, len(data) if size is None else size) + data + bytes(-len(data) % 8)


def matrix(
    *, name: bytes = b"X", shape: tuple[int, ...] = (2, 3), data: bytes = bytes(6), kind: int = 2, made: int = 9
) -> bytes:
    """A matrix of a .mat file."""
    inside = element(6, struct.pack("<II", made, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, inside + element(1, name) + element(kind, data))


def mat(*elements: bytes) -> bytes:
    """A .mat file."""
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements)


def compressed(content: bytes) -> bytes:
    """A compressed element."""
    data = zlib.compress(content, 9)
    return struct.pack("<II", 15, len(data)) + data


def of(name: str, file: str, content: Callable[[], bytes], reader: Callable[[Path], object]) -> Case:
    """The case of a file that a reader gets."""

    def prepare(folder: Path) -> Try:
        (folder / file).write_bytes(content())
        return lambda: reader(folder / file)

    return name, prepare


def papers() -> Iterator[Case]:
    """One file of a data set, damaged."""
    bomb = 2**27
    files: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "a page": lambda: b"<html>404</html>",
        "of floats": lambda: idx(4, 4, kind=13),
        "no axes": lambda: idx(data=b"\0"),
        "255 axes": lambda: idx(2, 2, axes=255),
        "sizes of 2 to the 128": lambda: idx(*[2**32 - 1] * 4, data=bytes(16)),
        "sizes whose product is 16 in 64 bits": lambda: idx(2**31, 2**31, 4, data=b""),
        "one byte less": lambda: idx(4, 4, data=bytes(15)),
        "one byte more": lambda: idx(4, 4, data=bytes(17)),
        "a header cut": lambda: idx(4, 4)[:7],
    }
    for name, content in files.items():
        yield of(f"idx: {name}", "a", content, read_idx)
        yield of(f"idx: {name}, packed", "a.gz", lambda content=content: gzip.compress(content()), read_idx)  # type: ignore[misc]
    yield of("idx: a bomb", "a.gz", lambda: gzip.compress(idx(4, 4, data=bytes(bomb))), read_idx)
    yield of("idx: says 4 GB, packed", "a.gz", lambda: gzip.compress(idx(2**32 - 1, data=bytes(99))), read_idx)
    yield of("idx: packed, cut", "a.gz", lambda: gzip.compress(idx(40, 40))[:-9], read_idx)
    yield of("idx: packed, a byte changed", "a.gz", lambda: gzip.compress(idx(4, 4))[:-8] + bytes(8), read_idx)
    yield of("idx: not packed", "a.gz", lambda: idx(4, 4), read_idx)
    scans: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "a header alone": lambda: cdb(b""),
        "a header cut": lambda: cdb()[:99],
        "4 billion records": lambda: cdb(count=2**32 - 1),
        "a record too many": lambda: cdb(count=5),
        "a record too few": lambda: cdb(count=3),
        "grey": lambda: cdb(kind=1),
        "runs beyond the row": lambda: cdb(b"\xff\3\2\0\1\7" * 4),
        "runs that end early": lambda: cdb(b"\xff\3\1\0\1" * 4),
        "no length": lambda: cdb(b"\xff\3\xff\xff" * 4),
        "another mark": lambda: cdb(b"\x0f\3\2\0\1\1" * 4),
        "no height": lambda: cdb(b"\xff\3\0\0" * 4, height=0, width=0, count=4),
    }
    for name, content in scans.items():
        yield of(f"cdb: {name}", "a.cdb", content, read_cdb)
    matrices: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "a header alone": lambda: mat(),
        "version 7.3": lambda: b"\x89HDF\r\n\x1a\n" + bytes(600),
        "another name": lambda: mat(matrix(name=b"Y")),
        "a name of two lines": lambda: mat(matrix(name=b"a\nb\x1b[1m")),
        "a long name": lambda: mat(matrix(name=b"a" * 100_000)),
        "sizes too large": lambda: mat(matrix(shape=(2, 4))),
        "sizes below 0": lambda: mat(matrix(shape=(-2, -3))),
        "no sizes": lambda: mat(matrix(shape=())),
        "sizes of 2 to the 124": lambda: mat(matrix(shape=(2**31 - 1,) * 4)),
        "a hundred axes": lambda: mat(matrix(shape=(1,) * 98 + (2, 3))),
        "floats for whole numbers": lambda: mat(matrix(kind=9, shape=(1,), data=struct.pack("<d", np.nan))),
        "cells": lambda: mat(matrix(made=1)),
        "complex": lambda: mat(matrix(made=9 | 0x800)),
        "an unknown type of number": lambda: mat(matrix(kind=99)),
        "cut": lambda: mat(matrix())[:-9],
        "a bomb": lambda: mat(compressed(matrix(shape=(bomb, 2), data=bytes(bomb)))),
        "packed, says 4 GB": lambda: mat(compressed(element(14, bytes(64), 2**32 - 8))),
        "packed, damaged": lambda: mat(compressed(matrix())[:-6] + bytes(6)),
        "packed twice": lambda: mat(compressed(compressed(matrix()))),
    }
    for name, content in matrices.items():
        yield of(f"mat: {name}", "a.mat", content, lambda path: read_mat(path, ["X"]))
    pictures: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "a page": lambda: b"<html>404</html>",
        "3.6 billion pixels": lambda: png(60_000, 60_000),
        "sizes of 2 to the 62": lambda: png(2**31 - 1, 2**31 - 1),
        "64 million pixels": lambda: png(8_000, 8_000),
        "cut": lambda: png(300, 300)[:60],
        "too small": lambda: png(30, 30),
    }
    for name, content in pictures.items():
        yield of(f"picture: {name}", "a.png", content, lambda path: photographs(path.parent))


def png(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel; a large one is cut, since its header is refused."""
    rows = zlib.compress(bytes(min(width, 60_000) // 8 + 1) * min(height, 400), 9)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def digits() -> Iterator[Case]:
    """The four files of MNIST, one of them wrong."""
    small = {
        FILES[0]: lambda: idx(60_000, 2, 2),
        FILES[1]: lambda: idx(60_000),
        FILES[2]: lambda: idx(10_000, 2, 2),
        FILES[3]: lambda: idx(10_000),
    }
    spoilt: dict[str, tuple[str, Callable[[], bytes]]] = {
        "images cut": (FILES[0], lambda: idx(60_000, 2, 2)[:-1]),
        "fewer images": (FILES[0], lambda: idx(59_999, 2, 2)),
        "test images of another size": (FILES[2], lambda: idx(10_000, 3, 3)),
        "images of no size": (FILES[0], lambda: idx(60_000, 0, 2)),
        "images of one axis": (FILES[0], lambda: idx(60_000)),
        "labels of two axes": (FILES[1], lambda: idx(60_000, 1)),
        "labels of 200": (FILES[1], lambda: idx(60_000, data=bytes([200]) * 60_000)),
        "labels cut": (FILES[3], lambda: idx(10_000)[:-1]),
        "no labels": (FILES[3], lambda: b""),
    }
    for name, (file, content) in spoilt.items():

        def prepare(folder: Path, file: str = file, content: Callable[[], bytes] = content) -> Try:
            (folder / "mnist").mkdir()
            for one, make in small.items():
                (folder / "mnist" / one).write_bytes(content() if one == file else make())
            return lambda: read("mnist-label", root=folder)

        yield f"mnist: {name}", prepare
    yield "mnist: an overlong ROOT", lambda folder: lambda: read("mnist-label", root="a" * 5000)
    yield "mnist: no ROOT", lambda folder: lambda: read("mnist-label", root=folder / "none")
