"""Named arrays are parsed here into modalities, masks, ids and a split, and whatever is wrong with them is reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import torch

from ...base.disk.maps import row_blocks
from ...errors import DataError, obeyed, suggest
from ..splits import PART_OF, PARTS
from .missing.gaps import cells_of_mask, present_cells
from .missing.lengths import PREFIX, padded

LONGEST = 1_000  # characters of the name of an array or column
# Names that programs use themselves: Pyro's plates, the latent, and what a query may ask for.
SIGNS = ".,:;+=/*"  # no name of a modality has these
TAKEN = ("data", "subsets", "modalities", "z", "evidence", "importance", "id", "split")


@dataclass(frozen=True)
class Table:
    """The parsed arrays of a source.

    Args:
        arrays: name → (N, *shape).
        observed: name → (N,) bool.
        ids: (N,) int64 or str.
        named: True if the source brought the ids, False if they are row numbers.
        split: (N,) int8, or None.
        features: name → the names of its columns, for arrays that have them.
        gaps: the names of the arrays in which a NaN, rather than a mask, marks what is missing.
        present: name → bool, broadcastable to (N, *shape), the elements that a row has, where rows may lack some: of a
            sequence (N, T, 1), its steps, else (N, *shape), its cells. None of a row that is not observed.
        sequences: the names of the arrays that are sequences.
        notes: lines about what was left out.
        levels: name → the classes of an ordered column in their order.
    """

    arrays: dict[str, np.ndarray]
    observed: dict[str, np.ndarray]
    ids: np.ndarray
    named: bool
    split: np.ndarray | None
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    gaps: set[str] = field(default_factory=set)
    present: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    levels: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    sequences: Collection[str] = ()

    def there(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return which elements of some rows are observed.

        Args:
            name: the name of the array.
            rows: the rows.

        Returns:
            Bool, broadcastable to (n, *shape).
        """
        if name in self.present:
            return self.present[name][rows]
        return self.observed[name][rows].reshape(-1, *[1] * (self.arrays[name].ndim - 1))

    def seen(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return the observed values of some rows: (n, *shape), or the steps of a sequence, (n, F), or the cells of
        rows that lack some, (n,)."""
        if name not in self.present:
            return self.arrays[name][rows][self.observed[name][rows]]
        there = self.present[name][rows]
        return self.arrays[name][rows][there[..., 0] if name in self.sequences else there]

    def place(self, name: str, row: int, column: Sequence[int] = ()) -> str:
        """Name a place for an error message, such as "'gene', row 3 (id 'p7'), column 5".

        Args:
            name: the name of the array.
            row: the row number, counted from 0.
            column: the index within the row, counted from 0; empty if the row itself is meant.

        Returns:
            The place in words.
        """
        text = f"{name!r}, row {row}" + (f" (id {self.ids[row].item()!r})" if self.named else "")
        if len(column):
            numbers = str(column[0]) if len(column) == 1 else str(tuple(int(i) for i in column))
            text += f", column {numbers}"
            text += f" ({self.features[name][column[0]]})" if name in self.features else ""
        return text

    def bad(self, name: str, row: int, column: int, why: str) -> NoReturn:
        """Raise the error about one wrong cell.

        Args:
            name: the name of the array.
            row: the row number.
            column: the column, as an index into the flattened row.
            why: the end of the message: what is wrong and what to do.

        Raises:
            DataError: always.
        """
        array = self.arrays[name]
        at = [int(i) for i in np.unravel_index(column, array.shape[1:])] if array.ndim > 1 else []
        raise DataError(f"{self.place(name, row, at)}: {array[(row, *at)].item()!r} {why}")


def parse_arrays(
    arrays: Mapping[str, np.ndarray],
    features: Mapping[str, Sequence[str]],
    sequences: Mapping[str, int | None] = {},
) -> Table:
    """Sort named arrays into a `Table`.

    Args:
        arrays: name → (N, *shape); `id`, `split` and `mask_<name>` have a meaning of their own.
        features: name → the names of its columns.
        sequences: as `lengths.sequences_in` finds them; of those `length_<name>` has a meaning, too.

    Returns:
        The table.

    Raises:
        DataError: something is wrong; the message is about the first problem.
    """
    for name, array in arrays.items():
        for called in (name, *features.get(name, ())):
            if obeyed(called) or len(called) > LONGEST:
                raise DataError(f"{called[:60]!r} cannot be a name (control characters, or too long); rename it.")
        if array.ndim == 0:
            raise DataError(f"{name!r} is a single value; give one row per sample.")
        if array.size == 0:
            what = "no rows" if len(array) == 0 else f"no features (shape {array.shape})"
            raise DataError(f"{name!r} has {what}; leave it out or fill it.")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {n:,}" for name, n in lengths.items())
        raise DataError(
            f"arrays differ in length ({listed}); give one row per sample in each (parts go in one array, with an "
            "array `split`), and leave others out (--as NAME=ignore)."
        )
    of_lengths = {f"{PREFIX}{name}" for name in sequences}
    special = [name for name in arrays if name in ("id", "split", *of_lengths) or name.startswith("mask_")]
    kept = {name: array for name, array in arrays.items() if name not in special}
    if not kept:
        raise DataError("no modality: there is no array besides id, split and masks.")
    for name in kept:
        _check_name(name)
    for name in special:
        if name.startswith("mask_") and name[5:] in special:  # a reader marks missing cells so
            row = int(np.flatnonzero(~arrays[name].astype(bool))[0])
            raise DataError(f"{name[5:]!r}, row {row} is empty; fill it.")
    n = len(next(iter(kept.values())))
    table = Table(
        kept, {}, _ids(arrays["id"]) if "id" in arrays else np.arange(n), "id" in arrays, None, features,
        sequences=tuple(sequences),
    )  # fmt: skip
    split = _split(table, arrays["split"]) if "split" in arrays else None
    for name in special:
        if name.startswith("mask_") and name[5:] not in kept:
            raise DataError(f"{name!r} masks no array; there are {', '.join(kept)}.{suggest(name[5:], list(kept))}")
    for name, array in kept.items():
        mask = arrays.get(f"mask_{name}")
        if name in sequences:
            _add_sequence(table, name, mask, arrays.get(f"{PREFIX}{name}"), sequences[name])
            continue
        cells = None if mask is None else cells_of_mask(name, mask, array.shape)
        table.observed[name], there, gaps = present_cells(table, name, cells)
        table.present.update({} if there is None else {name: there})
        table.gaps.update([name] * gaps)
    return dataclasses.replace(table, split=split)


def is_taken(name: str) -> bool:
    """Say whether programs use a name themselves, so that no modality can have it."""
    return name in TAKEN or any(hasattr(kept, name) for kept in (torch.nn.ModuleDict(), torch.nn.ParameterDict()))


def _check_name(name: str) -> None:
    if is_taken(name):
        raise DataError(f"{name!r} cannot be the name of a modality (programs use it); rename the array.")
    if not name or any(sign in SIGNS or sign.isspace() for sign in name):
        raise DataError(
            f"{name!r} cannot be the name of a modality (it has one of . , : ; + = / * or a space); rename it."
        )


def _ids(array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 or not (
        array.dtype.kind in "iuU"
        or array.dtype.kind == "f"
        and np.isfinite(array).all()
        and (np.mod(array, 1) == 0).all()
    ):
        raise DataError(f"'id' is {array.dtype} of shape {array.shape}; give one whole number or string per row.")
    if array.dtype.kind in "uf" and (np.abs(array) >= (2**63 if array.dtype.kind == "u" else 2**53)).any():
        raise DataError("'id' has numbers too large to be told apart; give them as strings.")
    ids = array if array.dtype.kind == "U" else array.astype(np.int64)
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        twice = distinct[counts > 1][0].item()
        rows = np.flatnonzero(ids == distinct[counts > 1][0])
        raise DataError(
            f"'id': {twice!r} occurs in rows {rows[0]} and {rows[1]}; give every row its own, or, where it "
            "names a person or the like with several rows, call it group."
        )
    return ids


def _split(table: Table, array: np.ndarray) -> np.ndarray:
    strings = array.dtype.kind == "U"
    if array.ndim != 1 or array.dtype.kind not in "iufU":
        raise DataError(f"'split' is {array.dtype} of shape {array.shape}; give train, valid, test or 0, 1, 2 per row.")
    legal = np.isin(array, [*PART_OF] if strings else (0, 1, 2))
    if not legal.all():
        row = int(np.flatnonzero(~legal)[0])
        near = suggest(str(array[row]), PARTS) if strings else ""
        raise DataError(
            f"{table.place('split', row)}: {array[row].item()!r} is none of train, valid, test or 0, 1, 2.{near}"
        )
    if not strings:
        return array.astype(np.int8)
    return np.select([array == name for name in PART_OF], [PARTS.index(p) for p in PART_OF.values()]).astype(np.int8)


def _add_sequence(
    table: Table, name: str, mask: np.ndarray | None, lengths: np.ndarray | None, most: int | None
) -> None:
    """Put a sequence with its steps into the table. It lacks whole steps only, those beyond the length of a row."""
    array = table.arrays[name]
    observed = np.ones(len(array), dtype=bool) if mask is None else cells_of_mask(name, mask, array.shape[:1])
    table.arrays[name], there = padded(name, array, lengths, observed, most)
    if empty := int((observed & ~there.any((1, 2))).sum()):
        table.notes.append(f"{name}: {empty} rows of length 0 lack it")
    table.observed[name] = _with_numbers(table, name, there, observed & there.any((1, 2)))
    table.present[name] = there & table.observed[name][:, None, None]
    if (observed & ~table.observed[name]).any():
        table.gaps.add(name)


def _with_numbers(table: Table, name: str, there: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return `observed` without the rows whose steps are all NaN. Any other NaN or Inf in an observed row is an
    error."""
    array = table.arrays[name]
    if array.dtype.kind != "f":
        return observed
    observed = observed.copy()
    for rows in row_blocks(array):
        flat = array[rows].reshape(len(observed[rows]), -1)
        bad = ~np.isfinite(flat)
        if not bad.any():
            continue
        empty = np.isnan(flat) | ~np.broadcast_to(there[rows], array[rows].shape).reshape(flat.shape)
        observed[rows] &= ~empty.all(1)
        bad &= observed[rows, None]
        if bad.any():
            row, column = np.argwhere(bad)[0]
            table.bad(name, rows.start + int(row), int(column), "is in an observed row; correct it, or mask the row.")
    return observed
