"""The epochs of one fit: steps, validation, metrics, states."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..base.files import pack, sha256, write
from ..base.random import generator
from ..core.program import Program, terms_of
from ..core.row_selection import MissingnessPatterns
from ..data.dataset import Dataset
from ..errors import DataError, FitError
from ..inference.query import ask
from ..inference.warnings import unseen_classes
from ..runs.card import write_card
from ..runs.record import write_info
from .checkpoint import load_state, save_state
from .cuda_graph import CapturedStep
from .optimiser import LRSchedule, adam, mutable_state
from .step import Step, autocast

CHECKPOINT_SHARE = 0.05  # of the time may go into writing states
VALID_ROWS = 2000  # of the validation rows are asked for the metrics of each epoch


@dataclass(frozen=True)
class Progress:
    """Where a fit is, after a step. Times in seconds, loss in nats per row (of the last step)."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float
    rows_per_second: float
    eta_seconds: float


class Training:
    """The epochs of one fit."""

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        path: Path,
        info: dict[str, Any],
        device: torch.device,
        log: Callable[[Any], None],
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        self.program, self.path, self.info, self.device, self.log, self.on_step = (
            program,
            path,
            info,
            device,
            log,
            on_step,
        )
        self.settings = info["training"]
        self.dataset = dataset
        self.train_rows = self._usable("train")
        if not len(self.train_rows):
            raise DataError(f"{dataset.name}: no training row has what {type(program).__name__} learns from.")
        self._check_seen()
        self.valid = dataset.take(self._usable("valid"))
        self.train = self._placed(dataset.take(self.train_rows))
        graph = device.type == "cuda"  # which is not waited for
        self.patterns = None if graph else MissingnessPatterns.of(self.train.observed)
        self.batch_size = min(self.settings["batch_size"], len(self.train))
        self.per_epoch = -(-len(self.train) // self.batch_size)
        self.steps = self.per_epoch * self.settings["epochs"]
        self.optimiser = adam(program, self.settings["lr"], device)
        self.clock = LRSchedule(program, self.optimiser, self.settings, self.steps)
        self.step = Step(program, precision=self.settings["precision"], replay=not graph, log=log)
        state = partial(mutable_state, program, self.optimiser)
        self.captured = CapturedStep(self.step, self._update, state, log=log) if graph else None
        if self.settings["patience"] and not len(self.valid):
            self.log("There are no validation rows: --patience has nothing to watch, and is ignored.")
        self.patience = self.settings["patience"] if len(self.valid) else None
        self.counters: dict[str, Any] = {"epoch": 0, "step": 0, "seconds": 0.0, "best": math.inf, "best_epoch": 0}
        self.writing = 0.0  # seconds spent on states in this process

    def _usable(self, split: Literal["train", "valid"]) -> Tensor:
        rows = self.dataset.rows(split)
        good = self.program.usable({k: v[rows] for k, v in self.dataset.observed.items()})
        left_out = int((~good).sum())
        if left_out:
            self.log(
                f"{left_out} of {len(rows)} {split} rows lack what {type(self.program).__name__} learns from: left out."
            )
        return rows[good]

    def _check_seen(self) -> None:
        """A modality that no training row has would be answered with noise; a class that none has is told, and kept in
        run.json."""
        unseen = {}
        for m in self.program.modalities:
            rows = self.train_rows[self.dataset.observed[m.name][self.train_rows]]
            if not len(rows):
                raise DataError(
                    f"{self.dataset.name}: {m.name!r} is observed in no row that {type(self.program).__name__} learns "
                    f"from; leave it out (--as {m.name}=ignore), or hide less."
                )
            if m.classes and m.size == 1:
                counts = self.dataset.values[m.name][rows].flatten().bincount(minlength=len(m.classes))
                if classes := [c for c, count in zip(m.classes, counts.tolist()) if not count]:
                    unseen[m.name] = classes
        if unseen:
            self.info["data"]["unseen"] = unseen
            for line in unseen_classes(unseen):
                self.log(line)

    def _placed(self, dataset: Dataset) -> Dataset:
        """The same rows on the device of the fit."""
        values = {name: value.to(self.device) for name, value in dataset.values.items()}
        return replace(dataset, values=values, observed={n: o.to(self.device) for n, o in dataset.observed.items()})

    def run(self) -> None:
        started = time.monotonic()
        counters = load_state(self.path, self.program, self.optimiser)
        if counters is not None:
            self.counters = counters
            self.log(f"{self.path}: goes on after epoch {counters['epoch']}.")
        before = self.counters["seconds"]
        self._cut_metrics(self.counters["epoch"])
        lines: dict[str, Any] = {}
        for epoch in range(self.counters["epoch"] + 1, self.settings["epochs"] + 1):
            if self.counters["epoch"] and self._patience_is_over():
                break  # killed after its last state
            lines = self._epoch(epoch, before - started)
            better = lines["loss"]["valid"] is not None and lines["loss"]["valid"] < self.counters["best"]
            self.counters |= {"epoch": epoch, "seconds": before + time.monotonic() - started}
            if better:
                self.counters |= {"best": lines["loss"]["valid"], "best_epoch": epoch}
            self._log(lines)
            last = epoch == self.settings["epochs"] or self._patience_is_over()
            if better or last:
                self._write_weights(better or self.patience is None)
            if last or self.writing < CHECKPOINT_SHARE * (time.monotonic() - started):
                begun = time.monotonic()
                save_state(self.path, self.counters["step"], self.program, self.optimiser, self.counters)
                self.writing += time.monotonic() - begun
            if last:
                break
        self._finish(self._cut_metrics(self.counters["epoch"]))

    def _epoch(self, epoch: int, offset: float) -> dict[str, Any]:
        begun = time.monotonic()
        self.program.train()
        values = self.train
        if self.dataset.refresh is not None:
            values = self._refreshed(epoch)
        order = torch.randperm(len(self.train), generator=generator(self.info["seed"], "order", epoch)).to(self.device)
        sums: dict[str, Tensor] = {}
        for number, rows in enumerate(order.split(self.batch_size), 1):
            batch = replace(values.batch(rows, self.program.encoded), patterns=self.patterns)
            self.clock.set(self.counters["step"])
            outcome = self.captured(batch) if self.captured else self.step(batch)
            loss = float(outcome.loss)
            if not math.isfinite(loss):
                bad = [n for n, v in outcome.values.items() if not math.isfinite(float(v))]
                raise FitError(
                    f"the loss is not finite: term {', '.join(bad) or 'sum'}, epoch {epoch}, batch {number}. "
                    "The last good state is kept; fit again to another --out with a smaller --lr or --clip."
                )
            if not self.captured:
                self._update()
            self.counters["step"] += 1
            for name, value in outcome.values.items():
                sums[name] = sums.get(name, 0.0) + value.double() * len(rows)
            self._report(epoch, number, loss, begun, time.monotonic() + offset)
        if not all(bool(p.isfinite().all()) for p in self.program.parameters()):
            raise FitError(
                f"a gradient was not finite in epoch {epoch}, though the loss was. The last good state is kept; "
                "fit again to another --out with a smaller --lr or --clip."
            )
        train = {name: float(total) / len(self.train) for name, total in sums.items()}
        weights = {name: float(w) for name, w in outcome.weights.items()}
        valid = self._validate() if len(self.valid) else {}
        bad = [n for n, v in valid.items() if not math.isfinite(v)]
        if bad:
            raise FitError(f"the validation loss is not finite: {', '.join(bad)}, epoch {epoch}. Try a smaller --lr.")
        return {
            "epoch": epoch,
            "train": train,
            "valid": valid,
            "weights": weights,
            "loss": {"train": _loss(train, weights), "valid": _loss(valid, weights) if valid else None},
            "metrics": self._metrics() if len(self.valid) else {},
            "seconds": time.monotonic() - begun,
        }

    def _update(self) -> None:
        """Clip the gradients and move the parameters."""
        if self.settings["clip"] is not None:
            for parameter in self.program.parameters():
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()  # two may share memory
            torch.nn.utils.clip_grad_norm_(self.program.parameters(), self.settings["clip"])
        self.optimiser.step()

    def _refreshed(self, epoch: int) -> Dataset:
        """The training rows with the values that the data set makes anew for this epoch."""
        assert self.dataset.refresh is not None
        fresh = self.dataset.refresh(self.info["seed"], epoch)
        position = torch.full((len(self.dataset),), -1)
        position[self.dataset.rows("train")] = torch.arange(len(self.dataset.rows("train")))
        rows = position[self.train_rows]
        return self.train.replaced({name: value[rows].to(self.device) for name, value in fresh.items()})

    def _report(self, epoch: int, number: int, loss: float, begun: float, seconds: float) -> None:
        rate = number * self.batch_size / max(time.monotonic() - begun, 1e-9)
        left = (self.steps - self.counters["step"]) * self.batch_size / rate
        progress = Progress(
            epoch, self.settings["epochs"], self.counters["step"], self.steps, loss, seconds, rate, left
        )
        self.log(progress)
        if self.on_step is not None:
            self.on_step(progress)

    def _validate(self) -> dict[str, float]:
        """Every term on the validation rows, without gradient, with noise that is the same each epoch."""
        self.program.eval()
        sums: dict[str, Tensor] = {}
        valid = self._placed(self.valid)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(self.info["seed"])
            for rows in torch.arange(len(valid), device=self.device).split(self.batch_size):
                with autocast(self.settings["precision"], self.device):
                    terms = terms_of(self.program, valid.batch(rows, self.program.encoded))
                for name, (value, _) in terms.items():
                    sums[name] = sums.get(name, 0.0) + value.double() * len(rows)
        return {name: float(total) / len(self.valid) for name, total in sums.items()}

    def _metrics(self) -> dict[str, float]:
        """Error rate of each label on (the first) validation rows, given all else that a row has."""
        self.program.eval()
        metrics: dict[str, float] = {}
        labels = [m for m in self.program.modalities if m.role == "label" and m.classes]
        good = torch.ones(len(self.valid), dtype=torch.bool)
        for name in self.program.conditions:
            good &= self.valid.observed[name]
        valid = self.valid.take(good.nonzero().squeeze(-1)[:VALID_ROWS])
        if not labels or not len(valid):
            return metrics
        program = self.program if self.device.type == "cpu" else copy.deepcopy(self.program).cpu()
        answer = ask(program, valid, want=[m.name for m in labels], draws=4, seed=self.info["seed"])
        for m in labels:
            known = valid.observed[m.name].numpy()
            truth = valid.values[m.name].cpu().numpy()[known]
            if len(truth):
                guess = answer.want[m.name]["prob"].argmax(-1)[known]
                metrics[f"error.{m.name}"] = float((guess != truth).mean())
        return metrics

    def _patience_is_over(self) -> bool:
        return self.patience is not None and self.counters["epoch"] - self.counters["best_epoch"] >= self.patience

    def _write_weights(self, replace: bool) -> None:
        if replace:
            data = pack(dict(self.program.state_dict()))
            write(self.path / "weights.safetensors", data)
            self.info["sha256"]["weights.safetensors"] = sha256(data)
            write_info(self.path, self.info)

    def _log(self, line: dict[str, Any]) -> None:
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # no state outlives the lines of its epochs

    def _cut_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """Keep the first `epochs` whole lines of metrics.jsonl (a killed fit may have written more)."""
        file = self.path / "metrics.jsonl"
        try:
            text = file.read_text().splitlines()[:epochs] if file.is_file() else []
            lines = [json.loads(line) for line in text]
        except ValueError:
            raise DataError(f"{file}: damaged. Restore it, or remove {self.path} and fit again.") from None
        if len(lines) != epochs:
            raise DataError(f"{file}: has {len(lines)} of {epochs} epochs. Restore it, or fit again to another --out.")
        write(file, "".join(line + "\n" for line in text).encode())
        return lines

    def _finish(self, lines: list[dict[str, Any]]) -> None:
        kept = self.counters["best_epoch"] if self.patience and self.counters["best_epoch"] else len(lines)
        line = lines[kept - 1]
        self.info["result"] = {
            "epochs": len(lines),
            "seconds": round(self.counters["seconds"], 3),
            "loss": line["loss"]["valid"] if line["valid"] else line["loss"]["train"],
            "terms": line["valid"] or line["train"],
            "weights": line["weights"],
            "metrics": line["metrics"],
        }
        self.info["sha256"]["metrics.jsonl"] = sha256((self.path / "metrics.jsonl").read_bytes())
        self.info["status"] = "done"
        write_card(self.path, self.info)
        write_info(self.path, self.info)


def _loss(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weights[name] * value for name, value in values.items())
