"""Which arrays of a source are annotations, by what the user says and the reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ...modalities.modality import Modality
from ..splits import GROUP
from .overrides import Override

SHOWN = 12  # names in a note


def annotations_among(
    arrays: Mapping[str, np.ndarray],
    overrides: Mapping[str, Override],
    given: Collection[str],
    schema: Sequence[Modality] | None,
    target: Collection[str] | None,
) -> tuple[set[str], set[str], list[str]]:
    """Find the arrays that are annotations: the user's, and those of the reader that nobody takes for anything else.

    Args:
        arrays: name → (N, *shape), with masks.
        overrides: name → what the user says about it.
        given: the names of the reader's.
        schema: the modalities of a run, or None.
        target: the names of the labels, or None.

    Returns:
        The names of the annotations; the reader's own that have no value in some rows, as annotations need; and notes
        about those.
    """
    known = {*(m.name for m in schema or ()), *(target or ())}
    named = {key for key, override in overrides.items() if override.annotated}
    free = {key for key in given if key not in overrides and key not in known}
    gaps = {key for key in free if key in arrays and _has_gaps(arrays[key], arrays.get(f"mask_{key}"))}
    left = [name for name in arrays if name in gaps]
    more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    note = (
        f"left out, as some rows have no value: {', '.join(left[:SHOWN])}{more}; --as NAME=categorical or =normal "
        "takes one as a modality, --target NAME as a label"
    )
    group = set() if GROUP in overrides else {GROUP}
    return (named | free | group) - known - gaps, gaps, [note] if gaps else []


def _has_gaps(array: np.ndarray, mask: np.ndarray | None) -> bool:
    if mask is not None and not mask.astype(bool).all():
        return True
    return array.dtype.kind == "f" and bool(np.isnan(array).any())
