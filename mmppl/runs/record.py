"""What a run says of itself: `RunRecord`, which run.json is written from and read into, with its digest."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..base.files import read_regular, sha256, write_json
from ..base.json_text import parse_json
from ..base.typed_json import from_json
from ..errors import DataError, UsageError, suggest
from ..modalities.modality import Modality
from .calibration import Calibration

FORMAT = 3
METRICS, PROGRAM = "metrics.jsonl", "program.py"  # files of a run
WEIGHTS = re.compile(r"weights-([0-9a-f]{16})\.safetensors")  # and the one that its weights are in, named by its hash
LARGEST = 2**28  # bytes of run.json
LONGEST = 4096  # letters of a path
HASH, ID = re.compile("[0-9a-f]{64}"), re.compile("([0-9a-f]{32})?")


@dataclass(frozen=True)
class ProgramRecord:
    """Which program was fitted.

    Args:
        name: of its file or, for a class, of the class in lower case.
        sha256: of its source.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        _check_file(self.name, self.sha256)


@dataclass(frozen=True)
class UsedFile:
    """A file of the user's own that registered something for the fit.

    Args:
        name: of the file.
        sha256: of its content.
    """

    name: str
    sha256: str

    def __post_init__(self) -> None:
        _check_file(self.name, self.sha256)


