"""Terms: the named scalars of a loss in nats, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UsageError
from .added_terms import added_terms

if TYPE_CHECKING:
    from .batch import Batch
    from .program import Program

Weight = float | Tensor


class Terms(dict[str, tuple[Tensor, Weight]]):
    """The terms of a loss: name → (value, weight).

    A value is a sum over event dimensions and active subsets and a mean over rows, in nats. Merge terms with `|`; a new
    term is one more key. Logs show the values; `fit` minimises `loss`.

    Example:
        >>> terms = Terms({"nll.x": (torch.tensor(3.0), 1.0)}) | Terms({"kl.z": (torch.tensor(2.0), 0.5)})
        >>> terms.loss
        tensor(4.)
    """

    @property
    def loss(self) -> Tensor:
        """Σ weight · value, a scalar in nats per row."""
        weighed = [
            value if isinstance(weight, float) and weight == 1.0 else weight * value for value, weight in self.values()
        ]
        return torch.stack(weighed).sum()

    def __or__(self, other: Any) -> Terms:  # type: ignore[override]
        return Terms({**self, **other})


def terms_of(program: Program, batch: Batch) -> Terms:
    """Compute a program's objective on a batch, and the terms that were added to it. A program may return a plain dict
    instead of Terms.

    Args:
        program: the program.
        batch: the batch.

    Returns:
        The terms.

    Raises:
        UsageError: the objective is anything but scalars with their weights, by name, or has a term of the name of one
            that was added.
    """
    found: Any = program.objective(batch)
    if isinstance(found, Mapping) and found:
        wrong = [name for name, pair in found.items() if not _is_term(pair)]
        if not wrong:
            return _with_added(found if isinstance(found, Terms) else Terms(found), program, batch)
        what = f"a dict whose {wrong[0]!r} is no such pair"
    else:
        what = "an empty dict" if isinstance(found, Mapping) else f"a {type(found).__name__}"
    raise UsageError(
        f"{type(program).__name__}.objective returned {what}; expected Terms, or a dict of "
        "name: (scalar tensor, weight)."
    )


def _with_added(terms: Terms, program: Program, batch: Batch) -> Terms:
    for term in added_terms(program):
        if taken := sorted(terms.keys() & set(term.names)):
            raise UsageError(
                f"--term: {type(program).__name__} has a term {taken[0]!r} of its own; leave the other out."
            )
        terms = terms | term(program, batch)
    return terms


def _is_term(pair: Any) -> bool:
    """Whether this is a pair of a scalar tensor and its weight."""
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].ndim == 0
