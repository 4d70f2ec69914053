"""Answers that keep what was observed, and predict only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.program import Program
from ...data.dataset import Dataset
from ...errors import UsageError
from ...modalities.kinds import kind

WHOLE = ("ess", "khat", "classes")  # parts of an answer that are not of single cells


def given_with_own(program: Program, given: Sequence[str] | None, want: Sequence[str]) -> list[str]:
    """Find what an imputation conditions on: what is given, and what rows have of the modalities that are wanted.

    Args:
        program: the program.
        given: the names that the user gives; None: all modalities.
        want: the names that are wanted.

    Returns:
        The names that may be conditioned on.

    Raises:
        UsageError: no modality or label is wanted.
    """
    roles = {m.name: m.role for m in program.modalities}
    if not any(name in roles for name in want):
        raise UsageError(
            "query: nothing wanted can be missing in part; want a modality or label, or ask for everything."
        )
    inputs = [name for name in program.encoded if roles[name] == "modality"]
    if given is None:
        return inputs
    return [*given, *(name for name in want if name in inputs and name not in given)]


def keep_observed(found: dict[str, dict[str, Any]], program: Program, dataset: Dataset) -> None:
    """Put what was observed in place of what was answered, with no spread, and say where it was not ("imputed").

    A censored survival time T > t is not observed: it is predicted, from what else the row has and not given T > t, so
    that a prediction may lie below t.

    Args:
        found: name → parts of the answer, which are changed.
        program: the program.
        dataset: the rows, in its schema.
    """
    for m in program.modalities:
        if m.name not in found:
            continue
        parts, value = found[m.name], dataset.values[m.name].numpy()
        known = dataset.observed[m.name].numpy().reshape(-1, *[1] * len(m.shape))
        if m.name in dataset.present:
            known = known & dataset.present[m.name].numpy()
        known = np.broadcast_to(known, value.shape)
        value = np.where(known, value, 0)  # what lies under a mask may be no class
        if kind(m) == "survival":
            known = known & (value > 0)  # censored times are negative
        own = np.asarray(m.classes)[value] if m.classes else m.value_in_input_units(value)
        read = None if m.classes else dataset.source.of(m.name)
        if read is not None:  # as it is in the file, not through float32 and back, where that is what the row holds
            with np.errstate(all="ignore"):  # of what lies under a mask
                held = m.family.as_stored(m.to_model_units(np.where(known, read, 0))).astype(value.dtype)
            own = np.where(known & (held == value), read, own)
        for key, part in parts.items():
            if key in WHOLE:
                continue
            if key == "prob":
                sure = value[..., None] == np.arange(m.n_classes)
                parts[key] = np.where(known[..., None], sure, part).astype(part.dtype)
            elif key == "std":
                parts[key] = np.where(known, 0, part).astype(part.dtype)
            elif key == "draws":
                kept = value if m.classes else own  # draws of classes are codes
                parts[key] = np.where(known[:, None], kept[:, None], part).astype(_exact(part, kept))
            else:
                parts[key] = np.where(known, own, part).astype(_exact(part, own))
        parts["imputed"] = ~known


def _exact(part: np.ndarray, own: np.ndarray) -> np.dtype:
    """The type of an answer that holds its own numbers, and what was observed, exactly; of texts that of the answer."""
    return np.result_type(part, own) if part.dtype.kind == "f" and own.dtype.kind in "fiu" else part.dtype
