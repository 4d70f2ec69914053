"""Features of recordings against an independent computation, and what level, rate and length do to them."""

import builtins
import math

import numpy as np
import pytest
import torch
from scipy.fft import dct
from small_wavs import word

from mmppl.data.readers.speech import mfcc as module
from mmppl.data.readers.speech.mfcc import (
    FEATURES,
    MELS,
    OF_IMA,
    OF_RECORDING,
    SHAPES,
    levelled,
    mfcc,
    resampled,
    speech_features,
)
from mmppl.errors import DataError, MMPPLError


def plain_mfcc(signal, rate, window, hop, points=256, bands=26, top=4000.0):
    """(frames, 13) in numpy: Hann windows in the middle of each stretch, power spectra, triangles on the mel scale of
    HTK, decibels down to 80 below the loudest, orthonormal DCT-II."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    left = (points - window) // 2
    hann = np.pad(hann, (left, points - window - left))
    starts = range(0, len(signal) - points + 1, hop)
    power = np.abs(np.fft.rfft([signal[s : s + points] * hann for s in starts])) ** 2
    hertz = np.linspace(0, rate / 2, points // 2 + 1)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + top / 700), bands + 2) / 2595) - 1)
    below, peak, above = (edges[i : i + bands, None] for i in range(3))
    triangles = np.minimum((hertz - below) / (peak - below), (above - hertz) / (above - peak)).clip(0)
    decibels = 10 * np.log10(np.maximum(power @ triangles.T, 1e-10))
    return dct(np.maximum(decibels, decibels.max() - 80), norm="ortho")[:, :13]


@pytest.mark.parametrize("settings", [OF_RECORDING, OF_IMA], ids=["recording", "ima"])
@pytest.mark.parametrize("n", [256, 257, 3000, 9001])
def test_mfcc_is_that_of_a_plain_computation(settings, n):
    signal = levelled(torch.from_numpy(word(4, n=n, rate=settings.rate)).float())
    wanted = plain_mfcc(signal.double().numpy(), settings.rate, settings.window, settings.hop)
    found = mfcc(signal, settings)
    assert found.shape == (1 + (n - 256) // settings.hop, 13 - settings.first)
    np.testing.assert_allclose(found, wanted[:, settings.first :], atol=0.02)  # of some 100: decibels of float32 powers


def test_features_are_those_of_the_frames():
    samples = word(7, n=5000)
    frames = plain_mfcc(levelled(torch.from_numpy(samples)).numpy(), 8000, 200, 80)
    assert len(frames) == 60  # segments of 7.5: they overlap by half a frame
    np.testing.assert_allclose(speech_features(samples, 8000, "mean"), frames.mean(0), atol=0.02)
    parts = [frames[int(np.floor(7.5 * i)) : int(np.ceil(7.5 * (i + 1)))].mean(0) for i in range(8)]
    np.testing.assert_allclose(speech_features(samples, 8000, "segments"), parts, atol=0.02)


@pytest.mark.parametrize("n", [3000, 12000])
def test_frames_lie_around_the_midpoint(n):
    samples = word(2, n=n, rate=12500)
    every = plain_mfcc(levelled(torch.from_numpy(samples)).numpy(), 12500, 250, 125)[:, 1:]
    found = speech_features(samples, 12500, "frames")
    middle = len(every) // 2
    for place in range(58):
        frame = middle - 29 + place
        wanted = every[frame] if 0 <= frame < len(every) else np.zeros(12)
        np.testing.assert_allclose(found[place], wanted, atol=0.02)


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("n", [1, 2, 60, 255, 256, 500, 8000])
@pytest.mark.parametrize("rate", [8000, 11025])
def test_any_length_has_finite_features(features, n, rate):
    found = speech_features(word(1, n=n, rate=rate), rate, features)
    assert found.shape == SHAPES[features] and found.dtype == torch.float32 and found.isfinite().all()


@pytest.mark.parametrize("features", FEATURES)
def test_level_and_offset_do_not_matter_and_silence_is_allowed(features):
    samples = word(5)
    wanted = speech_features(samples, 8000, features)
    torch.testing.assert_close(speech_features(0.01 * samples + 0.2, 8000, features), wanted, atol=1e-2, rtol=1e-3)
    assert speech_features(np.full(3000, 0.25), 8000, features).isfinite().all()


@pytest.mark.parametrize("features", FEATURES)
def test_only_the_first_coefficient_depends_on_a_kept_level(features):
    samples = word(5)
    plain, louder = (speech_features(x, 8000, features, level="kept") for x in (samples, 2 * samples + 0.1))
    decibels = torch.zeros(SHAPES[features][-1])
    if features != "frames":  # which leaves that coefficient out
        decibels[0] = 20 * math.log10(2) * math.sqrt(MELS)
    torch.testing.assert_close(louder - plain, decibels.expand_as(plain), atol=1e-2, rtol=0.0)
    assert speech_features(np.full(3000, 0.25), 8000, features, level="kept").isfinite().all()


@pytest.mark.parametrize("rate, wanted", [(8000, 12500), (16000, 8000), (44100, 8000), (22050, 12500), (11025, 8000)])
def test_a_resampled_sine_keeps_its_frequency_and_amplitude(rate, wanted):
    frequency = 1000.0
    found = resampled(torch.sin(2 * torch.pi * frequency * torch.arange(rate) / rate), rate, wanted)
    assert len(found) == wanted  # a second
    inside = found[wanted // 10 : -wanted // 10].double()
    truth = torch.sin(2 * torch.pi * frequency * torch.arange(wanted).double() / wanted)[wanted // 10 : -wanted // 10]
    torch.testing.assert_close(inside, truth, atol=0.01, rtol=0)
    assert torch.fft.rfft(found).abs().argmax() == frequency


def test_what_no_rate_below_can_hold_is_gone_after_resampling():
    high = torch.sin(2 * torch.pi * 6000.0 * torch.arange(16000) / 16000)
    assert resampled(high, 16000, 8000)[400:-400].abs().max() < 0.02


def test_recordings_of_other_rates_have_about_the_same_features():
    found = [speech_features(word(6, n=int(0.5 * rate), rate=rate), rate, "segments") for rate in (8000, 16000, 44100)]
    spread = (speech_features(word(2, n=4000), 8000, "segments") - found[0]).abs().mean()
    assert all((other - found[0]).abs().mean() < 0.35 * spread for other in found[1:])


def test_odd_rates_are_refused():
    with pytest.raises(DataError, match=r"^a\.wav: 44,101 Hz cannot be resampled to 8,000 Hz; [^\n]*\.$"):
        speech_features(word(1), 44101, "mean", name="a.wav")


def test_without_torchaudio_there_is_a_line(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "torchaudio":
            raise ImportError("No module named\n'torchaudio'")
        return real(name, *rest, **more)

    module._transform.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    for call in (lambda: speech_features(word(1), 8000, "mean"), lambda: resampled(torch.zeros(9), 16000, 8000)):
        with pytest.raises(MMPPLError, match=r"^speech needs torchaudio, [^\n]*pip install 'torchaudio[^\n]*$"):
            call()