@dataclass(frozen=True)
class DataRecord:
    """What a run was fitted on.

    Args:
        spec: how to read it again: a recipe or a full path; None for what was in memory.
        name: of the data set.
        n: its number of rows.
        fingerprint: of the data as they were trained on.
        as_read: of the data in the units of all training rows, before anything was hidden.
        unhidden: of the data before anything was hidden, in the units of what stays.
        root: folder of the files that a recipe needs; None: $MMPPL_DATA.
        declared: name → likelihood, as `as_` of the fit declared it, or `as_` of `read` before it.
        hide: share of the modalities that was hidden at random.
        hide_cells: share of the single cells that was.
        unseen: label → its classes that no training row has.
        target: the names of the labels, where the fit named them.
    """

    spec: str | None
    name: str
    n: int
    fingerprint: str
    as_read: str
    unhidden: str
    root: str | None = None
    declared: dict[str, str] = field(default_factory=dict)
    hide: float = 0.0
    hide_cells: float = 0.0
    unseen: dict[str, tuple[str | int, ...]] = field(default_factory=dict)
    target: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check(0 <= self.n < 2**53, "n", self.n, "a number of rows")
        for name in ("hide", "hide_cells"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share from 0 to below 1")
        for name in ("fingerprint", "as_read", "unhidden"):
            _check(HASH.fullmatch(getattr(self, name)), name, getattr(self, name), "64 hexadecimal digits")
        for name in ("spec", "root"):
            text = getattr(self, name) or ""
            _check("\0" not in text and len(text) <= LONGEST, name, text, f"no null byte and up to {LONGEST} letters")

    @property
    def told(self) -> str:
        """The data in words: the recipe or file, or the name of what was in memory."""
        return self.spec or self.name


@dataclass(frozen=True)
class ResultRecord:
    """How a fit ended.

    Args:
        epochs: how many were run, of all phases.
        seconds: of all of them.
        loss: in nats per row, on the rows that were held out (at the selected step; of folds, the mean over all rows),
            else on the training rows.
        terms: name → value, of the same rows.
        weights: name → weight.
        metrics: name → value, on the validation rows; None where it is not finite.
        steps: gradient steps behind the weights that are kept.
        steps_taken: gradient steps of all phases and folds.
        selected_step: the step whose weights served the held-out rows best; None: the last weights were kept.
        calibration: what was calibrated on the validation rows afterwards; None: nothing.
    """

    epochs: int
    seconds: float
    loss: float
    terms: dict[str, float]
    weights: dict[str, float]
    metrics: dict[str, float | None]
    steps: int
    steps_taken: int
    selected_step: int | None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "steps_taken", "selected_step"):
            number = getattr(self, name)
            _check(number is None or 1 <= number < 2**53, name, number, "at least 1")
        _check(self.seconds >= 0, "seconds", self.seconds, "at least 0")
        _check(self.terms.keys() <= self.weights.keys(), "weights", list(self.weights), "one for each term")
        numbers = {"seconds": self.seconds, "loss": self.loss, **self.terms, **self.weights}
        for name, value in numbers.items():
            _check(math.isfinite(value), name, value, "a finite number")

    def to_json(self) -> dict[str, Any]:
        """The fields as they stand in run.json."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class RunRecord:
    """What a run says of itself: plain data, which goes to run.json and back.

    Args:
        program: which was fitted.
        hyper: its hyper-parameters, those that were given.
        training: settings of the fit (`train.settings.FitSettings`), less seed and device.
        modalities: the schema, with the scaling of the training data.
        data: what it was fitted on.
        seed: of the fit, and of what was hidden from it.
        threads: that matrix products were shared between.
        gemm: path of the matrix products.
        kernels: "compiled" or "pytorch".
        device: name of the device.
        versions: package → version.
        status: "running" or "done".
        sha256: file of the run → its hash; of metrics.jsonl as far as `logged` says.
        logged: bytes of metrics.jsonl that are hashed; all of them once the fit is done.
        result: how it ended; None until then.
        use: files of the user's own that the fit used.
        terms: that were added to the program's own, as `--term` takes them.
        mmppl: version of the library.
        format: of the run folder.
        id: 32 random hexadecimal digits; "": none, as in a run that nobody has fitted.

    Example:
        >>> RunRecord.from_json(run.record.to_json()) == run.record  # doctest: +SKIP
        True
    """

    program: ProgramRecord
    hyper: dict[str, Any]
    training: dict[str, Any]
    modalities: tuple[Modality, ...]
    data: DataRecord
    seed: int
    threads: int
    gemm: Literal["default", "onednn"]
    kernels: Literal["compiled", "pytorch"]
    device: str
    versions: dict[str, str]
    status: Literal["running", "done"]
    sha256: dict[str, str]
    logged: int
    mmppl: str
    result: ResultRecord | None = None
    use: tuple[UsedFile, ...] = ()
    terms: tuple[str, ...] = ()
    format: int = FORMAT
    id: str = ""

    def __post_init__(self) -> None:
        _check(ID.fullmatch(self.id), "id", self.id, "32 hexadecimal digits")
        _check(-(2**63) <= self.seed < 2**64, "seed", self.seed, "64 bits")
        _check(1 <= self.threads <= 2**16, "threads", self.threads, "at least 1, and no more than a machine has")
        names = [m.name for m in self.modalities]
        _check(names and len(set(names)) == len(names), "modalities", names, "one or several, each with its own name")
        _check(self.data.unseen.keys() <= set(names), "data.unseen", list(self.data.unseen), "names of modalities")
        for name, value in self.sha256.items():
            _check_file(name, value, "a name in sha256", f"sha256.{name}")
            found = WEIGHTS.fullmatch(name)
            _check(found or name in (METRICS, PROGRAM), "a name in sha256", name, "that of a file of a run")
            _check(not found or found[1] == value[:16], f"sha256.{name}", value, "the hash in its name")
        weights = [name for name in self.sha256 if WEIGHTS.fullmatch(name)]
        _check(len(weights) <= 1, "sha256", weights, "one file of weights")
        _check(self.logged >= 0, "logged", self.logged, "a number of bytes")
        for place in ("hyper", "training"):
            for name, value in getattr(self, place).items():
                _check(_plain(value), f"{place}.{name}", value, "a number, text or a list of these")

    def to_json(self) -> dict[str, Any]:
        """The content of run.json, less its digest."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        kept["modalities"] = [m.to_json() for m in self.modalities]
        kept |= {name: dataclasses.asdict(kept[name]) for name in ("program", "data")}
        kept["use"] = [dataclasses.asdict(file) for file in self.use]
        kept["result"] = None if self.result is None else self.result.to_json()
        return kept

    @classmethod
    def from_json(cls, data: Any) -> RunRecord:
        """The record of what `to_json` gave.

        Raises:
            ValueError: a field is missing, unknown, of another type or out of range.
        """
        return from_json(cls, data)

    @property
    def weights(self) -> str | None:
        """The file of the weights; None where there are none yet."""
        return next((name for name in self.sha256 if WEIGHTS.fullmatch(name)), None)

    def with_weights(self, data: bytes) -> RunRecord:
        """The same with other weights.

        Args:
            data: the content of their file, which `weights` of the result names.
        """
        others = {name: found for name, found in self.sha256.items() if not WEIGHTS.fullmatch(name)}
        return dataclasses.replace(self, sha256={**others, f"weights-{sha256(data)[:16]}.safetensors": sha256(data)})

    def with_metrics(self, length: int, found: str) -> RunRecord:
        """The same with a longer or shorter metrics.jsonl.

        Args:
            length: how many bytes it has, of whole lines.
            found: the hash of those bytes.
        """
        return dataclasses.replace(self, logged=length, sha256={**self.sha256, METRICS: found})


