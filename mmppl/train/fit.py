"""Fit a program to data and leave a run folder."""

from __future__ import annotations

import errno
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from .. import __version__
from ..base.precision import best_path, gemm
from ..core.hyperparameters import check_hyper, hyper_parameters
from ..core.program import Program, blame, load_program, source_of
from ..data.dataset import Dataset, on_disk, read
from ..errors import DataError, FitError, MMPPLError, UsageError, suggest
from ..kernels.codegen.c_backend import available, compiled_kernels
from ..runs.compare import differing, in_words
from ..runs.run import Run
from ..runs.storage import FORMAT, locked, read_info, write_info
from .checkpoint import sha256, sweep, write
from .loop import Progress, Training

DEFAULTS: dict[str, Any] = dict(
    epochs=30, batch_size=128, lr=1e-3, schedule="cosine", clip=None, patience=None, precision="fp32"
)
OF_THE_FIT = (*DEFAULTS, "seed", "device", "data", "program", "hide")
"""What a run is told apart by beside its hyper-parameters, none of which can have one of these names."""


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
    """Fit a program and leave a run folder. Same seed, machine and call: the same bits, killed and resumed or not.

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
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"seed {seed} has more than 64 bits; choose a smaller one.")
    cls = program if isinstance(program, type) else load_program(program)
    hear = say or (lambda message: None)
    hyper, training = _settings(
        cls, hyper, preset, epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, clip=clip,
        patience=patience, precision=precision,
    )  # fmt: skip
    place = choose_device(device)
    spec = data if data is not None else cls.default_data
    dataset = read(spec, root=root, as_=as_, download=download)
    as_read = unhidden = dataset.fingerprint()
    if hide:
        whole = read(spec, root=root, as_=as_, hide=hide, hide_seed=seed)  # in units of what stays
        unhidden, dataset = whole.fingerprint(), whole.hide(rate=hide, seed=seed)
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
            "spec": _spec(spec),
            "name": dataset.name,
            "fingerprint": dataset.fingerprint(),
            "as_read": as_read,
            "unhidden": unhidden,
            "n": len(dataset),
            "options": {"root": os.path.abspath(root) if root else None, "as": dict(as_), "hide": hide},
        },
        "seed": seed,
        "threads": torch.get_num_threads(),
        "gemm": best_path() if place.type == "cpu" else "default",
        "kernels": "compiled" if place.type == "cpu" and available() else "pytorch",
        "versions": {name: version(name) for name in ("torch", "pyro-ppl", "numpy")}
        | {"python": platform.python_version()},
        "device": _device_name(place),
        "status": "running",
        "sha256": {"program.py": sha256(source)},
    }
    with torch.random.fork_rng(devices=[]), _blaming(cls):
        cls(dataset.modalities, **hyper)  # what the program refuses, it refuses before there is a folder
    _make_folder(path, resume)
    try:
        with locked(path):
            sweep(path)
            info = _begin(path, info, source, resume)
            if info["status"] != "done":
                hear(_understood(dataset))
                with _blaming(cls):
                    _train(cls, dataset, path, info, place, hear, on_step)
    except (UsageError, DataError):
        if not resume and not (path / "state").exists():
            _clear(path)  # nothing was learnt: the corrected command finds the place free
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FitError(
                f"{path}: the disk is full. Free some space and go on with --resume; nothing written before is lost."
            ) from None
        raise
    run = Run(path, read_info(path), cls)
    run.fitted_on = dataset
    return run


def _understood(dataset: Dataset, most: int = 8) -> str:
    """One line: what the data were taken for, so that a wrong guess is seen before anything is learnt from it."""
    words = []
    for m in dataset.modalities[:most]:
        how = m.likelihood if m.classes is None else f"{len(m.classes)} classes"
        shape = "×".join(map(str, m.shape))
        words.append(f"{m.name} ({', '.join(part for part in (shape, how, m.role * (m.role == 'label')) if part)})")
    more = [f"{len(dataset.modalities) - most} more"] if len(dataset.modalities) > most else []
    return f"{dataset.name}: {len(dataset):,} rows; {', '.join(words + more)}"


@contextmanager
def _blaming(cls: type[Program]) -> Iterator[None]:
    """Errors that the program's own code raises become a UsageError with file and line."""
    try:
        yield
    except (MMPPLError, OSError, MemoryError):
        raise
    except Exception as error:
        blamed = blame(error, cls)
        if blamed is None:
            raise
        raise blamed from error


