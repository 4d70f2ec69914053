"""The recordings of the Free Spoken Digit Dataset (Jackson et al., doi 10.5281/zenodo.1342401): where they are, their
features, and which of them are for training, validation and test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ....errors import DataError
from ...readers.parts.tree import files_below, open_files
from ...readers.speech.mfcc import Features, Level
from ...readers.speech.recordings import RecordingName, features_of, parse_name

SPEECH, ARCHIVE = "fsdd", "fsdd_recordings.zip"
TEST_TAKES = range(5)  # FSDD's official test set
VALID_TAKE = 9  # and 19, 29, ...: consecutive takes sound alike, so training must not lack a whole run of them


def recordings(root: Path) -> Path | None:
    """Find the recordings.

    Args:
        root: the folder that holds `fsdd/`.

    Returns:
        The path of the .zip, or of the folder with wav files somewhere in it; None if there is neither.
    """
    folder = root / SPEECH
    if os.path.isfile(folder / ARCHIVE):
        return folder / ARCHIVE
    there = os.path.isdir(folder) and any(name.endswith(".wav") for name in files_below(folder))
    return folder if there else None


def recordings_wanted() -> str:
    """Say which files are needed and where, for messages."""
    return f"{ARCHIVE}, or FSDD's recordings/*.wav, into ROOT/{SPEECH}"


def spoken_digits(
    path: Path, features: Features, level: Level = "one", *, shortest: float = 0.0
) -> tuple[Tensor, list[RecordingName]]:
    """Read the recordings of FSDD.

    Args:
        path: the folder or .zip.
        features: see `readers.speech.mfcc.speech_features`.
        level: see `readers.speech.mfcc.speech_features`.
        shortest: seconds that a recording has to last.

    Returns:
        (N, *shape) features, and the parsed names.

    Raises:
        DataError: a recording is damaged or shorter, or its name contains no digit.
    """
    with open_files(path) as (names, content):
        names = [name for name in names if name.lower().endswith(".wav")]
        parsed = []
        for name in names:
            one = parse_name(name)
            if one is None or not (len(one.label) == 1 and one.label.isdecimal()):
                raise DataError(
                    f"{path}/{name}: its name is not {{digit}}_{{speaker}}_{{number}}.wav, as in FSDD; rename it."
                )
            parsed.append(one)
        if not names:
            raise DataError(f"{path}: no .wav file in it; fetch it again.")
        return features_of(path, names, content, features, level, shortest=shortest), parsed


def split_of_takes(takes: Sequence[int], *, test: bool = True, validation: bool = True) -> np.ndarray:
    """Split the recordings by the numbers of their takes: 0 to 4 for the test; 9, 19, 29, ... for validation.

    Args:
        takes: the number of the take of each recording.
        test: False leaves no recording for the test.
        validation: False leaves no recording for validation.

    Returns:
        (N,) int8: 0 train, 1 valid, 2 test.
    """
    number = np.array(takes)
    of_test, of_valid = np.isin(number, TEST_TAKES) & test, (number % 10 == VALID_TAKE) & validation
    return np.select([of_test, of_valid], [2, 1], 0).astype(np.int8)
