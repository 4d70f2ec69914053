"""What an array is: the table from types and shapes to likelihoods, and what the user says instead (`--as`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...errors import DataError, UsageError
from ...modalities.modality import Modality
from .arrays import Table, chunks
from .overrides import Override

FEW = 20  # distinct whole numbers in one column, up to which they are classes
STRINGS = 50  # different strings in one column, up to which they are classes in however few rows


def infer_modality(
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


def infer_schema(table: Table, said: Mapping[str, Override]) -> tuple[Modality, ...]:
    """The modalities of data that come without a schema, with their classes but without the numbers of their scaling.

    Raises:
        DataError: an array that is observed in no row, strings or numbers that are no classes, or labels alone.
        UsageError: what the user says does not fit an array.
    """
    modalities = []
    for name, array in table.arrays.items():
        observed = table.observed[name]
        if not observed.any():
            raise DataError(f"{name!r} is observed in no row; leave it out (--as {name}=ignore).")
        framed = name in table.features
        modality = infer_modality(name, array, observed, said.get(name), gaps=name in table.gaps, columns=framed)
        if modality.likelihood == "categorical":
            modality = dataclasses.replace(modality, classes=_classes(table, name))
        columns = table.features.get(name)
        modalities.append(dataclasses.replace(modality, features=tuple(columns) if columns else None))
    if not any(m.role == "modality" for m in modalities):
        raise DataError(
            f"only labels here ({', '.join(m.name for m in modalities)}); say which is a modality, "
            f"--as {modalities[0].name}=normal:role=modality."
        )
    return tuple(modalities)


def _classes(table: Table, name: str) -> tuple[str | int, ...]:
    array, observed = table.arrays[name], table.observed[name]
    seen = array[observed]
    if seen.dtype.kind == "f" and (np.mod(seen, 1) != 0).any():
        row = int(np.flatnonzero(observed)[np.argwhere(np.mod(seen, 1) != 0)[0][0]])
        raise DataError(
            f"{table.place(name, row)}: a class is a whole number or a string; round them or choose normal."
        )
    classes = np.unique(seen if seen.dtype.kind == "U" else seen.astype(np.int64)).tolist()
    if len(classes) < 2:
        raise DataError(f"{name!r} has one class only ({classes[0]!r}); leave it out (--as {name}=ignore).")
    return tuple(classes)
