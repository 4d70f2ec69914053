"""The layout in which MultiBench and others distribute CMU-MOSI and CMU-MOSEI: words with what was heard and seen.

Each part (train, valid or val or dev, test) has `vision`, `audio` and `text` (N, T, F), `labels` and `id`. Rows with
fewer than T words begin with steps of zeros (or end with them); here they begin at step 0 and have a length. `lengths`,
or `<name>_lengths`, say the lengths of rows that do so already.

Source: MultiBench (Liang et al. 2021, arXiv:2107.07502), `datasets/affect/get_data.py`: left padding, audio of −inf is
0, rows without text are dropped (here they lack the modality `text`). MMSA (Mao et al. 2022, arXiv:2203.12441) for
`audio_lengths`, `regression_labels`, `raw_text`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import DataError
from ...splits import PART_OF
from ..registry import Arrays

STREAMS = ("text", "audio", "vision")
LABELS = ("labels", "regression_labels")
WORDS = ("transcript", "raw_text")
CARRIED = ("split", "group")  # of a single part, which a user may have put beside it
LEFT_OUT = ("text_bert", "classification_labels", "regression_labels_")  # beginnings of names of MMSA, of no use here
EMOTIONS = ("happiness", "sadness", "anger", "surprise", "disgust", "fear")  # of MOSEI, beside the sentiment
SCORE = "score"
AS = {SCORE: "laplace:role=label"}
KEY = re.compile(rf"(?P<part>{'|'.join(PART_OF)})[_/.](?P<name>\w+)")
TURNED = re.compile(rf"(?P<name>\w+)[_/.](?P<part>{'|'.join(PART_OF)})")
VIDEO = re.compile(r"(.+?)(?:\[\d+\]|\$_\$\d+|/.*|_\d+)")  # of the id of a segment


def flattened(data: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Bring parts of arrays to arrays of parts.

    Args:
        data: part → name → array, or anything else.

    Returns:
        "train_vision" etc. → array; `data` itself if it has no parts.
    """
    if not data or not all(key in PART_OF and isinstance(part, Mapping) for key, part in data.items()):
        return data
    return {f"{key}_{name}": array for key, part in data.items() for name, array in part.items()}


