"""Files that a killed process never leaves half-written: atomic writes, and the states that a fit resumes from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from .errors import DataError
from .program import Program

KEEP = 2  # states kept beside each other: the newest and one before it


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: written beside it, flushed to the disk, then renamed."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(staged, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write_json(path: Path, data: Any) -> None:
    write(path, json.dumps(data, indent=1).encode())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack(tensors: dict[str, Tensor]) -> bytes:
    """Tensors as safetensors bytes, on the CPU and contiguous."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def unpack(data: bytes, where: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise DataError(f"{where}: not a safetensors file ({error}). Restore it or fit again.") from None


def save_state(run: Path, step: int, program: Program, optimiser: torch.optim.Adam, counters: dict[str, Any]) -> None:
    """Write state/step-N and point LATEST at it; older states but one are removed.

    Args:
        counters: JSON-able (epoch, best loss, seconds, ...).
    """
    folder = run / "state"
    folder.mkdir(exist_ok=True)
    place, staged = folder / f"step-{step}", folder / f".step-{step}.{os.getpid()}.part"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    generators = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    moments: dict[str, Tensor] = {}
    for name, parameter in program.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            moments[f"{key}/{name}"] = torch.as_tensor(value)
    files = {
        "weights.safetensors": pack(dict(program.state_dict())),
        "optimiser.safetensors": pack(moments),
        "generators.safetensors": pack(generators),
        "counters.json": json.dumps(counters).encode(),
    }
    try:
        for name, data in files.items():
            write(staged / name, data)
        write_json(staged / "hashes.json", {name: sha256(data) for name, data in files.items()})
        shutil.rmtree(place, ignore_errors=True)  # left by a run that died before LATEST named it
        os.replace(staged, place)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    _sync_folder(folder)
    write(folder / "LATEST", place.name.encode())
    states = sorted(folder.glob("step-*"), key=lambda p: int(p.name[5:]))
    for old in states[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def load_state(run: Path, program: Program, optimiser: torch.optim.Adam) -> dict[str, Any] | None:
    """Bring program, optimiser and generators to the newest whole state; its counters, or None where there is none.

    Raises: DataError when a file of the state that LATEST names has another hash than it was written with.
    """
    latest = run / "state" / "LATEST"
    if not latest.is_file():
        return None
    place = run / "state" / latest.read_text().strip()
    try:
        hashes = json.loads((place / "hashes.json").read_text())
        files = {name: (place / name).read_bytes() for name in hashes}
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: cannot be read ({error}). Remove {latest} to start anew.") from None
    for name, data in files.items():
        if sha256(data) != hashes[name]:
            raise DataError(f"{place / name}: its hash is wrong, the file was changed. Remove {latest} to start anew.")
    program.load_state_dict(unpack(files["weights.safetensors"], place))
    moments = unpack(files["optimiser.safetensors"], place)
    for name, parameter in program.named_parameters():
        state = {k.split("/", 1)[0]: v for k, v in moments.items() if k.split("/", 1)[1] == name}
        if state:
            optimiser.state[parameter] = {k: v.to(parameter.device) for k, v in state.items()}
    generators = unpack(files["generators.safetensors"], place)
    torch.set_rng_state(generators["cpu"])
    if "cuda" in generators and torch.cuda.is_available():
        torch.cuda.set_rng_state(generators["cuda"])
    return json.loads(files["counters.json"])


def sweep(run: Path) -> None:
    """Remove what dead processes left half-written. Call it with the run's lock held."""
    for part in [*run.glob(".*.part"), *run.glob("state/.*.part")]:
        shutil.rmtree(part) if part.is_dir() else part.unlink()
