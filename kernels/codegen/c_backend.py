"""Compiling C source and loading it as a library: the fast path of the CPU kernels, absent where there is no compiler.

The system's C compiler takes a quarter of a second. PyTorch's inductor takes half a minute for the same lines, and
keeps the compiler from vectorising loops. Libraries are kept in the user's cache folder, by the hash of everything that
went into them, and loaded from the bytes that were checked (see `cache`).
"""

import ctypes
import hashlib
import itertools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .cache import keep, kept, log, one_at_a_time, scratch
from .gamma_c import SOURCE as GAMMA

FLAGS = [
    "-O3",
    "-march=native",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
    "-std=gnu11",
]
C_TYPES = {torch.float32: "float", torch.float64: "double"}
HALF = torch.bfloat16  # decoder outputs may be stored in it where all else is float32
PREAMBLE = r"""
#include <math.h>
#include <stdint.h>
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define VECTORISED __attribute__((simd("notinbranch"), const))  /* glibc's libmvec has these */
VECTORISED float expf(float);
VECTORISED float logf(float);
VECTORISED double exp(double);
VECTORISED double log(double);
#endif
#ifdef HALF  /* decoder outputs lie in bfloat16; what is computed with them is float */
typedef uint16_t stored;
static inline real READ(stored a) { union { uint32_t bits; float value; } u = { (uint32_t)a << 16 }; return u.value; }
static inline stored ROUND(real a) { /* to nearest, ties to even */
    union { float value; uint32_t bits; } u = { a };
    return a != a ? (stored)0x7fc0 : (stored)((u.bits + 0x7fff + ((u.bits >> 16) & 1)) >> 16);
}
#else
typedef real stored;
static inline real READ(stored a) { return a; }
static inline stored ROUND(real a) { return a; }
#endif
static inline float exp_float(float a) { return expf(a); }
static inline double exp_double(double a) { return exp(a); }
static inline float log_float(float a) { return logf(a); }
static inline double log_double(double a) { return log(a); }
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define EXP JOIN(exp, real)
#define LOG JOIN(log, real)
static inline real ABS(real a) { return a < 0 ? -a : a; }
static inline real SQRT(real a) { return sizeof(real) == 4 ? (real)sqrtf((float)a) : (real)sqrt(a); }
static inline real FLOOR(real a) { return sizeof(real) == 4 ? (real)floorf((float)a) : (real)floor(a); }
static inline real TANH(real a) { return sizeof(real) == 4 ? (real)tanhf((float)a) : (real)tanh(a); }
static inline real SIGN(real a) { return a > 0 ? (real)1 : a < 0 ? (real)-1 : a; }
static inline real LOG1P(real e) { real u = 1 + e, d = u - 1; return d == 0 ? e : LOG(u) * e / d; }
static inline real SIGMOID(real a) { return 1 / (1 + EXP(-a)); }
static inline real SOFTPLUS(real a) { return (a > 0 ? a : (real)0) + LOG1P(EXP(-ABS(a))); }
static inline real CLIP(real a, real low, real high) { return a < low ? low : a > high ? high : a; }
static inline real INSIDE(real a, real low, real high) { return a >= low && a <= high ? (real)1 : (real)0; }
"""

TRIAL = """
typedef real vec __attribute__((vector_size(64), aligned(4)));
void trial(real *a, int64_t n) {
    real sum = 0;
    _Pragma("omp simd reduction(+ : sum)")
    for (int64_t i = 0; i < n; i++) sum += SOFTPLUS(a[i]);
    vec *v = (vec *)a;
    #pragma GCC unroll 4
    for (int l = 0; l < 4; l++) v[l] += sum - v[l] * v[l];
}
"""  # everything that the kernels need of a compiler

Result = TypeVar("Result")
_loads = itertools.count(1)
_wanted: ContextVar[bool] = ContextVar("compiled kernels are wanted", default=True)


