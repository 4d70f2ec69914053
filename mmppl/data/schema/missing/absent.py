"""Values that stand for "missing" become missing cells: those that the user names, and those that are unmistakable."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from ....base.disk.maps import row_blocks
from ....errors import UsageError, suggest
from ...examine.finding import Finding
from ...readers.cells import with_masks
from .lengths import PREFIX

ZERO_ROWS = "zero-rows"  # the word for rows whose numbers are all 0
NO_TEXT = ("", "nan", "na", "n/a", "<na>", "#n/a", "nat")  # in lower case: how tables and libraries write "no text"
NO_INTEGER = (-(2.0**31), -(2.0**63))  # NA_integer_ of R, and what NaN or NaT become when they are cast to integers
Missing = Mapping[str, Sequence[str | float | int]]


def with_absent(
    arrays: Mapping[str, np.ndarray], missing: Missing, sequences: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Mask the cells that hold a value which stands for "missing"; of sequences the rows.

    Args:
        arrays: name → (N, *shape), with masks.
        missing: name → the values that mean "missing" there; `ZERO_ROWS` means rows of zeros alone, and an empty
            sequence that nothing does. Names that are left out get the defaults: of one column of texts "", nan, NA and
            the like; of numbers −2³¹ and −2⁶³, where no other value comes near them.
        sequences: the names of sequences, in which what lies beyond the length of a row does not count.

    Returns:
        The arrays with their masks, and a finding for each array in which a default was applied.

    Raises:
        UsageError: there is no array of a name, or a value is no number where the array holds numbers.

    Example:
        >>> arrays, told = with_absent({"age": np.array([31, -9, 44])}, {"age": [-9]})
        >>> arrays["mask_age"], told
        (array([ True, False,  True]), [])
        >>> print(with_absent({"sex": np.array(["f", "NA", "m"])}, {})[1][0].text)
        sex: 'NA' in 1 row is taken for missing; --missing sex= keeps it.
    """
    aside = {"id", "split", *(f"{PREFIX}{name}" for name in sequences)}
    own = [name for name in arrays if name not in aside and not name.startswith("mask_")]
    for name in missing:
        if name not in own:
            raise UsageError(f"--missing {name}: no array {name!r}; there are {', '.join(own)}.{suggest(name, own)}")
    gaps, told = {}, []
    for name in own:
        array = arrays[name]
        if not array.ndim or not array.size:
            continue  # refused later
        if name in sequences:
            array = _without_padding(array, arrays.get(f"{PREFIX}{name}"))
        if name in missing:
            gaps[name] = _cells(name, array, missing[name], name in sequences)
            continue
        mask = arrays.get(f"mask_{name}")
        usual = mask is not None and mask.shape in (array.shape, array.shape[:1]) and mask.dtype.kind in "biu"
        seen = mask.astype(bool) if mask is not None and usual else np.ones(len(array), dtype=bool)
        values = _unambiguous(array, None if seen.all() else seen)
        if values:
            gaps[name] = gap = _cells(name, array, values, name in sequences)
            count = int((gap & seen.reshape(len(seen), *[1] * (gap.ndim - 1)) if seen.ndim == 1 else gap & seen).sum())
            what = " and ".join(repr(v) if isinstance(v, str) else f"{int(v)}" for v in values)
            where = f"{count:,} {'row' if gap.ndim == 1 else 'cell'}{'s' * (count != 1)}"
            told.append(
                Finding("missing", name, f"{name}: {what} in {where} is taken for missing; --missing {name}= keeps it.")
            )
    return with_masks(dict(arrays), gaps), told


