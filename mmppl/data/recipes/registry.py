"""Recipes: data sets of the papers, made from files or packages at hand. `name:option=value,option=value`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, suggest

if TYPE_CHECKING:
    from ..dataset import Dataset


Option = tuple[str, ...] | type[int] | type[str] | type[Path]


@dataclass(frozen=True)
class Recipe:
    """One line of the table: what it gives, what it needs, and its options (a tuple of words, int, str or Path)."""

    line: str
    needs: str
    options: Mapping[str, Option]
    make: Callable[..., Dataset]


def _digits_two_view(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .digits import digits_two_view

    return digits_two_view(**options)


def _digits_three(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .digits import digits_three

    return digits_three(**options)


def _mnist_two_view(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .mnist import mnist_two_view

    return mnist_two_view(root, download=download, **options)


def _mnist_label(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .mnist import mnist_label

    return mnist_label(root, download=download, **options)


def _mnist_photo_text(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .photo_text import mnist_photo_text

    return mnist_photo_text(root, download=download, **options)


def _mnist_svhn(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .svhn import mnist_svhn

    return mnist_svhn(root, download=download, **options)


def _mnist_svhn_text(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .svhn import mnist_svhn

    return mnist_svhn(root, text=True, download=download, **options)


def _farsi_kannada_speech(root: Path | None, download: bool, **options: Any) -> Dataset:
    from .farsi_kannada_speech import farsi_kannada_speech

    return farsi_kannada_speech(root, **options)


SVHN_FILES = "train_32x32.mat and test_32x32.mat of SVHN in ROOT/svhn and MNIST's four in ROOT/mnist, or --download"
PAIRS: dict[str, Option] = {"pairs": int, "partners": ("fixed", "fresh"), "seed": int}

TABLE = {
    "digits-two-view": Recipe(
        "1,797 8×8 digits: rotated; another one of the class with noise; label",
        "nothing",
        {"rotate": ("fixed", "fresh"), "seed": int},
        _digits_two_view,
    ),
    "digits-three": Recipe(
        "1,797 8×8 digits: image; 32 numbers that profile another one of the class; its name as 8 letters; label",
        "nothing",
        {"seed": int},
        _digits_three,
    ),
    "mnist-two-view": Recipe(
        "70,000 28×28 digits: rotated; another one of the class with noise; label",
        "the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download",
        {"rotate": ("fixed", "fresh"), "seed": int},
        _mnist_two_view,
    ),
    "mnist-label": Recipe(
        "70,000 28×28 digits: image; label",
        "the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download",
        {},
        _mnist_label,
    ),
    "mnist-photo-text": Recipe(
        "70,000 28×28 digits: image; another one of the class in a crop of a photograph, 3×32×32; its name; label",
        "the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download; photos=FOLDER for pictures of your own",
        {"photos": Path, "seed": int},
        _mnist_photo_text,
    ),
    "mnist-svhn": Recipe(
        "66,068 28×28 digits: image; a house number of the class, 3×32×32; label",
        SVHN_FILES,
        PAIRS,
        _mnist_svhn,
    ),
    "mnist-svhn-text": Recipe(
        "66,068 28×28 digits: image; a house number of the class, 3×32×32; its name; label",
        SVHN_FILES,
        PAIRS,
        _mnist_svhn_text,
    ),
    "farsi-kannada-speech": Recipe(
        "79,908 digits: written in Farsi and in Kannada, 28×28 each; spoken in English, MFCC; label",
        "hoda_farsi_digits.npz in ROOT/hoda, kannada_mnist_20k.npz in ROOT/kannada_mnist (or MNIST-MIX's npz, or the "
        "sets' own files), fsdd_recordings.zip (or its wav files) in ROOT/fsdd",
        {
            "speech": ("mean", "segments", "frames"),
            "level": ("one", "kept"),
            "partners": ("fixed", "fresh"),
            "images": ("plain", "distorted"),
            "held_out": str,
            "validation": ("apart", "none"),
            "seed": int,
        },
        _farsi_kannada_speech,
    ),
}


def recipes() -> list[tuple[str, str, str]]:
    """(name, what it is, what it needs) of every recipe."""
    return [(name, recipe.line, recipe.needs) for name, recipe in TABLE.items()]


def make(spec: str, *, root: str | Path | None = None, download: bool = False) -> Dataset:
    """The data set of "name" or "name:option=value,…".

    Raises:
        UsageError: unknown recipe, option or value.
        DataError: files that are missing or corrupt.
    """
    name, _, given = spec.partition(":")
    if name not in TABLE:
        raise UsageError(
            f"no recipe or file {name!r}; recipes: {', '.join(TABLE)}.{suggest(name, list(TABLE))} "
            "Files are given by their path, *.npz; recordings by that of their folder or .zip."
        )
    recipe = TABLE[name]
    options = dict(_option(name, recipe, part) for part in given.split(",") if part)
    return recipe.make(Path(root) if root else None, download, **options)


def _option(name: str, recipe: Recipe, text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if key not in recipe.options:
        known = list(recipe.options)
        raise UsageError(f"{name}: no option {key!r}; it has {', '.join(known) or 'none'}.{suggest(key, known)}")
    kind = recipe.options[key]
    if isinstance(kind, tuple):
        if value not in kind:
            raise UsageError(f"{name}: {key}={value!r} is none of {', '.join(kind)}.{suggest(value, kind)}")
        return key, value
    if kind in (Path, str):
        return key, kind(value)
    try:
        return key, int(value)
    except ValueError:
        raise UsageError(f"{name}: {key}={value!r} is not a whole number.") from None
