"""The calibration as a part of a fit: of the selected weights, on the rows that were held out from them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from ...base.turns import turn
from ...core.program import Program
from ...data.dataset import Dataset
from ...runs.calibration import Calibration
from .calibrate import ROWS, calibrate, changed

SHARE, LEAST = 0.02, 30  # of the rows that a fit passes: how many a calibration looks at


class Calibrator:
    """What a fit calls between selection and refit (`mmppl.train.budget.phase.AfterSelection`).

    Args:
        seed: of the draws.

    Attributes:
        passed: rows that the fit passes through the program, each as often as it comes. A calibration looks at so many
            fewer (`SHARE`, but at least `LEAST`) that a short fit does not wait for it.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.passed = seed, ROWS / SHARE
        self._found: list[Calibration] = []

    def __call__(self, program: Program, rows: Dataset) -> list[str]:
        """Calibrate the program on these rows.

        Returns:
            The names of the buffers that calibration sets.
        """
        on_cpu = program if program.progress.device.type == "cpu" else copy.deepcopy(program).cpu()
        with turn():
            self._found.append(calibrate(on_cpu, rows, seed=self.seed, most=max(LEAST, round(SHARE * self.passed))))
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
