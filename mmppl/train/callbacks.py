"""What happens beside the steps of a fit: metrics, log, weights, states, card. A user's own callback is one more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..base.files import pack, unpack, write
from ..base.turns import turn
from ..errors import DataError
from ..runs.card import write_card
from ..runs.record import METRICS, WEIGHTS, RunRecord, write_record
from .checkpoint import save_state
from .validate import label_errors

if TYPE_CHECKING:
    from .loop import Progress, Training

CHECKPOINT_SHARE = 0.05  # of the time may go into writing states


class Callback:
    """Looks at a fit as it goes on. Override what is of use; what a callback draws at random must be its own.

    Example:
        The number of parameters comes into the line of each epoch:

        >>> import mmppl
        >>> class Count(mmppl.Callback):
        ...     def on_epoch(self, fit, line):
        ...         line["metrics"]["parameters"] = sum(p.numel() for p in fit.program.parameters())
        >>> run = mmppl.fit("mvae", hyper={"hidden": 8, "layers": 1}, epochs=1, callbacks=[Count()])
        >>> run.metrics[-1]["metrics"]["parameters"] == sum(p.numel() for p in run.program.parameters())
        True
    """

    def on_start(self, fit: Training) -> None:
        """Before the first step of this process, a resumed fit's state being there."""

    def on_step(self, fit: Training, progress: Progress) -> None:
        """After each batch."""

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        """After each epoch, with the line of metrics.jsonl before it is written; `line["metrics"]` may be added to."""

    def on_end(self, fit: Training) -> None:
        """After the last epoch."""


class RunFiles:
    """The folder of a run and its record, which the callbacks that write share.

    Args:
        folder: None: nothing is written, and the record alone kept.
        record: as it stands.
    """

    def __init__(self, folder: Path | None, record: RunRecord) -> None:
        self.folder, self.record = folder, record

    def change(self, **fields: Any) -> None:
        """Put other fields into the record, and write it where there is a folder."""
        self.record = replace(self.record, **fields)
        if self.folder is not None:
            write_record(self.folder, self.record)


class Report(Callback):
    """Tells each step to `log` and `on_step`."""

    def __init__(self, *listeners: Callable[[Progress], None]) -> None:
        self.listeners = listeners

    def on_step(self, fit: Training, progress: Progress) -> None:
        for hear in self.listeners:
            hear(progress)


class LabelErrors(Callback):
    """The error rates of labels on validation rows."""

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if len(fit.rows.valid):
            line["metrics"] |= label_errors(fit.program, fit.rows.valid, fit.settings.seed)


class MetricsLog(Callback):
    """metrics.jsonl, a line per epoch."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files

    def on_start(self, fit: Training) -> None:
        """Keep the whole lines of the epochs that the fit goes on from (a killed fit may have written more)."""
        if self.files.folder is None:
            return
        file, epochs = self.files.folder / METRICS, fit.counters.epoch
        try:
            text = file.read_text().splitlines()[:epochs] if file.is_file() else []
            lines = [json.loads(line) for line in text]
        except ValueError:
            raise DataError(f"{file}: damaged. Restore it, or remove {file.parent} and fit again.") from None
        if len(lines) != epochs:
            raise DataError(f"{file}: has {len(lines)} of {epochs} epochs. Restore it, or fit again to another --out.")
        write(file, "".join(line + "\n" for line in text).encode())
        fit.lines = lines

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if self.files.folder is None:
            return
        with open(self.files.folder / METRICS, "a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # no state outlives the lines of its epochs

    def on_end(self, fit: Training) -> None:
        if self.files.folder is not None:
            data = (self.files.folder / METRICS).read_bytes()
            self.files.record = self.files.record.with_file(METRICS, data)


class Weights(Callback):
    """The weights of the best epoch so far and of the last; with patience those of the best alone."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files
        self.best: dict[str, Tensor] | None = None

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if not (fit.better or (fit.last and fit.patience is None)):
            return
        weights = dict(fit.program.state_dict())
        if self.files.folder is not None:
            data = pack(weights)
            write(self.files.folder / WEIGHTS, data)
            self.files.change(sha256=self.files.record.with_file(WEIGHTS, data).sha256)
        elif fit.patience is not None:
            self.best = {name: value.detach().clone() for name, value in weights.items()}

    def on_end(self, fit: Training) -> None:
        """Bring the program back to the weights that are kept."""
        if fit.patience is None:
            return
        best = self.best
        if self.files.folder is not None:
            file = self.files.folder / WEIGHTS
            best = unpack(file.read_bytes(), file)
        if best is not None:
            fit.program.load_state_dict(best)


class Checkpoint(Callback):
    """The state that a killed fit goes on from, at the end of an epoch; writing it takes a small share of the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writing = self.started = 0.0

    def on_start(self, fit: Training) -> None:
        self.started = time.monotonic()

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if fit.last or self.writing < CHECKPOINT_SHARE * (time.monotonic() - self.started):
            begun = time.monotonic()
            with turn():  # the state of the random generator is the fit's
                save_state(self.folder, fit.program, fit.optimiser_state(), fit.counters)
            self.writing += time.monotonic() - begun


class Card(Callback):
    """The end of a run: its result in run.json, and README.md."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files

    def on_end(self, fit: Training) -> None:
        result = fit.result()
        if self.files.folder is not None:
            write_card(self.files.folder, self.files.record, result)
        self.files.change(result=result, status="done")
