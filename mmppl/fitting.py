"""Fit a program to data and leave a run folder."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from . import __version__
from .checkpoint import load_state, pack, save_state, sha256, sweep, write
from .data import Dataset, read
from .errors import DataError, FitError, UsageError, suggest
from .gemm import best_path, gemm
from .program import TRAINING, Program, check_hyper, load_program, source_of
from .query import ask
from .runs import FORMAT, Run, locked, read_info, write_card, write_info
from .step import Step, autocast

DEFAULTS: dict[str, Any] = dict(
    epochs=30, batch_size=128, lr=1e-3, schedule="cosine", clip=None, patience=None, precision="fp32"
)
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


def fit(
    program: type[Program] | str | Path,
    data: Any = None,
    *,
    hyper: Mapping[str, Any] = {},
    preset: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    schedule: Literal["cosine", "constant"] | None = None,
    clip: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Literal["fp32", "bf16"] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    say: Callable[[Any], None] | None = None,
    root: str | Path | None = None,
    as_: Mapping[str, str] = {},
    hide: float = 0.0,
    download: bool = False,
) -> Run:
    """Fit a program and leave a run folder. The same seed, machine and call give the same bits, killed and resumed or not.

    Args:
        program: a class, a file, or the name of an installed program.
        data: what `mmppl.read` takes, or a Dataset; default: the program's own recipe.
        hyper: hyper-parameters of the program, over those of the preset.
        preset: a name in the program's `presets`.
        epochs, batch_size, lr, schedule, clip, patience, precision: default: preset, then the program's `training`.
            lr is Adam's; clip bounds the gradient's norm; patience: stop after so many epochs without a better
            validation loss, and keep the best epoch's weights instead of the last one's.
        out: the run folder; default runs/<program>-<time>.
        resume: go on where a killed fit in `out` stopped.
        on_step: hears a Progress after each step. say: hears that too, and one-line messages (str).
        root, as_, download: passed to `mmppl.read`. hide: share of the modalities to hide at random (seeded).
    Returns: the Run.
    Raises: UsageError, DataError, LockedError; FitError for a loss that is not finite or a full disk.
    """
    cls = program if isinstance(program, type) else load_program(program)
    hear = say or (lambda message: None)
    spec = data if data is not None else cls.default_data
    dataset = read(spec, root=root, as_=as_, download=download)
    if hide:
        dataset = dataset.hide(rate=hide, seed=seed)
    hyper, training = _settings(
        cls, hyper, preset, epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, clip=clip, patience=patience,
        precision=precision,
    )  # fmt: skip
    place = _device(device)
    path = Path(out) if out is not None else Path("runs") / f"{cls.__name__.lower()}-{datetime.now():%Y%m%d-%H%M%S}"
    source = source_of(cls)
    info = {
        "format": FORMAT,
        "mmppl": __version__,
        "program": {"name": _name_of(program, cls), "sha256": sha256(source)},
        "hyper": hyper,
        "training": training,
        "modalities": [m.to_json() for m in dataset.modalities],
        "data": {
            "spec": os.fspath(spec) if isinstance(spec, str | os.PathLike) else None,
            "fingerprint": dataset.fingerprint(),
            "n": len(dataset),
            "options": {"root": os.fspath(root) if root else None, "as": dict(as_), "hide": hide},
        },
        "seed": seed,
        "threads": torch.get_num_threads(),
        "gemm": best_path() if place.type == "cpu" else "default",
        "versions": {name: version(name) for name in ("torch", "pyro-ppl", "numpy")} | {"python": platform.python_version()},
        "device": _device_name(place),
        "status": "running",
        "sha256": {"program.py": sha256(source)},
    }
    _make_folder(path, resume)
    try:
        with locked(path):
            sweep(path)
            info = _begin(path, info, source, resume)
            if info["status"] != "done":
                _train(cls, dataset, path, info, place, hear, on_step)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FitError(f"{path}: the disk is full. Free some space and go on with --resume; nothing written before is lost.") from None
        raise
    return Run.load(path, program=cls)


def _settings(
    cls: type[Program], hyper: Mapping[str, Any], preset: str | None, **given: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyper-parameters and training settings: the call over the preset over the program's over the library's."""
    chosen: dict[str, Any] = {}
    if preset is not None:
        if preset not in cls.presets:
            known = sorted(cls.presets)
            raise UsageError(f"{cls.__name__} has no preset {preset!r}; it has {', '.join(known) or 'none'}." + suggest(preset, known))
        chosen = cls.presets[preset]
    training = {**DEFAULTS, **cls.training, **{k: v for k, v in chosen.items() if k in TRAINING}}
    training |= {k: v for k, v in given.items() if v is not None}
    for name in ("epochs", "batch_size"):
        if training[name] < 1:
            raise UsageError(f"{name.replace('_', '-')} {training[name]} is not positive.")
    if not training["lr"] > 0 or not math.isfinite(training["lr"]):
        raise UsageError(f"lr {training['lr']} is not positive.")
    for name, words in (("schedule", ("cosine", "constant")), ("precision", ("fp32", "bf16"))):
        if training[name] not in words:
            raise UsageError(f"{name} {training[name]!r} is neither {words[0]} nor {words[1]}.")
    hyper = {**{k: v for k, v in chosen.items() if k not in TRAINING}, **hyper}
    return check_hyper(cls, hyper), training


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {name!r} is none of auto, cpu, cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: this machine has no usable GPU. Use --device cpu.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _name_of(program: type[Program] | str | Path, cls: type[Program]) -> str:
    return cls.__name__.lower() if isinstance(program, type) else Path(program).stem


