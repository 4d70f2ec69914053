"""Utterances of CMU-MOSI (Zadeh, Zellers, Pincus & Morency 2016, arXiv:1606.06259) from two files."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ....base.memory import check_room
from ....base.random import generator
from ....errors import DataError
from ...readers.npz import read_npz
from ...readers.parts.files import contents
from .files import present

FILES, PLACE = ("mosi_utterance.npz", "mosi_segments.csv"), "cmu_mosi"
COLUMNS = ("video_id", "segment", "transcript")
CELL = 32  # bytes that a character of a table takes, as a cell of its own
SHAPES = {
    "text": ("f", 2),
    "audio": ("f", 2),
    "video": ("f", 2),
    "score": ("f", 1),
    "split": ("iu", 1),
    "split_std_leaky": ("iu", 1),
    "video_id": ("U", 1),
    "segment": ("iu", 1),
}
BESIDE = ("score", "split", "video_id", "segment")  # what is always read


@dataclass(frozen=True)
class Utterances:
    """The utterances, in the order of the files: by video, and by segment within it.

    Args:
        arrays: name → (U, *shape), those that are wanted and `score`, `split`, `video_id`, `segment`.
        ids: "video/segment" of each.
        transcripts: of each.
    """

    arrays: dict[str, np.ndarray]
    ids: list[str]
    transcripts: list[str]

    def parts(self, valid: int, seed: int) -> np.ndarray:
        """Take whole videos from the train part for validation.

        Args:
            valid: their number.
            seed: the seed of the choice.

        Returns:
            (U,) int8 codes of the parts.
        """
        split = self.arrays["split"].astype(np.int8)
        videos = self.train_videos()
        order = torch.randperm(len(videos), generator=generator(seed, "validation videos")).numpy()
        split[(split == 0) & np.isin(self.arrays["video_id"], videos[order[:valid]])] = 1
        return split

    def train_videos(self) -> np.ndarray:
        """Return the names of the videos of the train part."""
        return np.unique(self.arrays["video_id"][self.arrays["split"] == 0])


def load_mosi(recipe: str, root: Path | None, wanted: Collection[str], also: str = "") -> Utterances:
    """Read the utterances.

    Args:
        recipe: the name of the recipe, for messages.
        root: the folder that holds `cmu_mosi/`.
        wanted: names of features.
        also: what else the recipe needs, for the message without a root.

    Returns:
        The utterances.

    Raises:
        DataError: files are missing or damaged, or do not belong together.
    """
    if root is None:
        raise DataError(
            f"{recipe}: needs {', '.join(FILES)} in ROOT/{PLACE}{also}; give --root ROOT or set MMPPL_DATA."
        )
    found = present(root / PLACE, FILES)
    if found is None:
        raise DataError(f"{recipe}: put {', '.join(FILES)} into {root / PLACE} (they are not downloaded).")
    arrays, segments = _arrays(found[0], wanted), _transcripts(found[1])
    ids = [f"{video}/{segment}" for video, segment in zip(arrays["video_id"].tolist(), arrays["segment"].tolist())]
    if ids != [key for key, _ in segments]:
        raise DataError(f"{found[1]}: its rows are not the utterances of {found[0].name}; fetch both again.")
    return Utterances(arrays, ids, [text for _, text in segments])


def _arrays(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Read the arrays that are needed, and check their shapes."""
    names = [name for name in SHAPES if name in wanted or name in BESIDE]
    arrays = read_npz(path, {name for name in SHAPES if name not in names})
    for name in names:
        kinds, dimensions = SHAPES[name]
        array = arrays.get(name)
        if array is None or array.ndim != dimensions or array.dtype.kind not in kinds:
            said = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise DataError(f"{path}: {name!r} is {said}; fetch the file again.")
    if len({len(arrays[name]) for name in names}) > 1 or not np.isin(arrays["split"], (0, 2)).all():
        raise DataError(f"{path}: its arrays differ in length, or split is neither 0 nor 2; fetch the file again.")
    return {name: arrays[name] for name in names}


def _transcripts(path: Path) -> list[tuple[str, str]]:
    """Read (video/segment, transcript) of every utterance."""
    content = contents(path)
    check_room(CELL * len(content), f"{path}: the table")
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV in UTF-8 ({error}).") from None
    if not rows or any(row.get(name) is None for row in rows for name in COLUMNS):
        raise DataError(f"{path}: no rows, or one lacks {', '.join(COLUMNS)}; fetch the file again.")
    return [(f"{row['video_id']}/{row['segment']}", row["transcript"]) for row in rows]