def write_record(path: Path, record: RunRecord) -> None:
    """Write run.json with a digest of itself."""
    data = record.to_json()
    write_json(path / "run.json", {**data, "digest": _digest(data)})


def read_record(path: Path) -> RunRecord:
    """The record of a run folder.

    Raises:
        UsageError: there is none.
        DataError: run.json is not what was written.
    """
    if os.path.isfile(path):  # which knows no errors of the path
        raise UsageError(f"{path}: a file, and a run is the folder that a fit has left (see --out of `mmppl fit`).")
    if not os.path.isdir(path):
        siblings = [p.name for p in path.parent.iterdir()] if os.path.isdir(path.parent) else []
        raise UsageError(f"no run at {path}.{suggest(path.name, siblings)}")
    file = path / "run.json"
    if not os.path.lexists(file):
        raise UsageError(f"{path} is no run folder: it has no run.json. Fit one with `mmppl fit PROGRAM --out {path}`.")
    try:
        data = parse_json(read_regular(file, LARGEST))
        digest = data.pop("digest")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). Restore it or fit again.") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{file}: damaged, it is not what was written. Restore it or fit again.") from None
    if digest != _digest(data):
        raise DataError(f"{file}: its hash is wrong, the file was changed. Restore it or fit again.")
    if data.get("format") != FORMAT:
        found = data.get("format")
        raise DataError(f"{file}: format {found}, this version reads {FORMAT}. Use the version that wrote it.")
    try:
        return RunRecord.from_json(data)
    except (ValueError, UsageError) as error:
        raise DataError(f"{file}: not what a fit writes: {error}. Restore it or fit again.") from None


def _digest(data: Mapping[str, Any]) -> str:
    return sha256(json.dumps(data, sort_keys=True).encode())


def _check(good: Any, name: str, value: Any, expected: str) -> None:
    """Raise a ValueError that names the field where its value is not good."""
    if not good:
        raise ValueError(f"{name} is {value!r:.40}, expected {expected}")


def _check_file(name: str, hashed: str, of_name: str = "name", of_hash: str = "sha256") -> None:
    """A file is known by its name in its folder, and by its hash."""
    part = name and name not in (".", "..") and not set(name) & {"/", os.sep, "\0"}
    _check(part, of_name, name, "the name of a file, without a folder")
    _check(HASH.fullmatch(hashed), of_hash, hashed, "64 hexadecimal digits")


def _plain(value: Any, deep: int = 3) -> bool:
    """Whether a setting is what a command line can give: a scalar, or lists of scalars."""
    if isinstance(value, list | tuple):
        return deep > 0 and all(_plain(part, deep - 1) for part in value)
    return value is None or isinstance(value, int | str) or (isinstance(value, float) and math.isfinite(value))
