"""What the skeletons share: operators that a recorded step keeps as one call, and the checks of their arguments."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import c_backend, triton_backend

_library = torch.library.Library("mmppl", "DEF")


def fast(t: Tensor) -> bool:
    """True where a kernel on this tensor runs as generated code: C on the CPU, Triton on a GPU."""
    return triton_backend.runs(t) or c_backend.runs(t)


def operator(schema: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: a function on tensors, without gradient, as the PyTorch operator `mmppl::schema`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            first = _first_tensor(arguments)
            if not first.is_cuda:
                return function(*arguments)
            with torch.cuda.device(first.device):  # Triton launches on the current one
                return function(*arguments)

        name = _library.define(schema)
        _library.impl(name, run, "CompositeExplicitAutograd")
        return getattr(torch.ops.mmppl, name.split("::")[-1]).default

    return add


def _first_tensor(arguments: Sequence[Any]) -> Tensor:
    return next(a for a in arguments if isinstance(a, Tensor))


def code(kernel: str, t: Tensor) -> ModuleType:
    """The module `KERNEL_triton` or `KERNEL_c`, whichever serves this tensor; imported when it is first needed."""
    return import_module(f"..{kernel}_{'triton' if triton_backend.runs(t) else 'c'}", __package__)


def generated(kernel: str, function: str) -> Callable[..., Any]:
    """FUNCTION of the module `code(KERNEL, first tensor among its arguments)`."""

    def run(*arguments: Any) -> Any:
        return getattr(code(kernel, _first_tensor(arguments)), function)(*arguments)

    return run


def broadcast_shapes(*shapes: Sequence[int]) -> torch.Size:
    """The shape that all of these broadcast to; PyTorch's own function imports SymPy for it.

    Raises:
        ValueError: they do not broadcast.
    """
    return torch.Size(np.broadcast_shapes(*map(tuple, shapes)))


def same_kind(where: str, *tensors: Tensor | None, stored: Tensor | None = None) -> None:
    """ValueError unless all share one floating dtype and one device; `stored` may be bfloat16 beside float32."""
    first, *others = [t for t in (*tensors, stored) if t is not None]
    for other in others:
        dtype = c_backend.working(other.dtype) if other is stored else other.dtype
        if dtype != first.dtype or other.device != first.device:
            raise ValueError(
                f"{where}: tensors of {first.dtype} on {first.device} and of {other.dtype} on {other.device}; "
                "convert them to one dtype and device."
            )
    if not first.is_floating_point():
        raise ValueError(f"{where}: {first.dtype} tensors; convert them to floating point.")


def scalar(value: float | Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number or one-element tensor as a 0-d tensor, made on the device itself: nothing can be copied there while a
    CUDA graph is captured, which has to own the memory, too."""
    if isinstance(value, Tensor):
        return value.to(device, dtype).reshape(())
    if device.type != "cpu":
        return torch.full((), value, dtype=dtype, device=device)
    return _filled(float(value), dtype)


@lru_cache(256)
def _filled(value: float, dtype: torch.dtype) -> Tensor:
    return torch.full((), value, dtype=dtype)


@operator("require(Tensor holds, str message) -> ()")
def require(holds: Tensor, message: str) -> None:
    """ValueError(message) unless a boolean tensor is True throughout.

    An operator, so that a step that checks values can still be recorded (the recording leaves the check out). On a GPU,
    which would have to be waited for, nothing is checked.
    """
    if holds.is_cpu and not bool(holds.all()):
        raise ValueError(message)


def masked_rows(where: str, mask: Tensor | None, lead: tuple[int, ...]) -> Tensor | None:
    """A mask (..., B) as contiguous bools, one per row of `lead`; None stays None."""
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        raise ValueError(f"{where}: a mask is bool; this one is {mask.dtype}.")
    return mask.expand(lead).reshape(-1).contiguous()


def rows_of(t: Tensor) -> Tensor:
    """(..., B, D) → (S, B, D) with unit stride along D, by a view wherever one exists (expanded tensors included)."""
    t = t.reshape(math.prod(t.shape[:-2]), *t.shape[-2:])
    return t if t.shape[-1] <= 1 or t.stride(-1) == 1 else t.contiguous()
