"""GloVe vectors of words (Pennington, Socher & Manning 2014)."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ...readers.npz import read_npz
from ...readers.parts.files import contents, opened

FOLDER = "glove"
TEXT = re.compile(r"glove\.(?:.*\.)?(?P<size>\d+)d\.txt")  # as published, such as glove.6B.200d.txt
ARRAY = re.compile(r"(?P<stem>glove(?P<size>\d+).*)\.npz")  # with {stem}_words.txt beside it
USUAL = 200  # dimensions of the paper on IEMOCAP
WANTED = f"glove.6B.{USUAL}d.txt (or of another size), or glove100_subset.npz and glove100_subset_words.txt"
LINE = 2**16  # bytes


def load_glove(recipe: str, root: Path, words: Collection[str]) -> tuple[dict[str, int], np.ndarray, str]:
    """Read the vectors of some words from ROOT/glove: those of 200 dimensions if they are there, else the longest.

    Args:
        recipe: the name of the recipe, for messages.
        root: the folder that holds `glove/`.
        words: the words, in lower case.

    Returns:
        word → row, for those words that have a vector; (W, d) float32; and the name of the file.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    folder = root / FOLDER
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    found = [(form, name) for name in there for form in (TEXT, ARRAY) if form.fullmatch(name)]
    if not found:
        raise DataError(f"{recipe}: put {WANTED} into {folder}.")

    def rank(one: tuple[re.Pattern[str], str]) -> tuple[bool, int]:
        match = one[0].fullmatch(one[1])
        size = int(match["size"]) if match else 0
        return size == USUAL, size

    form, name = max(found, key=rank)
    known, vectors = (_of_text if form is TEXT else _of_array)(folder / name, frozenset(words))
    if not known:
        raise DataError(f"{folder / name}: none of the {len(words):,} words has a vector in it; fetch it again.")
    return known, vectors, name


def _of_text(path: Path, words: frozenset[str]) -> tuple[dict[str, int], np.ndarray]:
    """Read `word number number ...`, line by line; only the words that are asked for are kept."""
    known: dict[str, int] = {}
    rows: list[np.ndarray] = []
    with opened(path) as file:
        number = 0
        while line := file.readline(LINE):
            number += 1
            word, _, rest = line.partition(b" ")
            text = word.decode("utf-8", "replace")
            if text not in words or text in known:
                continue
            try:
                row = np.array(rest.split(), np.float32)
            except ValueError:
                row = np.zeros(0, np.float32)
            if not row.size or not np.isfinite(row).all() or (rows and row.shape != rows[0].shape):
                raise DataError(
                    f"{path}: line {number:,} ({text[:40]!r}) is not a word and as many numbers as others have; fetch "
                    "the file again."
                )
            known[text] = len(rows)
            rows.append(row)
    return known, np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _of_array(path: Path, words: frozenset[str]) -> tuple[dict[str, int], np.ndarray]:
    """Read `vectors` of an .npz file, and the words beside it, one a line."""
    arrays = read_npz(path)
    beside = path.with_name(f"{path.stem}_words.txt")
    listed = contents(beside).decode("utf-8", "replace").splitlines()
    vectors = arrays.get("vectors")
    if vectors is None or vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(listed):
        shape = None if vectors is None else vectors.shape
        raise DataError(
            f"{path}: 'vectors' has shape {shape} where {beside.name} has {len(listed):,} words; fetch both again."
        )
    check_room(vectors.nbytes, f"{path}: the vectors")
    place = {word: row for row, word in enumerate(listed) if word in words}
    rows = np.array(list(place.values()), int)
    return {word: row for row, word in enumerate(place)}, vectors[rows].astype(np.float32)
