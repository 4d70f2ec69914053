"""run.json, with its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..base.files import sha256, write_json
from ..errors import DataError, UsageError, suggest
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


def data_told(info: Mapping[str, Any]) -> str:
    """What a run was fitted on, for people: the recipe or file, or the name of what was in memory."""
    return info["data"]["spec"] or info["data"].get("name", "arrays")
