"""Columns of a table that name files are read: each cell becomes what is in its file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ....errors import DataError
from ..cells import WIDEST
from ..parts.archive import Damaged
from ..parts.files import contents, opened, size_of
from ..parts.npy import NoArray, read_npy
from ..parts.rows import Rows
from ..registry import Arrays, Request
from ..speech.recordings import SOUNDS, features_for
from .images import read_image

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
KIND = dict.fromkeys(IMAGES, "images") | dict.fromkeys(SOUNDS, "sounds") | {".npy": "arrays", ".txt": "texts"}
KEPT = ("id", "split", "group")  # columns that name rows, whatever their texts look like
LOOKED_AT = 1_000  # files that are looked for before a column is taken for mere text
Read = Callable[[Path, str], np.ndarray]


def with_files(found: Arrays, manifest: Path, request: Request) -> Arrays:
    """Put the contents of files in the place of the columns that name them.

    A column names files if each of its cells that is not empty ends with the suffix of an image, a recording, an .npy
    or a .txt file, and one of the first is there. An empty cell is a missing row.

    Args:
        found: the columns of a table; cells are relative to the folder of the manifest.
        manifest: the path of the table.
        request: what the caller of `mmppl.read` asks for; a column that is kept as an annotation stays text.

    Returns:
        The arrays: images (N, H, W) or (N, H, W, 3), MFCC of recordings (see `speech.mfcc`), arrays (N, *shape) or
        sequences, and texts (N,).

    Raises:
        DataError: a file is missing or damaged, or the rows of a column do not fit together; the message names the
            manifest, the row, and the file.
    """
    schema = {m.name: m for m in request.schema or ()}
    arrays, notes = dict(found.arrays), list(found.notes)
    for name, column in found.arrays.items():
        if name in (*KEPT, *request.ignored, *request.annotations) or name.startswith("mask_") or column.ndim != 1:
            continue
        known = schema.get(name)
        there = _present(column, found.arrays.get(f"mask_{name}"))
        if known is not None and known.size > 1 and not there.any():
            del arrays[name]  # as if the column were not there: an empty one has no shape
            arrays.pop(f"mask_{name}", None)
            continue
        kind = _kind(column[there]) if column.dtype.kind == "U" else None
        if kind is None:
            continue
        paths = {int(row): column[row].strip() for row in np.flatnonzero(there)}
        of_run = known is not None and known.classes is None
        if not of_run and not any(
            os.path.lexists(manifest.parent / path) for path in islice(paths.values(), LOOKED_AT)
        ):
            notes.append(f"{name}: names of {kind} that are not in {manifest.parent}, taken for mere text")
            continue
        rows = Rows(name, str(manifest), len(column))
        for row, value in _read(kind, name, paths, manifest, request):
            rows.put(row, value)
        arrays.pop(f"mask_{name}", None)
        arrays |= rows.arrays()
    return dataclasses.replace(found, arrays=arrays, notes=notes)


def _present(column: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    there = np.char.strip(column) != "" if column.dtype.kind == "U" else column == column
    return there & mask.astype(bool) if mask is not None and mask.shape == column.shape else there


def _kind(cells: np.ndarray) -> str | None:
    """Return what the files are that cells name; None if they name none, or of several kinds."""
    kinds = {KIND.get(os.path.splitext(cell.strip())[1].lower()) for cell in cells.tolist()}
    return kinds.pop() if len(kinds) == 1 else None


def _read(
    kind: str, name: str, paths: dict[int, str], manifest: Path, request: Request
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number and the contents of each row, all of one form."""
    read = (
        _sound_reader(name, request) if kind == "sounds" else {"images": _image, "arrays": _array, "texts": _text}[kind]
    )
    first: tuple[int, np.ndarray] | None = None
    for row, path in paths.items():
        value = read(manifest.parent / path, f"{manifest}: {name!r}, row {row}: {path}")
        first = first or (row, value)
        if kind == "images" and (value.shape, value.dtype) != (first[1].shape, first[1].dtype):
            before = f"{paths[first[0]]} (row {first[0]}) {_described(first[1])}"
            raise DataError(
                f"{manifest}: {name!r}: {path} (row {row}) is {_described(value)}, and {before}; bring all images to "
                "one size and kind."
            )
        yield row, value


def _described(image: np.ndarray) -> str:
    kind = "colour" if image.ndim == 3 else "grey"
    return f"{image.shape[1]} × {image.shape[0]} pixels, {kind} ({8 * image.itemsize} bits)"


def _image(path: Path, place: str) -> np.ndarray:
    return read_image(_contents(path, place), place)


def _sound_reader(name: str, request: Request) -> Read:
    from ..speech.mfcc import speech_features
    from ..speech.wav import read_sound

    features = features_for(request.schema, name=name)

    def read(path: Path, place: str) -> np.ndarray:
        samples, rate = read_sound(_contents(path, place), place)
        found: np.ndarray = speech_features(samples, rate, features, name=place).numpy()
        return found

    return read


def _array(path: Path, place: str) -> np.ndarray:
    try:
        with opened(path) as file:
            return read_npy(file, size_of(file), path.name)
    except NoArray:
        raise DataError(f"{place}: not a whole .npy file; write it with numpy.save.") from None
    except Damaged as error:
        raise DataError(f"{place}: cannot be read ({error}); write it again with numpy.save.") from None
    except DataError as error:
        raise _placed(error, path, place) from None


def _text(path: Path, place: str) -> np.ndarray:
    content = _contents(path, place)
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise DataError(f"{place}: a text that is not UTF-8; write it again.") from None
    if len(text) > WIDEST:
        raise DataError(f"{place}: {len(text):,} characters, where {WIDEST:,} are the most; shorten it.")
    return np.array(text)


def _contents(path: Path, place: str) -> bytes:
    try:
        return contents(path)
    except DataError as error:
        raise _placed(error, path, place) from None


def _placed(error: DataError, path: Path, place: str) -> DataError:
    """The error about a file, with its row."""
    said = str(error)
    return DataError(f"{place}{said.removeprefix(str(path))}" if said.startswith(str(path)) else f"{place}: {said}")
