"""NIST SPHERE files of plain samples, in which TIDIGITS and TI46 come (often with the suffix .wav).

A text header of a size that it states itself, `key -type value` line by line up to `end_head`, is followed by samples.
Nothing is believed that the length of the file contradicts.
"""

from __future__ import annotations

import re

import numpy as np

from ....errors import DataError

MAGIC = b"NIST_1A"
RATES = (1_000, 384_000)  # samples a second
LONGEST = 3600  # seconds
LARGEST = 2**16  # bytes of a header; those in use have 1,024
FIELD = re.compile(r"(?P<key>\S+)\s+-(i|r|s(?P<length>\d{1,6}))(?:\s(?P<value>.*))?")
ORDERS = {"01": "<i2", "10": ">i2"}  # which byte of a sample comes first
WHOLE = re.compile(r"\d{1,12}(\.0+)?")  # rates are also written as reals


def read_sphere(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Read a recording.

    Args:
        content: the bytes of the file.
        name: the name of the file, for messages.

    Returns:
        (n,) float32 samples in [-1, 1), and their rate in Hz.

    Raises:
        DataError: this is no SPHERE file, its header is longer than the file or damaged, it has more or fewer samples
            than it says or none, several channels, other samples than 16-bit PCM (such as shorten or μ-law), is longer
            than an hour, or of a rate that nothing records at.
    """
    fields, start = _header(content, name)
    coding = fields.get("sample_coding", "pcm")
    if coding != "pcm":
        raise DataError(f"{name}: its samples are coded as {coding[:60]!r}, not pcm; convert it (sph2pipe -p -f wav).")
    channels, width, count, rate = (
        _whole(fields, key, name, usual)
        for key, usual in (
            ("channel_count", 1),
            ("sample_n_bytes", None),
            ("sample_count", None),
            ("sample_rate", None),
        )
    )
    if channels != 1:
        raise DataError(f"{name}: {channels} channels; mix them to one (mono).")
    order = fields.get("sample_byte_format", "none")
    if width != 2 or order not in ORDERS:
        raise DataError(
            f"{name}: samples of {width} bytes in the order {order[:20]!r}, where 2 bytes in the order 01 or 10 are "
            "read; convert it to 16-bit PCM (sph2pipe -p -f wav)."
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(
            f"{name}: its header says {rate:,} samples a second, where {RATES[0]:,} to {RATES[1]:,} are heard of; "
            "fetch it again."
        )
    if start + width * count != len(content):
        raise DataError(
            f"{name}: its header says {count:,} samples, {start + width * count:,} bytes with the header, and the file "
            f"has {len(content):,}; fetch it again."
        )
    if not count:
        raise DataError(f"{name}: no samples in it; leave it out.")
    if count > LONGEST * rate:
        raise DataError(f"{name}: {count / rate / 60:,.0f} minutes, where {LONGEST // 60} are the most; cut it.")
    return np.frombuffer(content, ORDERS[order], offset=start).astype(np.float32) / 32768, rate


def _header(content: bytes, name: str) -> tuple[dict[str, str], int]:
    """Return the fields of the header, and where the samples begin."""
    first, _, rest = content[:LARGEST].partition(b"\n")
    size = rest.partition(b"\n")[0].strip().decode("latin-1")
    if first.strip() != MAGIC or not WHOLE.fullmatch(size):
        raise DataError(f"{name}: not a NIST SPHERE file, it begins {content[:16]!r}; fetch it again.")
    start = int(float(size))
    if start > min(len(content), LARGEST):
        raise DataError(
            f"{name}: its header says that it takes {start:,} bytes, and the file has {len(content):,} (a header has "
            f"at most {LARGEST:,}); it is truncated or damaged, fetch it again."
        )
    lines = content[:start].decode("latin-1").split("\n")[2:]
    fields: dict[str, str] = {}
    for line in map(str.strip, lines):
        if line == "end_head":
            return fields, start
        if not line or line.startswith(";"):  # a comment
            continue
        found = FIELD.fullmatch(line)
        if found is None or found["key"] in fields:
            why = "twice in it" if found else "no field"
            raise DataError(f"{name}: {line[:60]!r} is {why}, in its header; fetch it again.")
        value, length = (found["value"] or "").strip(), found["length"]  # nothing follows the type of an empty string
        fields[found["key"]] = value if length is None else value[: int(length)].strip()
    raise DataError(f"{name}: its header has no end (end_head) within {start:,} bytes; fetch it again.")


def _whole(fields: dict[str, str], key: str, name: str, usual: int | None) -> int:
    """Return a whole number of the header; `usual` where it is not there."""
    text = fields.get(key)
    if text is None and usual is not None:
        return usual
    if text is None or not WHOLE.fullmatch(text):
        raise DataError(f"{name}: its header says no {key} ({(text or 'nothing')[:20]!r}); fetch it again.")
    return int(float(text))
