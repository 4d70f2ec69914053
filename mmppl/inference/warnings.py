"""What whoever asked should know of an answer: rows that say nothing, and numbers that are not to be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from .psis import DISTRUSTED, FEWEST

ASIDE = ("se", "ess", "khat", "draws", "classes", "predicted")  # may be NaN where the answer is fine, or no numbers


def nothing_given(dataset: Dataset, given: Sequence[str]) -> list[str]:
    """A note of the rows that have none of what is given."""
    empty = _without(dataset, given)
    return [f"{empty} of {len(dataset)} rows have nothing of what is given: their answer is the prior's."] * bool(empty)


def nothing_scored(dataset: Dataset, targets: Sequence[str]) -> list[str]:
    """A note of the rows that have none of what the evidence is of."""
    empty, named = _without(dataset, targets), ", ".join(targets)
    note = f"{empty} of {len(dataset)} rows have nothing of what the evidence is of ({named}): it is 0 there."
    return [note] * bool(empty)


def _without(dataset: Dataset, names: Sequence[str]) -> int:
    seen = [dataset.observed[name].numpy() for name in names]
    return int((~np.stack(seen).any(0)).sum()) if seen else 0


def not_finite(found: Mapping[str, Mapping[str, Any]], dataset: Dataset, looked_at: Iterable[str]) -> list[str]:
    """A note of the rows with answers that are not finite, and of the largest value behind the first of them.

    Args:
        found: name → parts, as in `Answer.want`.
        looked_at: the names whose values the answers depend on.
    """
    wrong = {}
    for name, parts in found.items():
        numbers = [v.reshape(len(dataset), -1) for key, v in parts.items() if key not in ASIDE]
        ends = [end(v, axis=1) for v in numbers for end in (np.min, np.max)]  # no copies, however large the answer
        wrong[name] = ~np.isfinite(ends).all(0)
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


def far_off(found: Mapping[str, Mapping[str, Any]], draws: int) -> list[str]:
    """A note of the rows whose k̂ is too large, or of draws that are too few for any."""
    khats = [parts["khat"] for parts in found.values() if "khat" in parts]
    if not khats:
        return []
    if draws < FEWEST and np.isnan(khats).any():
        return [
            f"k̂ needs {FEWEST} draws or more, and there are {draws}: nothing tells how far the guide is off; take more."
        ]
    far = np.any([khat > DISTRUSTED for khat in khats], axis=0)
    note = (
        f"{int(far.sum())} of {far.size} rows have k̂ above {DISTRUSTED}: the guide is too far off there; "
        "take more draws or do not trust them."
    )
    return [note] * bool(far.any())


def unseen_classes(unseen: Mapping[str, Sequence[str | int]]) -> list[str]:
    """A line for each name whose classes training did not all see."""
    return [
        f"{name}: no training row is of class {', '.join(map(str, classes[:10]))}"
        f"{f' or of {len(classes) - 10} more' if len(classes) > 10 else ''}: the model cannot know it."
        for name, classes in unseen.items()
    ]
