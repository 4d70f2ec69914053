"""What a program of this folder returns: its figures, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trial:
    """The outcome of one program.

    Args:
        figures: name → number, such as how many kills there were and how many of them lost a bit.
        failures: one line for each thing that went wrong; none: all is well.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