def of_words(arrays: Mapping[str, np.ndarray], name: str) -> Arrays | None:
    """Read the layout.

    Args:
        arrays: "train_vision", "train/vision" or "vision_train" etc., or "vision" etc. for a single part → array.
        name: the name of the data, for messages.

    Returns:
        Sequences with `length_<name>` and `mask_<name>`, the label `score`, `id` and `split`, and the annotations
        `video`, `transcript` and the emotions, as far as they are there; None if this is another layout. Labels of two
        whole numbers are classes, `label` in place of `score`.

    Raises:
        DataError: arrays of a part differ in length, or labels have an unknown shape.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    turned = False
    for key, array in arrays.items():
        match = KEY.fullmatch(key)
        if match is None:
            match = TURNED.fullmatch(key)
            turned |= match is not None
        part, inner = (PART_OF[match["part"]], match["name"]) if match else ("", key)
        parts.setdefault(part, {})[inner] = array
    if len(parts) > 1 and "" in parts or not all(map(_is_part, parts.values())):
        return None
    if "" in parts and (parts[""].get("labels", np.zeros(0)).ndim < 3 and "regression_labels" not in parts[""]):
        return None  # arrays of these names may be anything
    if "" in parts and _own(parts[""]):
        return None  # somebody's own data, nothing of which is left out
    if turned and not all(map(_whole, parts.values())):
        return None  # so many people name their own
    notes: list[str] = []
    read = {part: _of_part(found, f"{name}, {part}" if part else name) for part, found in parts.items()}
    streams = [stream for stream in STREAMS if all(stream in found for found in read.values())]
    joined = _joined(list(read.values()), streams, name)
    if "" not in read:
        joined["split"] = np.repeat(list(read), [len(found[SCORE]) for found in read.values()])
    else:
        joined |= {key: parts[""][key] for key in CARRIED if key in parts[""]}
    left_out = sorted({key for found in parts.values() for key in found} - _known(streams))
    notes += [f"left out: {', '.join(left_out)}"] if left_out else []
    repaired = int(sum(found["repaired"] for found in read.values()))
    notes += [f"{repaired:,} numbers are NaN or infinite, and count as 0, as usual for these data."] if repaired else []
    empty = {stream: int((~joined[f"mask_{stream}"]).sum()) for stream in streams}
    notes += [f"{count:,} rows have no {stream}: all zeros, or no step" for stream, count in empty.items() if count]
    if "id" in joined:
        matches = [VIDEO.fullmatch(one) for one in joined["id"].tolist()]
        if all(matches):
            joined["video"] = np.array([match[1] for match in matches if match])
            joined.setdefault("group", joined["video"])  # rows of a video stay together in every split that is drawn
        if len(np.unique(joined["id"])) < len(joined["id"]):
            joined["segment"] = joined.pop("id")
            notes.append("some ids occur more than once: they are the annotation segment, and rows are numbered.")
    classes = np.unique(joined[SCORE])
    if len(classes) == 2 and (classes % 1 == 0).all():
        joined["label"] = joined.pop(SCORE).astype(np.int64)
    beside = [key for key in ("video", "segment", "transcript", *EMOTIONS) if key in joined]
    return Arrays(joined, name, annotations=beside, notes=notes, as_=AS if SCORE in joined else {})


def _is_part(found: Mapping[str, np.ndarray]) -> bool:
    shapes = [found[stream].ndim == 3 and found[stream].dtype.kind == "f" for stream in STREAMS if stream in found]
    return len(shapes) > 1 and all(shapes) and any(label in found for label in LABELS)


def _whole(found: Mapping[str, np.ndarray]) -> bool:
    """Whether a part holds scores, one for each row, and nothing that would be left out."""
    scores = next(found[label] for label in LABELS if label in found)
    others = [key for key in found.keys() - _known(STREAMS) if not key.startswith(LEFT_OUT)]
    return scores.dtype.kind == "f" and scores.size == len(scores) and not others


def _own(found: Mapping[str, np.ndarray]) -> bool:
    """Whether a single part holds what no file in this layout does: masks, lengths, or modalities of other names."""
    others = [key for key in found.keys() - _known(STREAMS) if not key.startswith(LEFT_OUT)]
    return any(key.startswith(("mask_", "length_")) or found[key].dtype.kind == "f" for key in others)


def _known(streams: Sequence[str]) -> set[str]:
    return {*streams, *CARRIED, *LABELS, *WORDS, "id", "lengths", *(f"{stream}_lengths" for stream in streams)}


def _of_part(found: Mapping[str, np.ndarray], place: str) -> dict[str, Any]:
    """Return the streams of one part from step 0 on, with `length_` and `mask_` of each, and what is beside them."""
    there = {stream: found[stream] for stream in STREAMS if stream in found}
    labels = next(found[label] for label in LABELS if label in found)
    beside = {"labels": labels, **{key: found[key] for key in ("id", "lengths") if key in found}}
    counts = {key: len(array) if array.ndim else 0 for key, array in {**there, **beside}.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{place}: arrays differ in length ({', '.join(f'{k} {n:,}' for k, n in counts.items())}).")
    finite = {stream: np.isfinite(array) for stream, array in there.items()}
    there = {stream: np.where(finite[stream], array, 0) for stream, array in there.items()}
    result: dict[str, Any] = {"repaired": sum((~good).sum() for good in finite.values())}
    steps: dict[str, Any]
    moving = {stream: (array != 0).any(-1) for stream, array in there.items()}
    if len({array.shape[1] for array in there.values()}) == 1:  # aligned: a step exists if anything of it does
        together = np.any(list(moving.values()), 0)
        steps = dict.fromkeys(there, together)
    else:
        steps = moving
    for stream, array in there.items():
        given = found.get(f"{stream}_lengths", found.get("lengths"))
        if given is not None:
            result[stream], length = array, _lengths(given, array, f"{place}: {stream}")
        else:
            result[stream], length = from_the_start(array, steps[stream])
        result[f"length_{stream}"], result[f"mask_{stream}"] = length, moving[stream].any(1) & (length > 0)
    result |= _labels(labels, place)
    if "id" in found:
        ids = found["id"].reshape(len(labels), -1).astype(str)
        result["id"] = np.array(["/".join(one) for one in ids.tolist()])
    for key in WORDS:
        if key in found and found[key].dtype.kind == "U" and found[key].size == len(labels):
            result["transcript"] = found[key].reshape(-1)
    return result


def from_the_start(array: np.ndarray, exists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move rows that begin with padding, so that their first step is step 0.

    Rows are padded at the end where more of them lack their last step than their first.

    Args:
        array: (N, T, F).
        exists: (N, T) bool, the steps that are no padding; steps between two of them exist in any case.

    Returns:
        (N, T, F), and (N,) lengths.
    """
    total = array.shape[1]
    first = np.where(exists.any(1), exists.argmax(1), total)
    last = np.where(exists.any(1), total - exists[:, ::-1].argmax(1), 0)
    if (last < total).sum() > (first > 0).sum():
        return array, last
    at = np.arange(total) + first[:, None]
    inside = at < total
    moved = np.take_along_axis(array, np.minimum(at, total - 1)[..., None], 1)
    return np.where(inside[..., None], moved, 0), total - first


def _lengths(given: np.ndarray, array: np.ndarray, place: str) -> np.ndarray:
    if given.shape != (len(array),) or not ((given >= 0) & (given <= array.shape[1]) & (given % 1 == 0)).all():
        raise DataError(f"{place}: its lengths are not whole numbers from 0 to {array.shape[1]}, one for each row.")
    return given.astype(np.int64)


def _labels(labels: np.ndarray, place: str) -> dict[str, np.ndarray]:
    """The sentiment, and the emotions if they are there."""
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] not in (1, 1 + len(EMOTIONS)) or flat.dtype.kind not in "iuf":
        raise DataError(
            f"{place}: labels have shape {labels.shape}, of {labels.dtype}; a row has one number, or seven: sentiment "
            "and six emotions."
        )
    return {SCORE: flat[:, 0].astype(np.float64), **dict(zip(EMOTIONS, flat[:, 1:].T))}


def _joined(parts: list[dict[str, Any]], streams: list[str], name: str) -> dict[str, np.ndarray]:
    """Join the parts, all with as many steps as the longest row has."""
    joined: dict[str, np.ndarray] = {}
    for stream in streams:
        if len({part[stream].shape[2] for part in parts}) > 1:
            raise DataError(f"{name}: {stream} has different numbers of features in its parts.")
        most = max(1, *(int(part[f"length_{stream}"].max(initial=0)) for part in parts))
        rows = []
        for part in parts:
            cut = part[stream][:, :most]
            rows.append(np.pad(cut, ((0, 0), (0, most - cut.shape[1]), (0, 0))))
        joined[stream] = np.concatenate(rows)
        for beside in (f"length_{stream}", f"mask_{stream}"):
            joined[beside] = np.concatenate([part[beside] for part in parts])
    for key in (SCORE, "id", "transcript", *EMOTIONS):
        if all(key in part for part in parts):
            joined[key] = np.concatenate([part[key] for part in parts])
    return joined
