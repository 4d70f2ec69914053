"""Compiles every configuration of the Triton kernels for GPUs that need not be here; prints what each needs, as JSON.

`python tests/kernels/aot.py CAPABILITY EVERY [MODULE ...]`, in a process without TRITON_INTERPRET. A module
`kernels/NAME_triton.py` takes part by its function `aot()`: (kernel, signature, constexprs, options) of every
configuration that its launch table can choose, as `triton.compiler.ASTSource` and `triton.compile` take them; of these
every EVERY-th is compiled.
"""

import io
import json
import re
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

KERNELS = Path(__file__).parents[2] / "kernels"


def modules() -> list[str]:
    """Names of the kernel modules that list their configurations."""
    return sorted(f.stem for f in KERNELS.glob("*_triton.py") if re.search(r"^def aot\(", f.read_text(), re.MULTILINE))


def needs(
    capability: int, kernel: Any, signature: dict[str, str], constexprs: dict[str, Any], options: dict[str, int]
) -> dict[str, Any]:
    """Registers per thread, bytes spilled and bytes of shared memory."""
    # as at a launch: PyTorch's memory begins at multiples of 16 bytes, which lets the compiler load vectors
    aligned = {(i,): [["tt.divisibility", 16]] for i, type in enumerate(signature.values()) if type.startswith("*")}
    assert list(signature) == kernel.arg_names, f"{kernel.__name__}: the signature names {list(signature)}"
    source = ASTSource(kernel, signature, constexprs, aligned)
    with redirect_stdout(io.StringIO()) as report:  # of the assembler
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {
        "kernel": kernel.__name__,
        "constexprs": {n: v if isinstance(v, int) else str(v) for n, v in constexprs.items()},
        "options": options,
        "capability": capability,
        "registers": int(re.findall(r"Used (\d+) registers", report.getvalue())[0]),
        "spilled": sum(map(int, re.findall(r"(\d+) bytes spill", report.getvalue()))),
        "shared": made.metadata.shared,
    }


if __name__ == "__main__":
    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True  # what comes from a cache reports nothing
    found = []
    capability, every = map(int, sys.argv[1:3])
    for name in sys.argv[3:] or modules():
        for configuration in import_module(f"mmppl.kernels.{name}").aot()[::every]:
            found.append({"module": name, **needs(capability, *configuration)})
    print(json.dumps(found))
