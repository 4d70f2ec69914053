"""The files of a run folder: run.json with its digest, hashes, the lock, the model card."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..train.checkpoint import sha256, write, write_json
from ..errors import DataError, LockedError, UsageError, suggest
from ..modalities.modality import Modality

FORMAT = 1


def write_info(path: Path, info: dict[str, Any]) -> None:
    """Write run.json with a digest of itself."""
    info = {k: v for k, v in info.items() if k != "digest"}
    write_json(path / "run.json", {**info, "digest": _digest(info)})


def read_info(path: Path) -> dict[str, Any]:
    """run.json of a run folder; UsageError when there is none, DataError when it is not what was written."""
    if path.is_file():
        raise UsageError(f"{path}: a file, and a run is the folder that a fit has left (see --out of `mmppl fit`).")
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UsageError(f"no run at {path}.{suggest(path.name, siblings)}")
    file = path / "run.json"
    if not file.is_file():
        raise UsageError(f"{path} is no run folder: it has no run.json. Fit one with `mmppl fit PROGRAM --out {path}`.")
    try:
        info = json.loads(file.read_bytes())
        digest = info.pop("digest")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Restore it or fit again.") from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise DataError(f"{file}: damaged, it is not what was written. Restore it or fit again.") from None
    if digest != _digest(info):
        raise DataError(f"{file}: its hash is wrong, the file was changed. Restore it or fit again.")
    if info.get("format") != FORMAT:
        found = info.get("format")
        raise DataError(f"{file}: format {found}, this version reads {FORMAT}. Use the version that wrote it.")
    if not _complete(info):
        raise DataError(f"{file}: lacks what a fit writes, or has it in another form. Restore it or fit again.")
    return info


def _complete(info: Mapping[str, Any]) -> bool:
    """Whether all that others read is there, of the right kind."""
    kinds = {"hyper": dict, "training": dict, "data": dict, "sha256": dict, "seed": int, "status": str}
    try:
        schema = [Modality.from_json(m) for m in info["modalities"]]
        names = [info["program"][key] for key in ("name", "sha256")]
        options = info["data"]["options"]
    except (KeyError, TypeError, AttributeError, ValueError, UsageError):
        return False
    right = all(isinstance(info.get(key), kind) for key, kind in kinds.items()) and isinstance(options, dict)
    return right and bool(schema) and all(isinstance(name, str) for name in names)


def _digest(info: Mapping[str, Any]) -> str:
    return sha256(json.dumps(info, sort_keys=True).encode())


def read_checked(path: Path, info: Mapping[str, Any], name: str) -> bytes:
    """Bytes of a file of the run; DataError when missing or of another hash than run.json says."""
    file = path / name
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Restore it or fit again.") from None
    if sha256(data) != info["sha256"].get(name):
        raise DataError(f"{file}: its hash is wrong, the file was changed. Restore it or fit again.")
    return data


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder's lock. The lock dies with its process.

    Raises: LockedError when another fit holds it; DataError when it is a link; UsageError where there are no locks.
    """
    file = path / ".lock"
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        if file.is_symlink():
            raise DataError(f"{file}: a link, and a lock is a file of the run's own. Remove it.") from None
        raise
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{path}: another fit is writing this run. Wait for it, or choose another --out."
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path}: its file system has no locks ({error.strerror}). Choose an --out on a local disk."
            ) from None
        yield
    finally:
        os.close(descriptor)


def figures_folder(path: Path) -> Path:
    """RUN/figures, made where there is none. Raises: DataError where it is not a folder of the run's own."""
    folder = path / "figures"
    if folder.is_symlink() or folder.is_file():
        raise DataError(f"{folder}: a link or a file, and the figures want a folder of the run's own. Remove it.")
    folder.mkdir(exist_ok=True)
    return folder


def data_told(info: Mapping[str, Any]) -> str:
    """What a run was fitted on, for people: the recipe or file, or the name of what was in memory."""
    return info["data"]["spec"] or info["data"].get("name", "arrays")


def write_card(path: Path, info: Mapping[str, Any]) -> None:
    """README.md of the run: what it is, on what, with what result, how to ask it."""
    result, training = info["result"], info["training"]
    schema = [Modality.from_json(m) for m in info["modalities"]]
    lines = [
        f"# {info['program']['name']} on {data_told(info)}",
        "",
        f"Fitted with mmppl {info['mmppl']}: {result['epochs']} epochs, batches of {training['batch_size']}, "
        f"seed {info['seed']}, {result['seconds']:.0f} s on {info['device']}.",
        "",
        "| modality | shape | likelihood | role |",
        "|---|---|---|---|",
        *(f"| {m.name} | {m.shape} | {m.likelihood} | {m.role} |" for m in schema),
        "",
        "| term (validation, nats per row) | value | weight |",
        "|---|---|---|",
        *(f"| {n} | {v:.4g} | {result['weights'][n]:.4g} |" for n, v in result["terms"].items()),
        "",
        "Hyper-parameters: " + (", ".join(f"{k}={v}" for k, v in info["hyper"].items()) or "defaults") + ".",
        "",
        f"Ask it: `mmppl query {path}`; judge it: `mmppl evaluate {path}`.",
        "",
    ]
    write(path / "README.md", "\n".join(lines).encode())
