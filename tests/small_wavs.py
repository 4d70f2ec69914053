"""Wav files for tests."""

import io
import struct
import wave

import numpy as np


def wav(samples, rate=8000, bits=16, channels=1):
    """A wav file of samples in [-1, 1)."""
    samples = np.asarray(samples, np.float64)
    if bits == 8:
        raw = np.rint(samples * 128 + 128).clip(0, 255).astype(np.uint8).tobytes()
    else:
        numbers = np.rint(samples * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype("<i8")
        raw = b"".join(n.tobytes()[: bits // 8] for n in numbers)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(rate)
        file.writeframes(raw)
    return buffer.getvalue()


def word(digit, take=0, n=2400, rate=8000):
    """(n,) samples of a made-up word: two tones, one after the other, that depend on the digit, and a little noise."""
    draw = np.random.default_rng([digit, take])
    time = np.arange(n) / rate
    tones = np.where(np.arange(n) < n / 2, 300 + 150 * digit, 2400 - 150 * digit)
    return 0.3 * np.sin(2 * np.pi * tones * time + draw.uniform(0, 6)) + 0.01 * draw.standard_normal(n)


def patched(content, at, form, value):
    """The file with a number of its header replaced."""
    return content[:at] + struct.pack(form, value) + content[at + struct.calcsize(form) :]
