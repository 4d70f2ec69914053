"""What an array is: what the likelihoods claim by types and shapes, and what the user says instead (`--as`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...errors import DataError, UsageError
from ...modalities.array_facts import ArrayFacts
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from .arrays import Table, chunks
from .overrides import Override

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
    facts = ArrayFacts(
        name, array.shape[1:], array.dtype, array.dtype.kind, is_label_name(name),
        lambda: (array[rows][observed[rows]] for rows in chunks(array)),
    )  # fmt: skip
    if gaps and _whole(facts, columns):
        facts = dataclasses.replace(facts, kind="i")
    plain = _claimed(facts)
    of_classes = plain.family.values == "classes"
    if said is None:
        if of_classes and facts.kind == "U":
            _check_text(name, array, observed)
        return plain
    family = LIKELIHOODS[said.likelihood]
    if reason := family.refuses(facts):
        raise UsageError(f"--as {name}: {reason}")
    shape, role, guessed = plain.shape, plain.role, plain.transform
    if family.values == "classes":
        shape = () if facts.one_column else facts.shape
        role = "label" if facts.one_column else "modality"
    elif of_classes:
        role, guessed = "label" if facts.named_label else "modality", "standardise"
    transforms = family.transforms(guessed)
    if said.transform not in (None, *transforms):
        raise UsageError(f"--as {name}: a {said.likelihood} has no transform {said.transform}; leave it out.")
    transform = said.transform or transforms[0]
    return Modality(name, shape, said.likelihood, said.scale, said.role or role, transform=transform)


def is_label_name(name: str) -> bool:
    """Whether an array of that name is taken for a label, if it has one column."""
    return name == "y" or name.startswith("label")


def _claimed(facts: ArrayFacts) -> Modality:
    """What the likelihoods make of an array by themselves: the table under "Your own data" of README."""
    claims = [claim for name in LIKELIHOODS if (claim := LIKELIHOODS[name].claims(facts))]
    if not claims:
        raise DataError(f"{facts.name!r} is {facts.dtype}, which no likelihood claims; name one, --as {facts.name}=….")
    return max(claims, key=lambda claim: claim.strength).modality


def _whole(facts: ArrayFacts, columns: bool) -> bool:
    """Whether floats with gaps would be integers without: NaN makes floats of the whole numbers of a column.

    Images are not meant, nor an array of several zeros and ones, which as floats is a Bernoulli with or without gaps.
    """
    if facts.kind != "f" or len(facts.shape) > 1:
        return False
    if not columns and not facts.one_column and facts.in_unit:
        return False
    return facts.whole and all((np.abs(part) < 2**53).all() for part in facts.parts())  # beyond, all floats are whole


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
        if modality.family.values == "classes":
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
