"""What the latent tells about a label: linear probes, nearest neighbours and clusters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...core.program import Program
from ...errors import UsageError
from ..conditioning import set_name
from ..latent import PROBES, class_labels, probes
from ..registry import family
from ..study import Study


@family("probes")
class Probes:
    """probe500, probe, precision1/5/10/50, precision10/50_apart and nmi of every class label."""

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List the probes of every class label."""
        return [f"{way}.{m.name}" for m in class_labels(program) for way in PROBES]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted; nothing if the program has no latent z."""
        found: dict[str, dict[str, float]] = {}
        for given in study.sets:
            labels = [m for m in class_labels(study.program) if m.name not in given]
            if not any(f"{way}.{m.name}" in wanted for m in labels for way in PROBES):
                continue
            study.log(f"z given {set_name(given)}")
            try:
                numbers = probes(study.model, study.train, study.test, given, labels, wanted, seed=study.seed)
            except UsageError as error:  # there is no latent of that name
                study.log(f"no probes: {error}")
                return {}
            for name, number in numbers.items():
                found.setdefault(name, {})[set_name(given)] = number
        return found
