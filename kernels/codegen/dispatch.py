"""What the templates share: operators that a recorded step keeps as one call, and the checks of their arguments."""

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import c_backend, triton_backend

_library = torch.library.Library("mmppl", "DEF")


def fast(t: Tensor) -> bool:
    """Return whether a kernel on this tensor runs as generated code: C on the CPU, Triton on a GPU."""
    return _on_triton(t) or c_backend.runs(t)


def _on_triton(t: Tensor) -> bool:
    """`triton_backend.runs`, which most tensors on the CPU need not be asked."""
    return (t.is_cuda or triton_backend.interpreting.get()) and triton_backend.runs(t)


def operator(schema: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that registers a function on tensors, without gradient, as the PyTorch operator `mmppl::schema`.

    Args:
        schema: name, arguments and results, as `torch.library.Library.define` takes them.

    Returns:
        A decorator that returns the operator.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            first = _first_tensor(arguments)
            if not first.is_cuda:
                return function(*arguments)
            with torch.cuda.device(first.device):  # Triton launches on the current one
                return function(*arguments)

        name = _library.define(schema)
        _library.impl(name, function, "CPU")
        _library.impl(name, run, "CompositeExplicitAutograd")
        return getattr(torch.ops.mmppl, name.split("::")[-1]).default

    return add


def _first_tensor(arguments: Sequence[Any]) -> Tensor:
    return next(a for a in arguments if isinstance(a, Tensor))


def code(kernel: str, t: Tensor) -> ModuleType:
    """Import the module `KERNEL_triton` or `KERNEL_c`, whichever serves a tensor.

    Args:
        kernel: name of the kernel.
        t: the tensor.

    Returns:
        The module.
    """
    return _module(kernel, "triton" if _on_triton(t) else "c")


@cache
def _module(kernel: str, language: str) -> ModuleType:
    return import_module(f"..{kernel}_{language}", __package__)


def generated(kernel: str, function: str) -> Callable[..., Any]:
    """Make a function that calls generated code.

    Args:
        kernel: name of the kernel.
        function: name of a function of the kernel's modules.

    Returns:
        The function, which chooses the module by the first tensor among its arguments.
    """

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
    """Check that tensors share one floating dtype and one device.

    Args:
        where: the function that the error message names.
        *tensors: tensors, or None.
        stored: a tensor that may be bfloat16 beside float32.

    Raises:
        ValueError: they do not.
    """
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
    """Make a number or one-element tensor a 0-d tensor.

    It is made on the device itself, since nothing can be copied there while a CUDA graph, which has to own the memory,
    is captured.

    Args:
        value: the number.
        dtype: dtype of the result.
        device: device of the result.

    Returns:
        A 0-d tensor.
    """
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
    """Check that a boolean tensor is True throughout.

    This is an operator, so that a step that checks values can still be recorded (the recording leaves the check out).
    On a GPU nothing is checked, since that would have to wait for the GPU.

    Args:
        holds: bool.
        message: the message of the error.

    Raises:
        ValueError: an element is False.
    """
    if holds.is_cpu and not bool(holds.all()):
        raise ValueError(message)


def masked_rows(where: str, mask: Tensor | None, lead: tuple[int, ...]) -> Tensor | None:
    """Make a mask contiguous.

    Args:
        where: the function that the error message names.
        mask: (..., B) bool, or None.
        lead: the shape that it is expanded to.

    Returns:
        One bool per row of `lead`; None for None.

    Raises:
        ValueError: the mask is not bool.
    """
    if mask is None:
        return None
    if mask.dtype != torch.bool:
        raise ValueError(f"{where}: a mask is bool; this one is {mask.dtype}.")
    return mask.expand(lead).reshape(-1).contiguous()


def rows_of(t: Tensor) -> Tensor:
    """Reshape (..., B, D) to (S, B, D) with unit stride along D, by a view wherever one exists (also of expanded
    tensors).
    """
    t = t.reshape(math.prod(t.shape[:-2]), *t.shape[-2:])
    return t if t.shape[-1] <= 1 or t.stride(-1) == 1 else t.contiguous()
