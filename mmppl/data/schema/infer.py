"""What an array is: the table from types and shapes to likelihoods, and what the user says instead (`--as`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from ...errors import DataError, UsageError, suggest
from ...modalities.modality import Modality, Scale, Transform

FEW = 20  # distinct whole numbers in one column, up to which they are classes
STRINGS = 50  # different strings in one column, up to which they are classes in however few rows
TRANSFORMS = get_args(Transform)


@dataclass(frozen=True)
class Override:
    """One `--as NAME=likelihood:key=value,…`; None: what the table says."""

    likelihood: str
    scale: Scale | None = None
    role: Literal["modality", "label"] | None = None
    transform: Transform | None = None

    @property
    def ignored(self) -> bool:
        return self.likelihood == "ignore"


def parse_overrides(as_: Mapping[str, str]) -> dict[str, Override]:
    """name → `Override`.

    Raises:
        UsageError: unknown likelihood, key or value.
    """
    return {name: _parse(name, text) for name, text in as_.items()}


def _parse(name: str, text: str) -> Override:
    from ...modalities.likelihoods.likelihood import LIKELIHOODS

    likelihood, _, rest = text.partition(":")
    known = (*LIKELIHOODS, "ignore")
    if likelihood not in known:
        raise UsageError(
            f"--as {name}: no likelihood {likelihood!r}; choose from {', '.join(known)}.{suggest(likelihood, known)}"
        )
    choices = {"role": ("modality", "label"), "transform": TRANSFORMS}
    found: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if likelihood == "ignore":
            raise UsageError(f"--as {name}: ignore takes no keys, not {part!r}; leave it out.")
        if key == "scale":
            found[key] = _scale(name, likelihood, value, LIKELIHOODS[likelihood].scales)
        elif key not in choices:
            raise UsageError(
                f"--as {name}: no key {key!r}; there are scale, role, transform.{suggest(key, [*choices])}"
            )
        elif value not in choices[key]:
            raise UsageError(
                f"--as {name}: {key}={value!r} is none of {', '.join(choices[key])}.{suggest(value, choices[key])}"
            )
        else:
            found[key] = value
    return Override(likelihood, **found)


def _scale(name: str, likelihood: str, text: str, words: tuple[str, ...]) -> Scale:
    if not words:
        raise UsageError(f"--as {name}: {likelihood} has no scale; leave it out.")
    if text in words:
        return cast(Scale, text)
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        raise UsageError(
            f"--as {name}: scale={text!r} of {likelihood} is neither a positive number nor {' nor '.join(words)}."
            f"{suggest(text, words)}"
        )
    return number


def declare(
    name: str,
    array: np.ndarray,
    observed: np.ndarray,
    said: Override | None,
    *,
    gaps: bool = False,
    columns: bool = False,
) -> Modality:
    """The schema of one array, but for classes and the numbers of its scaling.

    Args:
        array: (N, *shape) bool, integers, floats or strings; finite where observed.
        observed: (N,) bool.
        said: what the user says of it.
        gaps: a NaN says that a row is missing; whole numbers may then be floats for no other reason.
        columns: they are columns of a DataFrame.
    """
    plain = _by_table(name, array, observed, "i" if gaps and _whole(array, observed, columns) else array.dtype.kind)
    if said is None:
        if plain.likelihood == "categorical" and array.dtype.kind == "U":
            _check_text(name, array, observed)
        return plain
    if array.dtype.kind == "U" and said.likelihood != "categorical":
        raise UsageError(f"--as {name}: its values are strings; only categorical fits.")
    one_column = array.size == len(array)
    named_label = is_label_name(name)
    shape, role, transform = plain.shape, plain.role, plain.transform
    if said.likelihood == "categorical":
        shape = () if one_column else array.shape[1:]
        role, transform = "label" if one_column else "modality", "none"
    elif plain.likelihood == "categorical":
        role, transform = "label" if named_label else "modality", "standardise"
    if said.likelihood == "bernoulli" and transform != "image":
        transform = "none"
    if said.likelihood in ("categorical", "bernoulli") and said.transform not in (None, transform):
        raise UsageError(f"--as {name}: a {said.likelihood} has no transform {said.transform}; leave it out.")
    return Modality(name, shape, said.likelihood, said.scale, said.role or role, transform=said.transform or transform)


def is_label_name(name: str) -> bool:
    """Whether an array of that name is taken for a label, if it has one column."""
    return name == "y" or name.startswith("label")


def _by_table(name: str, array: np.ndarray, observed: np.ndarray, kind: str) -> Modality:
    """What values of this kind (numpy's letters) become: the table under "Your own data" of README."""
    shape = array.shape[1:]
    one_column = array.size == len(array)
    named_label = is_label_name(name) and one_column
    label = Modality(name, (), "categorical", role="label")
    real = Modality(name, shape, "normal", role="label" if named_label else "modality", transform="standardise")
    if kind == "U":
        return label if one_column else Modality(name, shape, "categorical")
    if kind == "b":
        return label if named_label else Modality(name, shape, "bernoulli")
    if kind == "f":
        if named_label and (np.mod(array[observed], 1) == 0).all():
            return label
        return Modality(name, shape, "bernoulli") if shape and _in_unit(array, observed) else real
    if one_column and (named_label or _few(array[observed])):
        return label
    if array.dtype == np.uint8 and len(shape) >= 2:
        return Modality(name, shape, "bernoulli", transform="image")
    counts = all((array[rows][observed[rows]] >= 0).all() for rows in chunks(array))
    return dataclasses.replace(real, transform="log1p") if counts else real


def _whole(array: np.ndarray, observed: np.ndarray, columns: bool) -> bool:
    """Whether floats with gaps would be integers without: NaN makes floats of the whole numbers of a column.

    Images are not meant, nor an array of several zeros and ones, which as floats is a Bernoulli with or without gaps.
    """
    if array.dtype.kind != "f" or array.ndim > 2:
        return False
    if not columns and array.size > len(array) and _in_unit(array, observed):
        return False
    seen = (array[rows][observed[rows]] for rows in chunks(array))
    return all(((np.mod(part, 1) == 0) & (np.abs(part) < 2**53)).all() for part in seen)  # beyond, all floats are whole


def _few(values: np.ndarray) -> bool:
    distinct = len(np.unique(values))
    return distinct <= min(FEW, max(2, len(values) // 2))


def _in_unit(array: np.ndarray, observed: np.ndarray) -> bool:
    seen = (array[rows][observed[rows]] for rows in chunks(array))
    return all(((part >= 0) & (part <= 1)).all() for part in seen)


def _check_text(name: str, array: np.ndarray, observed: np.ndarray) -> None:
    """Free text, names of files and the like are no categories, and one-hot codes of them would fill the memory."""
    distinct = len(np.unique(array[observed]))
    if array.ndim == 1 and not is_label_name(name) and distinct > max(STRINGS, int(observed.sum()) // 2):
        raise DataError(
            f"{name!r}: {distinct:,} different strings in {int(observed.sum()):,} rows are hardly classes; call it id, "
            f"leave it out (--as {name}=ignore), or insist (--as {name}=categorical)."
        )


def chunks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows with some four million elements each: no pass over a huge array needs a copy of it."""
    step = max(1, 2**22 // max(1, array.size // max(1, len(array))))
    return (slice(start, start + step) for start in range(0, len(array), step))
