"""Zip files, recordings and paths that must be refused."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmppl.data.read import read
from mmppl.data.readers.speech.wav import read_wav

from .bad_arrays import ROWS, Case, Try, packed, stored

GIGABYTE = 2**30


@cache
def zeros(size: int, method: int) -> bytes:
    """So many zero bytes, packed."""
    if method == zipfile.ZIP_DEFLATED:
        packer: Any = zlib.compressobj(9, zlib.DEFLATED, -15)
    elif method == zipfile.ZIP_BZIP2:
        import bz2

        packer = bz2.BZ2Compressor()
    else:
        packer = zipfile.LZMACompressor()  # type: ignore[attr-defined]
    block = bytes(2**20)
    return b"".join([packer.compress(block) for _ in range(size // 2**20)]) + packer.flush()


def local(name: bytes, content: bytes, size: int, *, crc: int = 0, method: int = 8, flags: int = 0) -> bytes:
    """A member: its local header and what follows it."""
    return (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, method, 0, 33, crc, len(content), size, len(name), 0)
        + name
        + content
    )


def entry(name: bytes, length: int, size: int, at: int, *, crc: int = 0, method: int = 8, flags: int = 0) -> bytes:
    """A member's line in the directory."""
    head = (b"PK\1\2", 20, 20, flags, method, 0, 33, crc, length, size, len(name), 0, 0, 0, 0, 0, at)
    return struct.pack("<4s6H3I5H2I", *head) + name


def zipped(members: bytes, directory: list[bytes], *, number: int | None = None) -> bytes:
    """A zip file of members and a directory that need not fit each other."""
    number = len(directory) if number is None else number
    lines = b"".join(directory)
    return (
        members
        + lines
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number % 65536, number % 65536, len(lines), len(members), 0)
    )


