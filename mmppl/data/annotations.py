"""Annotations: what is known of rows, no program ever sees, and metrics, figures and answers may use.

Names that the library's own recipes and readers give them: `noise_<modality>` (bool: that modality of the row is
noise), `recording` (which recording, or other base object, the row was made from) and `utterance`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..errors import DataError, UsageError, obeyed

WORD = "annotation"  # what `--as NAME=…` calls one
SHOWN = 12  # distinct values that a description lists
LONGEST = 1_000  # characters of a name
KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "number", "U": "text"}


def check_annotations(annotations: Mapping[str, np.ndarray], rows: int, modalities: Collection[str]) -> None:
    """Check that every annotation has one value for each row.

    Args:
        annotations: name → (N,) bool, integers, floats or strings.
        rows: N.
        modalities: names that are taken.

    Raises:
        DataError: an annotation has another shape or type, lacks a value (NaN), or has the name of a modality.
    """
    for name, array in annotations.items():
        if obeyed(name) or not name or len(name) > LONGEST:
            raise DataError(f"{name[:60]!r} cannot be the name of an annotation; rename it.")
        if name in modalities:
            raise DataError(f"{name!r} is a modality and an annotation; rename one of them.")
        if not isinstance(array, np.ndarray) or array.ndim != 1:
            shape = np.shape(array)
            raise DataError(f"{name!r} has shape {shape}; an annotation has one value per row, shape ({rows},).")
        if len(array) != rows:
            raise DataError(
                f"{name!r} has {len(array):,} values where there are {rows:,} rows; an annotation has one per row."
            )
        if array.dtype.kind not in KINDS:
            raise DataError(f"{name!r} is {array.dtype}; an annotation holds true and false, numbers or strings.")
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise DataError(f"{name!r}, row {int(np.isnan(array).argmax())} is empty; {FILLED}")


FILLED = "an annotation has a value in every row: fill it, or leave it out (--as NAME=ignore)."


def set_aside(
    arrays: Mapping[str, np.ndarray], names: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Take the annotations out of a source's arrays.

    Args:
        arrays: name → (N, *shape), with masks.
        names: those that are annotations; names that no array has are passed over.

    Returns:
        The other arrays, and the annotations by name.

    Raises:
        UsageError: a name has a meaning of its own (id, split, masks).
        DataError: a row of an annotation is empty, or it has more than one dimension or another length than the arrays.
    """
    for name in names:
        if name in ("id", "split") or name.startswith("mask_"):
            raise UsageError(f"--as {name}: id, split and masks have meanings of their own; choose another array.")
    found = {name: arrays[name] for name in arrays if name in names}
    masks = {f"mask_{name}" for name in found}
    others = {name: array for name, array in arrays.items() if name not in found and name not in masks}
    for name in found:
        mask = arrays.get(f"mask_{name}")
        if mask is not None and mask.size and not mask.astype(bool).all():
            raise DataError(f"{name!r}, row {int(mask.astype(bool).reshape(-1).argmin())} is empty; {FILLED}")
    lengths = [len(array) for name, array in others.items() if array.ndim]
    if lengths:
        check_annotations(found, lengths[0], others)
    return others, found


def digest_of(annotations: Mapping[str, np.ndarray]) -> bytes:
    """Hash annotations, whatever their order.

    Args:
        annotations: name → (N,).

    Returns:
        A SHA-256 hash; nothing where there are none.
    """
    digest = hashlib.sha256()
    for name in sorted(annotations):
        array = annotations[name]
        if array.dtype.kind == "U":  # the width of an array of strings is that of the longest, of which a part may lack
            content = "\0".join(array.tolist()).encode("utf-8", "surrogatepass")
        else:
            content = np.ascontiguousarray(array).tobytes()
        for part in (name.encode("utf-8", "surrogatepass"), array.dtype.kind.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest() if annotations else b""


def describe_annotations(annotations: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Describe annotations, ready for JSON.

    Args:
        annotations: name → (N,).

    Returns:
        For each its `name`, `kind` ("bool", "integer", "number", "text"), the number of `distinct` values, the first of
        them in order as `values`, and `true`, the share of rows in which a bool is true (else None).
    """
    described = []
    for name, array in annotations.items():
        distinct = np.unique(array)
        share = float(array.mean()) if array.dtype.kind == "b" and len(array) else None
        described.append(
            {
                "name": name,
                "kind": KINDS[array.dtype.kind],
                "distinct": len(distinct),
                "values": distinct[:SHOWN].tolist(),
                "true": share,
            }
        )
    return described