def _make_folder(path: Path, resume: bool) -> None:
    if resume:
        if not path.is_dir():
            raise UsageError(f"nothing to resume: there is no {path}. Leave --resume out.")
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists. Choose another --out, or go on with --resume.")
    path.mkdir(parents=True, exist_ok=True)


def _begin(path: Path, info: dict[str, Any], source: bytes, resume: bool) -> dict[str, Any]:
    """Write program.py and run.json, or check that those of the run to resume are of this program, data and settings."""
    if resume and (path / "run.json").is_file():
        stored = read_info(path)
        for key in ("program", "hyper", "training", "modalities", "data", "seed", "device"):
            ours = json.loads(json.dumps(info[key]))
            if key == "data":
                ours, theirs = ours["fingerprint"], stored[key]["fingerprint"]
            else:
                theirs = stored[key]
            if ours != theirs:
                kind = DataError if key in ("data", "modalities") else UsageError
                raise kind(f"{path}: cannot resume, the {key} differ{'s' if key in ('program', 'seed', 'device') else ''} from those of the run.")
        return stored
    write(path / "program.py", source)
    write_info(path, info)
    return info


class _Clock:
    """The learning-rate schedule and the program's progress, as functions of the step."""

    def __init__(self, program: Program, optimiser: torch.optim.Adam, training: Mapping[str, Any], steps: int) -> None:
        self.program, self.optimiser, self.steps = program, optimiser, steps
        self.lr, self.schedule = training["lr"], training["schedule"]

    def set(self, step: int) -> None:
        done = step / self.steps
        self.program.progress.fill_(done)
        if self.schedule == "cosine":
            for group in self.optimiser.param_groups:
                group["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * done))


def _train(
    cls: type[Program],
    dataset: Dataset,
    path: Path,
    info: dict[str, Any],
    device: torch.device,
    say: Callable[[Any], None],
    on_step: Callable[[Progress], None] | None,
) -> None:
    """Train to the end; `info` gets the result. The caller's generators, threads and settings are left as they were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(info["threads"])
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), gemm(info["gemm"]):
            torch.manual_seed(info["seed"])
            program = cls(dataset.modalities, **info["hyper"]).to(device)
            _Training(program, dataset, path, info, device, say, on_step).run()
    finally:
        torch.set_num_threads(threads)


class _Training:
    """The epochs of one fit."""

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        path: Path,
        info: dict[str, Any],
        device: torch.device,
        say: Callable[[Any], None],
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        self.program, self.path, self.info, self.device, self.say, self.on_step = program, path, info, device, say, on_step
        self.settings = info["training"]
        self.dataset = dataset
        self.train_rows = self._usable("train")
        if not len(self.train_rows):
            raise DataError(f"{dataset.name}: no training row has what {type(program).__name__} learns from.")
        self.valid = dataset.take(self._usable("valid"))
        self.train = dataset.take(self.train_rows)
        self.batch_size = min(self.settings["batch_size"], len(self.train))
        self.per_epoch = -(-len(self.train) // self.batch_size)
        self.steps = self.per_epoch * self.settings["epochs"]
        fused = {p.dtype for p in program.parameters()} <= {torch.float32, torch.float64}
        self.optimiser = torch.optim.Adam(program.parameters(), lr=self.settings["lr"], fused=fused)
        self.clock = _Clock(program, self.optimiser, self.settings, self.steps)
        self.step = Step(program, precision=self.settings["precision"], say=say)
        self.counters: dict[str, Any] = {"epoch": 0, "step": 0, "seconds": 0.0, "best": math.inf, "best_epoch": 0}
        self.writing = 0.0  # seconds spent on states in this process

    def _usable(self, split: Literal["train", "valid"]) -> Tensor:
        rows = self.dataset.rows(split)
        good = self.program.usable({k: v[rows] for k, v in self.dataset.observed.items()})
        left_out = int((~good).sum())
        if left_out:
            self.say(f"{left_out} of {len(rows)} {split} rows lack what {type(self.program).__name__} learns from: left out.")
        return rows[good]

    def run(self) -> None:
        started = time.monotonic()
        counters = load_state(self.path, self.program, self.optimiser)
        if counters is not None:
            self.counters = counters
            self.say(f"{self.path}: goes on after epoch {counters['epoch']}.")
        before = self.counters["seconds"]
        self._cut_metrics(self.counters["epoch"])
        lines: dict[str, Any] = {}
        for epoch in range(self.counters["epoch"] + 1, self.settings["epochs"] + 1):
            lines = self._epoch(epoch, before - started)
            better = lines["loss"]["valid"] is not None and lines["loss"]["valid"] < self.counters["best"]
            self.counters |= {"epoch": epoch, "seconds": before + time.monotonic() - started}
            if better:
                self.counters |= {"best": lines["loss"]["valid"], "best_epoch": epoch}
            self._log(lines)
            last = epoch == self.settings["epochs"] or self._patience_is_over()
            if better or last:
                self._write_weights(better or self.settings["patience"] is None or not self.counters["best_epoch"])
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
        generator = torch.Generator().manual_seed(self.info["seed"] * 1_000_003 + epoch)
        order = torch.randperm(len(self.train), generator=generator)
        sums: dict[str, Tensor] = {}
        for number, rows in enumerate(order.split(self.batch_size), 1):
            batch = values.batch(rows, self.program.encoded)
            self.clock.set(self.counters["step"])
            outcome = self.step(batch)
            loss = float(outcome.loss)
            if not math.isfinite(loss):
                bad = [n for n, v in outcome.values.items() if not math.isfinite(float(v))]
                raise FitError(
                    f"the loss is not finite: term {', '.join(bad) or 'sum'}, epoch {epoch}, batch {number}. "
                    "The last good state is kept; try a smaller --lr or --clip."
                )
            if self.settings["clip"] is not None:
                torch.nn.utils.clip_grad_norm_(self.program.parameters(), self.settings["clip"])
            self.optimiser.step()
            self.counters["step"] += 1
            for name, value in outcome.values.items():
                sums[name] = sums.get(name, 0.0) + value * len(rows)  # type: ignore[operator]
            self._report(epoch, number, loss, begun, time.monotonic() + offset)
        train = {name: float(total) / len(self.train) for name, total in sums.items()}
        weights = {name: float(w) for name, w in outcome.weights.items()}
        valid = self._validate() if len(self.valid) else {}
        return {
            "epoch": epoch,
            "train": train,
            "valid": valid,
            "weights": weights,
            "loss": {"train": _loss(train, weights), "valid": _loss(valid, weights) if valid else None},
            "metrics": self._metrics() if len(self.valid) else {},
            "seconds": time.monotonic() - begun,
        }

    def _refreshed(self, epoch: int) -> Dataset:
        """The training rows with the values that the data set makes anew for this epoch."""
        assert self.dataset.refresh is not None
        fresh = self.dataset.refresh(self.info["seed"], epoch)
        position = torch.full((len(self.dataset),), -1)
        position[self.dataset.rows("train")] = torch.arange(len(self.dataset.rows("train")))
        rows = position[self.train_rows]
        return self.train.replaced({name: value[rows] for name, value in fresh.items()})

    def _report(self, epoch: int, number: int, loss: float, begun: float, seconds: float) -> None:
        if self.on_step is None and self.say is None:
            return
        rate = number * self.batch_size / max(time.monotonic() - begun, 1e-9)
        left = (self.steps - self.counters["step"]) * self.batch_size / rate
        progress = Progress(epoch, self.settings["epochs"], self.counters["step"], self.steps, loss, seconds, rate, left)
        self.say(progress)
        if self.on_step is not None:
            self.on_step(progress)

    def _validate(self) -> dict[str, float]:
        """Every term on the validation rows, without gradient, with noise that is the same each epoch."""
        self.program.eval()
        sums: dict[str, Tensor] = {}
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(self.info["seed"])
            for rows in torch.arange(len(self.valid)).split(self.batch_size):
                with autocast(self.settings["precision"], self.device):
                    terms = self.program.objective(self.valid.batch(rows, self.program.encoded))
                for name, (value, _) in terms.items():
                    sums[name] = sums.get(name, 0.0) + value * len(rows)  # type: ignore[operator]
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
        answer = ask(self.program, valid, want=[m.name for m in labels], draws=4, seed=self.info["seed"])
        for m in labels:
            known = valid.observed[m.name].numpy()
            truth = valid.values[m.name].cpu().numpy()[known]
            if len(truth):
                guess = answer.want[m.name]["prob"].argmax(-1)[known]
                metrics[f"error.{m.name}"] = float((guess != truth).mean())
        return metrics

    def _patience_is_over(self) -> bool:
        patience = self.settings["patience"]
        return patience is not None and self.counters["epoch"] - self.counters["best_epoch"] >= patience

    def _write_weights(self, replace: bool) -> None:
        if replace:
            data = pack(dict(self.program.state_dict()))
            write(self.path / "weights.safetensors", data)
            self.info["sha256"]["weights.safetensors"] = sha256(data)
            write_info(self.path, self.info)

    def _log(self, line: dict[str, Any]) -> None:
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")

    def _cut_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """Keep the first `epochs` whole lines of metrics.jsonl (a killed fit may have written more)."""
        file = self.path / "metrics.jsonl"
        text = file.read_text().splitlines() if file.is_file() else []
        write(file, "".join(line + "\n" for line in text[:epochs]).encode())
        return [json.loads(line) for line in text[:epochs]]

    def _finish(self, lines: list[dict[str, Any]]) -> None:
        kept = self.counters["best_epoch"] if self.settings["patience"] and self.counters["best_epoch"] else len(lines)
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
