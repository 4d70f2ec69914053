"""The calibration as a part of a fit: of the selected weights, on the rows that were held out from them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from ...base.turns import turn
from ...core.program import Program
from ...data.dataset import Dataset
from ...runs.calibration import Calibration
from .calibrate import calibrate, changed


class Calibrator:
    """What a fit calls between selection and refit (`mmppl.train.budget.phase.AfterSelection`).

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._found: list[Calibration] = []

    def __call__(self, program: Program, rows: Dataset) -> list[str]:
        """Calibrate the program on these rows.

        Returns:
            The names of the buffers that calibration sets.
        """
        on_cpu = program if program.progress.device.type == "cpu" else copy.deepcopy(program).cpu()
        with turn():
            self._found.append(calibrate(on_cpu, rows, seed=self.seed))
        if on_cpu is not program:
            program.load_state_dict(on_cpu.state_dict())
        return [name for name, _ in program.named_buffers() if name.rpartition(".")[2] in BUFFERS]

    def report(self, program: Program) -> Calibration | None:
        """Return what the program's calibration is now, and the held-out nats, on average over the folds; None: it was
        not calibrated.
        """
        if not self._found:
            return None
        rows = sum(found.rows for found in self._found)
        nats = {kind: _mean_over_folds(self._found, kind) for kind in ("before", "after")}
        return replace(changed(program, rows), **nats)  # type: ignore[arg-type]


BUFFERS = ("calibration", "expert_calibration")


def _mean_over_folds(found: Sequence[Calibration], kind: str) -> dict[str, float]:
    """Given set → the mean over the folds that asked it, each weighed by its rows."""
    sums: dict[str, tuple[float, int]] = {}
    for one in found:
        for given, value in getattr(one, kind).items():
            total, rows = sums.get(given, (0.0, 0))
            sums[given] = total + one.rows * value, rows + one.rows
    return {given: total / rows for given, (total, rows) in sums.items()}
