"""Fit a program to data and leave a run folder."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from .. import __version__
from ..base.files import sha256
from ..base.precision import matmul_precision, probe_matmul
from ..core.hyperparameters import check_hyper
from ..core.loading import blame, load_program, source_of, use_file
from ..core.program import Program
from ..data.dataset import Dataset
from ..data.read import read
from ..data.recipes.registry import on_disk
from ..errors import DataError, FitError, MMPPLError, UsageError
from ..kernels.codegen.c_backend import available, compiled_kernels
from ..runs.record import FORMAT
from ..runs.run import Run
from ..runs.storage import begin_folder, clear_folder, locked, make_folder
from .checkpoint import sweep
from .loop import Progress, Training
from .settings import _settings, choose_device


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
    log: Callable[[Any], None] | None = None,
    root: str | Path | None = None,
    as_: Mapping[str, str] = {},
    hide: float = 0.0,
    download: bool = False,
    use: Sequence[str | Path] = (),
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
        use: Python files that register likelihoods, readers, recipes, metrics or figures; their hashes are stored.
        root, as_, download: passed to `mmppl.read`. hide: share of the modalities to hide at random (seeded).
    Returns: the Run.
    Raises: UsageError, DataError, LockedError; FitError for a loss that is not finite or a full disk.
    """
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"seed {seed} has more than 64 bits; choose a smaller one.")
    used = [{"name": Path(file).name, "sha256": use_file(file)} for file in use]
    cls = program if isinstance(program, type) else load_program(program)
    log = log or (lambda message: None)
    hyper, training = _settings(
        cls, hyper, preset, epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, clip=clip,
        patience=patience, precision=precision,
    )  # fmt: skip
    place = choose_device(device)
    spec = data if data is not None else cls.default_data
    dataset = read(spec, root=root, as_=as_, hide=hide, hide_seed=seed, download=download)
    path = Path(out) if out is not None else Path("runs") / f"{cls.__name__.lower()}-{datetime.now():%Y%m%d-%H%M%S}"
    source = source_of(cls)
    info = {
        "format": FORMAT,
        "mmppl": __version__,
        "program": {"name": _name_of(program, cls), "sha256": sha256(source)},
        **({"use": used} if used else {}),
        "hyper": hyper,
        "training": training,
        "modalities": [m.to_json() for m in dataset.modalities],
        "data": {
            "spec": _spec(spec),
            "name": dataset.name,
            **dataset.fingerprints(),
            "n": len(dataset),
            "options": {"root": os.path.abspath(root) if root else None, "as": dict(as_), "hide": hide},
        },
        "seed": seed,
        "threads": torch.get_num_threads(),
        "gemm": probe_matmul() if place.type == "cpu" else "default",
        "kernels": "compiled" if place.type == "cpu" and available() else "pytorch",
        "versions": {name: version(name) for name in ("torch", "pyro-ppl", "numpy")}
        | {"python": platform.python_version()},
        "device": _device_name(place),
        "status": "running",
        "sha256": {"program.py": sha256(source)},
    }
    with torch.random.fork_rng(devices=[]), _blaming(cls):
        cls(dataset.modalities, **hyper)  # what the program refuses, it refuses before there is a folder
    make_folder(path, resume)
    try:
        with locked(path):
            sweep(path)
            info = begin_folder(path, info, source, resume)
            if info["status"] != "done":
                log(_understood(dataset))
                with _blaming(cls):
                    _train(cls, dataset, path, info, place, log, on_step)
    except (UsageError, DataError):
        if not resume and not (path / "state").exists():
            clear_folder(path)  # nothing was learnt: the corrected command finds the place free
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FitError(
                f"{path}: the disk is full. Free some space and go on with --resume; nothing written before is lost."
            ) from None
        raise
    run = Run.load(path, program=cls)
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


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _name_of(program: type[Program] | str | Path, cls: type[Program]) -> str:
    return cls.__name__.lower() if isinstance(program, type) else Path(program).stem


def _train(
    cls: type[Program],
    dataset: Dataset,
    path: Path,
    info: dict[str, Any],
    device: torch.device,
    log: Callable[[Any], None],
    on_step: Callable[[Progress], None] | None,
) -> None:
    """Train to the end; `info` gets the result. The caller's generators, threads and settings are left as they were."""
    threads = torch.get_num_threads()
    torch.set_num_threads(info["threads"])
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    compiled = info.get("kernels") == "compiled"
    if compiled and not available():
        log(f"{path}: began with compiled kernels, and there is no C compiler now: it goes on to other bits.")
    try:
        with torch.random.fork_rng(devices), matmul_precision(info["gemm"]), compiled_kernels(compiled):
            torch.manual_seed(info["seed"])
            program = cls(dataset.modalities, **check_hyper(cls, info["hyper"])).to(device)  # a resumed one's are JSON
            Training(program, dataset, path, info, device, log, on_step).run()
    finally:
        torch.set_num_threads(threads)
