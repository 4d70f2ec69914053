"""The program of a run with its weights. What run.json asks for is compared with the header of the weights file before
anything of that size is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..base.files import check_regular, unpack
from ..base.memory import check_room
from ..base.turns import turn
from ..core.added_terms import without_added
from ..core.hyperparameters import check_hyper
from ..core.program import Program
from ..errors import DataError, MMPPLError
from .record import RunRecord
from .storage import read_checked

Schema = Mapping[str, tuple[str, tuple[int, ...]]]  # name → type and shape of a tensor

RESTORE = "Restore the run or fit again."
STEPS, NUMBERS = 10_000, 2**22  # calls of PyTorch and numbers with which a program may be built, and ...
STEPS_EACH, NUMBERS_EACH = 200, 8  # ... more for each tensor and each number of its weights
HEADER = 2**16  # bytes of the file for names and shapes, and ...
HEADER_EACH = 2**10  # ... for each tensor
LONGEST = 16  # bytes of a number


class OversizeError(Exception):
    """A program makes more than its weights file has."""


def with_weights(cls: type[Program], folder: Path, record: RunRecord, name: str) -> Program:
    """Build the program of a run with its weights, without the terms that the fit added to it.

    Args:
        cls: the class of the program.
        folder: the run folder.
        record: the record of the run.
        name: of the file of the weights.

    Returns:
        The program.

    Raises:
        UsageError: the class or a likelihood refuses what run.json says.
        DataError: the weights file is damaged or is not that of such a program.
    """
    file = folder / name
    for m in record.modalities:
        m.check_learnt()
    hyper = check_hyper(cls, record.hyper)  # JSON knows no tuples
    shapes, size = _header(file)
    if record.terms:
        shapes = without_added(shapes)
    planned = _planned(cls, folder, record, hyper, shapes)
    if planned is not None:
        _compare(folder, planned, shapes)
    check_room(2 * size, f"{file}: the program with these weights")
    built = _build(cls, folder, record, hyper)
    _compare(folder, _schema(built), shapes)
    found = unpack(read_checked(folder, record, name, size), file)
    built.load_state_dict(without_added(found) if record.terms else found)
    if wrong := [name for name, values in built.named_parameters() if not values.isfinite().all()]:
        raise DataError(f"{file}: {wrong[0]} is not finite, and no fit ends so. {RESTORE}")
    return built


def _header(file: Path) -> tuple[Schema, int]:
    """What a weights file says that it has, and its bytes. The rest of it is not read."""
    try:
        size = check_regular(file)
        with safe_open(file, "pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # it is no dict
            shapes = {name: (str(one.get_dtype()), tuple(one.get_shape())) for name, one in slices.items()}
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}). {RESTORE}") from None
    except SafetensorError as error:
        raise DataError(f"{file}: not a safetensors file ({error}). {RESTORE}") from None
    numbers = sum(math.prod(shape) for _, shape in shapes.values())
    if size > HEADER + HEADER_EACH * len(shapes) + LONGEST * numbers:
        raise DataError(f"{file}: {size:,} bytes are too many for its {len(shapes)} tensors. {RESTORE}")
    return shapes, size


def _planned(
    cls: type[Program], folder: Path, record: RunRecord, hyper: Mapping[str, Any], shapes: Schema
) -> Schema | None:
    """The schema of the program, built without memory for its numbers; None if it cannot be built so."""
    try:
        with turn(), torch.device("meta"), _Planning(shapes):
            return _schema(cls(record.modalities, **hyper))
    except OversizeError:
        raise DataError(f"{folder}: run.json describes a larger program than its weights are of. {RESTORE}") from None
    except MMPPLError:
        raise
    except Exception:  # a program may look at numbers while it is built
        return None


def _build(cls: type[Program], folder: Path, record: RunRecord, hyper: Mapping[str, Any]) -> Program:
    try:
        with turn(), torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and thrown away
            return cls(record.modalities, **hyper)
    except (MMPPLError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{folder}: its program cannot be built from run.json ({reason:.200}). {RESTORE}") from None


def _schema(program: Program) -> Schema:
    return {name: (str(t.dtype), tuple(t.shape)) for name, t in program.state_dict().items()}


def _kind(dtype: str) -> str:
    """The kind of a type of number, such as torch.bfloat16 or F64; within a kind, weights are converted."""
    word = dtype.removeprefix("torch.").lower()
    return "bool" if word == "bool" else {"f": "float", "b": "float", "c": "complex"}.get(word[0], "int")


def _compare(folder: Path, program: Schema, shapes: Schema) -> None:
    """Raise a DataError where names, kinds of number or shapes differ."""
    for name, (dtype, shape) in program.items():
        if name not in shapes:
            raise _unlike(folder, f"there is no {name}")
        found, there = shapes[name]
        if (_kind(found), there) != (_kind(dtype), shape):
            raise _unlike(folder, f"{name} is {found} of shape {there}, and {dtype} of shape {shape} in the program")
    if more := shapes.keys() - program.keys():
        raise _unlike(folder, f"the program has no {min(more)}")


def _unlike(folder: Path, reason: str) -> DataError:
    return DataError(f"{folder}: weights and program do not fit ({reason:.200}). {RESTORE}")


class _Planning(TorchFunctionMode):
    """Inside, a program gets its shapes and no values, and makes tensors in proportion to those of its weights file;
    OversizeError where it makes more.

    Args:
        shapes: of the weights file.
    """

    def __init__(self, shapes: Schema) -> None:
        super().__init__()
        self.steps = STEPS + STEPS_EACH * len(shapes)
        self.numbers = NUMBERS + NUMBERS_EACH * sum(math.prod(shape) for _, shape in shapes.values())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.steps -= 1
        name = getattr(func, "__name__", "")
        first = next((one for one in (*args, *(kwargs or {}).values()) if isinstance(one, Tensor)), None)
        if first is not None and name.endswith("_") and not name.endswith("__"):  # such as normal_: values alone change
            return first
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers -= result.numel()
        if self.steps < 0 or self.numbers < 0:
            raise OversizeError
        return result
