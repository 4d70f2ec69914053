"""Reading one recording from a FLAC or Ogg file with soundfile, which returns what is left of a truncated file without
a word: the lengths are compared here."""

from __future__ import annotations

import io

import numpy as np

from ....errors import DataError
from ..papers.sphere import LONGEST, RATES

FLAC, OGG = b"fLaC", b"OggS"  # the first bytes of the files
PAGE, LAST = 27, 4  # bytes of the header of a page of an Ogg file; the flag of the last page


def read_encoded(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """Read a recording.

    Args:
        content: the bytes of the file.
        name: the name of the file, for messages.

    Returns:
        (n,) float32 samples in [-1, 1], and their rate in Hz.

    Raises:
        DataError: soundfile is not installed; the file is damaged, truncated, without samples, of several channels,
            longer than an hour, or of a rate that nothing records at.
    """
    try:
        import soundfile
    except (ImportError, OSError):
        raise DataError(f"{name}: reading it takes soundfile; install it with pip install 'mmppl[audio]'.") from None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate, channels, count = file.samplerate, file.channels, file.frames
            if channels != 1:
                raise DataError(f"{name}: {channels} channels; mix them to one (mono).")
            if not RATES[0] <= rate <= RATES[1]:
                raise DataError(
                    f"{name}: its header says {rate:,} samples a second, where {RATES[0]:,} to {RATES[1]:,} are heard "
                    "of; write it again."
                )
            if count > LONGEST * rate:
                raise DataError(
                    f"{name}: {count / rate / 60:,.0f} minutes, where {LONGEST // 60} are the most; cut it."
                )
            samples: np.ndarray = file.read(dtype="float32")
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, MemoryError) as error:
        said = " ".join(str(getattr(error, "error_string", error)).split())[:100].rstrip(".")
        raise DataError(f"{name}: cannot be read ({said}); fetch or record it again.") from None
    if content[:4] == OGG and not _ends(content):
        raise DataError(f"{name}: truncated, its last page is not there. Fetch or record it again.")
    if len(samples) != count:
        raise DataError(
            f"{name}: truncated; its header says {count:,} samples, the file has {len(samples):,}. Fetch or record it "
            "again."
        )
    if not count:
        raise DataError(f"{name}: no samples in it; record it again, or leave it out.")
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: samples that are no numbers; record it again.")
    return samples, rate


def _ends(content: bytes) -> bool:
    """Say whether an Ogg file ends with a whole page that is marked as the last one."""
    at = content.rfind(OGG)
    if at < 0 or len(content) < at + PAGE:
        return False
    segments = content[at + PAGE - 1]
    lengths = content[at + PAGE : at + PAGE + segments]
    return bool(content[at + 5] & LAST) and len(content) == at + PAGE + segments + sum(lengths)
