"""From the bytes of a text file to its text: gzip, byte order marks and encodings are found out."""

from __future__ import annotations

import codecs
import io
import zlib
from pathlib import Path

from .....base.memory import available
from .....errors import DataError
from ...parts.files import contents

GZIP = b"\x1f\x8b"
PACKED = {b"PK": "a zip file", b"BZh": "a bzip2 file", b"\xfd7zXZ": "an xz file", b"\x28\xb5\x2f\xfd": "a zstd file"}
MARKS = (  # the longer first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
PIECE = 2**20
PEAK = 8  # bytes that reading takes for each byte of the file


def text_of(path: Path) -> tuple[str, str]:
    """Read a text file.

    Args:
        path: the path of the file, packed by gzip or not.

    Returns:
        Its text without a byte order mark, ends of lines as they are; and the encoding where it is a guess, else "".

    Raises:
        DataError: it cannot be read or unpacked, does not fit into memory, or is no text.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "sizes.csv"
        >>> file.write_bytes("Größe\\n3\\n".encode("cp1252"))
        8
        >>> text_of(file)
        ('Größe\\n3\\n', 'cp1252')
    """
    raw = contents(path)
    if raw[:2] == GZIP:
        raw = _unpacked(raw, path)
    for first, what in PACKED.items():
        if raw.startswith(first):
            raise DataError(f"{path}: {what}, not text; unpack it, or pack it with gzip.")
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding), ""
            except UnicodeDecodeError as error:
                raise DataError(f"{path}: byte {error.start} is no {encoding.upper()}; write it again.") from None
    if b"\0" in raw[:4096]:
        return _without_mark(raw, path), "utf-16"
    try:
        return raw.decode("utf-8"), ""
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1"


def _unpacked(raw: bytes, path: Path) -> bytes:
    """Unpack gzip, also several members one after the other; stop where it grows beyond what there is room for."""
    out, size, room = io.BytesIO(), 0, available() // PEAK
    while raw:
        member = zlib.decompressobj(31)
        try:
            while not member.eof:
                piece = member.decompress(raw, PIECE)
                size += out.write(piece)
                raw = member.unconsumed_tail or member.unused_data
                if size > room:
                    raise DataError(f"{path}: unpacks to more than memory has room for; give fewer rows.")
                if not piece and not member.eof and not raw:
                    raise DataError(f"{path}: a truncated gzip file; copy it from where it came from again.")
        except zlib.error:
            raise DataError(f"{path}: a damaged gzip file; copy it from where it came from again.") from None
        if raw[:2] != GZIP:
            break  # zeros or the like behind the last member
    return out.getvalue()


def _without_mark(raw: bytes, path: Path) -> str:
    """Decode UTF-16 without a mark, where every other byte of Latin letters is zero."""
    zeros = [raw[at:4096:2].count(0) / max(1, len(raw[at:4096:2])) for at in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        try:
            return raw.decode("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be")
        except UnicodeDecodeError:
            pass
    raise DataError(f"{path}: not a text file (it has zero bytes); write it as CSV in UTF-8.")
