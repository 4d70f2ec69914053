"""Labelled images of handwritten digits, in the formats that they come in: MNIST-MIX, Kannada-MNIST, HODA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ....errors import DataError
from ...readers.npz import read_npz
from ...readers.papers.cdb import read_cdb
from ...readers.papers.idx import read_idx
from .files import present


class Digits(NamedTuple):
    """Images and digits of a training and a test part.

    Args:
        x_train: (N, height, width) uint8.
        y_train: (N,) int64.
        x_test: (N, height, width) uint8.
        y_test: (N,) int64.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Source:
    """A folder below ROOT, and several sets of files any one of which is enough.

    Args:
        folder: the folder below ROOT.
        choices: for each set the names, the endings that each may have, the function that reads the paths, and what
            messages call the set.
    """

    folder: str
    choices: tuple[tuple[tuple[str, ...], tuple[str, ...], Callable[[Sequence[Path]], Digits], str], ...]

    @property
    def wanted(self) -> str:
        """The files that are needed, for messages."""
        return f"{', or '.join(called for *_, called in self.choices)} into ROOT/{self.folder}"

    def find(self, root: Path) -> Callable[[], Digits] | None:
        """Find the first set of files that is there.

        Args:
            root: the folder ROOT.

        Returns:
            A function that reads them, or None if no set is there.
        """
        for names, endings, read, _ in self.choices:
            if paths := present(root / self.folder, names, endings):
                return partial(checked, read, paths)
        return None


def read_parts(paths: Sequence[Path]) -> Digits:
    """Read an .npz file of MNIST-MIX, with arrays X_train, y_train, X_test, y_test (in either case).

    Args:
        paths: the path of the file.

    Returns:
        Images and digits.

    Raises:
        DataError: an array is missing.
    """
    arrays = {name.lower(): array for name, array in read_npz(paths[0]).items()}
    absent = [name for name in Digits._fields if name not in arrays]
    if absent:
        raise DataError(
            f"{paths[0]}: has no array {', '.join(absent)} (there are {', '.join(arrays)}); fetch it again."
        )
    return Digits(*(arrays[name] for name in Digits._fields))


def read_single(paths: Sequence[Path]) -> Digits:
    """Read four files of one array each, .npz or idx.

    Args:
        paths: the paths, in the order of `Digits`.

    Returns:
        Images and digits.
    """
    return Digits(*(read_only(path) if path.suffix == ".npz" else read_idx(path) for path in paths))


def read_only(path: Path) -> np.ndarray:
    """Read the only array of an .npz file.

    Args:
        path: the path of the file.

    Returns:
        The array.

    Raises:
        DataError: there is not exactly one array.
    """
    arrays = read_npz(path)
    if len(arrays) != 1:
        raise DataError(f"{path}: has arrays {', '.join(arrays) or '(none)'} where one was expected; fetch it again.")
    return next(iter(arrays.values()))


def read_bitmaps(paths: Sequence[Path]) -> Digits:
    """Read HODA's train and test file.

    Args:
        paths: the two paths.

    Returns:
        Images and digits.
    """
    return Digits(*(array for path in paths for array in read_cdb(path)))


def checked(read: Callable[[Sequence[Path]], Digits], paths: Sequence[Path]) -> Digits:
    """Read files and check what is in them.

    Args:
        read: the function that reads them.
        paths: the paths.

    Returns:
        Images and digits, with int64 labels.

    Raises:
        DataError: the images are not grey or not of one size, or an image has no digit.
    """
    digits, place = read(paths), ", ".join(map(str, paths))
    labels = []
    for part, x, y in (("train", digits.x_train, digits.y_train), ("test", digits.x_test, digits.y_test)):
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != digits.x_train.shape[1:]:
            raise DataError(
                f"{place}: the {part} images are {x.dtype} of shape {x.shape}, not uint8 of (N, 28, 28); fetch again."
            )
        if y.size != len(x) or y.dtype.kind not in "iu":
            raise DataError(
                f"{place}: the {part} labels are {y.dtype} of shape {y.shape} for {len(x):,} images; fetch them again."
            )
        wrong = np.flatnonzero((y.reshape(-1) < 0) | (y.reshape(-1) > 9))
        if len(wrong):
            raise DataError(f"{place}: label {wrong[0]} of the {part} part is {y.reshape(-1)[wrong[0]]}, no digit.")
        labels.append(y.reshape(-1).astype(np.int64))
    return Digits(digits.x_train, labels[0], digits.x_test, labels[1])


FARSI = Source(
    "hoda",
    (
        (("hoda_farsi_digits.npz",), ("",), read_parts, "hoda_farsi_digits.npz"),
        (("Farsi_train_test.npz",), ("",), read_parts, "MNIST-MIX's Farsi_train_test.npz"),
        (("Train 60000", "Test 20000"), (".cdb",), read_bitmaps, "HODA's Train 60000.cdb and Test 20000.cdb"),
    ),
)
_KANNADA = tuple(f"{kind}_kannada_MNIST_{part}" for part in ("train", "test") for kind in "Xy")
_KANNADA_IDX = tuple(f"{name}-idx{3 if name[0] == 'X' else 1}-ubyte" for name in _KANNADA)
KANNADA = Source(
    "kannada_mnist",
    (
        (("kannada_mnist_20k.npz",), ("",), read_parts, "kannada_mnist_20k.npz"),
        (("Kannada_train_test.npz",), ("",), read_parts, "MNIST-MIX's Kannada_train_test.npz"),
        (_KANNADA_IDX, ("", ".gz"), read_single, "Kannada-MNIST's X_/y_kannada_MNIST_train/test-idx3/1-ubyte[.gz]"),
        (_KANNADA, (".npz",), read_single, "its four X_/y_kannada_MNIST_train/test.npz"),
    ),
)
