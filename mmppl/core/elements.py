"""Whether a program takes modalities of which a row may lack elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
