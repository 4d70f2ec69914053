"""PolyMNIST as it was released: `{train,test}/m{0..4}/<number>.<digit>.png`.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", ICLR. Files of one name are one row, and the last
part of the name before its ending is the digit.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ..manifest.images import read_image
from ..parts.files import contents, unreadable

PARTS = ("train", "test")
FOLDER, FILE = re.compile(r"m(\d+)"), re.compile(r"(\d+)\.(\d)\.png")


def read_polymnist(folder: Path, *, rows: int | None = None) -> dict[str, np.ndarray]:
    """Read all modalities, in the order of the numbers in the names.

    Args:
        folder: the folder with `train/` and `test/`.
        rows: how many rows of each part, the first ones; None: all.

    Returns:
        `m0`, `m1`, ... (N, 3, H, W) uint8, `label` (N,) int64, `number` (N,) int64 and `part` (N,), train or test.

    Raises:
        DataError: a folder or file is missing, named otherwise or damaged, images differ in size, or they do not fit
            into memory.
    """
    found: dict[str, list[np.ndarray]] = {}
    beside: list[tuple[list[int], list[int], str]] = []
    for part in PARTS:
        modalities = sorted((n for n in _listed(folder / part) if FOLDER.fullmatch(n)), key=lambda n: int(n[1:]))
        if len(modalities) < 2 or (found and [*found] != modalities):
            others = f"where {PARTS[0]} has {', '.join(found)}" if found else "of at least m0 and m1"
            there = ", ".join(modalities) or "none"
            raise DataError(f"{folder / part}: folders {there}, {others}; put the others there.")
        names = _names(folder / part, modalities)[:rows]
        for modality in modalities:
            found.setdefault(modality, []).append(_images(folder / part / modality, names, len(modalities)))
        matches = [FILE.fullmatch(name) for name in names]
        beside.append(([int(m[1]) for m in matches if m], [int(m[2]) for m in matches if m], part))
    shapes = {images.shape[1:] for parts in found.values() for images in parts}
    if len(shapes) > 1:
        raise DataError(f"{folder}: images of shapes {', '.join(map(str, sorted(shapes)))}; fetch them again.")
    numbers, labels, parts = zip(*beside)
    return {
        **{name: np.concatenate(of_parts) for name, of_parts in found.items()},
        "label": np.concatenate(labels).astype(np.int64),
        "number": np.concatenate(numbers).astype(np.int64),
        "part": np.repeat(parts, [len(one) for one in labels]),
    }


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise unreadable(folder, error) from None


def _names(folder: Path, modalities: list[str]) -> list[str]:
    """The names of the files that every modality has, in the order of their numbers."""
    first: set[str] = set()
    for modality in modalities:
        place = folder / modality
        files = {name for name in _listed(place) if not name.startswith(".")}
        wrong = sorted(name for name in files if not FILE.fullmatch(name))
        if wrong or not files:
            what = f"{wrong[0][:60]!r} is not named" if wrong else "no file is named"
            raise DataError(f"{place}: {what} NUMBER.DIGIT.png, as in 17.5.png; fetch the folder again.")
        first = first or files
        if lacks := sorted(first ^ files):
            raise DataError(
                f"{place}: differs from {modalities[0]} in {len(lacks):,} files, such as {lacks[0]}; fetch it again."
            )
    return sorted(first, key=lambda name: tuple(map(int, name.split(".")[:2])))


def _images(folder: Path, names: list[str], modalities: int) -> np.ndarray:
    images = np.empty(0, np.uint8)
    for row, name in enumerate(names):
        image = read_image(contents(folder / name), str(folder / name))
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, -1)
        if not row:
            check_room(modalities * len(names) * image.size, f"{folder.parent}: its {len(names):,} rows")
            images = np.empty((len(names), *image.shape), np.uint8)
        if image.dtype != np.uint8 or image.shape != images.shape[1:]:
            raise DataError(
                f"{folder / name}: {image.dtype} of {image.shape}, not uint8 of {images.shape[1:]}; fetch it again."
            )
        images[row] = image
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
