"""Files that a killed process never leaves half-written: atomic writes, and the states that a fit resumes from."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..base.disk.parts import part_in, remove
from ..base.files import _sync_folder, pack, sha256, unpack, write, write_json
from ..base.typed_json import from_json
from ..core.program import Program
from ..errors import DataError
from ..runs.calibration import Calibration

# The files of a state.
FILES = ("weights.safetensors", "optimiser.safetensors", "generators.safetensors", "counters.json")
STATE = re.compile("step-[0-9]+")


@dataclass
class Counters:
    """How far a fit has come.

    Args:
        epoch: the last whole one, counted from 1.
        step: batches that are done, of all phases and folds.
        stage: of that epoch, counted from 0.
        begun: the epochs of the phase before.
        before: the batches of the phase before.
        selected: the epoch that was selected; 0: none is yet.
        frozen: names of what stays as it was found then.
        calibration: what was calibrated then; None: nothing.
        best: the smallest validation loss of the stage.
        best_epoch: the epoch that had it.
        seconds: of all epochs.
        files: file of the run → its hash at the end of that epoch; of metrics.jsonl as far as `logged` says.
        logged: bytes of metrics.jsonl.
    """

    epoch: int = 0
    step: int = 0
    stage: int = 0
    begun: int = 0
    before: int = 0
    selected: int = 0
    frozen: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    best: float = math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    logged: int = 0

    def __post_init__(self) -> None:
        numbers = (self.epoch, self.step, self.stage, self.best_epoch, self.logged)
        if min(*numbers, self.begun, self.before, self.selected) < 0:
            raise ValueError("a counter is negative")
        if self.selected > self.epoch or self.begun > self.epoch or bool(self.begun) > bool(self.selected):
            raise ValueError("epochs and phases do not fit")


def save_state(run: Path, program: Program, optimisers: dict[str, Tensor], counters: Counters) -> None:
    """Write state/step-N and point LATEST at it; of the older states only the one that LATEST named is kept.

    Args:
        run: the run folder.
        program: whose weights and buffers are written.
        optimisers: what the optimisers of the stage keep.
        counters: how far the fit has come.
    """
    folder = _state_folder(run)
    folder.mkdir(exist_ok=True)
    before = _latest(folder)
    place, staged = folder / f"step-{counters.step}", part_in(folder)
    staged.mkdir()
    generators = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    numbers = json.dumps(dataclasses.asdict(counters)).encode()
    contents = (pack(dict(program.state_dict())), pack(optimisers), pack(generators), numbers)
    files = dict(zip(FILES, contents))
    try:
        for name, data in files.items():
            write(staged / name, data)
        write_json(staged / "hashes.json", {name: sha256(data) for name, data in files.items()})
        remove(place)  # left by a run that died before LATEST named it
        os.replace(staged, place)
    finally:
        remove(staged)
    _sync_folder(folder)
    write(folder / "LATEST", place.name.encode())
    for old in folder.glob("step-*"):
        if old not in (place, before) and STATE.fullmatch(old.name):
            remove(old)


def load_state(run: Path, program: Program, restore: Callable[[Counters, dict[str, Tensor]], None]) -> bool:
    """Bring program, optimisers and generators to the newest whole state.

    Args:
        run: the run folder.
        program: gets the weights and buffers.
        restore: gets the counters and what the optimisers kept; its ValueError says why they do not fit.

    Returns:
        whether there is a state.

    Raises:
        DataError: the state that LATEST names is not what was written, or is not of this program.
    """
    place = _latest(_state_folder(run))
    if place is None:
        return False
    remedy = anew(run)
    files = _read_state(place, remedy)
    weights, optimisers, generators = (unpack(files[name], place / name) for name in FILES[:3])
    try:
        counters = from_json(Counters, json.loads(files["counters.json"]), whole=True)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place / 'counters.json'}: damaged ({error}). {remedy}") from None
    try:
        program.load_state_dict(weights)
        restore(counters, optimisers)
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{place}: weights, optimisers or generators do not fit ({reason}). {remedy}") from None
    return True


def anew(run: Path) -> str:
    """What to do where a state or a file that it tells of is damaged."""
    return f"Remove {run / 'state' / 'LATEST'} to start anew."


def has_state(run: Path) -> bool:
    """Whether a fit can go on from a state of this run."""
    return (run / "state" / "LATEST").is_file()


def _read_state(place: Path, remedy: str) -> dict[str, bytes]:
    """The files of a state, whose hashes are right."""
    try:
        hashes = json.loads((place / "hashes.json").read_bytes())
        files = {name: (place / name).read_bytes() for name in FILES}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}). {remedy}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{place / 'hashes.json'}: damaged, it is not what was written. {remedy}") from None
    for name, data in files.items():
        if not isinstance(hashes, dict) or hashes.get(name) != sha256(data):
            raise DataError(f"{place / name}: its hash is wrong, the file was changed. {remedy}")
    return files


def _state_folder(run: Path) -> Path:
    """RUN/state, which may not exist yet; DataError when it is a link, through which nothing is written or removed."""
    folder = run / "state"
    if folder.is_symlink():
        raise DataError(f"{folder}: a link, and states want a folder of the run's own. Move what it points to here.")
    return folder


def _latest(folder: Path) -> Path | None:
    """The state that LATEST names; None where there is no LATEST, DataError when it names no state of this folder."""
    file = folder / "LATEST"
    try:
        name = file.read_bytes().decode("ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Remove it to start anew.") from None
    except UnicodeDecodeError:
        name = ""
    if not STATE.fullmatch(name) or (folder / name).is_symlink():
        raise DataError(f"{file}: damaged, it names no state of this run. Remove it to start anew.")
    return folder / name


def sweep(run: Path) -> None:
    """Remove what was left half-written, whoever wrote it. Call it with the run's lock held."""
    for part in [*run.glob(".*.part"), *_state_folder(run).glob(".*.part")]:
        remove(part)
