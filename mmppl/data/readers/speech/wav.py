"""Reading one recording: from a wav file of plain samples with the standard library, from a NIST SPHERE file, or from
FLAC or Ogg with soundfile; others are refused in one line."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterator

import numpy as np

from ....errors import DataError
from ..papers.sphere import LONGEST, MAGIC, RATES, read_sphere
from .encoded import FLAC, OGG, read_encoded

# What `wave` raises for a file that is damaged or of an unknown kind.
REFUSED = (wave.Error, EOFError, RuntimeError, ValueError, struct.error, OverflowError, MemoryError)


def read_sound(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Read a recording from a wav, SPHERE, FLAC or Ogg file, whatever its suffix.

    Args:
        content: the bytes of the file.
        name: the name of the file, for messages.

    Returns:
        (n,) float32 samples in [-1, 1), and their rate in Hz.

    Raises:
        DataError: see `read_wav`, `read_sphere` and `read_encoded`.
    """
    if content[:4] in (FLAC, OGG):
        return read_encoded(content, name)
    return (read_sphere if content[: len(MAGIC)] == MAGIC else read_wav)(content, name)


def read_wav(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Read a recording.

    Args:
        content: the bytes of the file.
        name: the name of the file, for messages.

    Returns:
        (n,) float32 samples in [-1, 1), and their rate in Hz.

    Raises:
        DataError: this is no wav file, or it is truncated, longer than its header says, without samples, of several
            channels, not of 8 or 16 bits, longer than an hour, or of a rate that nothing records at.
    """
    if not content:
        raise DataError(f"{name}: an empty file; record it again, or leave it out.")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise DataError(f"{name}: not a wav file, it begins {content[:8]!r}; give RIFF/WAVE, 16-bit PCM.")
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate, count = file.getparams()[:4]
            samples = file.readframes(count)
    except REFUSED as error:
        reason = " ".join(str(error).split()) or "it ends within its header"
        raise DataError(f"{name}: cannot be read ({reason}); write it as 16-bit PCM, mono.") from None
    if channels != 1:
        raise DataError(f"{name}: {channels} channels; mix them to one (mono).")
    if width not in (1, 2):
        raise DataError(f"{name}: {8 * width}-bit samples; write it as 16-bit PCM.")
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(
            f"{name}: its header says {rate:,} samples a second, where {RATES[0]:,} to {RATES[1]:,} are heard of; "
            "write it again."
        )
    said = 8 + struct.unpack("<I", content[4:8])[0]
    if len(samples) != count * width or len(content) < said:
        raise DataError(
            f"{name}: truncated; its header says {max(said, len(content) - len(samples) + count * width):,} bytes, "
            f"the file has {len(content):,}. Fetch or record it again."
        )
    if len(content) > said + said % 2:  # a chunk of odd length is padded
        raise DataError(
            f"{name}: has {len(content):,} bytes where its header says {said:,}; its recording was cut off, or "
            "something was appended. Write it again."
        )
    if problem := _contradiction(content, channels):
        raise DataError(f"{name}: {problem}; write it as 16-bit PCM.")
    if count > LONGEST * rate:
        raise DataError(f"{name}: {count / rate / 60:,.0f} minutes, where {LONGEST // 60} are the most; cut it.")
    if not count:
        raise DataError(f"{name}: no samples in it; record it again, or leave it out.")
    if width == 1:
        return (np.frombuffer(samples, np.uint8).astype(np.float32) - 128) / 128, rate
    return np.frombuffer(samples, "<i2").astype(np.float32) / 32768, rate


def _contradiction(content: bytes, channels: int) -> str:
    """Return what the header says that `wave` does not look at and that cannot be; "" if nothing. `wave` rounds bits up
    to bytes, takes the last of several formats, and the first of several recordings."""
    chunks = list(_chunks(content))
    forms = [content[start : start + size] for name, start, size in chunks if name == b"fmt "]
    if len(forms) != 1 or sum(name == b"data" for name, *_ in chunks) != 1:
        return "it has several formats or recordings in it"
    block, bits = struct.unpack_from("<HH", forms[0], 12)
    if bits not in (8, 16):
        return f"{bits}-bit samples"
    if block != channels * bits // 8:
        return f"its header says {block} bytes for a sample of {bits} bits"
    if any(size % block for name, _, size in chunks if name == b"data"):
        return "it ends within a sample"
    return ""


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of every chunk; each one begins at an even place."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        yield content[at : at + 4], at + 8, size
        at += 8 + size + size % 2
