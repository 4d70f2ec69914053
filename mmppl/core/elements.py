"""Whether a program takes modalities of which a row may lack elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ..errors import UsageError
from ..modalities.modality import Modality

if TYPE_CHECKING:
    from .program import Program


def check_elements(program: Program, modalities: Sequence[Modality]) -> None:
    """Check that a program takes what rows lack elements of.

    Args:
        program: the program; see `Program.takes_elements` and `Program.takes_gaps`.
        modalities: the schema of its data.

    Raises:
        UsageError: it does not; the message names the modalities.
    """
    series = [m.name for m in modalities if m.sequence]
    if series and not program.takes_elements:
        raise UsageError(
            f"{type(program).__name__}: {', '.join(series)}: it takes no sequences; choose another program."
        )
    gaps = [m.name for m in modalities if m.gaps]
    if gaps and not program.takes_gaps:
        raise UsageError(
            f"{type(program).__name__}: {', '.join(gaps)}: it takes no single missing cells; fill them, mask these "
            "rows whole, or choose another program."
        )


def check_cells(program: Program, observed: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
    """Check that rows lack no cells that a program takes for measured.

    Args:
        program: the program.
        observed: name → (N,) bool.
        present: name → bool, broadcastable to (N, *shape), the elements that rows have.

    Raises:
        UsageError: a row lacks some, and the program takes none (`Program.takes_gaps`); the message names the modality.
    """
    if program.takes_gaps:
        return
    for m in program.modalities:
        there = None if m.sequence else present.get(m.name)
        rows = 0 if there is None else int((observed[m.name] & ~there.flatten(1).all(1)).sum())
        if rows:
            raise UsageError(
                f"{type(program).__name__}: {m.name}: {rows:,} rows lack some of its cells, and it takes no gaps; fill "
                "them, or mask these rows whole."
            )
