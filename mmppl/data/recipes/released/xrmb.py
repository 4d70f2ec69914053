"""Speech as it is heard and as it is articulated, with the phone of every frame.

Source: the Wisconsin X-ray Microbeam data (Westbury 1994) as released with DCCAE (Wang, Arora, Livescu, Bilmes 2015,
"On deep multi-view representation learning"); a speaker alone as in CMMD. Differs: frames of one speaker are divided in
the order of time unless a random division is asked for, which puts windows that share frames into several parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import DataError, UsageError
from ...readers.papers.xrmb import FILES, WINDOW, read_xrmb
from ...readers.registry import Arrays
from ...splits import PARTS, SHARES, stratified_split
from ..parts.files import present, root_or_default
from ..registry import recipe

RECIPE, FOLDER = "xrmb", "xrmb"
OF_CMMD = (0.63, 0.07, 0.3)  # 70 % and 30 %, with a tenth of the former for validation


@recipe("xrmb")
def xrmb(
    root: Path | None = None,
    *,
    speaker: int | None = None,
    split: Literal["speakers", "time", "frames"] = "speakers",
    every: int = 1,
    centre: Literal["none", "speaker"] = "none",
    seed: int = 0,
) -> Arrays:
    """1.6 million frames of speech: acoustic, 273; articulatory, 112; phone as label; 47 speakers.

    Needs: XRMB1.mat and XRMB2.mat (or XRMBf2KALDI_window7_single1.mat and ..._single2.mat, of DCCAE's release) in
    ROOT/xrmb.

    A row is a window of 7 frames, so neighbouring rows share some. Annotations: `speaker`, `frame`. All rows take
    2.5 GB; files of MATLAB's version 7.3 are read by blocks, so that a speaker or one of many frames takes little.

    Args:
        root: the folder that holds `xrmb/`; None means $MMPPL_DATA.
        speaker: the number of one speaker (CMMD: 30); None: all.
        split: "speakers": as released, no speaker is in two parts; "time": the first 70 % of each speaker's frames are
            train rows, the next 10 % valid and the last 20 % test rows, without those that share frames with another
            part; "frames": drawn, 30 % test rows and of the rest a tenth valid rows (CMMD), which share frames with
            train rows: errors on them are too good.
        every: keep one of so many frames; with 7 or more no two rows share any.
        centre: "speaker" subtracts each speaker's own mean of a part of the split, for which no label is needed.
        seed: the seed of split=frames.

    Returns:
        The rows.

    Raises:
        DataError: files are missing or damaged, or there is no such speaker.
        UsageError: `every` is less than 1, or the frames of one speaker are to be divided by speakers.
    """
    if every < 1:
        raise UsageError(f"{RECIPE}: every={every}; give 1 or more.")
    if speaker is not None and split == "speakers":
        raise UsageError(f"{RECIPE}: speaker={speaker} is in one part alone; add split=time (or split=frames).")
    place = root_or_default(root)
    wanted = " and ".join(FILES[0])
    if place is None:
        raise DataError(f"{RECIPE}: needs {wanted} in ROOT/{FOLDER}; give --root ROOT or set MMPPL_DATA.")
    files = next((there for names in FILES if (there := present(place / FOLDER, names))), None)
    if files is None:
        raise DataError(f"{RECIPE}: put {wanted} into {place / FOLDER} (not all are there; they are not downloaded).")
    found = read_xrmb(files[0], files[1], speaker=speaker, every=every)
    part: np.ndarray
    notes = []
    if split == "frames":
        part = stratified_split(found["phone"], seed=seed, shares=OF_CMMD)
        notes = ["split=frames: rows of different parts share frames, so errors are too good."] * (every < WINDOW)
    elif split == "time":
        part = _in_time(found["speaker"], found["part"], found["frame"])
        kept = part >= 0
        found, part = {name: values[kept] for name, values in found.items()}, part[kept]
    else:
        names, which = np.unique(found["part"], return_inverse=True)
        part = np.array([[*PARTS].index(name) for name in names])[which]
    if centre == "speaker":  # after the split: no row is centred by rows of another part
        for name in ("acoustic", "articulatory"):
            _subtract_means(found[name], found["speaker"], part)
    chosen = dict(speaker=speaker, split=split, every=every, centre=centre, seed=seed)
    return Arrays(
        {name: found[name] for name in ("acoustic", "articulatory", "speaker", "frame")}
        | {"label": found["phone"], "split": np.array(PARTS)[part]},
        f"{RECIPE}:{','.join(f'{key}={value}' for key, value in chosen.items() if value is not None)}",
        annotations=("speaker", "frame"),
        notes=notes,
        as_={"acoustic": "normal", "articulatory": "normal", "label": "categorical:role=label"},
    )


def _subtract_means(values: np.ndarray, speakers: np.ndarray, parts: np.ndarray) -> None:
    for speaker in np.unique(speakers):
        for part in np.unique(parts[speakers == speaker]):
            rows = (speakers == speaker) & (parts == part)
            values[rows] -= values[rows].mean(0, dtype=np.float64).astype(np.float32)


def _in_time(speakers: np.ndarray, parts: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Codes of the parts, −1 for rows that share frames with the part before."""
    codes = np.zeros(len(speakers), np.int8)
    for speaker in np.unique(speakers):
        for part in np.unique(parts[speakers == speaker]):
            rows = np.flatnonzero((speakers == speaker) & (parts == part))
            total = int(frames[rows].max()) + 1
            for code, edge in ((1, round(SHARES[0] * total)), (2, round((SHARES[0] + SHARES[1]) * total))):
                codes[rows[frames[rows] >= edge]] = code
                codes[rows[(frames[rows] >= edge) & (frames[rows] < edge + WINDOW - 1)]] = -1
    return codes
