"""Pickles of plain data become .npz files, which `read` takes; nothing in a pickle is executed."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base.files import write
from ..base.memory import check_room
from ..errors import DataError
from .readers.cells import plain_array
from .readers.parts.unpickle import read_pickle
from .splits import PART_OF

SEQUENCES = 7  # what the pickles of bc-LSTM hold
NAME = re.compile(r"[^\w-]+")


def convert_pickle(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Convert a pickle of plain data to an .npz file.

    Known layouts are those of MultiBench (train, valid, test → vision, audio, text, labels, id), of MAG-BERT (train,
    dev, test → a list of ((words, visual, acoustic), label, segment)) and of bc-LSTM (train x and y, test x and y, and
    lengths; one row for each utterance, named after the file). Any other dict of arrays keeps its names, those of dicts
    within dicts joined by "_".

    Args:
        source: the pickle.
        out: the file to write, which must not be there.

    Returns:
        name → shape of each array in it.

    Raises:
        DataError: the pickle is damaged, asks for something to be executed, or is no data of such a kind; or `out` is
            there already, or has another suffix than .npz.

    Example:
        >>> import pickle, tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "old.pkl").write_bytes(pickle.dumps({"gene": np.zeros((3, 2)), "label": ["a", "b", "a"]})) > 0
        True
        >>> convert_pickle(folder / "old.pkl", folder / "new.npz")
        {'gene': (3, 2), 'label': (3,)}
    """
    source, out = Path(source), Path(out)
    if out.suffix != ".npz":
        raise DataError(f"{out}: give a name that ends in .npz.")
    if os.path.lexists(out):
        raise DataError(f"{out}: is there already; give another name, or move it.")
    arrays = _arrays(read_pickle(source), source)
    if not arrays:
        raise DataError(f"{source}: the pickle holds no array.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write(out, buffer.getvalue())
    return {name: array.shape for name, array in arrays.items()}


def _arrays(content: Any, source: Path) -> dict[str, np.ndarray]:
    if isinstance(content, (tuple, list)) and len(content) == SEQUENCES:
        return _of_dialogues(content, source)
    if not isinstance(content, dict):
        raise DataError(f"{source}: the pickle is a {type(content).__name__}; a dict of arrays is converted.")
    if content and all(key in PART_OF and _is_list_of_words(value) for key, value in content.items()):
        found: dict[str, np.ndarray] = {}
        for part, samples in content.items():
            found |= {f"{PART_OF[part]}_{name}": a for name, a in _of_words(samples, f"{source}: {part}").items()}
        return found
    return _flat(content, "", source)


def _flat(content: Mapping[Any, Any], prefix: str, source: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key, value in content.items():
        name = f"{prefix}{PART_OF.get(key, key) if not prefix else key}"
        inner = _flat(value, f"{name}_", source) if isinstance(value, dict) else {name: _array(value, name, source)}
        if clash := found.keys() & inner.keys():
            raise DataError(f"{source}: two arrays would be called {min(clash)!r}.")
        found |= inner
    return found


def _array(value: Any, name: str, source: Path) -> np.ndarray:
    if isinstance(value, set):
        value = sorted(value, key=str)
    check_room(8 * _cells(value, {}), f"{source}: {name}")
    try:
        array = np.asarray(value)
    except ValueError:
        raise DataError(f"{source}: {name!r} is ragged: its rows differ in length; pad them to one shape.") from None
    if array.dtype == object and all(isinstance(cell, str) for cell in array.ravel()):
        array = array.astype(str)
    try:
        return plain_array(name, array)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _cells(value: Any, seen: dict[int, int]) -> int:
    """Count the cells of lists within lists as they are written out, where one list may occur many times."""
    if not isinstance(value, (list, tuple)):
        return value.size if isinstance(value, np.ndarray) else 1
    if id(value) not in seen:
        seen[id(value)] = sum(_cells(inner, seen) for inner in value)
    return seen[id(value)]


def _is_list_of_words(value: Any) -> bool:
    """Say whether these are samples ((words, visual, acoustic), label, segment)."""
    return isinstance(value, list) and all(
        isinstance(sample, (tuple, list)) and len(sample) == 3 and isinstance(sample[0], (tuple, list))
        and len(sample[0]) == 3 for sample in value
    )  # fmt: skip


def _of_words(samples: Sequence[Any], place: str) -> dict[str, np.ndarray]:
    """Return `vision` and `audio` (N, T, F), padded at the end, `lengths`, `transcript`, `labels` and `id`."""
    if not samples:
        return {}
    words, streams = [], {"vision": [], "audio": []}  # type: ignore[var-annotated]
    for row, ((spoken, *others), _, _) in enumerate(samples):
        said = [str(word) for word in np.asarray(spoken).ravel().tolist()]
        for name, array in zip(streams, others):
            array = np.asarray(array)
            wide = streams[name][0].shape[1] if row else array.shape[-1]
            if array.shape != (len(said), wide) or array.dtype.kind not in "iuf":
                raise DataError(f"{place}: sample {row} has {len(said)} words, and {name} of shape {array.shape}.")
            streams[name].append(array)
        words.append(said)
    lengths = np.array([len(said) for said in words])
    found = {}
    for name, rows in streams.items():
        check_room(4 * len(rows) * int(lengths.max()) * rows[0].shape[1], f"{place}: {name}")
        found[name] = np.zeros((len(rows), max(int(lengths.max()), 1), rows[0].shape[1]), np.float32)
        for at, array in enumerate(rows):
            found[name][at, : len(array)] = array
    labels = np.stack([np.asarray(label, np.float64).reshape(-1) for _, label, _ in samples])
    ids = np.array([str(segment) for _, _, segment in samples])
    return found | {
        "lengths": lengths, "transcript": np.array([" ".join(said) for said in words]), "labels": labels, "id": ids,
    }  # fmt: skip


def _of_dialogues(content: Sequence[Any], source: Path) -> dict[str, np.ndarray]:
    """Return one row for each utterance of (videos, utterances, F), of which a video may have fewer."""
    train_x, train_y, test_x, test_y, _, train_length, test_length = content
    parts: dict[str, list[np.ndarray]] = {"x": [], "y": [], "id": [], "split": []}
    for part, x, y, length in (("train", train_x, train_y, train_length), ("test", test_x, test_y, test_length)):
        x, y, length = (_array(value, f"{part} {what}", source) for value, what in zip((x, y, length), "xyn"))
        fits = x.ndim == 3 and y.shape[:2] == x.shape[:2] and length.shape == x.shape[:1]
        if not fits or length.dtype.kind not in "iu" or (length < 0).any() or (length > x.shape[1]).any():
            raise DataError(
                f"{source}: its {part} part has shapes {x.shape}, {y.shape}, {length.shape}, which are not those of "
                "utterances of videos, their labels and the numbers of utterances."
            )
        there = np.arange(x.shape[1]) < length[:, None]
        video, place = there.nonzero()
        if y.ndim == 3:
            y = y.argmax(-1) if y.shape[-1] > 1 else y[..., 0]
        parts["x"].append(x[there])
        parts["y"].append(y[there])
        parts["id"].append(np.array([f"{part}-{v}[{u}]" for v, u in zip(video, place)]))
        parts["split"].append(np.full(len(video), part, "U5"))
    joined = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    named = NAME.sub("_", source.stem) or "features"
    return {named: joined["x"], "label": joined["y"], "id": joined["id"], "split": joined["split"]}
