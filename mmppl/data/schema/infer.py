"""What an array is: the likelihoods claim it by its type and shape, unless the user overrides them (`--as`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...base.disk.maps import row_blocks
from ...errors import DataError, UsageError
from ...modalities.array_facts import ArrayFacts
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from .arrays import Table
from .events import events_of
from .missing.absent import Missing
from .order import in_given_order
from .overrides import CONDITION, Override
from .targets import with_targets

STRINGS = 50  # up to so many different strings in a column are classes, however few rows there are


def infer_modality(
    name: str,
    array: np.ndarray,
    observed: np.ndarray,
    override: Override | None,
    *,
    gaps: bool = False,
    columns: bool = False,
    seen: Callable[[slice], np.ndarray] | None = None,
    sequence: bool = False,
    target: Collection[str] | None = None,
) -> Modality:
    """Infer the schema of one array, except for its classes and the numbers of its scaling.

    Args:
        name: the name of the array.
        array: (N, *shape) bool, integers, floats or strings; finite where observed.
        observed: (N,) bool.
        override: what the user says about it; None if nothing.
        gaps: True if a NaN marks what is missing; whole numbers may then be floats for no other reason.
        columns: True if the array consists of columns of a DataFrame.
        seen: of an array of which rows may lack elements: returns those of some rows that exist, (n, F) steps of a
            sequence, else (n,) cells.
        sequence: whether the array is a sequence, (N, T, F).
        target: the names that are labels; None goes by names, as `is_label_name` does.

    Returns:
        The modality.

    Raises:
        UsageError: the override does not fit the array.
        DataError: no likelihood claims the array, or strings look like free text.
    """
    seen = seen or (lambda rows: array[rows][observed[rows]])
    is_condition = override is not None and override.role == CONDITION  # whole numbers are codes, as those of labels
    facts = ArrayFacts(  # a sequence is no image, and no label, whatever its shape and name
        name, (array[0].size,) if sequence else array.shape[1:], array.dtype, array.dtype.kind,
        (_named_label(name, target) or is_condition) and not sequence,
        lambda: (seen(rows) for rows in row_blocks(array)),
    )  # fmt: skip
    modality = _inferred(facts, array, observed, override, gaps, columns)
    return dataclasses.replace(modality, shape=array.shape[1:], sequence=True) if sequence else modality


def _inferred(
    facts: ArrayFacts, array: np.ndarray, observed: np.ndarray, override: Override | None, gaps: bool, columns: bool
) -> Modality:
    name = facts.name
    if gaps and _whole(facts, columns):
        facts = dataclasses.replace(facts, kind="i")
    plain = _claimed(facts)
    of_classes = plain.family.values == "classes"
    if override is None or override.likelihood == CONDITION:
        if override is not None:
            return dataclasses.replace(plain, role=CONDITION)
        if of_classes and facts.kind == "U":
            _check_text(name, array, observed)
        return plain
    family = LIKELIHOODS[override.likelihood]
    if reason := family.refuses(facts):
        raise UsageError(f"--as {name}: {reason}")
    shape, role, guessed = plain.shape, plain.role, plain.transform
    if family.values == "classes":
        shape = () if facts.one_column else facts.shape
        role = "label" if facts.is_label else "modality"
    elif family.kind == "survival":
        role = "label"
    elif of_classes:
        role, guessed = "label" if facts.named_label else "modality", "standardise"
    transforms = family.transforms(guessed)
    if override.transform not in (None, *transforms):
        raise UsageError(f"--as {name}: a {override.likelihood} has no transform {override.transform}; leave it out.")
    transform = override.transform or transforms[0]
    return Modality(
        name, shape, override.likelihood, override.scale, override.role or role, transform=transform, df=override.df
    )


def is_label_name(name: str) -> bool:
    """Say whether a one-column array of that name is taken for a label.

    Args:
        name: the name of the array.

    Returns:
        True for "y" and for names that begin with "label".
    """
    return name == "y" or name.startswith("label")


def _named_label(name: str, target: Collection[str] | None) -> bool:
    return is_label_name(name) if target is None else name in target


def _claimed(facts: ArrayFacts) -> Modality:
    """Return the modality of the strongest claim: the table under "Your own data" of README."""
    claims = [claim for family in LIKELIHOODS.values() if (claim := family.claims(facts))]
    if not claims:
        raise DataError(f"{facts.name!r} is {facts.dtype}, which no likelihood claims; name one, --as {facts.name}=….")
    return max(claims, key=lambda claim: claim.strength).modality


def _whole(facts: ArrayFacts, columns: bool) -> bool:
    """Say whether floats with gaps would be integers without them: NaN turns a column of whole numbers into floats.

    Images are excluded, and so is an array of several zeros and ones, which as floats is a Bernoulli with or without
    gaps.
    """
    if facts.kind != "f" or len(facts.shape) > 1:
        return False
    if not columns and not facts.one_column and facts.in_unit:
        return False
    return facts.whole and all((np.abs(part) < 2**53).all() for part in facts.parts())  # above, all are whole


def _check_text(name: str, array: np.ndarray, observed: np.ndarray) -> None:
    """Refuse free text, file names and the like: they are no categories, and one-hot codes of them would fill the
    memory."""
    distinct = len(np.unique(array[observed]))
    if array.ndim == 1 and not is_label_name(name) and distinct > max(STRINGS, int(observed.sum()) // 2):
        raise DataError(
            f"{name!r}: {distinct:,} different strings in {int(observed.sum()):,} rows are hardly classes; call it id, "
            f"leave it out (--as {name}=ignore), or insist (--as {name}=categorical)."
        )


def infer_schema(
    table: Table, overrides: Mapping[str, Override], *, missing: Missing = {}, target: Collection[str] | None = None
) -> tuple[Modality, ...]:
    """Infer the modalities of data that come without a schema, with their classes but without the numbers of their
    scaling.

    Args:
        table: the parsed arrays.
        overrides: name → what the user says about it.
        missing: name → the values that the user takes for missing.
        target: the names that are labels; None goes by names.

    Returns:
        One modality per array, in order.

    Raises:
        DataError: an array is observed in no row, holds strings or numbers that are no classes, or there are only
            labels.
        UsageError: an override does not fit its array.
    """
    modalities = []
    for name, array in table.arrays.items():
        observed = table.observed[name]
        if not observed.any():
            raise DataError(f"{name!r} is observed in no row; leave it out (--as {name}=ignore).")
        framed = name in table.features
        seen = partial(table.seen, name) if name in table.present else None
        modality = infer_modality(
            name, array, observed, overrides.get(name), gaps=name in table.gaps, columns=framed, seen=seen,
            sequence=name in table.sequences, target=target,
        )  # fmt: skip
        found: dict[str, Any] = {"features": tuple(columns)} if (columns := table.features.get(name)) else {}
        if name in missing:
            found["missing"] = tuple(map(str, missing[name]))
        if modality.family.kind == "survival":
            found["event"] = event = events_of(overrides, None)[name]
            if event in missing:
                found["event_missing"] = tuple(map(str, missing[event]))
        if modality.family.values == "classes":
            found["classes"] = _classes(table, name)
            if modality.family.kind == "ranks":
                order = overrides[name].order or table.levels.get(name)  # a column may bring an order of its own
                texts = None if order is None else [str(one) for one in order]
                found["classes"] = in_given_order(name, found["classes"], texts)
        modalities.append(dataclasses.replace(modality, **found) if found else modality)
    modalities = list(with_targets(modalities, target, dict(overrides)))
    if not any(m.role == "modality" for m in modalities):
        beside = " and conditions" * any(m.role == CONDITION for m in modalities)
        raise DataError(
            f"only labels{beside} here ({', '.join(m.name for m in modalities)}); say which is a modality, "
            f"--as {modalities[0].name}=normal:role=modality."
        )
    return tuple(modalities)


def _classes(table: Table, name: str) -> tuple[str | int, ...]:
    seen = table.seen(name)
    if seen.dtype.kind == "f" and (np.mod(seen, 1) != 0).any():
        broken = table.there(name) & (np.mod(np.where(table.there(name), table.arrays[name], 0), 1) != 0)
        row = int(np.argwhere(broken)[0][0])
        raise DataError(
            f"{table.place(name, row)}: a class is a whole number or a string; round them or choose normal."
        )
    if seen.dtype.kind in "uf" and (np.abs(seen) >= (2**63 if seen.dtype.kind == "u" else 2**53)).any():
        raise DataError(f"{name!r}: classes too large to be told apart; store them as strings, or choose normal.")
    classes = np.unique(seen if seen.dtype.kind == "U" else seen.astype(np.int64)).tolist()
    order = {level: at for at, level in enumerate(table.levels.get(name, ()))}
    if set(classes) <= order.keys():
        classes = sorted(classes, key=order.__getitem__)
    if len(classes) < 2:
        raise DataError(f"{name!r} has one class only ({classes[0]!r}); leave it out (--as {name}=ignore).")
    return tuple(classes)