def without_words(arrays: Mapping[str, np.ndarray], missing: Missing) -> dict[str, Sequence[str | float | int]]:
    """Leave out texts where an array holds numbers: a reader of text has taken them for missing already.

    Args:
        arrays: name → (N, *shape).
        missing: name → the values that stand for "missing".

    Returns:
        The same without such texts; names of which nothing is left are left out, unless nothing was there.

    Example:
        >>> without_words({"crp": np.array([0.5, np.nan])}, {"crp": ["<5", "-9"]})
        {'crp': ['-9']}
    """
    kept = {
        name: values if name not in arrays or arrays[name].dtype.kind == "U" else [v for v in values if _is_number(v)]
        for name, values in missing.items()
    }
    return {name: values for name, values in kept.items() if values or not missing[name]}


def _is_number(value: str | float | int) -> bool:
    try:
        float(value)
    except ValueError:
        return value == ZERO_ROWS
    return True


def _without_padding(array: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """A sequence whose first step stands for all that lies beyond the length of a row; other arrays as they are."""
    if lengths is None or array.ndim not in (2, 3) or lengths.shape != (len(array),) or lengths.dtype.kind not in "iuf":
        return array  # what is wrong of it is refused later
    there = np.arange(array.shape[1]) < lengths[:, None]
    return np.where(there if array.ndim == 2 else there[..., None], array, array[:, :1])


def _unambiguous(array: np.ndarray, seen: np.ndarray | None) -> list[str | float]:
    """Return the values of an array, in the rows that a mask leaves, that can only mean "missing"."""

    def parts() -> Iterator[np.ndarray]:
        found = (array[rows] if seen is None else array[rows][seen[rows]] for rows in row_blocks(array))
        return (part for part in found if len(part))

    if array.dtype.kind == "U":
        texts = {str(text) for part in parts() for text in np.unique(part)} if array.size == len(array) else ()
        return [text for text in sorted(texts) if text.strip().lower() in NO_TEXT]
    if array.dtype.kind not in "if" or array.dtype.itemsize < 4:
        return []
    lowest = min((low for part in parts() if not np.isnan(low := _lowest(part))), default=0.0)
    if lowest not in NO_INTEGER:
        return []
    if any(bool(((part < lowest / 2) & (part != lowest)).any()) for part in parts()):
        return []  # numbers that fill the range of their type
    return [lowest]


def _lowest(part: np.ndarray) -> float:
    """The smallest number; NaN where all are."""
    low = float(np.min(part))  # is fast, and NaN where any number is
    with np.errstate(all="ignore"):
        return float(np.fmin.reduce(part, None)) if np.isnan(low) else low


def _cells(name: str, array: np.ndarray, values: Sequence[str | float | int], of_rows: bool) -> np.ndarray:
    """Bool, True where a cell, (N, *shape), holds one of the values; of one column or `of_rows` where a row, (N,),
    does."""
    found = np.zeros(array.shape, dtype=bool)
    if array.dtype.kind == "U":
        found |= np.isin(array, [str(value) for value in values])
    else:
        numbers = [_number(name, value) for value in values if value != ZERO_ROWS]
        for rows in row_blocks(array):
            part = array[rows]
            for number in numbers:
                found[rows] |= (part == np.asarray(number).astype(part.dtype, copy=False)) & _holds(part, number)
            if ZERO_ROWS in values:
                found[rows] |= (part == 0).reshape(len(part), -1).all(1).reshape(-1, *[1] * (part.ndim - 1))
    flat = found.reshape(len(array), -1)
    held: np.ndarray = np.logical_or.reduce(flat, 1)
    return held if of_rows or (held == flat.all(1)).all() else found


def _holds(part: np.ndarray, number: float) -> bool:
    """Say whether the type of an array has a number at all: −9 in unsigned integers would wrap around."""
    if part.dtype.kind == "f":
        return True
    limits = (0, 1) if part.dtype.kind == "b" else (np.iinfo(part.dtype).min, np.iinfo(part.dtype).max)
    return limits[0] <= number <= limits[1] and number == int(number)


def _number(name: str, value: str | float | int) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(
            f"--missing {name}: {value!r} is no number, and {name!r} holds numbers; give numbers, or {ZERO_ROWS}."
        ) from None
