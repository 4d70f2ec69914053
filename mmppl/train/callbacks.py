"""What happens beside the steps of a fit: metrics, log, weights, states, card. A user's own callback is one more."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..base.files import pack, sha256, unpack, write
from ..base.turns import turn
from ..errors import DataError
from ..runs.card import write_card
from ..runs.record import METRICS, PROGRAM, WEIGHTS, ResultRecord, RunRecord, write_record
from ..runs.storage import read_checked
from .checkpoint import Counters, anew, save_state
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

    def on_selected(self, fit: Training) -> None:
        """After the last epoch of a phase in which the best epoch counts, before what comes then."""

    def on_end(self, fit: Training) -> None:
        """After the last epoch."""


class RunFiles:
    """The folder of a run and its record, which the callbacks that write share.

    Args:
        folder: None: nothing is written, and the record alone kept.
        record: as it stands.

    Attributes:
        of_state: the file of the weights that the newest state tells of.
    """

    def __init__(self, folder: Path | None, record: RunRecord) -> None:
        self.folder, self.record = folder, record
        self.of_state: str | None = None
        self._written: RunRecord | None = None

    def change(self, **fields: Any) -> None:
        """Put other fields into the record, and write it where there is a folder and it has changed."""
        self.record = replace(self.record, **fields)
        if self.folder is not None and self.record != self._written:
            write_record(self.folder, self.record)
            self._written = self.record

    def go_back(self, counters: Counters) -> None:
        """Bring the record to the files that a state tells of, or to none; a killed fit may have written more.

        Raises:
            DataError: one of them is not as it was then.
        """
        if self.folder is None:
            return
        kept = {name: found for name, found in self.record.sha256.items() if name != METRICS}
        if any(WEIGHTS.fullmatch(name) for name in counters.files):
            kept.pop(str(self.record.weights), None)
        told = counters.files if counters.epoch else {METRICS: sha256(b"")}
        try:
            self.record = replace(self.record, sha256=kept | told, logged=counters.logged)
        except ValueError as error:
            raise DataError(f"{self.folder}: the state is damaged ({error}). {anew(self.folder)}") from None
        if counters.epoch:
            for name in (PROGRAM, METRICS, *(name for name in told if WEIGHTS.fullmatch(name))):
                read_checked(self.folder, self.record, name, remedy=anew(self.folder))
            self.of_state = self.record.weights

    def put_weights(self, data: bytes) -> None:
        """Write other weights and then the record that names them. The weights before them stay, for who has just read
        the record, and so do those of the newest state; older ones go.

        Args:
            data: the content of their file.
        """
        assert self.folder is not None
        before, record = self.record.weights, self.record.with_weights(data)
        write(self.folder / str(record.weights), data)
        self.change(sha256=record.sha256)
        self.remove_weights(but=(before, record.weights, self.of_state))

    def remove_weights(self, but: Collection[str | None]) -> None:
        """Remove all files of weights but those of these names."""
        for file in self.folder.iterdir() if self.folder is not None else ():
            if WEIGHTS.fullmatch(file.name) and file.name not in but:
                file.unlink(missing_ok=True)


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
        if len(fit.rows.valid) and len(fit.trainees) == 1:
            line["metrics"] |= label_errors(fit.program, fit.rows.valid, fit.settings.seed)


class MetricsLog(Callback):
    """metrics.jsonl, a line per epoch."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files

    def on_start(self, fit: Training) -> None:
        """Keep the lines of the epochs that the fit goes on from."""
        folder = self.files.folder
        if folder is None:
            return
        file, length = folder / METRICS, self.files.record.logged
        kept = file.read_bytes()[:length] if length else b""
        try:
            fit.lines = [json.loads(line) for line in kept.splitlines()]
        except ValueError:
            raise DataError(f"{file}: damaged. {anew(folder)}") from None
        if len(fit.lines) != fit.counters.epoch:
            raise DataError(f"{file}: has {len(fit.lines)} of {fit.counters.epoch} epochs. {anew(folder)}")
        self.hash = hashlib.sha256(kept)
        self.files.change()  # before the file is cut: who reads it then looks at the lines that stay
        write(file, kept)

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if self.files.folder is None:
            return
        text = (json.dumps(line) + "\n").encode()
        with open(self.files.folder / METRICS, "ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # no state outlives the lines of its epochs
        self.hash.update(text)
        self.files.record = self.files.record.with_metrics(self.files.record.logged + len(text), self.hash.hexdigest())


class Weights(Callback):
    """The weights of the best epoch so far and of the last; where the best counts, its alone; none of folds."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files
        self.best: dict[str, Tensor] | None = None

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if len(fit.trainees) > 1 or not (fit.better or (fit.last and not fit.phase.keeps_best)):
            return
        weights = dict(fit.program.state_dict())
        if self.files.folder is not None:
            self.files.put_weights(pack(weights))
        elif fit.phase.keeps_best:
            self.best = {name: value.detach().clone() for name, value in weights.items()}

    def on_selected(self, fit: Training) -> None:
        """Bring the program back to the weights that are kept."""
        if len(fit.trainees) > 1 or not fit.phase.keeps_best:
            return
        best, folder, record = self.best, self.files.folder, self.files.record
        if folder is not None and record.weights is not None:
            best = unpack(read_checked(folder, record, record.weights), folder / record.weights)
        if best is not None:
            fit.program.load_state_dict(best)

    def on_end(self, fit: Training) -> None:
        """Write what has been found after the selection, where no refit has followed."""
        if self.files.folder is not None and fit.counters.frozen and not fit.refits:
            self.files.put_weights(pack(dict(fit.program.state_dict())))


class Checkpoint(Callback):
    """The state that a killed fit goes on from, at the end of an epoch; writing it takes a small share of the time."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files
        self.writing = self.started = 0.0

    def on_start(self, fit: Training) -> None:
        self.started = time.monotonic()

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        if fit.last or self.writing < CHECKPOINT_SHARE * (time.monotonic() - self.started):
            assert self.files.folder is not None
            begun, record = time.monotonic(), self.files.record
            fit.counters.files, fit.counters.logged = dict(record.sha256), record.logged
            with turn():  # the state of the random generator is the fit's
                save_state(self.files.folder, fit.program, fit.optimiser_state(), fit.counters)
            self.files.of_state = record.weights
            self.files.change()
            self.writing += time.monotonic() - begun


class Card(Callback):
    """The end of a run: its result in run.json, and README.md."""

    def __init__(self, files: RunFiles) -> None:
        self.files = files

    def on_end(self, fit: Training) -> None:
        result = _result(fit)
        if self.files.folder is not None:
            write_card(self.files.folder, self.files.record, result)
        self.files.change(result=result, status="done")
        self.files.remove_weights(but=(self.files.record.weights,))


def _result(fit: Training) -> ResultRecord:
    """How a fit has ended: of the epoch that was selected, else of the last."""
    counters, lines = fit.counters, fit.lines
    line = lines[(counters.selected or len(lines)) - 1]
    metrics = line["metrics"].items()
    return ResultRecord(
        epochs=len(lines),
        steps=line["step"] if fit.phase is fit.first else lines[-1]["step"],
        steps_taken=counters.step,
        selected_step=line["step"] if counters.selected else None,
        seconds=round(counters.seconds, 3),
        loss=line["loss"]["valid"] if line["valid"] else line["loss"]["train"],
        terms=line["valid"] or line["train"],
        weights=line.get("weights_at_end", line["weights"]),
        metrics={name: value if math.isfinite(value) else None for name, value in metrics},
        calibration=counters.calibration,
    )
