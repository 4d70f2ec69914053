"""What calibration after training has changed, as run.json keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` has done to a program. Nothing is listed that stayed as it was.

    Args:
        rows: held-out rows.
        noise: modality → the factor of its noise, the geometric mean over its features.
        temperature: label → what its logits are divided by.
        exponents: modality → the exponent of its expert.
        before: given set, such as "image+word" → held-out ln p of one of the other names, in nats per row, on average
            over those names; numbers count per feature, in model units.
        after: the same after calibration.

    Raises:
        ValueError: a number is not finite, or a factor not positive.
    """

    rows: int
    noise: dict[str, float] = field(default_factory=dict)
    temperature: dict[str, float] = field(default_factory=dict)
    exponents: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("noise", "temperature", "exponents"):
            for name, value in getattr(self, kind).items():
                if not 0 < value < math.inf:
                    raise ValueError(f"{kind}.{name} is {value}, expected a positive number")
        for kind in ("before", "after"):
            for name, value in getattr(self, kind).items():
                if not math.isfinite(value):
                    raise ValueError(f"{kind}.{name} is {value}, expected a finite number")

    def __str__(self) -> str:
        """One line for the log."""
        words = [
            f"{title} {', '.join(f'{name} {value:.2f}' for name, value in found.items())}"
            for title, found in (
                ("noise ×", self.noise),
                ("temperature", self.temperature),
                ("exponents", self.exponents),
            )
            if found
        ]
        if not self.before:
            return f"{self.rows:,} held-out rows are too few or tell nothing to calibrate: noise and temperatures stay"
        if not words:
            return f"calibrated on {self.rows:,} held-out rows: nothing to gain"
        gain = sum(self.after.values()) - sum(self.before.values())
        told = f"; {gain / max(1, len(self.after)):+.3g} nats per row and name"
        return f"calibrated on {self.rows:,} held-out rows: {'; '.join(words)}{told}"
