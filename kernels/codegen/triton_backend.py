"""Which tensors Triton's kernels serve: those on a GPU that compiles them; for tests, any in Triton's interpreter."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)  # float64 on a GPU takes PyTorch's operations
CAPABILITY = (8, 0)
_interpreted: ContextVar[bool] = ContextVar("Triton's interpreter runs the kernels", default=False)
log = logging.getLogger("mmppl")


@contextmanager
def interpreted() -> Iterator[None]:
    """Inside, Triton's interpreter runs the kernels on CPU tensors, float64 too: slowly, to check them without a GPU.

    Raises: RuntimeError unless TRITON_INTERPRET=1 stood in the environment when Triton was imported.
    """
    import triton

    if not triton.knobs.runtime.interpret:
        raise RuntimeError("Triton's interpreter is off: set TRITON_INTERPRET=1 before the process starts.")
    token = _interpreted.set(True)
    try:
        yield
    finally:
        _interpreted.reset(token)


def runs(t: Tensor) -> bool:
    """True where a kernel on this tensor runs on Triton."""
    if t.is_cuda:
        return t.dtype in DTYPES and supported(t.device.index or 0)
    return _interpreted.get() and t.is_cpu


@cache
def supported(device: int) -> bool:
    """True where Triton is there and compiles for this GPU; where not, one line says so."""
    capability = torch.cuda.get_device_capability(device)
    reason = ""
    if capability < CAPABILITY:
        reason = "compute capability {}.{}; the kernels need {}.{}".format(*capability, *CAPABILITY)
    else:
        try:
            from .primitives_triton import trial

            with torch.cuda.device(device):
                trial(torch.device("cuda", device))
        except Exception as error:  # no Triton, no driver, no C compiler for its launcher, ...
            reason = in_short(error)
    if reason:
        name = torch.cuda.get_device_name(device)
        log.warning("No Triton kernels on %s (%s): they run on PyTorch, more slowly.", name, reason)
    return not reason


def in_short(error: Exception) -> str:
    """Type and first line of an error, for a message that goes on without what failed."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return f"{type(error).__name__}: {lines[0][:160]}"
