"""Warnings that accompany an answer, such as rows without any observed value or weights that cannot be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.program import Program
from ..data.dataset import Dataset
from .psis import MAX_KHAT, MIN_DRAWS

# parts that are no numbers, or NaN although the answer is fine
ASIDE = ("se", "ess", "khat", "draws", "classes", "predicted", "modalities", "most")


def nothing_given(dataset: Dataset, given: Sequence[str]) -> list[str]:
    """Warn about rows that have none of the given names.

    Args:
        dataset: the rows that are asked about.
        given: the names that are given.

    Returns:
        At most one line.
    """
    empty = _without(dataset, given)
    warning = f"{empty} of {len(dataset)} rows have none of the given modalities: their answer is the prior."
    return [warning] * bool(empty)


def nothing_told(program: Program, dataset: Dataset, given: Sequence[str]) -> list[str]:
    """Warn about rows that have some of the given names, but none that the program answers from.

    Args:
        program: the program that is asked.
        dataset: the rows that are asked about.
        given: the names that are given, from which together it can answer.

    Returns:
        At most one line.
    """
    reasons = {name: program.can_answer([name]) for name in given}
    enough = [name for name, reason in reasons.items() if reason is None]
    rows = _without(dataset, enough) - _without(dataset, given)
    if rows <= 0:
        return []
    why = next(reason for reason in reasons.values() if reason)
    return [f"{rows} of {len(dataset)} rows have none of {', '.join(enough)}, and their latent is the prior: {why}."]


def nothing_scored(dataset: Dataset, targets: Sequence[str]) -> list[str]:
    """Warn about rows that have none of the names whose evidence is wanted.

    Args:
        dataset: the rows that are asked about.
        targets: the names whose evidence is wanted.

    Returns:
        At most one line.
    """
    empty, named = _without(dataset, targets), ", ".join(targets)
    warning = f"{empty} of {len(dataset)} rows have none of what the evidence is about ({named}): it is 0 there."
    return [warning] * bool(empty)


def _without(dataset: Dataset, names: Sequence[str]) -> int:
    seen = [dataset.observed[name].numpy() for name in names]
    return int((~np.stack(seen).any(0)).sum()) if seen else 0


def infinite_rows(found: Mapping[str, Mapping[str, Any]], rows: int) -> dict[str, np.ndarray]:
    """Find the rows whose answers are not finite.

    Args:
        found: name → parts, as in `Answer.want`.
        rows: the number of rows.

    Returns:
        name → (n,) bool.
    """
    wrong = {}
    for name, parts in found.items():
        numbers = [v.reshape(rows, -1) for key, v in parts.items() if key not in ASIDE]
        ends = [end(v, axis=1) for v in numbers for end in (np.min, np.max)]  # no copies, however large the answer
        wrong[name] = np.asarray(~np.isfinite(ends).all(0))
    return wrong


def not_finite(wrong: Mapping[str, np.ndarray], dataset: Dataset, looked_at: Iterable[str]) -> list[str]:
    """Warn about rows whose answers are not finite, and name the largest value behind the first of them.

    Args:
        wrong: as `infinite_rows` finds them.
        dataset: the rows that are asked about.
        looked_at: the names whose values the answers depend on.

    Returns:
        At most one line.
    """
    rows = np.any(list(wrong.values()), axis=0)
    if not rows.any():
        return []
    first = int(rows.argmax())
    sizes = {
        name: float(dataset.values[name][first].abs().max())
        for name in looked_at
        if dataset.observed[name][first] and dataset.values[name].is_floating_point()
    }
    look = "the losses of the fit"
    if sizes:
        largest = max(sizes, key=lambda name: sizes[name])
        look = f"what is given there ({largest} reaches {sizes[largest]:.3g}, scaled as in training)"
    named = ", ".join(name for name in wrong if wrong[name].any())
    return [
        f"{int(rows.sum())} of {len(rows)} rows (first id {dataset.ids[first]}) have answers that are not finite, "
        f"about {named}: look at {look}."
    ]


def untrusted_weights(found: Mapping[str, Mapping[str, Any]], draws: int) -> list[str]:
    """Warn about rows whose k̂ is too large, or about too few draws for any k̂.

    Args:
        found: name → parts, as in `Answer.want`.
        draws: the number of draws per row.

    Returns:
        At most one line.
    """
    khats = [parts["khat"] for parts in found.values() if "khat" in parts]
    if not khats:
        return []
    if draws < MIN_DRAWS and np.isnan(khats).any():
        return [
            f"k̂ needs {MIN_DRAWS} or more draws, and there are {draws}: how far the guide is off is unknown; take more."
        ]
    untrusted = np.any([khat > MAX_KHAT for khat in khats], axis=0)
    warning = (
        f"{int(untrusted.sum())} of {untrusted.size} rows have k̂ above {MAX_KHAT}: the guide is too far off there for "
        "an error to be told; take more draws or do not trust them."
    )
    return [warning] * bool(untrusted.any())


def unseen_classes(unseen: Mapping[str, Sequence[str | int]]) -> list[str]:
    """Warn about classes that no training row had.

    Args:
        unseen: label → its classes that training did not see.

    Returns:
        One line per label.
    """
    return [
        f"{name}: no training row is of class {', '.join(map(str, classes[:10]))}"
        f"{f' or of {len(classes) - 10} more' if len(classes) > 10 else ''}: the model cannot know it."
        for name, classes in unseen.items()
    ]
