"""The reader of a folder of .csd files, in which the CMU multimodal SDK keeps CMU-MOSI, CMU-MOSEI and others.

A .csd file is HDF5. Its root group is named after what it holds, and has `data/<video>/features` (n, F) and
`data/<video>/intervals` (n, 2), in seconds. Here a row is a segment with an opinion label, and a step is a word of it:

- a word belongs to the segment in which the middle of its interval lies, words in the order of time;
- what was heard and seen is averaged over the frames whose intervals overlap that of the word, and 0 where none does.

Source: Zadeh, Liang, Poria, Vij, Cambria & Morency 2018, "Multi-attention recurrent network for human communication
comprehension", arXiv:1802.00923 (alignment to words by the mean); the SDK's documentation for the format.

Differs: the SDK takes the words that a segment's interval cuts for two segments, and fills the missing frames of words
by those of others.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ...base.memory import check_room
from ...errors import DataError
from ..splits import PARTS
from .papers.multibench import AS, EMOTIONS, SCORE
from .parts.hdf5 import DAMAGED, own
from .registry import Arrays, Request, reader
from .tokens import utterance_split

SUFFIX = ".csd"
KINDS = {  # what a file holds, by a part of its name
    "label": "labels",
    "wordvector": "text",
    "glove": "text",
    "word": "words",
    "covarep": "audio",
    "opensmile": "audio",
    "facet": "vision",
    "openface": "vision",
}
STREAMS = ("text", "audio", "vision")
Stream = dict[str, tuple[np.ndarray, np.ndarray]]  # video → (n, F) features and (n, 2) intervals


@reader("sdk")
class SdkReader:
    """Folders with .csd files. (Its name makes it be asked before `recordings`, which takes any folder.)"""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a folder with such a file in it."""
        if not isinstance(source, (str, os.PathLike)) or not os.path.isdir(source):
            return False
        return any(path.suffix == SUFFIX for path in Path(source).iterdir())

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return one sequence of words for each segment.

        Raises:
            DataError: h5py is not installed; a file is damaged, or none has words or labels.
        """
        folder = Path(source)
        files, notes = _files(folder)
        streams = {kind: _read(path) for kind, path in files.items() if kind not in request.ignored}
        words = streams.get("text") or streams.get("words") or (_read(files["text"]) if "text" in files else None)
        if words is None or "labels" not in streams:
            lack = "TimestampedWordVectors or TimestampedWords" if words is None else "Opinion_Labels"
            raise DataError(f"{folder}: has no {lack}{SUFFIX}, by which the others are aligned; put it there.")
        return _aligned(folder.name, streams, words, notes, split=request.schema is None)


def _files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return what each file holds, by its name, and notes about the others."""
    found: dict[str, Path] = {}
    other = []
    for path in sorted(path for path in folder.iterdir() if path.suffix == SUFFIX):
        name = re.sub(r"[\W_]", "", path.stem.lower())
        kind = next((kind for part, kind in KINDS.items() if part in name), None)
        if kind is None:
            other.append(path.name)
        elif kind in found:
            raise DataError(f"{folder}: {found[kind].name} and {path.name} both hold {kind}; leave one of them there.")
        else:
            found[kind] = path
    return found, [f"left out: {', '.join(other)}"] if other else []


