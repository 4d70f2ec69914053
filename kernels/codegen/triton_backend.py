"""Which tensors Triton's kernels serve: those on a GPU for which Triton compiles; in tests, any in Triton's
interpreter.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)  # float64 on a GPU takes PyTorch's operations
CAPABILITY = (8, 0)
interpreting: ContextVar[bool] = ContextVar("Triton's interpreter runs the kernels", default=False)
log = logging.getLogger("mmppl")


@contextmanager
def interpreted() -> Iterator[None]:
    """Run the kernels in Triton's interpreter on CPU tensors inside a `with` block, to check them without a GPU.

    The interpreter is slow. It takes float64, too.

    Raises:
        RuntimeError: TRITON_INTERPRET=1 was not in the environment when Triton was imported.
    """
    import triton

    if not triton.knobs.runtime.interpret:
        raise RuntimeError("Triton's interpreter is off: set TRITON_INTERPRET=1 before the process starts.")
    token = interpreting.set(True)
    try:
        yield
    finally:
        interpreting.reset(token)


def runs(t: Tensor) -> bool:
    """Return whether a kernel on this tensor runs on Triton."""
    if t.is_cuda:
        return t.dtype in DTYPES and supported(t.device.index or 0)
    return interpreting.get() and t.is_cpu


@cache
def supported(device: int) -> bool:
    """Return whether Triton is installed and compiles for this GPU. Where it does not, one line in the log says so."""
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
    """Return the type and the first line of an error, for a message of code that goes on without what failed."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return f"{type(error).__name__}: {lines[0][:160]}"
