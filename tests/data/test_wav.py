"""Wav files: their samples, and one line about every kind of file that is none or not a plain one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_wavs import patched, wav, word

from mmppl.data.readers.speech.wav import read_wav
from mmppl.errors import DataError

GOOD = wav(word(3))


@pytest.mark.parametrize("bits, step", [(16, 2**-15), (8, 2**-7)])
@pytest.mark.parametrize("n", [1, 2, 2401])
def test_samples_come_back(bits, step, n):
    samples = np.linspace(-1, 1 - step, n)
    found, rate = read_wav(wav(samples, rate=11025, bits=bits), "a.wav")
    assert rate == 11025 and found.dtype == np.float32 and np.abs(found - samples).max() <= step / 2 + 1e-7


def test_other_chunks_are_passed_over():
    chunk = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    content = patched(GOOD[:12] + chunk + GOOD[12:] + chunk, 4, "<I", len(GOOD) - 8 + 24)
    assert np.array_equal(read_wav(content, "a.wav")[0], read_wav(GOOD, "a.wav")[0])


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "an empty file"),
        (b"ID3\x04" + bytes(200), "not a wav file, it begins"),
        (b"<html>404</html>", "not a wav file"),
        (GOOD[:20], "cannot be read"),
        (GOOD[:44], r"truncated; its header says 4,844 bytes, the file has 44\."),
        (GOOD[:-1], r"truncated; its header says 4,844 bytes, the file has 4,843\."),
        (GOOD[: len(GOOD) // 2], "truncated"),
        (patched(GOOD, 40, "<I", 2**32 - 1), "truncated"),  # of a recorder that never came back to it
        (GOOD + bytes(2), "cut off, or something was appended"),
        (patched(patched(GOOD, 40, "<I", 0), 4, "<I", 36), "cut off, or something was appended"),
        (wav([]), "no samples in it"),
        (wav(word(3), channels=2), r"2 channels; mix them to one \(mono\)"),
        (wav(word(3), bits=24), "24-bit samples; write it as 16-bit PCM"),
        (wav(word(3), bits=32), "32-bit samples"),
        (patched(GOOD, 20, "<H", 3), "cannot be read"),  # floats
        (patched(GOOD, 20, "<H", 7), "cannot be read"),  # mu-law
        (patched(GOOD, 22, "<H", 0), "cannot be read"),  # no channels
        (patched(GOOD, 24, "<I", 0), "says 0 samples a second"),
        (patched(GOOD, 36, "<4s", b"junk"), "cannot be read"),  # no data
    ],
)
def test_what_is_refused(content, says):
    with pytest.raises(DataError, match=rf"^a\.wav: [^\n]*{says}[^\n]*\.$"):
        read_wav(content, "a.wav")


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 43), value=st.integers(0, 255), length=st.integers(0, len(GOOD)))
def test_damage_is_reported_in_one_line(at, value, length):
    """One byte of the header changed, or the end cut off: samples, or a DataError, and nothing else."""
    for content in (patched(GOOD, at, "<B", value), GOOD[:length]):
        try:
            samples, rate = read_wav(content, "a.wav")
        except DataError as error:
            assert "\n" not in str(error)
        else:
            assert len(samples) and rate > 0 and np.isfinite(samples).all()
