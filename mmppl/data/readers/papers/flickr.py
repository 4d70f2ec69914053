"""MIR-Flickr as released with its features: photographs as 3,857 numbers, the tags of their owners, 38 labels.

`image/labelled/*.npy` and `image/unlabelled/*.npy` are pieces of one matrix each, in the order of their names; tags are
sparse rows (`data`, `indices`, `indptr`, `shape`) in `text/text_all_2000_{labelled,unlabelled}.npz`, their words in
`text/vocab.txt`; `labels.npy` and `splits/{train,valid,test}_indices_{1..5}.npy` are about the labelled rows.

Source: Srivastava & Salakhutdinov 2012, "Multimodal learning with deep Boltzmann machines", and its release.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....base.memory import check_room
from ....base.text import as_counted
from ....errors import DataError
from ...splits import PARTS
from ..npz import read_npz
from ..parts.archive import Damaged
from ..parts.files import contents, opened, size_of
from ..parts.npy import read_npy
from ..parts.sparse import dense

SPLITS = 5


def read_flickr(folder: Path, *, split: int = 1, unlabelled: int = 0, tags: int = 2000) -> dict[str, np.ndarray]:
    """Read the labelled photographs, and as many of the others as are wanted.

    Memory is taken for what is returned and one piece of the features.

    Args:
        folder: the folder with `image/`, `text/`, `splits/` and `labels.npy`.
        split: which of the five splits of the labelled rows, 1 to 5.
        unlabelled: how many of the first rows without labels follow the labelled ones.
        tags: how many of the tags, the first ones (they are in the order of their frequencies).

    Returns:
        `image` (N, 3857) float32; `tags` (N, tags) uint8, 1 where a tag is present; `label` (labelled, 38) uint8;
        `words` (tags,), the words of the tags, absent without `vocab.txt`; `part` (labelled,) int8 codes of the parts,
        −1 for rows in none.

    Raises:
        DataError: a file is missing, truncated or corrupt, or the files do not fit together.
    """
    label = _npy(folder / "labels.npy")
    if label.ndim != 2 or not np.isin(label, (0, 1)).all():
        raise DataError(f"{folder / 'labels.npy'}: of shape {label.shape}; a row has a 0 or 1 for each of its labels.")
    total = len(label) + unlabelled
    pieces = [_pieces(folder, "labelled", len(label)), _pieces(folder, "unlabelled", unlabelled)]
    image, at = np.empty((0, 0), np.float32), 0
    for piece in (piece for of_kind in pieces for piece in of_kind):
        if not at:
            check_room(total * piece.shape[1] * 4, f"{folder}: the features of {total:,} rows")
            image = np.empty((total, piece.shape[1]), np.float32)
        if piece.shape[1] != image.shape[1]:
            raise DataError(
                f"{folder}/image: pieces of {image.shape[1]:,} and of {piece.shape[1]:,} columns; fetch them again."
            )
        image[at : at + len(piece)] = piece
        at += len(piece)
    found: dict[str, np.ndarray] = {
        "image": image,
        "label": label.astype(np.uint8),
        "part": _parts(folder, split, len(label)),
    }
    text = [_tags(folder, kind, rows, tags) for kind, rows in (("labelled", len(label)), ("unlabelled", unlabelled))]
    found["tags"] = np.concatenate(text)
    words = folder / "text" / "vocab.txt"
    return found | ({"words": _words(words, tags)} if words.exists() else {})


def _npy(path: Path) -> np.ndarray:
    try:
        with opened(path) as file:
            check_room(size_of(file), f"{path}: the file")
            return read_npy(file, size_of(file), path.name)
    except Damaged as error:
        raise DataError(f"{path}: truncated or corrupt ({error}); fetch it again.") from None


def _pieces(folder: Path, kind: str, rows: int) -> Iterator[np.ndarray]:
    """Yield matrices that have so many rows together."""
    place, left = folder / "image" / kind, rows
    files = sorted(place.glob("*.npy"), key=lambda path: as_counted(path.name)) if rows else []
    for path in files:
        piece = _npy(path)
        if piece.ndim != 2 or piece.dtype.kind not in "iuf":
            raise DataError(f"{path}: {piece.dtype} of shape {piece.shape}, no matrix of features; fetch it again.")
        if kind == "labelled" and len(piece) > left:
            raise DataError(f"{place}: more rows than the {rows:,} of labels.npy; fetch the files again.")
        yield piece[:left]
        left -= min(left, len(piece))
        if not left and kind != "labelled":
            return
    if left:
        raise DataError(f"{place}: {rows - left:,} of {rows:,} rows in {len(files)} .npy files; put the others there.")


def _tags(folder: Path, kind: str, rows: int, tags: int) -> np.ndarray:
    """Whether each of the first tags is present in each of the first rows, (rows, tags) uint8."""
    if not rows:
        return np.zeros((0, tags), np.uint8)
    path = folder / "text" / f"text_all_2000_{kind}.npz"
    arrays = read_npz(path)
    lacks = [name for name in ("data", "indices", "indptr", "shape") if name not in arrays]
    if lacks:
        raise DataError(f"{path}: has no {lacks[0]}, but {', '.join(arrays) or 'nothing'}; fetch it again.")
    shape = arrays["shape"].reshape(-1).tolist()
    if len(shape) != 2 or shape[0] < rows or shape[1] < tags or kind == "labelled" and shape[0] != rows:
        raise DataError(
            f"{path}: of shape {tuple(shape)}, where {rows:,} rows of {tags:,} tags are wanted; fetch it again."
        )
    from scipy.sparse import csr_array

    try:
        matrix = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(map(int, shape)))
        matrix.check_format(full_check=True)
    except (ValueError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split())[:100].rstrip(".")
        raise DataError(f"{path}: a damaged sparse matrix ({said}); fetch it again.") from None
    matrix = matrix[:rows, :tags]
    return dense(path.name, matrix.__class__((matrix.data > 0, matrix.indices, matrix.indptr), matrix.shape)).astype(
        np.uint8
    )


def _words(path: Path, tags: int) -> np.ndarray:
    """The words of the first tags: the second column of lines of number, word, count."""
    lines = contents(path).decode("utf-8", "replace").splitlines()[:tags]
    found = [line.split() for line in lines]
    if len(found) < tags or any(len(parts) < 2 for parts in found):
        raise DataError(f"{path}: not {tags:,} lines of a number, a word and a count; fetch it again, or remove it.")
    return np.array([parts[1] for parts in found])


def _parts(folder: Path, split: int, rows: int) -> np.ndarray:
    """The part of each labelled row."""
    part = np.full(rows, -1, np.int8)
    for code, name in enumerate(PARTS):
        path = folder / "splits" / f"{name}_indices_{split}.npy"
        found = _npy(path).reshape(-1)
        if found.dtype.kind not in "iu" or not ((found >= 0) & (found < rows)).all():
            raise DataError(f"{path}: not numbers of rows from 0 to {rows - 1:,}; fetch it again.")
        if (part[found] >= 0).any() or len(np.unique(found)) < len(found):
            raise DataError(f"{path}: rows that are there twice or in another part, too; fetch the splits again.")
        part[found] = code
    return part
