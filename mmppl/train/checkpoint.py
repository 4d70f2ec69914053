"""Files that a killed process never leaves half-written: atomic writes, and the states that a fit resumes from."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base.files import _remove, _sync_folder, pack, sha256, unpack, write, write_json
from ..core.program import Program
from ..errors import DataError

# The files of a state, what Adam keeps of a parameter, and the counters that a fit goes on from.
FILES = ("weights.safetensors", "optimiser.safetensors", "generators.safetensors", "counters.json")
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
COUNTERS = ("epoch", "step", "best_epoch", "seconds", "best")
STATE = re.compile("step-[0-9]+")


def save_state(run: Path, step: int, program: Program, optimiser: torch.optim.Adam, counters: dict[str, Any]) -> None:
    """Write state/step-N and point LATEST at it; of the older states only the one that LATEST named is kept.

    Args:
        counters: JSON-able (epoch, best loss, seconds, ...).
    """
    folder = _state_folder(run)
    folder.mkdir(exist_ok=True)
    before = _latest(folder)
    place, staged = folder / f"step-{step}", folder / f".step-{step}.{os.getpid()}.part"
    _remove(staged)
    staged.mkdir()
    generators = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    moments: dict[str, Tensor] = {}
    for name, parameter in program.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            moments[f"{key}/{name}"] = torch.as_tensor(value)
    contents = (pack(dict(program.state_dict())), pack(moments), pack(generators), json.dumps(counters).encode())
    files = dict(zip(FILES, contents))
    try:
        for name, data in files.items():
            write(staged / name, data)
        write_json(staged / "hashes.json", {name: sha256(data) for name, data in files.items()})
        _remove(place)  # left by a run that died before LATEST named it
        os.replace(staged, place)
    finally:
        _remove(staged)
    _sync_folder(folder)
    write(folder / "LATEST", place.name.encode())
    for old in folder.glob("step-*"):
        if old not in (place, before) and STATE.fullmatch(old.name):
            _remove(old)


def load_state(run: Path, program: Program, optimiser: torch.optim.Adam) -> dict[str, Any] | None:
    """Bring program, optimiser and generators to the newest whole state; its counters, or None where there is none.

    Raises: DataError when the state that LATEST names is not what was written, or is not of this program.
    """
    place = _latest(_state_folder(run))
    if place is None:
        return None
    remedy = f"Remove {place.with_name('LATEST')} to start anew."
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
    weights, moments, generators = (unpack(files[name], place / name) for name in FILES[:3])
    counters = _counters(files["counters.json"])
    if counters is None:
        raise DataError(f"{place / 'counters.json'}: damaged, a fit goes on from {', '.join(COUNTERS)}. {remedy}")
    try:
        program.load_state_dict(weights)
        torch.set_rng_state(generators["cpu"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{place}: weights or generators do not fit ({reason}). {remedy}") from None
    for name, parameter in program.named_parameters():
        state = {key: moments.pop(f"{key}/{name}") for key in MOMENTS if f"{key}/{name}" in moments}
        shapes = {key: tuple(value.shape) for key, value in state.items()}
        if state and shapes != {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}:
            raise DataError(f"{place}: the optimiser's moments of {name} do not fit. {remedy}")
        if state:
            optimiser.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}
    if moments:
        raise DataError(f"{place}: moments of no parameter ({min(moments)}). {remedy}")
    return counters


def _counters(data: bytes) -> dict[str, Any] | None:
    """The counters of a state, None where they are not what was written."""
    try:
        counters = json.loads(data)
        good = all(type(counters[name]) is int and counters[name] >= 0 for name in COUNTERS[:3])
        return counters if good and all(type(counters[name]) in (int, float) for name in COUNTERS[3:]) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


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
    """Remove what dead processes left half-written. Call it with the run's lock held."""
    for part in [*run.glob(".*.part"), *_state_folder(run).glob(".*.part")]:
        _remove(part)
