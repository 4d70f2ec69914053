"""Reading one recording from a wav file of plain samples with the standard library; other files are refused in one
line."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np

from ...errors import DataError

# What `wave` raises for a file that is damaged or of an unknown kind.
REFUSED = (wave.Error, EOFError, RuntimeError, ValueError, struct.error, OverflowError, MemoryError)


def read_wav(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Read a recording.

    Args:
        content: the bytes of the file.
        name: the name of the file, for messages.

    Returns:
        (n,) float32 samples in [-1, 1), and their rate in Hz.

    Raises:
        DataError: this is no wav file, or it is truncated, longer than its header says, without samples, of several
            channels, or not of 8 or 16 bits.
    """
    if not content:
        raise DataError(f"{name}: an empty file; record it again, or leave it out.")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        sphere = " (NIST SPHERE: convert it, e.g. with sox)" if content[:7] == b"NIST_1A" else ""
        raise DataError(f"{name}: not a wav file, it begins {content[:8]!r}{sphere}; give RIFF/WAVE, 16-bit PCM.")
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
    if rate < 1:
        raise DataError(f"{name}: its header says {rate} samples a second; write it again.")
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
    if not count:
        raise DataError(f"{name}: no samples in it; record it again, or leave it out.")
    if width == 1:
        return (np.frombuffer(samples, np.uint8).astype(np.float32) - 128) / 128, rate
    return np.frombuffer(samples, "<i2").astype(np.float32) / 32768, rate