def overlapping(copies: int) -> bytes:
    """Members that share one kernel of zeros: each of them unpacks to all of it."""
    kernel = zeros(GIGABYTE // 16, zipfile.ZIP_DEFLATED)
    head = npy_of(GIGABYTE // 16)
    members = local(b"x0.npy", kernel, len(head) + GIGABYTE // 16)
    return zipped(members, [entry(f"x{i}.npy".encode(), len(kernel), GIGABYTE // 16, 0) for i in range(copies)])


def npy_of(size: int) -> bytes:
    """The header of an array of bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": (size // 64, 64)})
    return buffer.getvalue()


def lying(size: int, said: int, name: bytes = b"x.npy", method: int = 8) -> bytes:
    """One member of zeros that declares another size."""
    content = zeros(size, method)
    return zipped(local(name, content, said, method=method), [entry(name, len(content), said, 0, method=method)])


def alone(data: bytes, *, name: bytes = b"x.npy", inside: bytes | None = None,
          length: int | None = None, size: int | None = None, at: int = 0, crc: int | None = None, method: int = 0,
          flags: int = 0) -> bytes:  # fmt: skip
    """A zip file of one stored member, of which something is not as it should be."""
    crc = zlib.crc32(data) if crc is None else crc
    length, size = (len(data) if number is None else number for number in (length, size))
    member = local(name if inside is None else inside, data, size, crc=crc, method=method, flags=flags)
    return zipped(member, [entry(name, length, size, at, crc=crc, method=method, flags=flags)])


def archives() -> Iterator[Case]:
    """Zip files that are bombs, contradict themselves or are damaged."""
    one = stored(ROWS)
    crc, raw = zlib.crc32(one), one
    bombs: dict[str, Callable[[], bytes]] = {
        "a hundred members in one place": lambda: overlapping(100),
        "a member that says 2 GB": lambda: lying(2**20, 2 * GIGABYTE),
        "a member that says 4 GB and holds nothing": lambda: lying(0, 2**32 - 2),
        "a member that says less than it holds": lambda: lying(GIGABYTE // 4, 100),
        "LZMA": lambda: lying(GIGABYTE // 8, GIGABYTE // 8, method=zipfile.ZIP_LZMA),
        "bzip2": lambda: lying(GIGABYTE // 8, GIGABYTE // 8, method=zipfile.ZIP_BZIP2),
        "a wrong checksum": lambda: alone(raw, crc=0),
        "encrypted": lambda: alone(raw, flags=1),
        "an unknown method": lambda: alone(raw, method=77),
        "stored, and longer than it is": lambda: alone(raw, size=999),
        "an offset beyond the end": lambda: alone(raw, at=2**31),
        "a size beyond the end": lambda: alone(raw, length=2**31, size=2**31),
        "other names inside": lambda: alone(raw, inside=b"y.npy"),
        "a name of control characters": lambda: alone(raw, name=b"x\n\x1b.npy"),
        "a million members": lambda: zipped(b"", [entry(b"x", 0, 0, 0)] * 300_000, number=65535),
        "a directory alone": lambda: zipped(b"", [entry(b"x.npy", 9, 9, 0)]),
        "no members": lambda: zipped(b"", []),
        "a directory elsewhere": lambda: zipped(b"", [])[:-6] + b"\xff\xff\xff\x7f\0\0",
    }  # fmt: skip
    for name, make in bombs.items():
        for suffix in (".npz", ".zip"):
            yield of_file(f"zip: {name}, {suffix}", f"bad{suffix}", make)

    def twice(folder: Path) -> Try:
        content = zipped(
            local(b"x.npy", raw, len(raw), crc=crc, method=0) * 2,
            [entry(b"x.npy", len(raw), len(raw), at, crc=crc, method=0) for at in (0, 35 + len(raw))],
        )
        return write(folder, "bad.npz", content)

    yield "zip: a name twice", twice
    yield "zip: a name with and without its ending", lambda f: of(packed(f / "a.npz", {"x": one, "x.npy": one}))
    yield (
        "zip: a zip in it",
        lambda f: of(packed(f / "a.npz", {"x.npy": packed(f / "b.npz", {"x.npy": one}).read_bytes()})),
    )
    yield (
        "zip: only a zip in it",
        lambda f: of(packed(f / "a.zip", {"b.zip": packed(f / "b.npz", {"x.npy": one}).read_bytes()})),
    )
    yield "zip: other files", lambda f: of(packed(f / "a.npz", {"xl/workbook.xml": b"<xml/>"}))
    for share in (10, 30, 50, 70, 90, 99):
        yield f"zip: cut at {share} %", changed(lambda content, share=share: content[: len(content) * share // 100])  # type: ignore[misc]
    for at in (40, 70, 200, 300):
        yield f"zip: byte {at} changed", changed(lambda content, at=at: flipped(content, at))  # type: ignore[misc]


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Try]:
    """What prepares a good .npz file that is then changed."""
    return lambda folder: write(folder, "a.npz", change(whole(folder)))


def whole(folder: Path) -> bytes:
    """A good .npz file."""
    return packed(folder / "whole.npz", {"x.npy": stored(ROWS), "y.npy": stored(ROWS)}).read_bytes()


def flipped(content: bytes, at: int) -> bytes:
    """One byte changed."""
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def of(path: Path | str) -> Try:
    """Reading a path."""
    return lambda: read(path)


def write(folder: Path, name: str, content: bytes) -> Try:
    """Reading a file of that content."""
    (folder / name).write_bytes(content)
    return of(folder / name)


def of_file(label: str, name: str, make: Callable[[], bytes]) -> Case:
    """The case of a file by its content."""
    return label, lambda folder: write(folder, name, make())


def wav(*, form: int = 1, channels: int = 1, rate: int = 8000, block: int | None = None, bits: int = 16,
        data: bytes = bytes(4800), size: int | None = None, riff: int | None = None, before: bytes = b"",
        after: bytes = b"") -> bytes:  # fmt: skip
    """A wav file whose header is what it is told to be."""
    block = channels * -(-bits // 8) if block is None else block
    inside = (
        b"WAVE"
        + before
        + b"fmt "
        + struct.pack("<IHHIIHH", 16, form, channels, rate, rate * block % 2**32, block % 2**16, bits)
    )
    inside += b"data" + struct.pack("<I", len(data) if size is None else size) + data + after
    return b"RIFF" + struct.pack("<I", len(inside) if riff is None else riff) + inside


def recordings() -> Iterator[Case]:
    """Wav files, and folders of them."""
    chunk = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 999, 1998, 2, 16)
    files = {
        **{f"{bits} bits": wav(bits=bits) for bits in (0, 1, 4, 7, 9, 12, 15, 17, 24, 32, 64, 65535)},
        **{f"{rate} Hz": wav(rate=rate) for rate in (0, 1, 7, 999, 384_001, 10**6, 2**31, 2**32 - 1)},
        **{f"form {form}": wav(form=form) for form in (0, 2, 3, 6, 7, 17, 85, 0xFFFE)},
        **{f"{channels} channels": wav(channels=channels) for channels in (0, 2, 6, 65535)},
        **{f"cut at {at}": wav()[:at] for at in (0, 4, 11, 12, 20, 36, 43, 44, 45, 2000)},
        "a block of 3": wav(block=3),
        "a block of 0": wav(block=0),
        "two hours": wav(rate=1000, bits=8, data=bytes(2 * 3600 * 1000)),
        "no samples": wav(data=b""),
        "half a sample": wav(data=bytes(4801) + b"\0", size=4801),
        "4 GB said": wav(size=2**32 - 1),
        "4 GB said twice": wav(size=2**32 - 1, riff=2**32 - 1),
        "something appended": wav() + bytes(10),
        "two formats": wav(before=chunk),
        "two recordings": wav(after=b"data" + struct.pack("<I", 4) + bytes(4)),
        "a chunk of 4 GB": wav(before=b"LIST" + struct.pack("<I", 2**32 - 8)),
        "big-endian": b"RIFX" + wav()[4:],
        "mp3": b"ID3\4" + bytes(400),
        "a page": b"<html>404</html>",
    }
    for name, content in files.items():
        yield f"wav: {name}", lambda folder, content=content: lambda: read_wav(content, "a.wav")  # type: ignore[misc]
    good = {f"{label}_anna_{take}.wav": wav() for label in "12" for take in range(3)}
    tables: dict[str, bytes] = {
        "no UTF-8": b"file,label\n\xff\xfe,1\n",
        "UTF-16": "file,label\n1_anna_0.wav,1\n".encode("utf-16"),
        "no rows": b"file,label\n",
        "nothing": b"",
        "a column twice": b"file,a,a\n1_anna_0.wav,1,2\n",
        "a column of two lines": b'file,"a\nb"\n1_anna_0.wav,1\n2_anna_0.wav,2\n',
        "semicolons": b"file;label\n1_anna_0.wav;1\n",
        "a quote left open": b'file,label\n1_anna_0.wav,"1\n',
        "cells missing": b"file,label\n1_anna_0.wav\n",
        "a file that is none": b"file,label\n../../etc/passwd,1\n",
        "a file twice": b"file,label\n1_anna_0.wav,1\n1_anna_0.wav,2\n",
        "NUL": b"file,label\n\0,1\n",
        "a cell of 200 kB": b"file,label\n1_anna_0.wav," + b"a" * 200_000 + b"\n",
    }
    for name, content in tables.items():
        yield f"recordings: table, {name}", lambda f, content=content: of(folder_of(f, good | {"t.csv": content}))  # type: ignore[misc]
    yield "recordings: two tables", lambda f: of(folder_of(f, good | {"a.csv": b"file\n", "b.csv": b"file\n"}))
    yield "recordings: some without a label", lambda f: of(folder_of(f, good | {"anna.wav": wav()}))
    yield "recordings: an empty folder", lambda f: of(folder_of(f, {}))
    yield "recordings: one is damaged", lambda f: of(folder_of(f, good | {"1_anna_9.wav": b"RIFF"}))
    yield "recordings: a pipe among them", lambda f: piped(folder_of(f, good) / "1_anna_9.wav", of(f / "folder"))
    yield (
        "recordings: a link to nothing",
        lambda f: linked(folder_of(f, good) / "1_anna_9.wav", f / "none", of(f / "folder")),
    )
    yield (
        "recordings: a link to a device",
        lambda f: linked(folder_of(f, good) / "1_anna_9.wav", "/dev/zero", of(f / "folder")),
    )
    yield (
        "recordings: a silent bomb",
        lambda f: of(packed(f / "a.zip", {"1_a_0.wav": wav(rate=1000, bits=8, data=bytes(2**26))})),
    )


def folder_of(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder of files."""
    (folder / "folder").mkdir()
    for name, content in files.items():
        (folder / "folder" / name).write_bytes(content)
    return folder / "folder"


def piped(path: Path, then: Try) -> Try:
    """The try, with a pipe beside it."""
    os.mkfifo(path)
    return then


def linked(path: Path, to: Path | str, then: Try) -> Try:
    """The try, with a link beside it."""
    path.symlink_to(to)
    return then


def paths() -> Iterator[Case]:
    """What is no regular file, or has a name that no file can have."""
    for suffix in (".npz", ".zip", ".dat"):
        yield f"path: a pipe, {suffix}", lambda f, s=suffix: piped(f / f"a{s}", of(f / f"a{s}"))  # type: ignore[misc]
        yield f"path: a device, {suffix}", lambda f, s=suffix: linked(f / f"a{s}", "/dev/zero", of(f / f"a{s}"))  # type: ignore[misc]
        yield f"path: a circle, {suffix}", lambda f, s=suffix: linked(f / f"a{s}", f / f"a{s}", of(f / f"a{s}"))  # type: ignore[misc]
        yield f"path: nothing, {suffix}", lambda f, s=suffix: of(f / f"none{s}")  # type: ignore[misc]
        yield f"path: an overlong name, {suffix}", lambda f, s=suffix: of(f / ("a" * 5000 + s))  # type: ignore[misc]
        yield f"path: an overlong text, {suffix}", lambda f, s=suffix: of("a" * 5000 + s)  # type: ignore[misc]
        yield f"path: NUL, {suffix}", lambda f, s=suffix: of(f"a\0b{s}")  # type: ignore[misc]
        yield f"path: two lines, {suffix}", lambda f, s=suffix: write(f, f"a\nb{s}", b"PK")  # type: ignore[misc]
        yield f"path: a terabyte of nothing, {suffix}", lambda f, s=suffix: sparse(f / f"a{s}")  # type: ignore[misc]
    yield "path: a folder, .npz", lambda f: of(folder_of(f, {}).rename(f / "a.npz"))
    yield "path: a table", lambda f: of("a,b\n1,2\n" * 1000)
    yield "path: the empty text", lambda f: of("")
    yield "path: other formats", lambda f: write(f, "a.csv", b"a,b\n1,2\n")


def sparse(path: Path) -> Try:
    """A file that is long and empty, and begins like a zip."""
    path.write_bytes(b"PK\3\4")
    try:
        os.truncate(path, 2**40)
    except OSError:  # a file system that has no holes
        os.truncate(path, 2**20)
    return of(path)
