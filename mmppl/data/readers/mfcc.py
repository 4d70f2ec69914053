"""Recordings as numbers: one level, one rate, and mel-frequency cepstral coefficients (MFCC).

A recording is brought to mean 0 and, unless its level is kept, root mean square 1 first: how loud a speaker or a
microphone is tells little more than which one it is, and of a stranger nothing.
Mel bands end at 4 kHz, so that recordings of 8 kHz and more have the same features.
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

from ...errors import DataError, MMPPLError

Features = Literal["mean", "segments", "frames"]
FEATURES: tuple[Features, ...] = get_args(Features)
Level = Literal["one", "kept"]
BAND, MELS, POINTS = 4000.0, 26, 256  # Hz; number of mel bands; length of the Fourier transform
SEGMENTS, AROUND = 8, 29  # stretches of a recording; frames on either side of its midpoint
LARGEST = 2**24  # weights of the filter that resamples


@dataclass(frozen=True)
class Frames:
    """Rate in Hz, window and hop in samples, and which coefficients (0, the energy, is the first)."""

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
    """The MFCC of one recording, float32, of the shape in `SHAPES`.

    Args:
        samples: (n,) at any level; where it is kept, full scale is 1.
        rate: of them, in Hz.
        features: "mean": 13 means over all frames; "segments": 13 means over each of 8 equal stretches (of a recording
            of fewer than 8 frames they overlap); "frames": 12 coefficients of the 58 frames around the midpoint, zeros
            (silence) beyond either end.
        level: "one" for all recordings; or "kept", so that the first coefficient tells how loud this one is.
        name: for the messages.
    Source: "frames" as in "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), but for the bands' end.
    Raises:
        DataError: a rate that cannot be brought to the wanted one.
        MMPPLError: torchaudio is not there.
    """
    settings = OF_IMA if features == "frames" else OF_RECORDING
    signal = torch.as_tensor(samples, dtype=torch.float32)
    signal = levelled(signal) if level == "one" else signal - signal.mean()
    signal = resampled(signal, rate, settings.rate, name=name)
    found = mfcc(signal, settings)
    if features == "mean":
        return found.mean(0)
    if features == "segments":
        return F.adaptive_avg_pool1d(found.T, SEGMENTS).T.contiguous()
    return F.pad(found, (0, 0, AROUND, AROUND))[len(found) // 2 :][: 2 * AROUND].contiguous()


def levelled(signal: Tensor) -> Tensor:
    """(n,) samples at mean 0 and root mean square 1; silence stays silence."""
    signal = signal - signal.mean()
    level = signal.square().mean().sqrt()
    return signal / level if level > 1e-6 else torch.zeros_like(signal)


def resampled(signal: Tensor, rate: int, wanted: int, *, name: str = "recording") -> Tensor:
    """(n,) samples at `rate` → the same sound at `wanted` samples a second (torchaudio's windowed sinc).

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
    """(n,) samples → (frames, coefficients); what is shorter than one Fourier transform gets silence behind it.

    Power spectra of Hann windows, 26 mel bands (HTK's scale), decibels down to 80 below the loudest, orthonormal DCT.
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
    """torchaudio takes seconds to import, and fails where its build does not fit torch's."""
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise MMPPLError(
            f"speech needs torchaudio, which cannot be imported ({reason[:200]}); pip install 'torchaudio>=2.11,<2.12' "
            "of the build that torch has (see constraints.txt)."
        ) from None
    return torchaudio
