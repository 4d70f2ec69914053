"""Features of recordings: mel-frequency cepstral coefficients (MFCC), at one level and one sampling rate.

A recording is first brought to mean 0 and, unless its level is kept, to root mean square 1. Loudness tells little more
than which speaker or microphone it was, and nothing about a speaker who is new. The mel bands end at 4 kHz, so that
recordings of 8 kHz and more have the same features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....base.turns import turn
from ....errors import DataError, MMPPLError

Features = Literal["mean", "segments", "frames"]
FEATURES: tuple[Features, ...] = get_args(Features)
Level = Literal["one", "kept"]
BAND, MELS, POINTS = 4000.0, 26, 256  # Hz; number of mel bands; length of the Fourier transform
SEGMENTS, AROUND = 8, 29  # equal stretches of a recording; frames on either side of its midpoint
LARGEST = 2**24  # weights that the resampling filter may have


@dataclass(frozen=True)
class Frames:
    """How a recording is cut into frames.

    Args:
        rate: the sampling rate in Hz.
        window: the length of a frame in samples.
        hop: the distance between frames in samples.
        first: the first coefficient to keep; coefficient 0 is the energy.
    """

    rate: int
    window: int
    hop: int
    first: int


OF_RECORDING = Frames(8000, 200, 80, 0)  # 25 ms and 10 ms, 13 coefficients
OF_IMA = Frames(12500, 250, 125, 1)  # 20 ms and 10 ms, 12 coefficients without energy
SHAPES: dict[Features, tuple[int, ...]] = {"mean": (13,), "segments": (SEGMENTS, 13), "frames": (2 * AROUND, 12)}


def speech_features(
    samples: np.ndarray | Tensor, rate: int, features: Features, *, level: Level = "one", name: str = "recording"
) -> Tensor:
    """Compute the MFCC of one recording.

    Args:
        samples: (n,) at any level; if the level is kept, full scale is 1.
        rate: the sampling rate in Hz.
        features: "mean" gives 13 means over all frames; "segments" gives 13 means over each of 8 equal stretches (they
            overlap in a recording of fewer than 8 frames); "frames" gives 12 coefficients of the 58 frames around the
            midpoint, with zeros (silence) beyond either end.
        level: "one" brings all recordings to the same level; "kept" keeps it, so that the first coefficient tells how
            loud the recording is.
        name: the name of the recording, for messages.

    Returns:
        A float32 tensor of the shape in `SHAPES`.

    Raises:
        DataError: the rate cannot be converted.
        MMPPLError: torchaudio is missing.

    Source: "frames" as in "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), except for the end of the
    bands.
    """
    settings = OF_IMA if features == "frames" else OF_RECORDING
    signal = torch.as_tensor(samples, dtype=torch.float32)
    with turn():
        signal = levelled(signal) if level == "one" else signal - signal.mean()
        signal = resampled(signal, rate, settings.rate, name=name)
        found = mfcc(signal, settings)
    if features == "mean":
        return found.mean(0)
    if features == "segments":
        return F.adaptive_avg_pool1d(found.T, SEGMENTS).T.contiguous()
    return F.pad(found, (0, 0, AROUND, AROUND))[len(found) // 2 :][: 2 * AROUND].contiguous()


def levelled(signal: Tensor) -> Tensor:
    """Bring samples to mean 0 and root mean square 1.

    Args:
        signal: (n,) samples.

    Returns:
        (n,) samples; silence stays silence.
    """
    signal = signal - signal.mean()
    level = signal.square().mean().sqrt()
    return signal / level if level > 1e-6 else torch.zeros_like(signal)


def resampled(signal: Tensor, rate: int, wanted: int, *, name: str = "recording") -> Tensor:
    """Resample a recording with torchaudio's windowed sinc.

    Args:
        signal: (n,) samples.
        rate: their rate in Hz.
        wanted: the rate to convert to, in Hz.
        name: the name of the recording, for messages.

    Returns:
        The same sound at `wanted` samples per second.

    Raises:
        DataError: the ratio of the rates needs too large a filter.
    """
    if rate == wanted:
        return signal
    common = math.gcd(rate, wanted)
    if rate * wanted // common**2 > LARGEST:
        raise DataError(f"{name}: {rate:,} Hz cannot be resampled to {wanted:,} Hz; write it at 8,000 or 16,000 Hz.")
    torchaudio = _torchaudio()
    return torchaudio.functional.resample(signal, rate, wanted)


def mfcc(signal: Tensor, settings: Frames) -> Tensor:
    """Compute mel-frequency cepstral coefficients.

    They come from power spectra of Hann windows, 26 mel bands (HTK's scale), decibels down to 80 below the loudest, and
    an orthonormal DCT.

    Args:
        signal: (n,) samples; a signal shorter than one Fourier transform is padded with silence.
        settings: rate, window, hop, and the first coefficient.

    Returns:
        (frames, coefficients).
    """
    signal = F.pad(signal, (0, max(0, POINTS - len(signal))))
    return _transform(settings)(signal).T[:, settings.first :]


@cache
def _transform(settings: Frames) -> Callable[[Tensor], Tensor]:
    spectra = dict(n_fft=POINTS, win_length=settings.window, hop_length=settings.hop, center=False)
    bands = dict(n_mels=MELS, f_min=0.0, f_max=BAND)
    transform: Callable[[Tensor], Tensor] = (
        _torchaudio().transforms.MFCC(settings.rate, n_mfcc=13, melkwargs=spectra | bands).float()
    )
    return transform


def _torchaudio() -> Any:
    """Import torchaudio, which takes seconds and fails if its build does not fit that of torch."""
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MMPPLError(
            f"speech needs torchaudio, which cannot be imported ({reason[:200]}); pip install 'torchaudio>=2.11,<2.12' "
            "of the build that torch has (see constraints.txt)."
        ) from None
    return torchaudio