@contextmanager
def compiled_kernels(wanted: bool) -> Iterator[None]:
    """Let the CPU kernels take the compiled path (where there is a compiler) or the PyTorch path inside a `with` block.

    Args:
        wanted: True for the compiled path.
    """
    token = _wanted.set(wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def available() -> bool:
    """Return whether kernels run compiled: there is a C compiler, it works, and the compiled path is wanted."""
    return _wanted.get() and _works()


def working(stored: torch.dtype) -> torch.dtype:
    """Return the dtype of sums over numbers that are stored in this one: float32 for bfloat16, else the same."""
    return torch.float32 if stored == HALF else stored


def runs(t: Tensor) -> bool:
    """Return whether a kernel on this tensor runs compiled."""
    return t.is_cpu and working(t.dtype) in C_TYPES and available()


@cache
def compiler() -> str | None:
    """Find the C compiler.

    Returns:
        The path of $MMPPL_CC ("none": no compiler), else of $CC, cc, gcc or clang; None where there is none.
    """
    chosen = os.environ.get("MMPPL_CC")
    if chosen is not None:
        return shutil.which(chosen)
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((path for name in names if (path := shutil.which(name))), None)


@cache
def _works() -> bool:
    """Compile a trial. If that fails, one line says what is done instead."""
    if compiler() is None:
        log.warning("No C compiler (cc, gcc, clang or $MMPPL_CC): kernels run on PyTorch, more slowly.")
        return False
    try:
        _load("#define real float\n" + PREAMBLE + TRIAL)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines() or ["no reason given"]
        log.warning("%s compiles no kernels (%s): they run on PyTorch, more slowly.", compiler(), reason[0][:200])
        return False
    return True


@cache
def library(source: str, dtype: torch.dtype, stored: torch.dtype | None = None) -> ctypes.CDLL:
    """Compile and load source in which `real` stands for one dtype. Call `available` first.

    Args:
        source: C source.
        dtype: what `real` stands for: float32 or float64.
        stored: what `stored`, the type of decoder outputs, stands for: `dtype` (None), or bfloat16 beside float32.

    Returns:
        The library.
    """
    half = "#define HALF\n" if stored == HALF else ""
    return _load(f"#define real {C_TYPES[dtype]}\n{half}{PREAMBLE}{GAMMA}{source}")


def _load(source: str) -> ctypes.CDLL:
    cc = compiler()
    assert cc is not None
    flags = [*FLAGS, *(["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else [])]
    what = "\n".join([source, *flags, _version(cc), platform.machine(), _processor()])
    name = f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.so"
    with one_at_a_time():
        if (made := kept(name)) is not None:
            with suppress(OSError):  # made on another system, whose C library this one lacks: compiled again
                return _opened(made)
        made = _compiled(source, [cc, *flags])
        keep(name, made)
        return _opened(made)


def _compiled(source: str, command: list[str]) -> bytes:
    libraries = ["-lmvec"] if platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc" else []
    with scratch() as folder:
        code, made = folder / "kernel.c", folder / "kernel.so"
        code.write_text(source)
        line = [*command, str(code), "-o", str(made), *libraries, "-lm"]
        own = os.environ | {"TMPDIR": str(folder)}  # so that a killed compiler's files are found, too
        subprocess.run(line, check=True, capture_output=True, text=True, timeout=120, env=own)
        return made.read_bytes()


def _opened(made: bytes) -> ctypes.CDLL:
    """Load a library from memory, or else from a private copy.

    The file in the cache is never mapped: who cuts it off while it is mapped kills this process by SIGBUS, and it may
    be another one than was checked. Memory also needs no folder from which programs may be run.
    """
    if hasattr(os, "memfd_create"):
        with suppress(OSError):  # a system can forbid it
            descriptor = os.memfd_create("mmppl-kernel")
            try:
                with open(descriptor, "wb", closefd=False) as file:
                    file.write(made)
                # The loader takes an equal path for the same library, and descriptors have equal numbers in turn.
                return ctypes.CDLL(f"/proc/self/fd{'/' * next(_loads)}{descriptor}")
            finally:
                os.close(descriptor)
    with scratch() as folder:
        copy = folder / f"{next(_loads)}.so"
        copy.write_bytes(made)
        return ctypes.CDLL(str(copy))


@cache
def _version(cc: str) -> str:
    return subprocess.run([cc, "--version"], check=True, capture_output=True, text=True, timeout=20).stdout


def _processor() -> str:
    """What `-march=native` depends on, since several machines may share a folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def addresses(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Return where the memory of each tensor begins; NULL for None."""
    return [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]


def numbers(*values: int) -> list[ctypes.c_int64]:
    """Return integers as arguments of 64 bits (ctypes passes a bare Python number as 32)."""
    return [ctypes.c_int64(value) for value in values]


def array(*values: int) -> ctypes.Array[ctypes.c_int64]:
    """Return sizes and strides as one C array."""
    return (ctypes.c_int64 * len(values))(*values)


def over_rows(call: Callable[[int, int], Result], rows: int, work: int) -> list[Result]:
    """Split rows among PyTorch's threads. (C code needs no lock.)

    Args:
        call: is called with the first row and the one after the last.
        rows: the number of rows.
        work: elementary operations in all; for too few, a second thread does not pay.

    Returns:
        The results, in order.
    """
    return in_parallel(lambda number, of: call(rows * number // of, rows * (number + 1) // of), rows, work)


def in_parallel(call: Callable[[int, int], Result], most: int, work: int) -> list[Result]:
    """Call a function once per thread.

    Args:
        call: is called with the number of the thread and the number of threads.
        most: the largest number of threads.
        work: elementary operations in all; for too few, a second thread does not pay.

    Returns:
        The results, in order.
    """
    threads = max(1, min(torch.get_num_threads(), most, work // 200_000))
    if threads == 1:
        return [call(0, 1)]
    return list(_pool(threads).map(call, range(threads), [threads] * threads))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "mmppl-kernel")