def _read(path: Path) -> Stream:
    """Read the features and intervals of every video."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path}: reading it takes h5py; install it with pip install 'mmppl[csd]'.") from None
    try:
        with h5py.File(path, "r") as file:
            (root,) = file
            data = own(file[root], "data", path)
            return {video: _of_video(own(data, video, path), path, video) for video in data}
    except DAMAGED as error:
        said = " ".join(str(error).split())[:80]
        raise DataError(f"{path}: not a whole .csd file ({said}); fetch it again.") from None


def _of_video(group: Any, path: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name in ("features", "intervals"):
        found = own(group, name, path)
        check_room(found.size * max(found.dtype.itemsize, 8), f"{path}: {name}")
        arrays.append(found[()])
    features, intervals = arrays
    if features.dtype.kind in "OS":
        text = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in features.ravel()]
        features = np.array(text, dtype=str).reshape(features.shape)
    if features.ndim != 2 or intervals.shape != (len(features), 2) or not np.isfinite(intervals).all():
        raise DataError(
            f"{path}: {video[:60]!r} has features of shape {features.shape} and intervals of {intervals.shape}; fetch "
            "the file again."
        )
    order = np.argsort(intervals[:, 0], kind="stable")
    return features[order], intervals[order].astype(np.float64)


def _aligned(name: str, streams: dict[str, Stream], words: Stream, notes: list[str], *, split: bool) -> Arrays:
    """Return one row for each label, with a step for each word."""
    kinds = [kind for kind in STREAMS if kind in streams]
    steps: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    labels, ids, videos, said = [], [], [], []
    width = {kind: next(iter(streams[kind].values()))[0].shape[1] for kind in kinds}
    for video, (scores, segments) in streams["labels"].items():
        middle = words[video][1].mean(1) if video in words else np.zeros(0)
        for number, (score, (start, end)) in enumerate(zip(scores, segments)):
            spoken = np.flatnonzero((middle >= start) & (middle < end))
            spans = words[video][1][spoken] if len(spoken) else np.zeros((0, 2))
            for kind in kinds:
                steps[kind].append(averaged(*streams[kind][video], spans) if video in streams[kind]
                                   else np.zeros((len(spans), width[kind])))  # fmt: skip
            labels.append(score)
            ids.append(f"{video}[{number}]")
            videos.append(video)
            transcript = streams.get("words", {}).get(video)
            if transcript is not None:
                inside = transcript[1].mean(1)
                said.append(" ".join(transcript[0][(inside >= start) & (inside < end), 0].tolist()))
            else:
                said.append("")
    if not labels:
        raise DataError(f"{name}: no video has a label.")
    flat = np.array(labels, np.float64)
    lengths = np.array([len(one) for one in steps[kinds[0]]]) if kinds else np.zeros(len(flat), int)
    arrays: dict[str, np.ndarray] = {}
    for kind, rows in steps.items():
        arrays[kind] = np.zeros((len(rows), max(1, int(lengths.max())), width[kind]), np.float32)
        for at, row in enumerate(rows):
            arrays[kind][at, : len(row)] = row
        arrays[f"length_{kind}"] = lengths
        arrays[f"mask_{kind}"] = (arrays[kind] != 0).any((1, 2))
    arrays |= {SCORE: flat[:, 0], "id": np.array(ids), "video": np.array(videos)}
    arrays |= dict(zip(EMOTIONS, flat[:, 1:].T)) if flat.shape[1] == 1 + len(EMOTIONS) else {}
    arrays |= {"transcript": np.array(said)} if "words" in streams else {}
    if split:
        arrays["split"] = np.array(PARTS)[utterance_split(arrays["video"], seed=0)]
        notes = [*notes, "the parts are drawn here, 70/10/20 of the videos."]
    beside = [key for key in ("video", "transcript", *EMOTIONS) if key in arrays]
    return Arrays(arrays, name, annotations=beside, notes=notes, as_=AS)


def averaged(features: np.ndarray, intervals: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Average the frames that overlap each of some spans of time.

    Args:
        features: (n, F) of frames; NaN and infinite ones count as 0.
        intervals: (n, 2) seconds, ascending.
        spans: (W, 2) seconds.

    Returns:
        (W, F); zeros where no frame overlaps a span. The frame of a span without duration is the one in which it lies.

    Example:
        >>> frames, times = np.array([[1.0], [3.0], [5.0]]), np.array([[0, 1], [1, 2], [2, 3]])
        >>> averaged(frames, times, np.array([[0.5, 1.5], [2.2, 2.4], [7, 8]])).ravel()
        array([2., 5., 0.])
    """
    finite = np.where(np.isfinite(features), features, 0).astype(np.float64)
    found = np.zeros((len(spans), features.shape[1]))
    for at, (start, end) in enumerate(spans):
        overlaps = (intervals[:, 0] < max(end, np.nextafter(start, np.inf))) & (intervals[:, 1] > start)
        if overlaps.any():
            found[at] = finite[overlaps].mean(0)
    return found
