"""The Wisconsin X-ray Microbeam data as prepared for DCCAE: frames of what was heard, and of how the mouth moved.

Two .mat files hold three parts of 47 speakers: windows of 7 frames of 39 MFCC, 273 numbers, in the first; of 16
coordinates of pellets, 112 numbers, with phones and speakers in the second.

Source: Westbury 1994; Wang, Arora, Livescu, Bilmes 2015, "On deep multi-view representation learning", whose release
has the names of the arrays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....errors import DataError
from .matlab_rows import read_mat_rows

FILES = (
    ("XRMB1.mat", "XRMB2.mat"),  # as CMMD calls them
    ("XRMBf2KALDI_window7_single1.mat", "XRMBf2KALDI_window7_single2.mat"),
)
NAMES = {  # part → acoustic, articulatory, phones, speakers
    "train": ("X1", "X2", "trainLabel", "trainID"),
    "valid": ("XV1", "XV2", "tuneLabel", "tuneID"),
    "test": ("XTe1", "XTe2", "testLabel", "testID"),
}
WINDOW = 7  # frames in a row: rows nearer to each other than that share some


def read_xrmb(first: Path, second: Path, *, speaker: int | None = None, every: int = 1) -> dict[str, np.ndarray]:
    """Read the frames of all speakers, or of one.

    Args:
        first: the file with the acoustic frames.
        second: the file with the articulatory frames, phones and speakers.
        speaker: the number of a speaker; None: all.
        every: keep one of so many frames of each part, the first of them.

    Returns:
        `acoustic` (N, 273) and `articulatory` (N, 112) float32, `phone`, `speaker` and `frame` (N,) int64, the number
        of the frame among those of its speaker in its part, and `part` (N,), the name of the part.

    Raises:
        DataError: a file is truncated or corrupt, arrays differ in their rows, a phone or speaker is no whole number,
            or there is no such speaker.
    """
    beside = read_mat_rows(second, [name for part in NAMES.values() for name in part[2:]])
    keep: dict[str, np.ndarray] = {}
    frames, speakers = [], set()
    for one, other, phones, who in NAMES.values():
        ids, number = _whole(second, who, beside[who]), _whole(second, phones, beside[phones])
        if len(ids) != len(number):
            raise DataError(f"{second}: {len(ids):,} {who} of {len(number):,} {phones}; fetch the file again.")
        speakers |= {*np.unique(ids).tolist()}
        frame = _numbers(ids)
        chosen = (frame % every == 0) & (True if speaker is None else ids == speaker)
        keep |= {one: chosen, other: chosen}
        frames.append((number[chosen], ids[chosen], frame[chosen]))
    if speaker is not None and speaker not in speakers:
        known = ", ".join(map(str, sorted(speakers)))
        raise DataError(f"{second}: no speaker {speaker}; there are {known[:300]}.")
    found = {}
    for place, (name, path) in enumerate((("acoustic", first), ("articulatory", second))):
        wanted = [part[place] for part in NAMES.values()]
        arrays = read_mat_rows(path, wanted, {key: keep[key] for key in wanted})
        if len({array.shape[1] for array in arrays.values()}) > 1:
            widths = ", ".join(f"{key} {array.shape[1]}" for key, array in arrays.items())
            raise DataError(f"{path}: parts of different numbers of columns ({widths}); fetch the file again.")
        found[name] = np.concatenate([arrays[key] for key in wanted]).astype(np.float32, copy=False)
    for name, parts in zip(("phone", "speaker", "frame"), zip(*frames)):
        found[name] = np.concatenate(parts)
    return found | {"part": np.repeat([*NAMES], [len(of_part[0]) for of_part in frames])}


def _whole(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """(N, 1) or (1, N) whole numbers as (N,) int64."""
    flat = array.reshape(-1)
    if min(array.shape) > 1 or not (flat == np.floor(flat)).all():
        raise DataError(f"{path}: {name} of shape {array.shape} is not a whole number for each row; correct the file.")
    return flat.astype(np.int64)


def _numbers(ids: np.ndarray) -> np.ndarray:
    """Number the rows of each speaker from 0 on."""
    order = np.argsort(ids, kind="stable")
    _, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    numbers = np.empty(len(ids), np.int64)
    numbers[order] = np.arange(len(ids)) - np.repeat(starts, counts)
    return numbers