def _spec(data: Any) -> str | None:
    """How to read the data again from anywhere: a recipe, a full path, or None for what is in memory."""
    if not isinstance(data, str | os.PathLike):
        return None
    return os.path.abspath(data) if on_disk(data) else os.fspath(data)


def _settings(
    cls: type[Program], hyper: Mapping[str, Any], preset: str | None, **given: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Hyper-parameters and training settings: the call over the preset over the program's over the library's."""
    for name in hyper_parameters(cls):
        if name in OF_THE_FIT:
            raise UsageError(
                f"{cls.__name__}: a hyper-parameter cannot be called {name}, as what belongs to every fit; rename it."
            )
    for name in cls.training:
        if name not in DEFAULTS:
            known = list(DEFAULTS)
            raise UsageError(
                f"{cls.__name__}: no training setting is called {name!r}; there are {', '.join(known)}."
                + suggest(name, known)
            )
    chosen: dict[str, Any] = {}
    if preset is not None:
        if preset not in cls.presets:
            known = sorted(cls.presets)
            raise UsageError(
                f"{cls.__name__} has no preset {preset!r}; it has {', '.join(known) or 'none'}."
                + suggest(preset, known)
            )
        chosen = cls.presets[preset]
    training = {**DEFAULTS, **cls.training, **{k: v for k, v in chosen.items() if k in DEFAULTS}}
    training |= {k: v for k, v in given.items() if v is not None}
    for name in ("epochs", "batch_size"):
        if training[name] < 1:
            raise UsageError(f"{name.replace('_', '-')} {training[name]} is not positive.")
    if training["clip"] is not None and not training["clip"] > 0:
        raise UsageError(f"clip {training['clip']} is not positive.")
    if training["patience"] is not None and training["patience"] < 1:
        raise UsageError(f"patience {training['patience']} is not at least one epoch.")
    if not training["lr"] > 0 or not math.isfinite(training["lr"]):
        raise UsageError(f"lr {training['lr']} is not positive.")
    for name, words in (("schedule", ("cosine", "constant")), ("precision", ("fp32", "bf16"))):
        if training[name] not in words:
            raise UsageError(f"{name} {training[name]!r} is neither {words[0]} nor {words[1]}.")
    hyper = {**{k: v for k, v in chosen.items() if k not in DEFAULTS}, **hyper}
    return check_hyper(cls, hyper), training


def choose_device(name: str) -> torch.device:
    """ "auto" is the GPU where there is a usable one; UsageError for "cuda" where there is none."""
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
        others = [p.name for p in path.iterdir() if p.name not in (".lock", "program.py") and p.suffix != ".part"]
        if others and not (path / "run.json").is_file():
            raise UsageError(f"nothing to resume: {path} is no run folder, it has {others[0]}. Choose another --out.")
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        if (path / ".lock").exists():
            with locked(path):  # a fit that is still writing it is the better reason to refuse
                pass
        raise UsageError(f"{path} exists. Choose another --out, or go on with --resume.")
    path.mkdir(parents=True, exist_ok=True)


def _clear(path: Path) -> None:
    """Remove a folder; where `path` is a link to it, the link stays, and an empty folder behind it."""
    folder = path.resolve()
    shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed must not hide why it has to be
    if path.is_symlink():
        folder.mkdir(exist_ok=True)


def _begin(path: Path, info: dict[str, Any], source: bytes, resume: bool) -> dict[str, Any]:
    """Write program.py and run.json, or check that the run to resume is of this program, data and settings."""
    if resume and (path / "run.json").is_file():
        stored = read_info(path)
        found = differing([info, stored])
        if not found and info["data"]["fingerprint"] != stored["data"]["fingerprint"]:
            found = {"data": [part["data"]["fingerprint"] for part in (info, stored)]}
        if found:
            kind = (
                DataError if all(name == "data" or name.startswith("likelihood of ") for name in found) else UsageError
            )
            what = in_words(found, ", the run has ")
            raise kind(f"{path}: cannot resume: {what}. Go on with what the run has, or choose another --out.")
        return stored
    write(path / "program.py", source)
    write_info(path, info)
    return info


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
    compiled = info.get("kernels") == "compiled"
    if compiled and not available():
        say(f"{path}: began with compiled kernels, and there is no C compiler now: it goes on to other bits.")
    try:
        with torch.random.fork_rng(devices), gemm(info["gemm"]), compiled_kernels(compiled):
            torch.manual_seed(info["seed"])
            program = cls(dataset.modalities, **check_hyper(cls, info["hyper"])).to(device)  # a resumed one's are JSON
            Training(program, dataset, path, info, device, say, on_step).run()
    finally:
        torch.set_num_threads(threads)
